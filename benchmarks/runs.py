"""Start a loop, in this process or in one of its own, and read a comparison of two loops."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.config import RunConfig
from shared.determinism import allow_any_algorithm
from shared.errors import SameLoopError
from shared.files import digest_of_file, sha256
from shared.progress import announce
from shared.recording.record import FILE_NAME, RunRecord
from shared.running.folder import COMPARED, LOOPS, WEIGHTS_FILE, is_finished
from shared.running.forkserver import ForkServer, can_fork
from shared.running.imports import without_collector
from shared.running.run import run_loop
from shared.running.script import LoopScript, own_script
from shared.starting.children import loop_argv
from shared.starting.interrupt import signals_wait
from shared.starting.launch import check_end, launch


def run_here(loop: str, script: LoopScript, config: RunConfig, folder: Path, **options: Any) -> None:
    """Run a loop in this process without effects on the next run; arguments and errors as `run_loop`."""
    try:
        run_loop(loop, script, config, folder, **options)
    finally:
        if "torch" in sys.modules:
            allow_any_algorithm()
        # The next `Accelerator` may have other settings; `Trainer` does the same before it makes its own.
        if "accelerate" in sys.modules:
            from accelerate.state import AcceleratorState, GradientState

            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()


def run_text_here(source: str, file: Path, config: RunConfig, folder: Path) -> None:
    """Run the text of a loop in this process as a user's file: what it does not report is not compared.

    Args:
        source: the text, which is written to `file`.
        config: the settings; without `loop` they get the file's name.
        folder: gets the run; errors as `run_loop`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    run_here("manual", own_script(file), config.model_copy(update={"loop": config.loop or str(file)}), folder)


def read_comparison(output_dir: Path) -> dict[str, Any]:
    """The result of the comparison in `output_dir`, as `comparison.json` holds it.

    It is computed again each time from the records and the models that were compared: whatever the file says, the
    result is that of the runs.

    Raises:
        SameLoopError: there is no comparison, it is damaged, or one of the runs is not the one that was compared.
    """
    kept = COMPARED.read(output_dir)
    for loop, summary in zip(LOOPS, (kept.manual, kept.trainer), strict=True):
        for file, digest_of, expected in (
            (WEIGHTS_FILE, sha256, summary.weights_sha256),
            (FILE_NAME, digest_of_file, summary.record),
        ):
            path = output_dir / loop / file
            if not path.is_file() or digest_of(path) != expected:
                raise SameLoopError(f"{path} has changed since it was compared: run `{COMPARED.command}` again")
    # It imports torch, which `--help` must not wait for.
    from benchmarks.verdict.verdict import compare_runs

    comparison = compare_runs(*(output_dir / loop for loop in LOOPS))
    if comparison["verdict"] != kept.verdict:
        announce(
            f"note: {output_dir / COMPARED.name} says {kept.verdict}, but its runs are {comparison['verdict']}: what "
            "follows is from the runs"
        )
    return json.loads(json.dumps(comparison))


def command_line(loop: str, config: RunConfig, output_dir: Path, *options: str) -> list[str]:
    """The command that runs one loop in a process of its own, with the same SameLoop as this one."""
    if loop != "manual":
        config = config.model_copy(update={"loop": None})
    return loop_argv(loop, *config.flags(), "--output-dir", str(output_dir), *options)


def run_in_fresh_process(
    loop: str,
    config: RunConfig,
    output_dir: Path,
    nproc_per_node: int = 1,
    *options: str,
    server: ForkServer | None = None,
) -> None:
    """Run one loop, in one process or several, its output shown as it comes.

    Args:
        server: forks its process, if there is a server.

    Raises:
        SameLoopError: the loop did not finish; its own message is on stderr already.
        Interrupted: it was asked to stop.
    """
    fork = server.start if server else None
    returncode = launch(command_line(loop, config, output_dir, *options), nproc_per_node, fork)
    check_end(returncode, f"the {loop} loop", "the comparison was interrupted; the same command continues it")
    if not is_finished(output_dir) and not _has_detail(output_dir):
        raise SameLoopError(f"the {loop} loop ended its process before it was done: `train` must return")


def _has_detail(run_dir: Path) -> bool:
    """Whether a run was to record one step in detail, and has done so."""
    try:
        return bool(RunRecord.read(run_dir).detail)
    except SameLoopError:
        return False


@contextmanager
def ready_to_fork(nproc_per_node: int, meanwhile: Callable[[], object] = lambda: None) -> Iterator[ForkServer | None]:
    """A fork server for the loops, which has imported what they need; None where they cannot be forked.

    Loops in several processes are not forked: the number of threads is set before torch is imported.

    Args:
        nproc_per_node: how many processes each loop has; 0 if none is to run.
        meanwhile: imports what this process needs later, side by side with the server.
    """
    if nproc_per_node != 1 or not can_fork():
        yield None
        return
    announce("importing torch and transformers")
    with signals_wait():
        server = ForkServer()
    try:
        with server.noticed_if_it_ends(), without_collector():
            meanwhile()
        server.wait_until_ready()
        yield server
    finally:
        server.end()
