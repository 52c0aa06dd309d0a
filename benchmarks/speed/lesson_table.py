"""The lesson in speed in the terminal: a table for each length, and what is to be said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.speed.lesson import FIRST_STEPS, PLAIN, Lesson, Row, change_of, work

if TYPE_CHECKING:
    from rich.console import Console

# Below this a table says so: its ratios and accuracies are hardly more than chance.
FEW_REVIEWS = 256
HEADINGS = ("change", "seconds", "first", "tokens/s", "padding", "MB", "accuracy, %")


def cells(found: Lesson, row: Row) -> list[str]:
    """A row of the table: `HEADINGS`."""
    label, times = change_of(row.name).label, found.times(row)
    if times is None:
        return [label, *["-"] * (len(HEADINGS) - 1)]
    seconds = [run.seconds for run in row.runs]
    spread = len(seconds) > 1
    accuracy = found.accuracy(row)
    each = [100 * share for share in accuracy or ()]
    return [
        label,
        f"{row.median('seconds'):.1f}" + (f" ({min(seconds):.1f} to {max(seconds):.1f})" if spread else ""),
        f"+{row.median('first_seconds'):.1f}",
        f"{times.median:.2f}×" + (f" ({times.low:.2f} to {times.high:.2f})" if spread and row.name != PLAIN else ""),
        f"{row.median('padding'):.0%}",
        f"{row.median('memory_mb'):,.0f}",
        "-" if accuracy is None else f"{each[0]:.1f} ({each[1]:.0f} to {each[2]:.0f})",
    ]


def legend(found: Lesson) -> list[str]:
    """What the columns are."""
    rounds = len(next(row for row in found.rows if row.name == PLAIN).runs)
    lines = [
        "seconds: of all training steps, without evaluation and start; first: by how many of these the first "
        f"{FIRST_STEPS} steps took longer than as many later ones, which is where compiling shows; tokens/s: useful "
        "ones, without padding, in the steps after those, as a multiple of the plain loop's; padding: its share of "
        "what was computed; MB: the most memory in use; accuracy: with its 95 % interval (Wilson)",
    ]
    if found.config["train_size"] < FEW_REVIEWS:
        lines.append(
            "so few reviews make a few steps, which say little on a busy machine: this shows what "
            "the table looks like, and is no measurement to go by"
        )
    if rounds == 1:
        lines.append("one round: what else the machine did meanwhile is in the numbers; --repeats 3 gives ranges")
    else:
        lines.append(f"medians of {rounds} rounds, in brackets the lowest and the highest")
    return lines


def remarks(found: Lesson) -> dict[str, list[str]]:
    """By label the remarks on a change's numbers, each once."""
    said: dict[str, list[str]] = {}
    for row in found.rows:
        label = change_of(row.name).label
        if row.remark and row.remark not in said.setdefault(label, []):
            said[label].append(row.remark)
    return {label: lines for label, lines in said.items() if lines}


def fast_here(found: Lesson) -> str:
    """What `fast` stands for where this was measured."""
    row = next(row for row in found.rows if row.name == "fast")
    return row.settings or "nothing else than the plain loop"


def print_lesson(found: Lesson, console: Console) -> None:
    """A table per length, what its columns are, and what is to be said of single rows."""
    from rich import box
    from rich.table import Table

    console.print(work(found))
    for length in found.lengths:
        # Without lines between the columns it fits into 80 characters.
        table = Table(title=f"at {length} tokens", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in HEADINGS:
            is_name = heading == "change"
            table.add_column(heading, justify="left" if is_name else "right", no_wrap=is_name)
        for row in found.at(length):
            table.add_row(*cells(found, row))
        console.print(table)
    for label, lines in remarks(found).items():
        console.print(f"{label}: {'; '.join(lines)}")
    console.print(f"preset fast here: {fast_here(found)}")
    for line in legend(found):
        console.print(line, style="dim")
    console.print(found.footnote, style="dim")
