"""What the README says about the code is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.docs import DOCS, README, with_dials
from benchmarks.plot import KINDS

TEXT = README.read_text(encoding="utf-8")


def test_the_table_of_dials_is_up_to_date() -> None:
    assert with_dials(TEXT) == TEXT, "run `make docs`"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http|#)([^)#]+)", TEXT))))
def test_links_lead_somewhere(target: str) -> None:
    assert (README.parent / target).exists()


def test_the_lesson_shows_every_kind_of_chart_with_its_words() -> None:
    lesson = (DOCS / "lesson.md").read_text(encoding="utf-8")
    pictures = dict(re.findall(r"!\[([^]]+)\]\(([^)]+)\)", lesson))
    assert {f"charts/{kind}.svg" for kind in KINDS} <= set(pictures.values())
    for words, target in pictures.items():
        assert (DOCS / target).exists() and len(words) > 40


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", TEXT))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", Path("Makefile").read_text(), re.MULTILINE)
