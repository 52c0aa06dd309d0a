"""Two sides in the terminal: what they reported, what it cost, the verdict, and what else is to be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.statistics import which_is_faster
from benchmarks.verdict.table import cell, costs_table, verdict_text
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
    """A row per log line that has a loss or a metric: what both sides have reported."""
    table = Table(title="What they report", title_justify="left")
    for heading in ("step", "", *LOOPS):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [_reported(record) for record in records]
    for key in [*rows[0], *(key for key in rows[1] if key not in rows[0])]:
        step, name = key
        table.add_row(str(step), name, *(cell(row.get(key), ".6g", "-") for row in rows))
    return table


def _reported(record: RunRecord) -> dict[tuple[int, str], float]:
    return {
        (line.get("step", 0), name): line[name]
        for line in record.log_history
        for name in ("loss", *record.metric_names)
        if isinstance(line.get(name), (int, float))
    }
