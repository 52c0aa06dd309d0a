"""What the documents say about the code is what the code says, their links lead somewhere, and they are short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.cli import sameloop
from benchmarks.lesson.whatif import read_measured
from benchmarks.proofs.documents import DOCS, README, SHOWN_CHARTS, SHOWN_LOOPS, cost, with_loops
from benchmarks.proofs.speed import MEASURED
from benchmarks.proofs.speed import document as speed_document
from benchmarks.speed.lesson import LESSON
from shared.config import meaning, option, sections, values_by_preset

TEXT = README.read_text(encoding="utf-8")
DOCUMENTS = {
    path: path.read_text(encoding="utf-8") for path in (README, README.with_name("SECURITY.md"), *DOCS.glob("*.md"))
}
LINK = re.compile(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)")
CALL = re.compile(r"(?<!import )\bsameloop ([a-z]+)\b([^`#\n]*)")
# What is written in the README, without the two loops that are printed there; and how long all documents may be.
README_LINES, WORDS = 25, 15_000


def test_the_readme_shows_the_two_loops_as_they_are() -> None:
    assert with_loops(TEXT) == TEXT, "run `make docs`"
    loops = [(README.parent / name).read_text(encoding="utf-8").rstrip() for name in SHOWN_LOOPS]
    assert all(loop in TEXT for loop in loops)
    assert len(TEXT.splitlines()) - sum(len(loop.splitlines()) for loop in loops) <= README_LINES
    assert "docs/port.md" in TEXT.partition("```")[0]


def test_all_documents_together_are_short() -> None:
    """A word has a letter or a digit: the bars of a table are none."""
    words = {path.name: len(re.findall(r"\S*\w\S*", text)) for path, text in DOCUMENTS.items()}
    assert sum(words.values()) <= WORDS, words


def test_the_index_has_every_document() -> None:
    listed, named = [DOCS / "index.md"], set()
    while listed:
        for target, _ in LINK.findall(DOCUMENTS[listed.pop()]):
            path = (DOCS / target).resolve()
            if path in DOCUMENTS and path not in named:
                named.add(path)
                listed += [path] if path.name == "measurements.md" else []
    assert set(DOCUMENTS) - named <= {README, DOCS / "index.md"}


def test_the_table_of_settings_is_up_to_date() -> None:
    """Every setting with its declaration; of the costs a few, for all of them take a minute."""
    rows = dict(re.findall(r"^\| `--([a-z0-9-]+)` (\|.*)$", (DOCS / "settings.md").read_text(), re.MULTILINE))
    names = [name for section in sections().values() for name in section]
    assert list(rows) == [option(name).removeprefix("--") for name in names], "run `make docs`"
    for name in names:
        assert rows[option(name).removeprefix("--")].startswith(f"| {meaning(name)} | {values_by_preset(name)} |")
    for name in ("gradient_accumulation_steps", "full_determinism", "learning_rate"):
        assert f"| {cost(name)} |" in rows[option(name).removeprefix("--")], "run `make docs`"


def _anchors(text: str) -> set[str]:
    """The anchors that a code host makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(DOCUMENTS[document]):
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


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
    assert (DOCS / "speed.md").read_text(encoding="utf-8") == speed_document(LESSON.read(MEASURED)), (
        "run `make speed-lesson`"
    )


def test_commands_and_their_options_exist() -> None:
    """And docs/commands.md has every command."""
    calls = {(document.name, *call) for document, text in DOCUMENTS.items() for call in CALL.findall(text)}
    shown = {name for name, command in sameloop.commands.items() if not command.hidden}
    assert {name for document, name, _ in calls if document == "commands.md"} == shown
    for document, name, rest in calls:
        known = {option for parameter in sameloop.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest.partition(" -- ")[0])) <= known, (document, name, rest)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make\s([a-z-]+)", "".join(DOCUMENTS.values())))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", Path("Makefile").read_text(), re.MULTILINE)
