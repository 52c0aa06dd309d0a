"""Run both loops on the same dials and compare them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
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


def compare(config: RunConfig, output_dir: Path, overwrite: bool = False, nproc_per_node: int = 1) -> dict[str, Any]:
    """Run the two loops, each in fresh processes, one after the other, and compare what they left.

    Leaves `manual/` and `trainer/` (a model and a record each), `comparison.json`, `comparison.png` and
    `comparison.svg` in `output_dir`.

    Returns:
        The content of `comparison.json`.

    Raises:
        SameLoopError: the input is at fault, or a loop did not finish.
    """
    if problem := config.problem_with(nproc_per_node):
        raise SameLoopError(problem)
    go_offline_if_unreachable(config)
    with fresh_folder(output_dir, config, overwrite):
        for number, loop in enumerate(LOOPS, start=1):
            announce(f"{number} of {len(LOOPS)}: the {loop} loop")
            run_in_fresh_process(loop, config, output_dir / loop, nproc_per_node)
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


def run_in_fresh_process(
    loop: str, config: RunConfig, output_dir: Path, nproc_per_node: int = 1, *options: str
) -> None:
    """Run one loop with `python -m`, in one process or several, its output shown as it comes.

    Raises:
        SameLoopError: it did not finish; its own message is on stderr already.
    """
    command = [sys.executable, "-m", f"{loop}_loop", *config.flags(), "--output-dir", str(output_dir), *options]
    returncode = launch(command, nproc_per_node)
    if returncode == SameLoopError.exit_status:
        raise SameLoopError  # without a text: the loop's process has told the user what is wrong
    if returncode:
        how = f"exit status {returncode}" if returncode > 0 else f"signal {-returncode}"
        raise SameLoopError(f"the {loop} loop did not finish ({how}); run it alone: {' '.join(command[1:])}")


def launch(command: list[str], nproc_per_node: int) -> int:
    """Run a command as `torchrun` would, but without its own log lines.

    Returns:
        0, or the first non-zero exit status; the other processes are then ended.
    """
    if nproc_per_node == 1:
        return subprocess.run(command, check=False).returncode
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    meeting_point = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(nproc_per_node),
        "LOCAL_WORLD_SIZE": str(nproc_per_node),
    }
    processes = [
        subprocess.Popen(command, env={**os.environ, **meeting_point, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(nproc_per_node)
    ]
    try:
        running = list(processes)
        while running:
            time.sleep(0.05)
            running = [process for process in running if process.poll() is None]
            if failed := next((process.returncode for process in processes if process.returncode), None):
                return failed
        return 0
    finally:
        for process in processes:
            process.terminate()
            process.wait()
