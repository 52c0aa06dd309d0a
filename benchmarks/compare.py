"""Run both loops on the same dials and compare them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.files import write_json
from shared.hub import go_offline_if_unreachable
from shared.progress import announce
from shared.record import RunRecord
from shared.run import fresh_folder

LOOPS = ("manual", "trainer")


def compare(config: RunConfig, output_dir: Path, overwrite: bool = False) -> dict[str, Any]:
    """Run the two loops, each in a fresh process, one after the other, and compare what they left.

    Leaves `manual/` and `trainer/` (a model and a record each), `comparison.json`, `comparison.png` and
    `comparison.svg` in `output_dir`.

    Returns:
        The content of `comparison.json`.

    Raises:
        SameLoopError: the input is at fault, or a loop did not finish.
    """
    go_offline_if_unreachable(config)
    with fresh_folder(output_dir, config, overwrite):
        for number, loop in enumerate(LOOPS, start=1):
            announce(f"{number} of {len(LOOPS)}: the {loop} loop")
            run_in_fresh_process(loop, config, output_dir / loop)
        announce("comparing every step, every evaluation and every weight")
        return write_comparison(output_dir)


def write_comparison(output_dir: Path) -> dict[str, Any]:
    """Compare the two runs in `output_dir` and write the verdict and the charts there."""
    # Both import heavy libraries, which `--help` and a wrong dial must not wait for.
    from benchmarks.charts import draw_comparison
    from benchmarks.verdict import compare_runs

    manual_dir, trainer_dir = (output_dir / loop for loop in LOOPS)
    comparison = compare_runs(manual_dir, trainer_dir)
    write_json(output_dir / "comparison.json", comparison)
    draw_comparison(RunRecord.read(manual_dir), RunRecord.read(trainer_dir), comparison, output_dir)
    return comparison


def run_in_fresh_process(loop: str, config: RunConfig, output_dir: Path, *options: str) -> None:
    """Run one loop with `python -m`, its output shown as it comes.

    Raises:
        SameLoopError: it did not finish; its own message is on stderr already.
    """
    command = [
        sys.executable,
        "-m",
        f"{loop}_loop",
        *config.flags(),
        "--output-dir",
        str(output_dir),
        *options,
    ]
    finished = subprocess.run(command, check=False)
    if finished.returncode == SameLoopError.exit_status:
        raise SameLoopError  # without a text: the loop's process has told the user what is wrong
    if finished.returncode:
        how = f"exit status {finished.returncode}" if finished.returncode > 0 else f"signal {-finished.returncode}"
        raise SameLoopError(f"the {loop} loop did not finish ({how}); run it alone: {' '.join(command[1:])}")
