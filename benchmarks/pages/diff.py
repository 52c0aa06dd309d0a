"""`sameloop diff`: the two loops of a run side by side, and one setting's lines in the manual loop.

Both loops are specialized for the settings of the run, so that what is shown is what runs; matching lines share a row.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from benchmarks.judge.phases import PHASES, Phase
from benchmarks.pages.alignment import Stretch, by_phase, code_lines, stretches
from shared.errors import SameLoopError

# Side by side, code of 88 columns needs room; on less than this for each the loops stand one below the other.
LEAST_WIDTH = 60
HEADINGS = {"manual": "manual", "accelerate": "accelerate", "trainer": "Trainer"}
UNSHOWN = ("page", "imports")


def print_diff(
    sources: Mapping[str, str],
    console: Console,
    *,
    names: Mapping[str, str],
    phase: str | None = None,
    is_own_job: bool = False,
) -> None:
    """Print every phase with its lines in both loops, then how many lines each costs, and what replaces it.

    Args:
        sources: the loops' texts for display: `manual`, perhaps `accelerate`, `trainer`.
        console: coloured when it is a terminal, plain when it is not; as wide as it is.
        names: the loops' headings.
        phase: show this one only.
        is_own_job: whether the job is the user's: the descriptions of our phases are then left out.

    Raises:
        SameLoopError: there is no such phase.
    """
    phases = [item for item in PHASES if phase in (None, item.name)]
    if not phases:
        raise SameLoopError(f"--phase {phase}: there is none; choose one of {', '.join(item.name for item in PHASES)}")
    stretches_of = {loop: by_phase(source) for loop, source in sources.items()}
    wide = console.width >= LEAST_WIDTH * len(stretches_of)
    title = f"The same job {'twice' if len(stretches_of) == 2 else 'three times'}"
    table = Table(expand=True, show_lines=True, title=title, title_justify="left", show_header=wide)
    for loop in list(stretches_of) if wide else list(stretches_of)[:1]:
        table.add_column(names[loop], overflow="fold", ratio=1)
    for current in phases:
        if is_own_job:
            current = current._replace(does=current.name, bought="Trainer itself")
        if not any(stretches_of[loop][current.name] for loop in stretches_of):
            continue
        bought = {"trainer": f"bought with: {current.bought}", "accelerate": "with accelerate: nothing"}
        sides = {loop: _side(current, stretches_of[loop][current.name], bought.get(loop)) for loop in stretches_of}
        if wide:
            table.add_row(*sides.values())
        else:
            rows = [Group(Text(names[loop], style="italic"), side) for loop, side in sides.items()]
            table.add_row(Group(*rows))
    console.print(table)
    if phase is None and not is_own_job:
        console.print(summary(stretches_of))


def summary(stretches_of: Mapping[str, Mapping[str, list[Stretch]]]) -> Table:
    """Lines of code by phase in each loop, and what replaces the phase in `Trainer`."""
    table = Table(title="What each phase costs, in lines of code", title_justify="left")
    table.add_column("phase")
    for loop in stretches_of:
        table.add_column(HEADINGS[loop], justify="right")
    table.add_column("what buys it", overflow="fold")
    rows = [(phase, [code_lines(script[phase.name]) for script in stretches_of.values()]) for phase in PHASES]
    for phase, counts in rows:
        if any(counts):
            table.add_row(phase.name, *map(str, counts), phase.bought)
    table.add_section()
    table.add_row("all", *(str(sum(column)) for column in zip(*(counts for _, counts in rows), strict=True)), "")
    return table


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines of code that only the second text has, and those that only the first has; imports left out."""
    lines = difflib.unified_diff(_code(before), _code(after), n=0, lineterm="")
    changes = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    return [line[1:] for line in changes if line[0] == "+"], [line[1:] for line in changes if line[0] == "-"]


def print_setting_diff(before: str, after: str, option: str, console: Console) -> None:
    """Print what a setting changes in the manual loop: the lines that go and come, each with a few around it.

    Args:
        before, after: the loop specialized without the setting and with it.
        option: the setting and its value, as on the command line.
        console: as wide as it is.
    """
    new, gone = changed_lines(before, after)
    console.print(Text.assemble((option, "bold"), f", in the manual loop: {count(new)} more, {count(gone)} less"))
    for line in difflib.unified_diff(_shown(before), _shown(after), n=2, lineterm=""):
        if line.startswith(("---", "+++")):
            continue
        if line.startswith("@@"):
            console.print(Text("...", style="dim"))
            continue
        console.print(Text(line, style={"+": "green", "-": "red"}.get(line[0], "")), soft_wrap=True)


def count(lines: Sequence[str]) -> str:
    """`1 line`, `3 lines`, `no line`."""
    return {0: "no line", 1: "1 line"}.get(len(lines), f"{len(lines)} lines")


def _code(source: str) -> list[str]:
    """A loop's lines of code: no comments, blank lines, imports or docstrings."""
    lines = (line.partition("  # ")[0].strip() for line in _shown(source))
    return [line for line in lines if line and not line.startswith(("#", '"""'))]


def _shown(source: str) -> list[str]:
    return [line for stretch in stretches(source) if stretch.phase not in UNSHOWN for line in stretch.lines]


def _side(phase: Phase, pieces: list[Stretch], nothing: str | None) -> RenderableType:
    """One phase in one loop: what it does, then its lines with their numbers."""
    side = Table.grid(expand=True, padding=(0, 1, 0, 0))
    side.add_column(justify="right", style="dim", width=3)
    side.add_column(overflow="fold", ratio=1)
    side.add_row("", Text(phase.does, style="bold"))
    if not pieces:
        side.add_row("", Text(nothing or "manual: nothing", style="italic"))
    python = Syntax("", "python", theme="ansi_dark", background_color="default")
    for stretch in pieces:
        code = textwrap.dedent("\n".join(stretch.lines)).rstrip("\n")
        for number, line in enumerate(python.highlight(code).split("\n"), start=stretch.first):
            if line.plain.strip():
                side.add_row(str(number), line)
    return side
