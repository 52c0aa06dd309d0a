"""One loop, one run: the command behind `python -m manual_loop` and `python -m trainer_loop`.

Checks the settings and the output folder, finds the checkpoint to resume from, keeps the script's code, turns the
flight recorder on, calls the script's `train`, and completes the record. Nothing heavy is imported before the
settings have been checked.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from shared.config import RunConfig
from shared.data import prepared_subsets
from shared.determinism import check_device, use_one_device
from shared.errors import SameLoopError, ScriptError, TrainingStopped
from shared.files import refused_write
from shared.memory import keep_freed_memory
from shared.processes import launched_rank, launched_world_size, meeting, share_the_cores, wait_for_all
from shared.progress import announce
from shared.recording.record import SCHEMA
from shared.releases import check_installed
from shared.running import checkpoints
from shared.running.folder import WEIGHTS_FILE, can_be_resumed, is_finished, output_folder
from shared.running.imports import without_collector
from shared.running.log import checked_log
from shared.running.script import LoopScript, train_of
from shared.sources.hub import check_paths, go_offline_if_unreachable
from shared.starting.interrupt import stopping_after_the_step

# Texts of the errors of gloo and nccl when a process that they are connected to is gone.
GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused", "NCCL")
LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")


def default_output_dir(preset: str, loop: str | None = None) -> Path:
    """`runs/quick` for a comparison, `runs/quick-manual` for one loop alone."""
    return Path("runs") / (f"{preset}-{loop}" if loop else preset)


def run_loop(
    loop: str,
    script: LoopScript,
    config: RunConfig,
    output_dir: Path,
    *,
    overwrite: bool = False,
    record: bool = True,
    detail_step: int | None = None,
    resume_from_checkpoint: str | None = None,
) -> None:
    """Train once and leave the model, `record.jsonl` and the script's code in `output_dir`.

    Args:
        loop: `manual` or `trainer`, for the record.
        script: whose `train` runs; imported after the checks, because importing torch takes seconds.
        output_dir: made if absent. A run with the same settings in it is replaced.
        overwrite: replace a run with other settings too.
        detail_step: look into this optimizer step, write its `detail` line, and stop there.
        resume_from_checkpoint: `last` or a checkpoint of the run in `output_dir`: resume from there, and continue its
            record.

    Raises:
        SameLoopError: the input or the script is at fault, and nothing was overwritten; or the training had to stop.
    """
    _check_in(config)
    checkpoint = None
    if resume_from_checkpoint is not None:
        checkpoint = checkpoints.find(output_dir, resume_from_checkpoint, config, launched_world_size(), script.code)
        if is_finished(output_dir):
            announce(f"the run in {output_dir} is complete: nothing to resume")
            return
        announce(f"resuming from {checkpoint}")
    with without_collector():
        data = _checked_data(config, checkpoint)
    rank = launched_rank()
    # The processes meet before anything can go wrong in one of them alone: then the others see it leave.
    with (
        meeting(config),
        nullcontext() if rank else output_folder(output_dir, config, overwrite, resume=checkpoint is not None),
        stopping_after_the_step(),
        _explaining(script, output_dir),
    ):
        if rank == 0 and checkpoint is None:
            script.keep(output_dir)
        with script.loaded() as module:
            # Of several processes the first has prepared the folder when the others come here.
            wait_for_all()
            _train(module, script, loop, config, output_dir, data, record, detail_step, checkpoint)


def _check_in(config: RunConfig) -> None:
    """Set what this process may use, and refuse settings that are wrong, as far as that is clear without a library."""
    use_one_device()
    share_the_cores()
    keep_freed_memory()
    check_paths(config)
    go_offline_if_unreachable(config)
    if problem := config.problem_with(launched_world_size()):
        raise SameLoopError(problem)


def _checked_data(config: RunConfig, checkpoint: Path | None) -> dict[str, Any]:
    """The reviews, as the record describes them; also runs the other checks that must come before a folder is made."""
    if "torch" not in sys.modules:
        announce("importing torch and transformers")
    prepared_subsets.cache_clear()
    data = prepared_subsets(config).described()
    if checkpoint is not None:
        checkpoints.check_data(checkpoint, config, data)
    check_device(config)
    check_installed()
    return data


@contextmanager
def _explaining(script: LoopScript, output_dir: Path) -> Iterator[None]:
    """Turn a refusal of the system, and a mistake of the script's, into one line."""
    try:
        yield
    except SameLoopError:
        raise
    except (Exception, SystemExit) as error:
        explained = _explained(error, output_dir) or script.mistake(error)
        if explained is None:
            raise
        raise explained from error


