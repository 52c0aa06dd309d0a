"""Run both loops on the same dials and compare them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from shared.checkpoints import LAST, in_order, problem_with
from shared.config import RunConfig
from shared.errors import Interrupted, SameLoopError
from shared.files import write_json
from shared.folder import COMPARISON_FILE, LOOPS, can_be_resumed, earlier_config, is_finished, output_folder
from shared.hub import go_offline_if_unreachable
from shared.interrupt import SIGNALS, handling
from shared.progress import announce
from shared.record import RunRecord


def compare(config: RunConfig, output_dir: Path, overwrite: bool = False, nproc_per_node: int = 1) -> dict[str, Any]:
    """Run the two loops, each in fresh processes, one after the other, and compare what they left.

    A comparison with the same dials that was cut off goes on where it was: a loop that is done is not run again, one
    that has a checkpoint resumes from it. Leaves `manual/` and `trainer/` (a model and a record each),
    `comparison.json`, `comparison.png`, `comparison.svg` and `comparison.alt.txt` in `output_dir`.

    Returns:
        The content of `comparison.json`.

    Raises:
        SameLoopError: the input is at fault, or a loop did not finish.
        Interrupted: Ctrl-C or SIGTERM.
    """
    if problem := config.problem_with(nproc_per_node):
        raise SameLoopError(problem)
    go_offline_if_unreachable(config)
    goes_on = not overwrite and was_cut_off(output_dir, config, nproc_per_node)
    with output_folder(output_dir, config, overwrite, resume=goes_on):
        for number, loop in enumerate(LOOPS, start=1):
            announce(f"{number} of {len(LOOPS)}: the {loop} loop")
            folder = output_dir / loop
            if is_finished(folder):
                announce(f"it is done already, in {folder}")
                continue
            resumable = any(problem_with(checkpoint) is None for checkpoint in in_order(folder))
            options = ["--resume-from-checkpoint", LAST] if resumable else ["--overwrite-output-dir"]
            run_in_fresh_process(loop, config, folder, nproc_per_node, *options)
        announce("comparing every step, every evaluation and every weight")
        return write_comparison(output_dir)


def was_cut_off(output_dir: Path, config: RunConfig, nproc_per_node: int) -> bool:
    """Whether `output_dir` holds this very comparison, not finished and with something to go on from."""
    if (output_dir / COMPARISON_FILE).exists() or not can_be_resumed(output_dir):
        return False
    started = [RunRecord.read(output_dir / loop) for loop in LOOPS if earlier_config(output_dir / loop) is not None]
    return bool(started) and all(
        not config.differences(record.config) and record.header["world_size"] == nproc_per_node for record in started
    )


def write_comparison(output_dir: Path) -> dict[str, Any]:
    """Compare the two runs in `output_dir` and write the verdict and the charts there."""
    # Both import heavy libraries, which `--help` and a wrong dial must not wait for.
    from benchmarks.charts import draw_comparison
    from benchmarks.verdict import compare_runs

    manual_dir, trainer_dir = (output_dir / loop for loop in LOOPS)
    comparison = compare_runs(manual_dir, trainer_dir)
    write_json(output_dir / COMPARISON_FILE, comparison)
    draw_comparison(RunRecord.read(manual_dir), RunRecord.read(trainer_dir), comparison, output_dir)
    return comparison


def read_comparison(output_dir: Path) -> dict[str, Any]:
    """The content of the `comparison.json` that a comparison left.

    Raises:
        SameLoopError: there is none.
    """
    try:
        return json.loads((output_dir / COMPARISON_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SameLoopError(f"{output_dir} holds no {COMPARISON_FILE}: run `sameloop compare` first") from None


def run_in_fresh_process(
    loop: str, config: RunConfig, output_dir: Path, nproc_per_node: int = 1, *options: str
) -> None:
    """Run one loop with `python -m`, in one process or several, its output shown as it comes.

    Raises:
        SameLoopError: it did not finish; its own message is on stderr already.
        Interrupted: it was asked to stop.
    """
    command = [sys.executable, "-m", f"{loop}_loop", *config.flags(), "--output-dir", str(output_dir), *options]
    returncode = launch(command, nproc_per_node)
    if returncode == SameLoopError.exit_status:
        raise SameLoopError  # without a text: the loop's process has told the user what is wrong
    if returncode in (128 + number for number in SIGNALS):
        raise Interrupted("the comparison is cut off; the same command goes on from there", returncode - 128)
    if returncode:
        how = f"exit status {returncode}" if returncode > 0 else f"signal {-returncode}"
        raise SameLoopError(f"the {loop} loop did not finish ({how}); run it alone: {' '.join(command[1:])}")


def launch(command: list[str], nproc_per_node: int) -> int:
    """Run a command as `torchrun` would, but without its own log lines.

    The processes have a session of their own, so that a Ctrl-C in the terminal reaches them once, from here.

    Returns:
        0, or the first non-zero exit status; the other processes are then ended.
    """
    environments = [dict(os.environ)]
    if nproc_per_node > 1:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        world = {"WORLD_SIZE": str(nproc_per_node), "LOCAL_WORLD_SIZE": str(nproc_per_node)}
        meeting_point = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environments = [
            {**os.environ, **world, **meeting_point, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            for rank in range(nproc_per_node)
        ]
    processes: list[subprocess.Popen] = []
    with _passing_signals_on(processes) as asked:
        for environment in environments:
            processes.append(subprocess.Popen(command, env=environment, start_new_session=True))
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(0.05)
                if not asked and any(process.returncode for process in processes):
                    break
        finally:
            # Ended already, unless one of them has failed: then the others wait for it in vain.
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
    failed = next((process.returncode for process in processes if process.returncode not in (0, -signal.SIGTERM)), 0)
    # Asked to stop, but the loop was done by then: what comes after it must not begin.
    return failed or (128 + asked[0] if asked else 0)


@contextmanager
def _passing_signals_on(processes: list[subprocess.Popen]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to the processes; gives the list of those that came."""
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    with handling(on_signal):
        yield asked
