"""How fast the loops are, also on a busy machine: in lock-step, each in a process of its own.

The two take turns, one step at a time, on the same batches: while one works, the other waits. A disturbance that
lasts longer than a step slows both. A shorter one affects a part of a step: hooks on the model's layers and on the
gradients divide every step into about 200 parts, and these parts are compared. `held.py` runs in each of the two
processes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from types import FrameType

from rich.console import Console
from rich.table import Table

from benchmarks.statistics import duration, ratio_of_parts, warm_steps
from shared.config import RunConfig, job_name
from shared.errors import Interrupted, SameLoopError
from shared.files import read_json
from shared.progress import announce
from shared.recording.record import RunRecord, training_seconds
from shared.running.folder import LOOPS
from shared.running.run import default_output_dir
from shared.starting.children import function_argv
from shared.starting.interrupt import handling
from shared.starting.launch import Family, check_end

# A line is printed every so many steps.
ANNOUNCE_EVERY = 20
# In the folder of a run: for each step after the first, the seconds of its parts.
PARTS = "parts.json"
CUT_OFF = "the measurement was interrupted; start it again"


def print_speed(config: RunConfig, steps: int) -> None:
    """Run both loops in turn for so many steps after the first, which warms up, and print the result.

    Nothing is evaluated and no checkpoint is saved. The recorder's cost is the time that its own hooks took, measured
    inside them, as a share of the training time; it is the same in both loops, and not part of the steps' seconds.
    The start is that of a new process, up to the end of its first step, while nothing else runs.

    The runs are made in `runs/<preset>-speed`, and removed at the end.

    Raises:
        SameLoopError: a loop did not finish.
        Interrupted: Ctrl-C or SIGTERM.
    """
    changed = {"max_steps": steps + 1, "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    config = RunConfig.build(**{**config.model_dump(), **changed})
    folder = default_output_dir(config.preset, "speed")
    records, starts, parts = _run_in_lock_step(config, folder, steps)
    # It imports heavy libraries, which do not count as time of the comparison.
    from benchmarks.verdict.verdict import compare_runs

    began = time.perf_counter()
    verdict = compare_runs(*(folder / loop for loop in LOOPS))["verdict"]
    seconds_to_verdict = time.perf_counter() - began
    for loop in LOOPS:
        shutil.rmtree(folder / loop)
        (folder / f"{loop}.txt").unlink()
    with suppress(OSError):  # the user has put a file of their own there: it stays
        folder.rmdir()
    manual = records["manual"]
    console = Console(highlight=False)
    title = f"{job_name(manual.config, manual.start.get('parameters'))}: {steps} steps in turn"
    console.print(_table(records, starts, title))
    console.print(conclusion(parts))
    console.print(f"The two records and models were compared in {duration(seconds_to_verdict)}: {verdict}.")


def conclusion(parts: Sequence[Sequence[Sequence[float]]]) -> str:
    """One sentence on which loop is faster, or that none is measurably faster, and which difference would be.

    Args:
        parts: the arguments of `ratio_of_parts` for each loop, the manual loop first.
    """
    middle, low, high = ratio_of_parts(*parts)
    numbers = f"{middle:.3f}, 95 % interval {low:.3f} to {high:.3f}, {len(parts[0])} pairs of steps"
    if low <= 1 <= high:
        return (
            f"Time of a step, manual / Trainer: cannot tell ({numbers}); a difference of more than "
            f"{max(high - 1, 1 - low):.1%} would have shown."
        )
    return f"Time of a step: {'the manual loop' if high < 1 else 'Trainer'} is faster, manual / Trainer {numbers}."


def _table(records: Mapping[str, RunRecord], starts: Mapping[str, float], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("loop", "to first step", "step, median", "peak memory", "recorder's share"):
        table.add_column(heading, justify="left" if heading == "loop" else "right")
    for loop, record in records.items():
        footer = record.footer
        table.add_row(
            loop,
            duration(starts[loop]),
            duration(median(training_seconds(line) for line in warm_steps(record))),
            f"{footer['peak_memory_mb']:.0f} MB",
            f"{footer['recorder_seconds'] / footer['train_seconds']:.1%}",
        )
    return table


# The two processes ------------------------------------------------------------------------------------


def _run_in_lock_step(
    config: RunConfig, folder: Path, steps: int
) -> tuple[dict[str, RunRecord], dict[str, float], list[list[list[float]]]]:
    """Both loops' records; the seconds from the start of each process to the end of its first step; and the seconds
    of the parts of each loop's steps after the first.
    """
    starts: dict[str, float] = {}
    runners: list[_Runner] = []
    with cut_off(CUT_OFF), ExitStack() as pipes, Family() as family:
        for loop in LOOPS:
            announce(f"the {loop} loop is loading, and takes its first step")
            began = time.perf_counter()
            runners.append(_Runner(loop, config, folder / loop, family, pipes))
            runners[-1].wait_for_step()
            starts[loop] = time.perf_counter() - began
        for step in range(1, steps + 1):
            # Every second pair of steps is in reverse order, so that neither loop always comes second.
            for runner in runners if step % 2 else reversed(runners):
                runner.go()
                runner.wait_for_step()
            if step % ANNOUNCE_EVERY == 0:
                announce(f"step {step} of {steps}, of both loops")
        for runner in runners:
            runner.go()
        for runner in runners:
            runner.wait_for_end()
    parts = [read_json(folder / loop / PARTS) for loop in LOOPS]
    return {loop: RunRecord.read(folder / loop) for loop in LOOPS}, starts, parts


@contextmanager
def cut_off(text: str) -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM end the command; `text` says what happens to the measurements.

    Raises:
        Interrupted: one of these signals arrived.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(text, number)

    with handling(stop):
        yield


class _Runner:
    """One loop in a process of its own, which waits after each step for the signal to go on."""

    def __init__(self, loop: str, config: RunConfig, folder: Path, family: Family, pipes: ExitStack) -> None:
        self._loop = loop
        folder.mkdir(parents=True, exist_ok=True)
        self._output = folder.with_suffix(".txt")
        if loop != "manual":
            config = config.model_copy(update={"loop": None})
        to_hear, self._go = os.pipe()
        self._stepped, to_say = os.pipe()
        for number in (self._go, self._stepped):
            pipes.callback(os.close, number)
        arguments = (loop, str(folder), str(to_hear), str(to_say), config.model_dump_json())
        try:
            # The output of the two loops would be mixed in the terminal.
            with self._output.open("wb") as output:
                command = function_argv("benchmarks.speed.held", "run_in_turn", *arguments)
                self._process = family.start(command, pass_fds=(to_hear, to_say), stdout=output, stderr=output)
        finally:
            os.close(to_hear)
            os.close(to_say)

    def go(self) -> None:
        """Let it take its next step."""
        with suppress(BrokenPipeError):  # it has failed, as the next wait will report
            os.write(self._go, b".")

    def wait_for_step(self) -> None:
        """Wait until it has taken a step.

        Raises:
            SameLoopError: it has ended instead.
        """
        if not os.read(self._stepped, 1):
            self.wait_for_end()
            raise SameLoopError(
                f"the {self._loop} loop took fewer steps than it should: a loop must follow --max-steps"
            )

    def wait_for_end(self) -> None:
        """Wait until it is done.

        Raises:
            SameLoopError: it has failed; its output is on stderr.
        """
        if returncode := self._process.wait():
            sys.stderr.write(self._output.read_text(encoding="utf-8", errors="replace"))
            check_end(returncode, f"the {self._loop} loop", CUT_OFF)
