"""One loop, one run: the command behind `python -m manual_loop` and `python -m trainer_loop`.

Checks the dials and the output folder, turns the flight recorder on, calls the loop's `train`, and
completes the record. Nothing heavy is imported before the dials have been checked.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from shared.config import RunConfig, option, show
from shared.determinism import check_device, use_one_device
from shared.errors import SameLoopError
from shared.hub import go_offline_if_unreachable
from shared.processes import launched_rank, launched_world_size, meeting, share_the_cores
from shared.progress import announce
from shared.record import FILE_NAME, SCHEMA, RunRecord

WEIGHTS_FILE = "model.safetensors"
LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")

Train = Callable[[RunConfig, Path], list[dict]]


def default_output_dir(preset: str, loop: str | None = None) -> Path:
    """`runs/quick` for a comparison, `runs/quick-manual` for one loop alone."""
    return Path("runs") / (f"{preset}-{loop}" if loop else preset)


def run_loop(
    loop: str,
    load_train: Callable[[], Train],
    config: RunConfig,
    output_dir: Path,
    overwrite: bool = False,
    record: bool = True,
    detail_step: int | None = None,
) -> None:
    """Train once and leave the model and `record.jsonl` in `output_dir`.

    Args:
        loop: `manual` or `trainer`, for the record.
        load_train: imports the loop's page and returns its `train`; called after the checks, because
            importing torch takes seconds.
        config: the run's dials.
        output_dir: made if absent. A run with the same dials in it is replaced.
        overwrite: replace a run with other dials too.
        record: whether the flight recorder is on.
        detail_step: look into this optimizer step, write its `detail` line, and stop there.

    Raises:
        SameLoopError: the input is at fault; nothing was overwritten.
    """
    use_one_device()
    share_the_cores()
    go_offline_if_unreachable(config)
    if problem := config.problem_with(launched_world_size()):
        raise SameLoopError(problem)
    # Of several processes the first prepares the folder; the others meet it only after that.
    rank = launched_rank()
    with nullcontext() if rank else fresh_folder(output_dir, config, overwrite):
        announce("importing torch and transformers")
        train = load_train()
        check_device(config)
        with meeting(config):
            if not record:
                train(config, output_dir)
                return
            from shared.recorder import DetailTaken, FlightRecorder

            started = time.perf_counter()
            with (
                suppress(DetailTaken),
                FlightRecorder(output_dir, header(loop, config), rank, detail_step) as recorder,
            ):
                log_history = train(config, output_dir)
                recorder.finish(log_history, total_seconds=time.perf_counter() - started)


@contextmanager
def fresh_folder(output_dir: Path, config: RunConfig, overwrite: bool) -> Iterator[None]:
    """Make `output_dir` an empty folder for what happens inside, or say why not.

    A run with the same dials in it, or with `overwrite` any run, is set aside as `<name>.previous` until the new one
    is complete. If the new one does not get that far, the old one is put back: at once, or, after a kill, by the next
    run.

    Raises:
        SameLoopError: it holds another run or other files, is a file, or cannot be written.
    """
    previous = output_dir.with_name(output_dir.name + ".previous")
    try:
        if earlier_config(previous) is not None:
            _put_back(previous, output_dir)
        replaces = output_dir.is_dir() and any(output_dir.iterdir())
        if replaces:
            _refuse_unless_same(output_dir, config, overwrite)
            output_dir.rename(previous)
        made = not output_dir.exists()
        output_dir.mkdir(parents=True, exist_ok=True)
        probe = output_dir / ".writable"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise SameLoopError(f"--output-dir {output_dir}: a file is in the way; name a folder") from None
    except OSError as error:
        raise SameLoopError(
            f"--output-dir {output_dir}: cannot be written ({error.strerror}); name another folder"
        ) from None
    try:
        yield
    except BaseException as error:
        if replaces:
            _put_back(previous, output_dir)
        elif made and isinstance(error, SameLoopError):
            shutil.rmtree(output_dir)
        raise
    if replaces:
        shutil.rmtree(previous)


def _put_back(previous: Path, output_dir: Path) -> None:
    """Undo a replacement that was not completed."""
    if output_dir.exists():
        shutil.rmtree(output_dir)
    previous.rename(output_dir)


def _refuse_unless_same(output_dir: Path, config: RunConfig, overwrite: bool) -> None:
    earlier = earlier_config(output_dir)
    if earlier is None:
        raise SameLoopError(
            f"--output-dir {output_dir}: it holds files that are not a SameLoop run; name a new or empty folder"
        )
    if overwrite:
        return
    if different := config.differences(earlier):
        name, (ours, theirs) = next(iter(different.items()))
        raise SameLoopError(
            f"--output-dir {output_dir}: it holds another run ({option(name)} {show(theirs)}, not {show(ours)}); "
            "name another folder, or add --overwrite-output-dir"
        )


def earlier_config(output_dir: Path) -> RunConfig | None:
    """The dials of the run that `output_dir` holds: one loop's, or a comparison's; None if it holds none."""
    for record in (
        output_dir / FILE_NAME,
        output_dir / "manual" / FILE_NAME,
        output_dir / "trainer" / FILE_NAME,
    ):
        if record.is_file():
            try:
                return RunRecord.read(record).config
            except SameLoopError:
                continue
    return None


def header(loop: str, config: RunConfig) -> dict[str, Any]:
    """The record's first line: what is to be done, with what, where."""
    return {
        "schema": SCHEMA,
        "loop": loop,
        "config": config.model_dump(),
        "world_size": launched_world_size(),
        "steps_per_epoch": config.steps_per_epoch(launched_world_size()),
        "environment": environment(),
    }


def environment() -> dict[str, Any]:
    """Versions, machine, device, threads and git state: what a result may depend on besides the dials."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    if torch.accelerator.is_available() and not torch.cuda.is_available():
        device = torch.accelerator.current_accelerator().type
    return {
        "sameloop": metadata.version("sameloop"),
        "python": platform.python_version(),
        **{library: metadata.version(library) for library in LIBRARIES},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "git": _git_state(),
    }


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
