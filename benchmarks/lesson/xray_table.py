"""The x-ray in the terminal: the parts that are worth a look, what only `Trainer` does, and the verdict."""

from __future__ import annotations

from pathlib import Path

import transformers
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.lesson.trace import ACCELERATE
from benchmarks.lesson.xray import Pair, XRay, pair_values, script_frame, stack_text, values_text
from shared.running.folder import LOOPS


def print_xray(found: XRay, console: Console) -> None:
    """Print the parts worth a look, what only `Trainer` does, and whether the sequences are equal."""
    for title, pairs in _with_prefix(found, console):
        console.print(events_table(title, pairs, found))
        console.print()
    console.print(bookkeeping_table(found))
    for what, frames in found.traces["trainer"].repetitions.items():
        console.print(f"Only Trainer, too: {what} ({stack_text(frames, found.common_stack)}).", soft_wrap=False)
    manual, trainer = (found.traces[loop].batches_ahead for loop in LOOPS)
    if trainer != manual:
        console.print(
            f"Trainer's data loader prepares {trainer} batch in advance, to know which is the last; the manual "
            f"loop {manual}."
        )
    console.print(verdict_text(found))


def print_step(found: XRay, console: Console) -> None:
    """Print the step alone, and whether the sequences are equal."""
    for title, pairs in _with_prefix(found, console):
        if pairs[0].either.part == "step":
            console.print(events_table(title, pairs, found))
    console.print(verdict_text(found))


def _with_prefix(found: XRay, console: Console) -> list[tuple[str, list[Pair]]]:
    """The parts that are shown, after what their stacks have in common has been said once."""
    console.print(
        f"transformers {transformers.__version__}. Below, every `Trainer` stack that is not at the start begins with\n"
        f"{stack_text(found.common_stack)} >"
    )
    return found.shown()


def events_table(title: str, pairs: list[Pair], found: XRay) -> Table:
    """One part of the run: of each event what happened, the line by hand, and the stack without what all have."""
    script = Path(found.script).name
    table = Table(title=title, title_justify="left", title_style="bold", expand=True, show_header=False, box=None)
    table.add_column(width=8, style="dim", justify="right")
    table.add_column(ratio=1, overflow="fold")
    for pair in pairs:
        event = pair.either
        what = Text.assemble((event.phase, "bold cyan"), f"  {event.what}  ", (pair_values(pair), "green"))
        table.add_row("" if pair.equal else "DIFFERS", what)
        if pair.manual and (line := script_frame(pair.manual, found.script)):
            table.add_row("manual", Text(f"{script}:{line.line}  {line.code}"))
            # What a loop with accelerate leaves to it.
            if inside := tuple(frame for frame in pair.manual.frames if frame.file.startswith(ACCELERATE.name)):
                table.add_row("", Text(f"> {stack_text(inside)}", "dim"))
        if pair.trainer:
            table.add_row("Trainer", Text(stack_text(pair.trainer.frames, found.common_stack)))
    return table


def verdict_text(found: XRay) -> Text:
    """Whether the sequences are equal, in a sentence; if not, the first place where they part."""
    first = found.first_difference
    if first is None:
        return Text.assemble(("equal", "bold green"), f": {len(found.pairs)} events, the same in the same order")
    texts = ("nothing" if each is None else f"{each.phase} ({each.what}) {values_text(each.values)}" for each in first)
    return Text.assemble(("not the same events", "bold red"), ", first: manual {}; Trainer {}".format(*texts))


def bookkeeping_table(found: XRay) -> Table:
    """What only `Trainer` does, in the step, the evaluation and around them."""
    table = Table(title="What else Trainer calls, with none of these events inside", title_justify="left")
    for heading in ("", "calls", "ms", "where, and what the manual loop does"):
        table.add_column(heading, justify="right" if heading in ("calls", "ms") else "left", overflow="fold")
    for part in found.bookkeeping_by_part():
        table.add_section()
        share = f"of {part.whole * 1e3:.0f} ms: {part.seconds / part.whole:.1%}"
        table.add_row(Text(part.title, style="bold"), "", f"{part.seconds * 1e3:.2f}", share)
        for row in part.rows:
            by_hand = f"manual: {row['by_hand']}" if row["by_hand"] else ""
            where = Text.assemble(f"trainer.py:{row['line']}  ", (by_hand, "italic"))
            table.add_row(row["function"], f"{row['calls']:g}", f"{row['seconds'] * 1e3:.2f}", where)
        if part.others:
            rest = part.seconds - sum(row["seconds"] for row in part.rows)
            table.add_row(f"{part.others} smaller ones, or python's own", "", f"{rest * 1e3:.2f}", "")
    return table
