"""The lesson on speed in the terminal: a table for each length, and remarks on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.speed.lesson import FIRST_STEPS, PLAIN, Lesson, Row, change_of, work

if TYPE_CHECKING:
    from rich.console import Console

# Below this a table has a warning: its ratios and accuracies are hardly more than chance.
FEW_REVIEWS = 256
HEADINGS = ("change", "seconds", "first", "tokens/s", "padding", "MB", "accuracy, %")


def cells(lesson: Lesson, row: Row) -> list[str]:
    """A row of the table, with the columns `HEADINGS`."""
    label, times = change_of(row.name).label, lesson.times(row)
    if times is None:
        return [label, *["-"] * (len(HEADINGS) - 1)]
    seconds = [run.seconds for run in row.runs]
    spread = len(seconds) > 1
    accuracy = lesson.accuracy(row)
    percentages = [100 * share for share in accuracy or ()]
    return [
        label,
        f"{row.median('seconds'):.1f}" + (f" ({min(seconds):.1f} to {max(seconds):.1f})" if spread else ""),
        f"+{row.median('first_seconds'):.1f}",
        f"{times.median:.2f}×" + (f" ({times.low:.2f} to {times.high:.2f})" if spread and row.name != PLAIN else ""),
        f"{row.median('padding'):.0%}",
        f"{row.median('memory_mb'):,.0f}",
        "-" if accuracy is None else f"{percentages[0]:.1f} ({percentages[1]:.0f} to {percentages[2]:.0f})",
    ]


def legend(lesson: Lesson) -> list[str]:
    """An explanation of the columns."""
    rounds = len(next(row for row in lesson.rows if row.name == PLAIN).runs)
    lines = [
        "seconds: of all training steps, without evaluation and start; first: how many seconds longer the first "
        f"{FIRST_STEPS} steps took than as many later ones, which is where compiling shows; tokens/s: tokens "
        "without padding in the steps after those, as a multiple of the plain loop's; padding: its share of the "
        "computed tokens; MB: the peak memory; accuracy: with its 95 % interval (Wilson)",
    ]
    if lesson.config["train_size"] < FEW_REVIEWS:
        lines.append(
            "too few reviews for a measurement: they give few steps, whose times vary on a busy machine; this only "
            "shows what the table looks like"
        )
    if rounds == 1:
        lines.append("one round: other work of the machine affects the numbers; --repeats 3 gives ranges")
    else:
        lines.append(f"medians of {rounds} rounds, in brackets the lowest and the highest")
    return lines


def remarks(lesson: Lesson) -> dict[str, list[str]]:
    """The remarks on each change's numbers, by its label, each once."""
    by_label: dict[str, list[str]] = {}
    for row in lesson.rows:
        label = change_of(row.name).label
        if row.remark and row.remark not in by_label.setdefault(label, []):
            by_label[label].append(row.remark)
    return {label: lines for label, lines in by_label.items() if lines}


def print_lesson(lesson: Lesson, console: Console) -> None:
    """Print a table per length, an explanation of its columns, and the remarks on single rows."""
    from rich import box
    from rich.table import Table

    console.print(work(lesson))
    for length in lesson.lengths:
        # Without lines between the columns it fits into 80 characters.
        table = Table(title=f"at {length} tokens", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in HEADINGS:
            is_name = heading == "change"
            table.add_column(heading, justify="left" if is_name else "right", no_wrap=is_name)
        for row in lesson.at(length):
            table.add_row(*cells(lesson, row))
        console.print(table)
    for label, lines in remarks(lesson).items():
        console.print(f"{label}: {'; '.join(lines)}")
    fast = next(row for row in lesson.rows if row.name == "fast")
    console.print(f"preset fast here: {fast.settings or 'the same as the plain loop'}")
    for line in legend(lesson):
        console.print(line, style="dim")
    console.print(lesson.footnote, style="dim")
