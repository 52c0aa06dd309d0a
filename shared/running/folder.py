"""The output folder: one run at a time, nothing lost, complete or as it was.

A run that takes the place of another sets it aside as `<name>.previous` until it is complete itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shared.config import RunConfig, option, show
from shared.errors import SameLoopError, TrainingStopped
from shared.recording.kept import Kept
from shared.recording.record import FILE_NAME, RunRecord
from shared.recording.schema import Comparison
from shared.running.checkpoints import MANIFEST, in_order
from shared.running.script import CODE_FOLDER

WEIGHTS_FILE = "model.safetensors"
COMPARISON_FILE = "comparison.json"
COMPARED = Kept(COMPARISON_FILE, Comparison, "sameloop compare", schema=2)
LOOPS = ("manual", "trainer")


def _check_name(output_dir: Path) -> None:
    """Refuse a name whose bytes are no text here: the library that saves tokenizers takes text only."""
    try:
        str(output_dir).encode()
    except UnicodeEncodeError:
        name = ascii(str(output_dir))
        raise SameLoopError(
            f"--output-dir {name}: {sys.getfilesystemencoding()} cannot read this name as text; choose another, or "
            "`export PYTHONUTF8=1` if it is UTF-8"
        ) from None


@contextmanager
def output_folder(
    output_dir: Path, config: RunConfig, overwrite: bool, resume: bool = False, taken_over: Sequence[str] = ()
) -> Iterator[None]:
    """Inside, `output_dir` belongs to this run alone: empty, or with `resume` as an unfinished run left it.

    A run with the same settings in it, or with `overwrite` any run, is set aside until the new one is complete. If the
    new one does not get that far and leaves nothing to resume from, the old one is put back: at once, or, after a
    kill, by the next run.

    Args:
        output_dir: made if absent.
        config: the settings of the run that is to go there.
        overwrite: whether it may take the place of a run with other settings.
        resume: whether it continues the run that is there.
        taken_over: of a comparison that is set aside, the loops whose runs the new one has, too.

    Raises:
        SameLoopError: it holds another run, one that can be resumed, or other files; another run is writing there;
            it is a file, or cannot be written; or its name is no text.
    """
    _check_name(output_dir)
    previous = _previous(output_dir)
    is_new = not output_dir.exists()
    with ExitStack() as locks:
        try:
            _make_ready(output_dir, config, overwrite, resume, taken_over, locks)
        except (FileExistsError, NotADirectoryError):
            raise SameLoopError(f"--output-dir {output_dir}: a file is in the way; name a folder") from None
        except OSError as error:
            raise SameLoopError(
                f"--output-dir {output_dir}: cannot be written ({error.strerror}); name another folder"
            ) from None
        replaces = earlier_config(previous) is not None
        try:
            yield
        except BaseException as error:
            if not can_be_resumed(output_dir, except_loops=taken_over):
                if replaces:
                    _put_back(previous, output_dir)
                elif is_new and isinstance(error, SameLoopError) and not isinstance(error, TrainingStopped):
                    shutil.rmtree(output_dir)
            raise
        if replaces:
            shutil.rmtree(previous)


def _make_ready(
    output_dir: Path, config: RunConfig, overwrite: bool, resume: bool, taken_over: Sequence[str], locks: ExitStack
) -> None:
    """Lock `output_dir`, set aside what it holds, and see that it can be written; `locks` keeps the lock."""
    previous = _previous(output_dir)
    if output_dir.exists():
        locks.enter_context(_lock(output_dir))
        # A comparison that was killed may have left a loop behind that is still running.
        for folder in filter(Path.is_dir, (output_dir / loop for loop in LOOPS)):
            with _lock(folder):
                pass
    if not resume:
        _settle(output_dir, previous)
        if output_dir.is_dir() and any(output_dir.iterdir()):
            _refuse_unless_same(output_dir, config, overwrite)
            if earlier_config(previous) is not None:
                shutil.rmtree(output_dir)
            else:
                output_dir.rename(previous)
    if not output_dir.exists():
        output_dir.mkdir(parents=True)
        locks.enter_context(_lock(output_dir))
    for loop in taken_over:
        # Whole or not there: a half copy with a whole record in it would look like a finished run.
        copied = output_dir / f"{loop}.unfinished"
        shutil.copytree(previous / loop, copied)
        copied.rename(output_dir / loop)
    probe = output_dir / ".writable"
    probe.touch()
    probe.unlink()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the system opens the lock when the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SameLoopError(
            f"--output-dir {folder}: another run is writing there; wait for its end, or name another folder"
        ) from None
    finally:
        os.close(descriptor)


def _previous(output_dir: Path) -> Path:
    return output_dir.with_name(output_dir.name + ".previous")


def _settle(output_dir: Path, previous: Path) -> None:
    """Complete or undo a replacement that was cut short, unless it can be resumed."""
    if earlier_config(previous) is None:
        return
    if is_finished(output_dir):
        shutil.rmtree(previous)
    elif not can_be_resumed(output_dir) and _holds_nothing_else(output_dir):
        _put_back(previous, output_dir)


def _holds_nothing_else(output_dir: Path) -> bool:
    """Whether a folder holds nothing but the files of a run that has just begun."""
    entries = list(output_dir.iterdir()) if output_dir.is_dir() else []
    begun_with = (FILE_NAME.split(".")[0], CODE_FOLDER, *LOOPS, ".checkpoint-")
    return all(entry.name.startswith(begun_with) for entry in entries)


def _put_back(previous: Path, output_dir: Path) -> None:
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
    if not is_finished(output_dir) and can_be_resumed(output_dir):
        raise SameLoopError(
            f"--output-dir {output_dir}: it holds this run, cut off; resume with --resume-from-checkpoint last, or "
            "start again with --overwrite-output-dir"
        )


def earlier_config(output_dir: Path) -> RunConfig | None:
    """The settings of the run that `output_dir` holds: one loop's, or a comparison's; None if it holds none."""
    for folder in (output_dir, *(output_dir / loop for loop in LOOPS)):
        if (folder / FILE_NAME).is_file():
            try:
                return RunRecord.read(folder).config
            except SameLoopError:
                continue
    return None


def is_finished(output_dir: Path) -> bool:
    """Whether a run, of one loop or a comparison, came to its end."""
    if (output_dir / COMPARISON_FILE).is_file():
        return True
    try:
        return bool(RunRecord.read(output_dir).footer) and (output_dir / WEIGHTS_FILE).is_file()
    except SameLoopError:
        return False


def can_be_resumed(output_dir: Path, except_loops: Sequence[str] = ()) -> bool:
    """Whether a run has left something to resume from: a checkpoint, or of a comparison a finished loop.

    Args:
        except_loops: loops of a comparison that do not count.
    """
    loops = [output_dir / loop for loop in LOOPS if loop not in except_loops]
    sealed = (path for folder in (output_dir, *loops) for path in in_order(folder) if (path / MANIFEST).is_file())
    return any(sealed) or any(map(is_finished, loops))
