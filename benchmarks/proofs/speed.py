"""How fast the loops are, compared fairly: fresh processes, in turn, medians of ratios."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.compare import LOOPS, run_in_fresh_process
from shared.config import RunConfig, job_name
from shared.errors import Interrupted
from shared.progress import announce
from shared.record import RunRecord
from shared.run import default_output_dir


def print_speed(preset: str, pairs: int) -> None:
    """Run `pairs` interleaved pairs and print every figure, then the medians.

    The recorder's cost is the time that its own hooks took, measured inside them, as a share of the
    training time; both loops carry it alike, and `train_seconds` leaves it out.

    The runs are made in `runs/<preset>-speed`, and removed when all is done: what an error names is still there.

    Raises:
        SameLoopError: unknown preset, or a loop did not finish.
        Interrupted: Ctrl-C or SIGTERM.
    """
    config = RunConfig.build(preset)
    folders = {loop: default_output_dir(preset, "speed") / loop for loop in LOOPS}
    job, table = "", Table(title_justify="left")
    for heading in ("pair", "manual s", "trainer s", "ratio", "manual MB", "trainer MB", "ratio", "recorder"):
        table.add_column(heading, justify="right")
    seconds, memory, recorder = [], [], []
    for pair in range(1, pairs + 1):
        footers = {}
        # The order within a pair alternates, so that neither loop always runs on a warmer machine.
        for loop in LOOPS if pair % 2 else LOOPS[::-1]:
            announce(f"pair {pair} of {pairs}: the {loop} loop")
            try:
                run_in_fresh_process(loop, config, folders[loop], 1, "--overwrite-output-dir")
            except Interrupted as error:
                raise Interrupted("the measurement is cut off; start it again", error.exit_status) from None
            record = RunRecord.read(folders[loop])
            footers[loop], job = record.footer, job_name(record.config, record.start.get("parameters"))
        manual, trainer = (footers[loop] for loop in LOOPS)
        seconds.append(manual["train_seconds"] / trainer["train_seconds"])
        memory.append(manual["peak_memory_mb"] / trainer["peak_memory_mb"])
        recorder.append(max(each["recorder_seconds"] / each["train_seconds"] for each in (manual, trainer)))
        table.add_row(
            str(pair),
            *(f"{each['train_seconds']:.2f}" for each in (manual, trainer)),
            f"{seconds[-1]:.2f}",
            *(f"{each['peak_memory_mb']:.0f}" for each in (manual, trainer)),
            f"{memory[-1]:.2f}",
            f"{recorder[-1]:.1%}",
        )
    for folder in folders.values():
        shutil.rmtree(folder)
    with suppress(OSError):  # somebody has put a file of their own there: it stays
        folder.parent.rmdir()
    table.title = f"{job}: {pairs} interleaved pair{'' if pairs == 1 else 's'}, preset {preset}"
    table.add_section()
    table.add_row(
        "median", "", "", f"{median(seconds):.2f}", "", "", f"{median(memory):.2f}", f"{median(recorder):.1%}"
    )
    console = Console(highlight=False)
    console.print(table)
    console.print(conclusion(seconds))


def conclusion(ratios: Sequence[float]) -> str:
    """One sentence on which loop is faster.

    Args:
        ratios: of the training seconds, by hand / Trainer, of each pair; at least one.
    """
    low, high, count = min(ratios), max(ratios), len(ratios)
    if low <= 1 <= high:
        return (
            f"Training time: no difference that {count} pairs could tell (by hand / Trainer {low:.2f} to {high:.2f})."
        )
    faster = "the loop by hand" if high < 1 else "Trainer"
    # All on one side: of 6 pairs 3 % by chance, of 5 still 6 %.
    chance = "" if count >= 6 else " Fewer than 6 pairs may agree by chance: --pairs 6."
    return (
        f"Training time: {faster} was faster in {count} of {count} pairs, by hand / Trainer {median(ratios):.2f} "
        f"({low:.2f} to {high:.2f}).{chance}"
    )
