"""Run both loops on the same settings and compare them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.runs import ready_to_fork, run_in_fresh_process
from shared.config import RunConfig, option, show
from shared.data import load_subsets
from shared.errors import SameLoopError
from shared.files import sha256, write_json
from shared.processes import launched_world_size
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.checkpoints import LAST, in_order, problem_with
from shared.running.folder import (
    COMPARED,
    COMPARISON_FILE,
    LOOPS,
    WEIGHTS_FILE,
    can_be_resumed,
    earlier_config,
    is_finished,
    output_folder,
)
from shared.running.run import environment
from shared.running.script import CODE_FILE, LoopScript, kept_code, scripts_of, what_changed
from shared.sources.embedded import REVIEW_SOURCES
from shared.sources.hub import check_paths, go_offline_if_unreachable, needs_hub


def compare(
    config: RunConfig,
    output_dir: Path,
    overwrite: bool = False,
    nproc_per_node: int = 1,
    reuse: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Run the two loops, each in processes of its own, one after the other, and compare their results.

    An interrupted comparison with the same settings continues: a loop that is done is not run again, one that has a
    checkpoint resumes from it, unless its code has changed since. Writes `manual/` and `trainer/` (a model, a record
    and the loop's code each), `comparison.json`, `comparison.png`, `comparison.svg` and `comparison.alt.txt` into
    `output_dir`.

    Args:
        output_dir: made if absent.
        overwrite: replace a comparison with other settings too.
        nproc_per_node: how many processes each loop has.
        reuse: keep a loop's run of a finished comparison if nothing that it depends on has changed since.
        meanwhile: imports what this process needs after both loops, while the loops' process imports what they need;
            None: what the verdict and its charts need.

    Returns:
        The content of `comparison.json`.

    Raises:
        SameLoopError: the input is at fault, or a loop did not finish.
        Interrupted: Ctrl-C or SIGTERM.
    """
    _check_in(config, nproc_per_node)
    scripts = scripts_of(config)
    goes_on = not overwrite and was_cut_off(output_dir, config, nproc_per_node)
    taken_over = [] if goes_on else _reusable(output_dir, config, scripts, nproc_per_node, reuse)
    with output_folder(output_dir, config, overwrite, resume=goes_on, taken_over=taken_over):
        changed, options = {}, {}
        for loop in LOOPS:
            folder = output_dir / loop
            changed[loop] = earlier_config(folder) and _why_not_the_same(folder, config, scripts[loop])
            if changed[loop] or not is_finished(folder):
                resumable = not changed[loop] and any(problem_with(path) is None for path in in_order(folder))
                options[loop] = ["--resume-from-checkpoint", LAST] if resumable else ["--overwrite-output-dir"]
        with ready_to_fork(nproc_per_node if options else 0, meanwhile or import_what_follows) as server:
            for number, loop in enumerate(LOOPS, start=1):
                announce(f"{number} of {len(LOOPS)}: the {loop} loop")
                if changed[loop]:
                    announce(f"{changed[loop]}: starting it again")
                if loop in options:
                    folder = output_dir / loop
                    run_in_fresh_process(loop, config, folder, nproc_per_node, *options[loop], server=server)
                else:
                    announce(f"it is done already, in {output_dir / loop}")
        announce("comparing every step, every evaluation and every weight")
        return write_comparison(output_dir)


def _check_in(config: RunConfig, nproc_per_node: int) -> None:
    """Refuse what is known to be wrong before anything runs."""
    if problem := config.problem_with(nproc_per_node):
        raise SameLoopError(problem)
    if launched_world_size() > 1:
        raise SameLoopError(
            "a comparison starts its processes by itself: run it without torchrun (`unset RANK WORLD_SIZE`), with "
            f"--nproc-per-node {launched_world_size()}"
        )
    check_paths(config)
    go_offline_if_unreachable(config)


def import_what_follows() -> None:
    """Import what the verdict and its charts need, including heavy libraries."""
    from benchmarks.charts import charts  # noqa: F401
    from benchmarks.verdict import verdict  # noqa: F401


