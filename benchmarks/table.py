"""The two loops side by side, in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COSTS = (
    ("training seconds", "train_seconds", ".1f"),
    ("samples/s", "samples_per_second", ".1f"),
    ("useful tokens/s", "tokens_per_second", ".0f"),
    ("peak memory, MB", "peak_memory_mb", ".0f"),
)


def print_comparison(comparison: dict[str, Any], console: Console) -> None:
    """Print the epochs, the costs and the verdict of a `comparison.json`."""
    console.print(epochs_table(comparison))
    console.print(costs_table(comparison))
    console.print(verdict_text(comparison))


def epochs_table(comparison: dict[str, Any]) -> Table:
    """Training loss, validation loss and accuracy per epoch, by hand and by Trainer."""
    table = Table(title="Epoch by epoch", title_justify="left")
    table.add_column("epoch", justify="right")
    columns = (
        ("training loss", "train_loss", ".6f"),
        ("validation loss", "eval_loss", ".6f"),
        ("accuracy", "eval_accuracy", ".4f"),
    )
    for heading, _, _ in columns:
        # A word to a line: six columns of numbers then fit into a terminal of 80.
        for loop in ("manual", "trainer"):
            table.add_column("\n".join([*heading.split(), loop]), justify="right", vertical="bottom", no_wrap=True)
    epochs = max(len(comparison[loop]["train_loss"]) for loop in ("manual", "trainer"))
    for epoch in range(epochs):
        cells = [
            _cell(comparison[loop][key], epoch, form) for _, key, form in columns for loop in ("manual", "trainer")
        ]
        table.add_row(str(epoch + 1), *cells)
    return table


def costs_table(comparison: dict[str, Any]) -> Table:
    """Seconds, speed and memory, with the ratio manual/trainer."""
    table = Table(title="What it cost", title_justify="left")
    for heading in ("", "manual", "trainer", "manual / trainer"):
        table.add_column(heading, justify="right" if heading else "left")
    for heading, key, form in COSTS:
        manual, trainer = comparison["manual"][key], comparison["trainer"][key]
        ratio = f"{manual / trainer:.3f}" if manual and trainer else "-"
        table.add_row(heading, *("-" if v is None else f"{v:{form}}" for v in (manual, trainer)), ratio)
    return table


def verdict_text(comparison: dict[str, Any]) -> Text:
    """The verdict in words: what was compared, and where the runs part if they do."""
    if comparison["verdict"] == "identical":
        return Text.assemble(
            ("identical", "bold green"),
            f": all {comparison['steps']} steps, every evaluation and every weight are equal, difference exactly 0.0",
        )
    first = comparison["first_divergence"]
    return Text.assemble(
        ("diverged", "bold red"),
        f" at step {first['step']}, {first['quantity']}: manual {first['manual']}, trainer {first['trainer']}\n"
        f"likely cause: {first['likely_cause']}",
    )


def _cell(values: list[float | None], index: int, form: str) -> str:
    return f"{values[index]:{form}}" if index < len(values) and values[index] is not None else "-"
