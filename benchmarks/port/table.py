"""Two sides in the terminal: what they reported, what it cost, the verdict, and what else is to be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.statistics import which_is_faster
from benchmarks.verdict.table import costs_table, reported_rows, verdict_text
from shared.recording.record import RunRecord
from shared.running.folder import LOOPS


def print_sides(comparison: dict[str, Any], output_dir: Path, console: Console) -> None:
    """Print a comparison of two sides."""
    records = [RunRecord.read(output_dir / role) for role in LOOPS]
    names = comparison["job"]["sides"]
    console.print(f"manual: {names[0]}; trainer: {names[1]}")
    console.print(reported_table(records))
    console.print(costs_table(comparison, records))
    console.print(which_is_faster(*records))
    text = verdict_text(comparison)
    for fact in comparison["job"].get("facts", []):
        text.append(f"\n· to know: {fact}")
    console.print(text)


def reported_table(records: list[RunRecord]) -> Table:
    """What both sides have reported."""
    table = Table(title="What they report", title_justify="left")
    for heading in ("step", "", *LOOPS):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in reported_rows(records):
        table.add_row(*row)
    return table