def _train(
    module: ModuleType,
    script: LoopScript,
    loop: str,
    config: RunConfig,
    output_dir: Path,
    data: Mapping[str, Any],
    record: bool,
    detail_step: int | None,
    checkpoint: Path | None,
) -> None:
    """Call the script, recorded or not; `run_loop` describes the arguments, `module` is the imported script."""
    rank = launched_rank()

    def log_history() -> list[dict]:
        if checkpoint is not None and checkpoints.is_last(checkpoint, config):
            announce("all steps were done: only the last save was missing")
            if rank == 0:
                checkpoints.finish_from(checkpoint, output_dir, config)
            return checkpoints.read_state(checkpoint)["log_history"]
        train, is_plain = train_of(module, script)
        if is_plain:
            from shared.running.plain import run_plain

            returned = run_plain(train, config, output_dir)
        else:
            returned = train(config, output_dir, checkpoint)
        if rank == 0 and not (output_dir / WEIGHTS_FILE).is_file():
            raise ScriptError(
                f"{script.name}: the function train saved no model: end it with model.save_pretrained(output_dir)"
            )
        return checked_log(returned, script)

    if not record:
        log_history()
        return
    from shared.recording.detail import DetailTaken
    from shared.recording.recorder import FlightRecorder

    started = time.perf_counter()
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    first_line = header(loop, config, script.code, data)
    with (
        suppress(DetailTaken),
        FlightRecorder(output_dir, first_line, rank, detail_step, resume_step=step) as recorder,
    ):
        try:
            returned = log_history()
        except (AttributeError, TypeError) as error:
            if recorder.without_loss and (mistake := script.mistake(error)):
                names = ", ".join(recorder.without_loss)
                raise ScriptError(
                    f"{mistake}; the model gives a loss only where `labels` come, and got {names}"
                ) from error
            raise
        recorder.finish(returned, total_seconds=time.perf_counter() - started)


def _explained(error: BaseException, output_dir: Path) -> SameLoopError | None:
    """One line for what the system refused, disk space or memory; None for any other error."""
    remedy = "add --resume-from-checkpoint last" if can_be_resumed(output_dir) else "start again"
    if reason := refused_write(error):
        return TrainingStopped(f"cannot write to {output_dir} ({reason}); make room there, then {remedy}")
    if not isinstance(error, (OSError, RuntimeError, MemoryError)):
        return None
    if isinstance(error, MemoryError) or ("alloc" in str(error).lower() and "memory" in str(error).lower()):
        return TrainingStopped(
            "out of memory; lower --per-device-train-batch-size or --max-length, or add --gradient-checkpointing, "
            "then start again"
        )
    if launched_world_size() > 1 and any(sign in str(error) for sign in GONE):
        return TrainingStopped(f"another process of this run has ended early; to continue, {remedy}")
    return None


def header(
    loop: str, config: RunConfig, code: Mapping[str, str] | None, data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The record's first line: what is to be done, by which code, on which reviews, with what, where."""
    return {
        "schema": SCHEMA,
        "loop": loop,
        "config": config.model_dump(),
        "code": code,
        "data": data,
        "world_size": launched_world_size(),
        "steps_per_epoch": config.steps_per_epoch(launched_world_size()),
        "environment": environment(),
    }


def environment() -> dict[str, Any]:
    """Versions, machine, device, threads and git state: what else a result may depend on, next to the settings."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    if torch.accelerator.is_available() and not torch.cuda.is_available():
        device = torch.accelerator.current_accelerator().type
    return {
        "sameloop": _version_of("sameloop"),
        "python": platform.python_version(),
        **{library: _version_of(library) for library in LIBRARIES},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "git": _git_state(),
    }


# As installed when this process first reads it; what it has imported by then does not change any more.
_version_of = cache(metadata.version)


@cache
def _git_state() -> str | None:
    """The commit this code is at, with `-dirty` if files differ from it; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
