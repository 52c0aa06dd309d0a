"""`sameloop diff`: the two pages side by side, aligned by what their lines do."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from benchmarks.alignment import PHASES, Stretch, by_phase, code_lines
from shared.folder import LOOPS
from shared.page import Page

WIDTH = 100
SIDE = (WIDTH - 7) // 2


def print_diff(pages: Mapping[str, Page], console: Console) -> None:
    """Print every phase with its lines on both pages, then what each costs by hand and what buys it.

    Args:
        pages: both loops'.
        console: coloured when it is a terminal, plain when it is not.
    """
    manual, trainer = (by_phase(loop, pages[loop].source) for loop in LOOPS)
    table = Table(width=WIDTH, show_lines=True, title="The same job twice", title_justify="left")
    for loop in LOOPS:
        table.add_column(pages[loop].name, width=SIDE, overflow="fold")
    for phase in PHASES:
        ours, theirs = manual[phase.name], trainer[phase.name]
        table.add_row(
            _side(phase.does, ours, "by hand: nothing"),
            _side(phase.does, theirs, f"bought with: {phase.bought}"),
        )
    console.print(table)
    console.print(summary(manual, trainer))


def summary(manual: dict[str, list[Stretch]], trainer: dict[str, list[Stretch]]) -> Table:
    """Lines of code by phase on both pages, and what buys the phase from `Trainer`."""
    table = Table(title="What each phase costs, in lines of code", title_justify="left", width=WIDTH)
    table.add_column("phase")
    table.add_column("by hand", justify="right")
    table.add_column("Trainer", justify="right")
    table.add_column("what buys it")
    totals = [0, 0]
    for phase in PHASES:
        counts = code_lines(manual[phase.name]), code_lines(trainer[phase.name])
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        table.add_row(phase.name, *(str(count) for count in counts), phase.bought)
    table.add_section()
    table.add_row("all", *(str(total) for total in totals), "")
    return table


def _side(does: str, stretches: list[Stretch], nothing: str) -> Table:
    """One phase on one page: what it does, then its lines with their numbers."""
    side = Table.grid(expand=True, padding=(0, 1, 0, 0))
    side.add_column(justify="right", style="dim", width=3)
    side.add_column(overflow="fold", ratio=1)
    side.add_row("", Text(does, style="bold"))
    if not stretches:
        side.add_row("", Text(nothing, style="italic"))
    python = Syntax("", "python", theme="ansi_dark", background_color="default")
    for stretch in stretches:
        code = textwrap.dedent("\n".join(stretch.lines)).rstrip("\n")
        for number, line in enumerate(python.highlight(code).split("\n"), start=stretch.first):
            if line.plain.strip():
                side.add_row(str(number), line)
    return side
