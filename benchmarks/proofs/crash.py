"""`make crash-test`: both loops are killed again and again, then resumed; nothing may be lost.

Every run is a process of its own, killed with SIGKILL, which no program can catch: at a random moment of the
training, of an evaluation or of the final save, or in the middle of writing a checkpoint. Then it is resumed until it
is done and compared with a run that was never stopped: every step, evaluation, log line and weight.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.proofs.measuring import DOCS, page
from benchmarks.runs import command_line
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.recording.record import FILE_NAME, RunRecord
from shared.running.checkpoints import LAST, MANIFEST, in_order, problem_with
from shared.running.folder import LOOPS
from shared.starting.launch import Family

# Three epochs of 30 steps, a checkpoint after every third step, and what makes resuming hard: an order drawn from the
# global random state, accumulated batches, log lines at other steps than checkpoints.
SETTINGS: dict[str, Any] = {
    "train_size": 235,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "train_sampling_strategy": "group_by_length",
    "logging_strategy": "steps",
    "logging_steps": 7,
    "save_strategy": "steps",
    "save_steps": 3,
    "save_total_limit": 2,
}
# The share of the kills that wait for a checkpoint to be written.
AIMED = 0.4
# Writing a checkpoint of the tiny model takes about this long, in seconds; an aimed kill falls somewhere in it.
WRITING_SECONDS = 0.02


class Kill(NamedTuple):
    """One run that was killed and resumed.

    Attributes:
        loop: `manual` or `trainer`.
        step: the last step in its record when it was killed; 0 if there was none.
        writing: the checkpoint that was being written, if any.
        resumed_from: the checkpoint that it continued from; `the start` where there was none yet.
        difference: how the resumed run differs from one that was never stopped; None: it does not.
    """

    loop: str
    step: int
    writing: str | None
    resumed_from: str
    difference: str | None


def kill_and_resume(family: Family, loop: str, whole: Path, seconds: float, folder: Path, dice: random.Random) -> Kill:
    """Start a run, kill it at a random moment, resume it, and compare it with the run that was never stopped.

    Args:
        whole: the folder of the latter.
        seconds: from its first step to its end.
        folder: gets the run.
    """
    while True:
        process = _start(family, loop, folder, "--overwrite-output-dir")
        _wait_for_training(process, folder)
        if dice.random() < AIMED:
            _wait_for_writing(process, folder, after=dice.randrange(_steps(whole)))
            time.sleep(dice.random() * WRITING_SECONDS)
        else:
            time.sleep(dice.random() * seconds)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            break
        shutil.rmtree(folder)  # it ended before the kill: another try
    step, writing = _steps(folder), next(iter(_half_written(folder)), None)
    checkpoints = [path for path in in_order(folder) if problem_with(path) is None]
    resume = ["--resume-from-checkpoint", LAST] if checkpoints else ["--overwrite-output-dir"]
    status = _start(family, loop, folder, *resume).wait()
    resumed_from = checkpoints[-1].name if checkpoints else "the start"
    difference = f"exit status {status}" if status else _difference(whole, folder)
    return Kill(loop, step, writing and f"checkpoint-{_step_of(writing)}", resumed_from, difference)


def _start(family: Family, loop: str, folder: Path, *options: str) -> subprocess.Popen:
    command = command_line(loop, RunConfig.build("tiny", **SETTINGS), folder, *options)
    return family.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _steps(folder: Path) -> int:
    try:
        return len(RunRecord.read(folder).steps)
    except SameLoopError:
        return 0


def _step_of(half_written: Path) -> int:
    return int(half_written.name.split("-")[1].removesuffix(".unfinished"))


def _half_written(folder: Path) -> list[Path]:
    """The checkpoints that are being written, or were when the run was killed."""
    unsealed = [path for path in in_order(folder) if not (path / MANIFEST).exists()]
    return [*folder.glob(".checkpoint-*.unfinished"), *unsealed]


def _wait_for_training(process: subprocess.Popen, folder: Path) -> None:
    """Wait until the model is loaded and the training begins: before that there is nothing to lose."""
    record = folder / FILE_NAME
    while process.poll() is None and not (record.is_file() and '"kind": "start"' in record.read_text("utf-8")):
        time.sleep(0.02)


def _wait_for_writing(process: subprocess.Popen, folder: Path, after: int) -> None:
    """Wait until a checkpoint is being written of a step later than `after`, or the run has ended."""
    while process.poll() is None:
        if any(_step_of(path) > after for path in _half_written(folder)):
            return
        time.sleep(0.0002)


def _difference(whole: Path, resumed: Path) -> str | None:
    try:
        first = compare_runs(whole, resumed)["first_divergence"]
    except SameLoopError as error:
        return str(error)
    return first and f"{first['quantity']} of step {first['step']}"


def crash_test(loop: str, kills: int, aimed_at_least: int, *, folder: Path, bar: tqdm, seed: int) -> list[Kill]:
    """Kill and resume one loop at least `kills` times, until `aimed_at_least` of them hit a checkpoint's writing."""
    whole, dice = folder / "whole", random.Random(f"{loop}{seed}")
    results: list[Kill] = []
    with Family() as family:
        process = _start(family, loop, whole)
        _wait_for_training(process, whole)
        started = time.perf_counter()
        if process.wait():
            raise SameLoopError(f"the {loop} loop does not finish even when it is not killed")
        seconds = time.perf_counter() - started
        while len(results) < kills or sum(kill.writing is not None for kill in results) < aimed_at_least:
            results.append(kill_and_resume(family, loop, whole, seconds, folder / str(len(results)), dice))
            bar.update()
    return results


def report(kills: list[Kill], seconds: float) -> str:
    """docs/crash.md."""
    good = sum(kill.difference is None for kill in kills)
    return page("crash.md", good=good, kills=kills, minutes=round(seconds / 60))


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=20, show_default=True, help="how many per loop")
@click.option(
    "--aimed", type=click.IntRange(min=0), default=5, show_default=True, help="at least so many in a checkpoint"
)
@click.option("--seed", type=int, default=None, help="seed of the moments; none: different ones every time")
def main(kills: int, aimed: int, seed: int | None) -> None:
    """Kill both loops at random moments, resume them, and write docs/crash.md. Exit status 1 if anything was lost."""
    seed = seed if seed is not None else random.SystemRandom().randrange(2**32)
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(len(LOOPS)) as pool,
        tqdm(total=kills * len(LOOPS), desc=f"Killing (seed {seed})") as bar,
    ):
        tests = [
            pool.submit(crash_test, loop, kills, aimed, folder=Path(folder) / loop, bar=bar, seed=seed)
            for loop in LOOPS
        ]
        results = [kill for test in tests for kill in test.result()]
    (DOCS / "crash.md").write_text(report(results, time.perf_counter() - started), encoding="utf-8")
    table = Table(title=f"{sum(kill.difference is None for kill in results)} of {len(results)} lost nothing")
    for heading in ("loop", "killed after step", "while writing", "resumed from", "the end"):
        table.add_column(heading)
    for kill in results:
        table.add_row(kill.loop, str(kill.step), kill.writing, kill.resumed_from, kill.difference or "identical")
    Console(highlight=False).print(table)
    if any(kill.difference for kill in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
