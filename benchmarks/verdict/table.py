"""The two loops side by side, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.statistics import duration, range_text, step_seconds, which_is_faster
from shared.recording.record import RunRecord
from shared.running.folder import LOOPS


def print_comparison(comparison: dict[str, Any], output_dir: Path, console: Console) -> None:
    """Print the epochs, the costs and the verdict of a `comparison.json`, and what the records next to it add."""
    records = [RunRecord.read(output_dir / loop) for loop in LOOPS]
    if "job" in comparison:
        console.print("manual: {}; trainer: {}".format(*comparison["job"]["sides"]))
        console.print(_table("What they report", ("step", "", *LOOPS), reported_rows(records)))
    else:
        console.print(epochs_table(comparison))
    console.print(_table("What it cost", ("", *LOOPS), cost_rows(comparison, records)))
    console.print(which_is_faster(records[0], records[1]))
    console.print(verdict_text(comparison))


def epochs_table(comparison: dict[str, Any]) -> Table:
    """Training loss, validation loss and accuracy per epoch, of the manual loop and of Trainer."""
    table = Table(title="Epoch by epoch", title_justify="left")
    table.add_column("epoch", justify="right")
    for heading in ("training loss", "validation loss", "accuracy"):
        # A word to a line: six columns of numbers then fit into a terminal of 80.
        for loop in LOOPS:
            table.add_column("\n".join([*heading.split(), loop]), justify="right", vertical="bottom", no_wrap=True)
    epochs = max(len(comparison[loop]["train_loss"]) for loop in LOOPS)
    for row in epoch_rows(comparison)[:epochs]:
        table.add_row(*row)
    return table


def epoch_rows(comparison: Mapping[str, Any], accuracy: str = ".4f", missing: str = "-") -> list[list[str]]:
    """A row per epoch: its number, then training loss, validation loss and accuracy, each of both loops.

    Args:
        comparison: the content of `comparison.json`.
        accuracy: the format of an accuracy.
        missing: what a missing number is shown as.
    """
    columns = [
        (comparison[loop][name], form)
        for name, form in (("train_loss", ".6f"), ("eval_loss", ".6f"), ("eval_accuracy", accuracy))
        for loop in LOOPS
    ]
    count = max(len(values) for values, _ in columns)
    return [
        [str(row + 1), *(cell(values[row] if row < len(values) else None, form, missing) for values, form in columns)]
        for row in range(count)
    ]


def reported_rows(records: Sequence[RunRecord], missing: str = "-") -> list[list[str]]:
    """A row per loss or metric in the log of a user's own job: step, name, the manual loop's value and Trainer's."""
    rows = [_reported(record) for record in records]
    keys = [*rows[0], *(key for key in rows[1] if key not in rows[0])]
    return [[str(key[0]), key[1], *(cell(row.get(key), ".6g", missing) for row in rows)] for key in keys]


def _reported(record: RunRecord) -> dict[tuple[int, str], float]:
    return {
        (line.get("step", 0), name): line[name]
        for line in record.log_history
        for name in ("loss", *record.metric_names)
        if isinstance(line.get(name), (int, float))
    }


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of numbers; the column without a heading says of what."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row)
    return table


def cost_rows(comparison: dict[str, Any], records: Sequence[RunRecord], missing: str = "-") -> list[list[str]]:
    """A row per cost: its name, the manual loop's, and Trainer's. Only `which_is_faster` says which is faster.

    What both took in all is not shown: they did not run in turns, and a machine is not equally busy all the time.

    Args:
        comparison: the content of `comparison.json`.
        records: the manual loop's and Trainer's; of several processes the first one's.
        missing: what a missing number is shown as.
    """
    spreads = [step_seconds(record) for record in records]
    return [
        ["step, median", *(duration(spread.median) if spread else missing for spread in spreads)],
        ["step, middle 50 %", *(range_text(spread) if spread else missing for spread in spreads)],
        ["peak memory, MB", *(cell(comparison[loop]["peak_memory_mb"], ".0f", missing) for loop in LOOPS)],
    ]


def verdict_text(comparison: dict[str, Any]) -> Text:
    """The verdict in words: what was compared, where the runs diverge if they do, and what else must be known."""
    if comparison["verdict"] == "identical":
        text = Text.assemble(
            ("identical", "bold green"),
            f": all {comparison['steps']} steps, every evaluation and every weight are equal, difference exactly 0.0",
        )
    else:
        first = comparison["first_divergence"]
        text = Text.assemble(
            ("diverged", "bold red"),
            f" at step {first['step']}, {first['quantity']}: manual {first['manual']}, trainer {first['trainer']}\n"
            f"likely cause: {first['likely_cause']}",
        )
    for line in (*notes(comparison), *(f"to know: {fact}" for fact in comparison.get("job", {}).get("facts", ()))):
        text.append(f"\n· {line}")
    return text


def notes(comparison: dict[str, Any]) -> list[str]:
    """What must be known in addition to the verdict: what else differs, what was not compared or not tested."""
    also = (comparison["first_divergence"] or {}).get("also", [])
    return [
        *(f"also: {text}" for text in also),
        *comparison.get("remarks", []),
        *(f"not tested in this run: {text}" for text in comparison.get("never_acted", [])),
    ]


def cell(value: float | None, form: str, missing: str) -> str:
    """A number as a table shows it, or what a missing number is shown as."""
    return missing if value is None else f"{value:{form}}"
