"""Checkpoints that are whole or not there, whichever loop wrote them.

A checkpoint is a folder `checkpoint-<step>` in the run's output folder. Its last file is `manifest.json`: the
settings, the code that ran, and a digest of every other file. A folder without it, or with a file that is not as the
manifest describes it, was cut short or damaged, and is skipped.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.config import METRIC_SCHEDULES, RunConfig, option, show
from shared.data import prepared_subsets
from shared.early_stopping import stops_early
from shared.errors import SameLoopError
from shared.files import digest_of_file, flush_to_disk, read_json, write_json
from shared.processes import launched_world_size
from shared.progress import announce
from shared.recording.schema import Manifest
from shared.running.script import CODE_FOLDER, kept_code, what_changed

MANIFEST = "manifest.json"
STATE = "trainer_state.json"
LAST = "last"


def seal(folder: Path, config: RunConfig, world_size: int) -> None:
    """Declare a checkpoint whole: flush its files to the disk, then write the manifest.

    Every other file is in it, and it lies in the run's folder, which records the code that runs.
    """
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    for path in files:
        flush_to_disk(path)
    write_json(
        folder / MANIFEST,
        {
            "config": config.model_dump(),
            "code": kept_code(folder.parent),
            "data": prepared_subsets(config).described(),
            "world_size": world_size,
            "files": {path.name: {"bytes": path.stat().st_size, "xxh3_128": digest_of_file(path)} for path in files},
        },
    )
    flush_to_disk(folder)


def in_order(output_dir: Path) -> list[Path]:
    """The checkpoint folders of a run, whole or not, the earliest step first."""
    if not output_dir.is_dir():
        return []
    folders = [path for path in output_dir.iterdir() if re.fullmatch(r"checkpoint-\d+", path.name) and path.is_dir()]
    return sorted(folders, key=step_of)


def step_of(folder: Path) -> int:
    """The step in a checkpoint's name."""
    return int(folder.name.rsplit("-", 1)[1])


def problem_with(folder: Path) -> str | None:
    """Why a checkpoint is not whole, in a few words; None if it is."""
    try:
        for name, expected in _manifest(folder).files.items():
            path = folder / name
            if path.parent != folder or not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected.bytes:
                return f"{name} is cut short"
            if digest_of_file(path) != expected.xxh3_128:
                return f"{name} is damaged"
    except FileNotFoundError:
        return "its writing was cut short"
    except (OSError, ValueError):
        return f"{MANIFEST} is damaged"
    return None


def newest_whole(output_dir: Path) -> Path | None:
    """The newest whole checkpoint of a run; announces the ones that it skips."""
    for folder in reversed(in_order(output_dir)):
        problem = problem_with(folder)
        if problem is None:
            return folder
        announce(f"{folder} is not whole ({problem}): skipped")
    return None


