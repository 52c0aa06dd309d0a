"""Run both loops on the same dials and compare them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from shared.config import RunConfig, option, show
from shared.data import load_slices
from shared.errors import Interrupted, SameLoopError
from shared.files import digest_of_file, sha256, write_json
from shared.processes import launched_world_size
from shared.progress import announce
from shared.recording.record import FILE_NAME, RunRecord
from shared.recording.schema import COMPARISON, problem
from shared.running.checkpoints import LAST, in_order, problem_with
from shared.running.children import ending_with_parent, loop_argv
from shared.running.folder import (
    COMPARISON_FILE,
    LOOPS,
    WEIGHTS_FILE,
    can_be_resumed,
    earlier_config,
    is_finished,
    output_folder,
)
from shared.running.forkserver import Forked, ForkServer, can_fork, import_all
from shared.running.interrupt import SIGNALS, handling, signals_wait
from shared.running.page import CODE_FILE, Page, kept_code, pages_of, what_changed
from shared.running.run import environment
from shared.running.surroundings import child_environment
from shared.sources.embedded import REVIEW_SOURCES
from shared.sources.hub import check_paths, go_offline_if_unreachable, needs_hub

# How long a process may take to end when another one of its run has failed.
SECONDS_TO_END = 10
# What comes after both loops needs these: the verdict, its charts, the report.
AFTERWARDS = ("benchmarks.verdict.verdict", "benchmarks.charts.charts", "benchmarks.lesson.report")


def compare(
    config: RunConfig, output_dir: Path, overwrite: bool = False, nproc_per_node: int = 1, reuse: bool = False
) -> dict[str, Any]:
    """Run the two loops, each in processes of its own, one after the other, and compare what they left.

    A comparison with the same dials that was cut off goes on where it was: a loop that is done is not run again, one
    that has a checkpoint resumes from it, unless its page has changed since. Leaves `manual/` and `trainer/` (a model,
    a record and the page's code each), `comparison.json`, `comparison.png`, `comparison.svg` and `comparison.alt.txt`
    in `output_dir`.

    Args:
        config: the dials.
        output_dir: made if absent.
        overwrite: replace a comparison with other dials too.
        nproc_per_node: how many processes each loop has.
        reuse: of a finished comparison, keep a loop's run where nothing that it depends on has changed since.

    Returns:
        The content of `comparison.json`.

    Raises:
        SameLoopError: the input is at fault, or a loop did not finish.
        Interrupted: Ctrl-C or SIGTERM.
    """
    if problem := config.problem_with(nproc_per_node):
        raise SameLoopError(problem)
    if launched_world_size() > 1:
        raise SameLoopError(
            "a comparison starts its processes by itself: run it without torchrun (`unset RANK WORLD_SIZE`), with "
            f"--nproc-per-node {launched_world_size()}"
        )
    pages = pages_of(config)
    check_paths(config)
    go_offline_if_unreachable(config)
    goes_on = not overwrite and was_cut_off(output_dir, config, nproc_per_node)
    taken_over = [] if goes_on else _reusable(output_dir, config, pages, nproc_per_node, reuse)
    with output_folder(output_dir, config, overwrite, resume=goes_on, taken_over=taken_over):
        changed, options = {}, {}
        for loop in LOOPS:
            folder = output_dir / loop
            changed[loop] = earlier_config(folder) and _why_not_the_same(folder, config, pages[loop])
            if changed[loop] or not is_finished(folder):
                resumable = not changed[loop] and any(problem_with(each) is None for each in in_order(folder))
                options[loop] = ["--resume-from-checkpoint", LAST] if resumable else ["--overwrite-output-dir"]
        with ready_to_fork(nproc_per_node if options else 0, AFTERWARDS) as server:
            for number, loop in enumerate(LOOPS, start=1):
                announce(f"{number} of {len(LOOPS)}: the {loop} loop")
                if changed[loop]:
                    announce(f"{changed[loop]}: starting it anew")
                if loop in options:
                    folder = output_dir / loop
                    run_in_fresh_process(loop, config, folder, nproc_per_node, *options[loop], server=server)
                else:
                    announce(f"it is done already, in {output_dir / loop}")
        announce("comparing every step, every evaluation and every weight")
        return write_comparison(output_dir)


def was_cut_off(output_dir: Path, config: RunConfig, nproc_per_node: int) -> bool:
    """Whether `output_dir` holds this very comparison, not finished and with something to go on from."""
    if (output_dir / COMPARISON_FILE).exists() or not can_be_resumed(output_dir):
        return False
    started = [RunRecord.read(output_dir / loop) for loop in LOOPS if earlier_config(output_dir / loop) is not None]
    return bool(started) and all(
        not config.other_numbers(record.config) and record.header["world_size"] == nproc_per_node for record in started
    )


def _reusable(
    output_dir: Path, config: RunConfig, pages: Mapping[str, Page], nproc_per_node: int, reuse: bool
) -> list[str]:
    """The loops whose runs in a finished comparison a new one takes over, if asked to; if not, offers it."""
    if not (output_dir / COMPARISON_FILE).is_file():
        return []
    announce(f"looking at what {output_dir} holds")
    unchanged = []
    for loop in filter(lambda loop: is_finished(output_dir / loop), LOOPS):
        changed = _why_not_reused(output_dir / loop, config, pages[loop], nproc_per_node)
        if changed is None:
            unchanged.append(loop)
        elif reuse:
            announce(f"--reuse: the {loop} loop's run here cannot be kept ({changed})")
    if unchanged and not reuse:
        both = len(unchanged) == len(LOOPS)
        saved = "both" if both else "it and saves half the time"
        whose = "both loops' runs here are" if both else f"the {unchanged[0]} loop's run here is"
        announce(f"{whose} unchanged: --reuse keeps {saved}")
    return unchanged if reuse else []


def _why_not_reused(run_dir: Path, config: RunConfig, page: Page, nproc_per_node: int) -> str | None:
    """What a finished run depends on that has changed since, in a few words; None if nothing has."""
    record = RunRecord.read(run_dir)
    if different := config.differences(record.config):
        name, (ours, theirs) = next(iter(different.items()))
        return f"{option(name)} {show(theirs)}, not {show(ours)}"
    if not _is_as_compared(run_dir):
        return f"{run_dir / WEIGHTS_FILE} has changed since"
    if record.header["world_size"] != nproc_per_node:
        return f"{record.header['world_size']} processes, not {nproc_per_node}"
    if changed := _why_not_the_same(run_dir, config, page):
        return changed
    now, then = environment(), record.header["environment"]
    if nproc_per_node > 1:
        now["threads"] = int(os.environ.get("OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // nproc_per_node)))
    # What the commit says is in the digests, and more exactly.
    different = [name for name in now if name != "git" and now[name] != then.get(name)]
    return f"{different[0]} {then.get(different[0])}, now {now[different[0]]}" if different else None


def _is_as_compared(run_dir: Path) -> bool:
    """Whether a run's model is the one that its comparison saw."""
    try:
        comparison = json.loads((run_dir.parent / COMPARISON_FILE).read_text(encoding="utf-8"))
        return comparison[run_dir.name]["weights_sha256"] == sha256(run_dir / WEIGHTS_FILE)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _why_not_the_same(run_dir: Path, config: RunConfig, page: Page) -> str | None:
    """Which of the files that a run was made from has changed since, in a few words; None if none has."""
    if changed := what_changed(kept_code(run_dir), page.code):
        return changed
    # What is in the reviews' file counts, not its date.
    own = not needs_hub(config) and config.dataset not in REVIEW_SOURCES
    if own and RunRecord.read(run_dir).header.get("data") != load_slices(config).described():
        return f"the reviews of --dataset {config.dataset} have changed since"
    begun, model = (run_dir / CODE_FILE).stat().st_mtime, Path(config.model)
    if any(path.stat().st_mtime > begun for path in (model, *model.rglob("*")) if path.exists()):
        return f"--model {model} has changed since"
    return None


def write_comparison(output_dir: Path) -> dict[str, Any]:
    """Compare the two runs in `output_dir` and write the verdict and the charts there."""
    # Both import heavy libraries, which `--help` and a wrong dial must not wait for.
    from benchmarks.charts.charts import draw_comparison
    from benchmarks.verdict.verdict import compare_runs

    manual_dir, trainer_dir = (output_dir / loop for loop in LOOPS)
    comparison = compare_runs(manual_dir, trainer_dir)
    write_json(output_dir / COMPARISON_FILE, comparison)
    draw_comparison(RunRecord.read(manual_dir), RunRecord.read(trainer_dir), comparison, output_dir)
    return comparison


def read_comparison(output_dir: Path) -> dict[str, Any]:
    """The content of the `comparison.json` that a comparison left, if it is about the two runs that are there now.

    Raises:
        SameLoopError: there is none, it is damaged, or one of the runs is not the one that was compared.
    """
    try:
        comparison = json.loads((output_dir / COMPARISON_FILE).read_text(encoding="utf-8"))
    except OSError:
        raise SameLoopError(f"{output_dir} holds no {COMPARISON_FILE}: run `sameloop compare` first") from None
    except (ValueError, RecursionError):
        raise SameLoopError(f"{output_dir / COMPARISON_FILE} is damaged: run `sameloop compare` again") from None
    if wrong := problem(COMPARISON, comparison):
        raise SameLoopError(f"{output_dir / COMPARISON_FILE} is damaged ({wrong}): run `sameloop compare` again")
    for loop in LOOPS:
        files = {"weights_sha256": (sha256, WEIGHTS_FILE), "record": (digest_of_file, FILE_NAME)}
        for name, (digest_of, file) in files.items():
            try:
                changed = digest_of(output_dir / loop / file) != comparison[loop][name]
            except OSError:
                changed = True
            if changed:
                raise SameLoopError(
                    f"{output_dir / loop / file} is not what was compared, it has changed since: run `sameloop "
                    "compare` again"
                )
    return comparison


def command_line(loop: str, config: RunConfig, output_dir: Path, *options: str) -> list[str]:
    """The command that runs one loop in a process of its own, of the same SameLoop as this one."""
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
        server: forks its process, where there is one.

    Raises:
        SameLoopError: it did not finish; its own message is on stderr already.
        Interrupted: it was asked to stop.
    """
    returncode = launch(command_line(loop, config, output_dir, *options), nproc_per_node, server)
    if returncode == SameLoopError.exit_status:
        raise SameLoopError  # without a text: the loop's process has told the user what is wrong
    if returncode in (128 + number for number in SIGNALS):
        raise Interrupted("the comparison is cut off; the same command goes on from there", returncode - 128)
    if returncode:
        how = f"exit status {returncode}" if returncode > 0 else f"signal {-returncode}"
        raise SameLoopError(f"the {loop} loop did not finish ({how})")
    if not is_finished(output_dir) and not _has_detail(output_dir):
        raise SameLoopError(f"the {loop} loop ended its process before it was done: a page must return from `train`")


@contextmanager
def ready_to_fork(nproc_per_node: int, afterwards: Iterable[str] = ()) -> Iterator[ForkServer | None]:
    """A fork server for the loops, which has imported what they need; None where they cannot be forked.

    Of a loop in several processes each is started anew: how many threads it has is set before torch is imported.

    Args:
        nproc_per_node: how many processes each loop has; 0 if none is to run.
        afterwards: modules that this process needs later, and imports side by side with the server.
    """
    if nproc_per_node != 1 or not can_fork():
        yield None
        return
    announce("importing torch and transformers")
    with signals_wait():
        server = ForkServer()
    try:
        with server.noticed_if_it_ends():
            import_all(afterwards)
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def _has_detail(run_dir: Path) -> bool:
    """Whether a run was to look into one step, and has."""
    try:
        return bool(RunRecord.read(run_dir).detail)
    except SameLoopError:
        return False


def launch(command: list[str], nproc_per_node: int, server: ForkServer | None = None) -> int:
    """Run a command as `torchrun` would, but without its own log lines.

    The processes have a session of their own, so that a Ctrl-C in the terminal reaches them once, from here.

    Args:
        command: the command.
        nproc_per_node: how many processes run it.
        server: where there is one, it starts the one process.

    Returns:
        0, or the first non-zero exit status; the other processes are then ended.
    """
    own = ending_with_parent(child_environment())
    environments = [own]
    if nproc_per_node > 1:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        world = {"WORLD_SIZE": str(nproc_per_node), "LOCAL_WORLD_SIZE": str(nproc_per_node)}
        meeting_point = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environments = [
            {**own, **world, **meeting_point, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            for rank in range(nproc_per_node)
        ]
    processes: list[subprocess.Popen | Forked] = []
    with _passing_signals_on(processes) as asked:
        for environment in environments:
            with signals_wait():
                if server is None:
                    processes.append(subprocess.Popen(command, env=environment, start_new_session=True))
                else:
                    processes.append(server.start(command))
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
                try:
                    process.wait(SECONDS_TO_END)
                except subprocess.TimeoutExpired:
                    # It waits inside torch for one that is gone, where no signal is heard.
                    process.kill()
                    process.wait()
    # Ended from here, or by what it was asked before it could answer.
    ended = (0, -signal.SIGTERM, *(-number for number in asked))
    failed = next((process.returncode for process in processes if process.returncode not in ended), 0)
    # Asked to stop, but the loop was done by then: what comes after it must not begin.
    return failed or (128 + asked[0] if asked else 0)


@contextmanager
def _passing_signals_on(processes: list[subprocess.Popen | Forked]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to the processes; gives the list of those that came."""
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    with handling(on_signal):
        yield asked