def was_cut_off(output_dir: Path, config: RunConfig, nproc_per_node: int) -> bool:
    """Whether `output_dir` holds this comparison, unfinished and with something to continue from."""
    if (output_dir / COMPARISON_FILE).exists() or not can_be_resumed(output_dir):
        return False
    started = [RunRecord.read(output_dir / loop) for loop in LOOPS if earlier_config(output_dir / loop) is not None]
    return bool(started) and all(
        not config.other_numbers(record.config) and record.header["world_size"] == nproc_per_node for record in started
    )


def _reusable(
    output_dir: Path, config: RunConfig, scripts: Mapping[str, LoopScript], nproc_per_node: int, reuse: bool
) -> list[str]:
    """The loops whose runs in a finished comparison a new one reuses, if `reuse`; otherwise say that it could."""
    if not (output_dir / COMPARISON_FILE).is_file():
        return []
    announce(f"looking at what {output_dir} holds")
    unchanged = []
    for loop in filter(lambda loop: is_finished(output_dir / loop), LOOPS):
        changed = _why_not_reused(output_dir / loop, config, scripts[loop], nproc_per_node)
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


def _why_not_reused(run_dir: Path, config: RunConfig, script: LoopScript, nproc_per_node: int) -> str | None:
    """Which dependency of a finished run has changed since, in a few words; None if none has."""
    record = RunRecord.read(run_dir)
    if different := config.differences(record.config):
        name, (ours, theirs) = next(iter(different.items()))
        return f"{option(name)} {show(theirs)}, not {show(ours)}"
    if not _is_as_compared(run_dir):
        return f"{run_dir / WEIGHTS_FILE} has changed since"
    if record.header["world_size"] != nproc_per_node:
        return f"{record.header['world_size']} processes, not {nproc_per_node}"
    if changed := _why_not_the_same(run_dir, config, script):
        return changed
    now, then = environment(), record.header["environment"]
    if nproc_per_node > 1:
        now["threads"] = int(os.environ.get("OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // nproc_per_node)))
    # The digests say the same as the commit, and more exactly.
    others = [name for name in now if name != "git" and now[name] != then.get(name)]
    return f"{others[0]} {then.get(others[0])}, now {now[others[0]]}" if others else None


def _is_as_compared(run_dir: Path) -> bool:
    """Whether a run's model is the one that was compared."""
    try:
        kept = COMPARED.read(run_dir.parent)
        return getattr(kept, run_dir.name).weights_sha256 == sha256(run_dir / WEIGHTS_FILE)
    except (OSError, SameLoopError):
        return False


def _why_not_the_same(run_dir: Path, config: RunConfig, script: LoopScript) -> str | None:
    """Which of the files that a run was made from has changed since, in a few words; None if none has."""
    if changed := what_changed(kept_code(run_dir), script.code):
        return changed
    # The content of the reviews' file counts, not its date.
    own = not needs_hub(config) and config.dataset not in REVIEW_SOURCES
    if own and RunRecord.read(run_dir).header.get("data") != load_subsets(config).described():
        return f"the data of --dataset {config.dataset} has changed since"
    started, model = (run_dir / CODE_FILE).stat().st_mtime, Path(config.model)
    if any(path.stat().st_mtime > started for path in (model, *model.rglob("*")) if path.exists()):
        return f"--model {model} has changed since"
    return None


def write_comparison(output_dir: Path) -> dict[str, Any]:
    """Compare the two runs in `output_dir` and write the verdict and the charts there."""
    # Both import heavy libraries, which `--help` and a wrong setting must not wait for.
    from benchmarks.charts.charts import draw_comparison
    from benchmarks.verdict.verdict import compare_runs

    manual_dir, trainer_dir = (output_dir / loop for loop in LOOPS)
    comparison = compare_runs(manual_dir, trainer_dir)
    write_json(output_dir / COMPARISON_FILE, comparison)
    draw_comparison(RunRecord.read(manual_dir), RunRecord.read(trainer_dir), comparison, output_dir)
    return comparison