def find(output_dir: Path, wanted: str, config: RunConfig, world_size: int, code: Mapping[str, str]) -> Path:
    """The checkpoint to resume from.

    Args:
        output_dir, config, world_size: of the run that is to be resumed.
        wanted: `last`, or the path of a checkpoint in `output_dir`.
        code: that of its script, `LoopScript.code`.

    Raises:
        SameLoopError: there is none, it is not whole, or it was made under other settings or by other code.
    """
    flag = f"--resume-from-checkpoint {wanted}"
    if wanted == LAST:
        folder = newest_whole(output_dir)
        if folder is None:
            raise SameLoopError(f"{flag}: there is no whole checkpoint in {output_dir}; start without it")
    else:
        folder = Path(wanted)
        if not folder.is_dir() or not re.fullmatch(r"checkpoint-\d+", folder.name):
            raise SameLoopError(f"{flag}: there is no such checkpoint; give `last` or a folder checkpoint-<step>")
        if folder.resolve().parent != output_dir.resolve():
            raise SameLoopError(f"{flag}: it belongs to another run; give --output-dir {folder.parent} too")
        if problem := problem_with(folder):
            raise SameLoopError(f"{flag}: the checkpoint is not whole ({problem}); give another one, or `last`")
    manifest = _manifest(folder)
    try:
        made_under = RunConfig(**manifest.config)
    except ValidationError:
        raise SameLoopError(f"{flag}: {folder} was made by another version; start without it") from None
    others = config.other_numbers(made_under)
    # The evaluation's batches change how its mean is rounded, and nothing else where nothing follows it.
    eval_batch = others.get("per_device_eval_batch_size")
    if eval_batch and not config.load_best_model_at_end and config.lr_scheduler_type not in METRIC_SCHEDULES:
        del others["per_device_eval_batch_size"]
        announce(
            f"note: evaluations in batches of {eval_batch[0]} from here on, of {eval_batch[1]} before: they may round "
            "differently"
        )
    different = [f"{option(name)} {show(theirs)}, not {show(ours)}" for name, (ours, theirs) in others.items()]
    if manifest.world_size != world_size:
        different.append(f"{manifest.world_size} processes, not {world_size}")
    if different:
        raise SameLoopError(
            f"{flag}: {folder} was made with other settings ({'; '.join(different)}); give the same ones"
        )
    if changed := what_changed(manifest.code.model_dump() if manifest.code else None, code):
        raise SameLoopError(
            f"{flag}: {folder} was made by other code ({changed}); put the file back as it is in "
            f"{output_dir / CODE_FOLDER}, or start again with --overwrite-output-dir"
        )
    return folder


def check_data(checkpoint: Path, config: RunConfig, data: Mapping[str, Any]) -> None:
    """Refuse to resume with other reviews than those that the run began with; `data` is `Subsets.described` now."""
    if _manifest(checkpoint).data != data:
        raise SameLoopError(
            f"--dataset {config.dataset}: its data is not what {checkpoint} was made with, it has "
            "changed since; put it back as it was, or start again with --overwrite-output-dir"
        )


def read_state(folder: Path) -> dict[str, Any]:
    """The state of the run in a whole checkpoint: `global_step`, `log_history`, `best_global_step` among others."""
    return read_json(folder / STATE)


def rotate(output_dir: Path, save_total_limit: int | None, best_saved: int | None) -> None:
    """Delete the oldest checkpoints until `save_total_limit` are left; the newest and the best stay in any case.

    Call it when the newest is whole, so that there is a whole one at every moment.
    """
    if save_total_limit is None:
        return
    folders = in_order(output_dir)
    kept = {folders[-1], output_dir / f"checkpoint-{best_saved}"} & set(folders)
    superfluous = len(folders) - max(save_total_limit, len(kept))
    for folder in [folder for folder in folders if folder not in kept][: max(superfluous, 0)]:
        shutil.rmtree(folder)


def is_last(checkpoint: Path, config: RunConfig) -> bool:
    """Whether a run that is resumed from this checkpoint has no step left to make."""
    all_done = step_of(checkpoint) == config.total_steps(launched_world_size())
    return all_done or stops_early(read_state(checkpoint)["log_history"], config)


def finish_from(checkpoint: Path, output_dir: Path, config: RunConfig) -> None:
    """Complete a run that was interrupted after its training: take the model from its last checkpoint."""
    state, source = read_state(checkpoint), checkpoint
    if config.load_best_model_at_end and state.get("best_model_checkpoint"):
        source = output_dir / Path(state["best_model_checkpoint"]).name
    own = {"optimizer.pt", "scheduler.pt", "scaler.pt", "training_args.bin", STATE, MANIFEST}
    for path in source.iterdir():
        if path.name not in own and not path.name.startswith(("rng_state", "progress-")):
            shutil.copyfile(path, output_dir / path.name)


def _manifest(folder: Path) -> Manifest:
    return Manifest.model_validate(read_json(folder / MANIFEST))
