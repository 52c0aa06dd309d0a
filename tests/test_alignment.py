"""The two pages side by side: every line has its place, and no line moves unnoticed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.alignment import PHASES, aligned, by_phase, code_lines, segments
from benchmarks.cli import main
from benchmarks.diff import WIDTH, print_diff
from shared.config import RunConfig
from shared.page import package_page, pages_of
from tests.conftest import LOOPS

PAGES = {loop: package_page(loop).source for loop in LOOPS}


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_the_page_belongs_to_one_phase(page: str) -> None:
    source = PAGES[page].splitlines()
    assert [line for stretch in segments(page, PAGES[page]) for line in stretch.lines] == source
    names = {phase.name for phase in PHASES}
    assert {stretch.phase for stretch in segments(page, PAGES[page])} <= names
    assert sum(code_lines(found) for found in by_phase(page, PAGES[page]).values()) == sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in source
    )


def test_every_phase_is_on_a_page_and_says_what_buys_it() -> None:
    manual, trainer = (by_phase(loop, source) for loop, source in PAGES.items())
    assert len({phase.name for phase in PHASES}) == len(PHASES)
    for phase in PHASES:
        assert phase.does and phase.bought
        assert manual[phase.name] or trainer[phase.name]
        # A phase that one page lacks has a reason, which is in `bought`.
        if not manual[phase.name]:
            assert "by hand nothing" in phase.bought
        if not trainer[phase.name]:
            assert "trainer.train()" in phase.bought


def test_what_buys_a_phase_is_on_the_trainer_page() -> None:
    source = PAGES["trainer"] + Path("trainer_loop/callbacks.py").read_text()
    for phase in PHASES:
        for argument in re.findall(r"(\w+)=", phase.bought):
            assert f"{argument}=" in source, (phase.name, argument)
        for name in re.findall(r"[\w.]+(?=\()", phase.bought):
            assert name in source, (phase.name, name)


def mutations(lines: list[str]) -> dict[str, list[str]]:
    moved = lines[:]
    moved.insert(40, moved.pop(60))
    return {
        "gone": lines[:50] + lines[51:],
        "new": [*lines[:50], "    pass", *lines[50:]],
        "moved": moved,
        "longer": [*lines, "x"],
    }


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("what", ["gone", "new", "moved", "longer"])
def test_no_line_changes_its_place_unnoticed(page: str, what: str) -> None:
    source = "\n".join(mutations(PAGES[page].splitlines())[what]) + "\n"
    with pytest.raises(ValueError, match=r"should begin here with|are not declared"):
        segments(page, source)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("what", ["gone", "new", "moved", "longer"])
def test_a_page_that_somebody_tries_things_on_is_still_shown_whole(page: str, what: str) -> None:
    before = {(found.phase, line) for found in segments(page, PAGES[page]) for line in found.lines}
    lines = mutations(PAGES[page].splitlines())[what]
    shown = aligned(page, "\n".join(lines) + "\n")
    assert [line for found in shown for line in found.lines] == lines
    assert [found.first for found in shown] == sorted({found.first for found in shown})
    # Nearly every line is where it was: at most the segment with the change and its neighbour are not.
    same = [line for found in shown for line in found.lines if (found.phase, line) in before]
    assert len(same) > 0.9 * len(lines)


def test_diff_shows_every_line_in_100_columns(capsys) -> None:
    assert main(["diff"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert "\u2026" not in shown
    for page, source in PAGES.items():
        for number, line in enumerate(source.splitlines(), start=1):
            if line.strip():
                assert re.search(rf"[│┃] +{number} ", shown), (page, number)
    # The clip: two lines by hand, one argument.
    assert re.search(r"│ clip +│ +2 │ +1 │ max_grad_norm= +│", shown)


def test_diff_is_coloured_on_a_terminal() -> None:
    terminal = io.StringIO()
    print_diff(
        pages_of(RunConfig.build()), Console(file=terminal, force_terminal=True, width=WIDTH, color_system="standard")
    )
    assert "\x1b[" in terminal.getvalue()
