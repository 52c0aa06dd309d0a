"""What the README says about the code is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.lesson.whatif import read_measured
from benchmarks.proofs.documents import DOCS, README, SHOWN_CHARTS, SHOWN_PAGES, cost, with_pages
from benchmarks.proofs.speed import MEASURED, page
from benchmarks.speed.lesson import LESSON
from shared.config import meaning, option, sections, values_by_preset

TEXT = README.read_text(encoding="utf-8")
GUIDE = DOCS / "guide.md"
LINK = re.compile(r"\]\((?!http|#)([^)#]+)")


def test_the_readme_opens_with_the_two_pages_as_they_are() -> None:
    assert with_pages(TEXT) == TEXT, "run `make docs`"
    for name in SHOWN_PAGES:
        assert (README.parent / name).read_text().rstrip() in TEXT
    assert len(TEXT.splitlines()) <= 150


def test_the_table_of_dials_is_up_to_date() -> None:
    """Every dial with its declaration; of the costs a few, for all of them take a minute."""
    rows = dict(re.findall(r"^\| `--([a-z0-9-]+)` (\|.*)$", (DOCS / "dials.md").read_text(), re.MULTILINE))
    names = [name for section in sections().values() for name in section]
    assert list(rows) == [option(name).removeprefix("--") for name in names], "run `make docs`"
    for name in names:
        assert rows[option(name).removeprefix("--")].startswith(f"| {meaning(name)} | {values_by_preset(name)} |")
    for name in ("gradient_accumulation_steps", "full_determinism", "learning_rate"):
        assert f"| {cost(name)} |" in rows[option(name).removeprefix("--")], "run `make docs`"


@pytest.mark.parametrize(
    ("page", "target"),
    sorted({(page, target) for page in (README, GUIDE) for target in LINK.findall(page.read_text(encoding="utf-8"))}),
    ids=str,
)
def test_links_lead_somewhere(page: Path, target: str) -> None:
    assert (page.parent / target).exists()


def test_the_lesson_shows_its_pictures_with_short_words() -> None:
    lesson = (DOCS / "lesson.md").read_text(encoding="utf-8")
    pictures = {target: words for words, target in re.findall(r"!\[([^]]+)\]\(([^)]+)\)", lesson)}
    assert {f"charts/{kind}.svg" for kind in SHOWN_CHARTS} <= set(pictures)
    for target, words in pictures.items():
        assert (DOCS / target).exists() and 20 < len(words) < 130


def test_the_lesson_has_every_line_that_was_measured() -> None:
    lesson = (DOCS / "lesson.md").read_text(encoding="utf-8")
    for phase, what_if in read_measured().what_ifs.items():
        assert f"| {phase} | " in lesson and what_if.sentence in lesson, "run `make docs`"


def test_the_lesson_in_speed_is_the_page_of_what_was_measured() -> None:
    assert (DOCS / "speed.md").read_text(encoding="utf-8") == page(LESSON.read(MEASURED)), "run `make speed-lesson`"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", TEXT + GUIDE.read_text()))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", Path("Makefile").read_text(), re.MULTILINE)
