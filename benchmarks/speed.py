"""How fast the loops are, compared fairly: fresh processes, in turn, medians of ratios."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.compare import LOOPS, run_in_fresh_process
from shared.config import RunConfig
from shared.record import RunRecord


def print_speed(preset: str, pairs: int) -> None:
    """Run `pairs` interleaved pairs and print every figure, then the medians.

    The recorder's cost is the time that its own hooks took, measured inside them, as a share of the
    training time; both loops carry it alike, and `train_seconds` leaves it out.

    Raises:
        SameLoopError: unknown preset, or a loop did not finish.
    """
    config = RunConfig.build(preset)
    console = Console(highlight=False)
    table = Table(title=f"{pairs} interleaved pairs, preset {preset}", title_justify="left")
    for heading in ("pair", "manual s", "trainer s", "ratio", "manual MB", "trainer MB", "ratio", "recorder"):
        table.add_column(heading, justify="right")
    seconds, memory, recorder = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(pairs):
            # The order within a pair alternates, so that neither loop always runs on a warmer machine.
            order = LOOPS if pair % 2 == 0 else LOOPS[::-1]
            footers = {}
            for loop in order:
                run_in_fresh_process(loop, config, Path(folder) / loop)
                footers[loop] = RunRecord.read(Path(folder) / loop).footer
            manual, trainer = footers["manual"], footers["trainer"]
            seconds.append(manual["train_seconds"] / trainer["train_seconds"])
            memory.append(manual["peak_memory_mb"] / trainer["peak_memory_mb"])
            recorder.append(max(each["recorder_seconds"] / each["train_seconds"] for each in (manual, trainer)))
            table.add_row(
                str(pair + 1),
                *(f"{each['train_seconds']:.2f}" for each in (manual, trainer)),
                f"{seconds[-1]:.4f}",
                *(f"{each['peak_memory_mb']:.0f}" for each in (manual, trainer)),
                f"{memory[-1]:.4f}",
                f"{recorder[-1]:.2%}",
            )
    table.add_section()
    table.add_row(
        "median", "", "", f"{median(seconds):.4f}", "", "", f"{median(memory):.4f}", f"{median(recorder):.2%}"
    )
    console.print(table)
