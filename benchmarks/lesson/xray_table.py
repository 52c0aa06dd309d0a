"""The x-ray in the terminal: the parts that are worth a look, what only `Trainer` does, and the verdict."""

from __future__ import annotations

from pathlib import Path

import transformers
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.lesson.timeline import ACCELERATE
from benchmarks.lesson.xray import Pair, XRay, script_frame, stack_text, values_text
from shared.running.folder import LOOPS


def print_xray(xray: XRay, console: Console) -> None:
    """Print the parts worth a look, what only `Trainer` does, and whether the sequences are equal."""
    console.print(
        f"transformers {transformers.__version__}. Below, every `Trainer` stack that is not at the start begins with\n"
        f"{stack_text(xray.common_stack)} >"
    )
    for title, pairs in xray.titled_parts():
        console.print(events_table(title, pairs, xray))
        console.print()
    console.print(bookkeeping_table(xray))
    for text, frames in xray.traces["trainer"].repetitions.items():
        console.print(f"Only in Trainer: {text} ({stack_text(frames, xray.common_stack)}).", soft_wrap=False)
    manual, trainer = (xray.traces[loop].batches_ahead for loop in LOOPS)
    if trainer != manual:
        console.print(
            f"Trainer's data loader prepares {trainer} batch in advance, to know which is the last; the manual "
            f"loop {manual}."
        )
    console.print(verdict_text(xray))


def events_table(title: str, pairs: list[Pair], xray: XRay) -> Table:
    """One part of the run: each event, the manual loop's line, and Trainer's stack without the common frames."""
    script = Path(xray.script).name
    table = Table(title=title, title_justify="left", title_style="bold", expand=True, show_header=False, box=None)
    table.add_column(width=8, style="dim", justify="right")
    table.add_column(ratio=1, overflow="fold")
    for pair in pairs:
        event = pair.either
        description = Text.assemble((event.phase, "bold cyan"), f"  {event.what}  ", (pair.numbers, "green"))
        table.add_row("" if pair.equal else "DIFFERS", description)
        if pair.manual and (line := script_frame(pair.manual, xray.script)):
            table.add_row("manual", Text(f"{script}:{line.line}  {line.code}"))
            # What a loop with accelerate leaves to it.
            if inside := tuple(frame for frame in pair.manual.frames if frame.file.startswith(ACCELERATE.name)):
                table.add_row("", Text(f"> {stack_text(inside)}", "dim"))
        if pair.trainer:
            table.add_row("Trainer", Text(stack_text(pair.trainer.frames, xray.common_stack)))
    return table


def verdict_text(xray: XRay) -> Text:
    """Whether the sequences are equal, in a sentence; if not, the first place where they diverge."""
    first = xray.first_difference
    if first is None:
        return Text.assemble(("equal", "bold green"), f": {len(xray.pairs)} events, the same in the same order")
    texts = ("nothing" if side is None else f"{side.phase} ({side.what}) {values_text(side.values)}" for side in first)
    return Text.assemble(("not the same events", "bold red"), ", first: manual {}; Trainer {}".format(*texts))


def bookkeeping_table(xray: XRay) -> Table:
    """What only `Trainer` does, in the step, the evaluation and around them."""
    table = Table(title="What else Trainer calls, with none of these events inside", title_justify="left")
    for heading in ("", "calls", "ms", "where, and what the manual loop does"):
        table.add_column(heading, justify="right" if heading in ("calls", "ms") else "left", overflow="fold")
    for part in xray.bookkeeping_by_part():
        table.add_section()
        share = f"of {part.whole * 1e3:.0f} ms: {part.seconds / part.whole:.1%}"
        table.add_row(Text(part.title, style="bold"), "", f"{part.seconds * 1e3:.2f}", share)
        for row in part.rows:
            in_manual = f"manual: {row['by_hand']}" if row["by_hand"] else ""
            where = Text.assemble(f"trainer.py:{row['line']}  ", (in_manual, "italic"))
            table.add_row(row["function"], f"{row['calls']:g}", f"{row['seconds'] * 1e3:.2f}", where)
        if part.others:
            rest = part.seconds - sum(row["seconds"] for row in part.rows)
            table.add_row(f"{part.others} smaller ones, or python's own", "", f"{rest * 1e3:.2f}", "")
    return table
