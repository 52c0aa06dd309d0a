"""Two sides on one job: each runs in a process of its own, and their records are compared."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compare import write_comparison
from benchmarks.port.side import TOKENIZER_FILE, Script, Side
from shared.config import RunConfig
from shared.errors import Interrupted, SameLoopError
from shared.files import read_json
from shared.progress import announce
from shared.recording.record import FILE_NAME, RunRecord
from shared.running.folder import COMPARISON_FILE, LOOPS, is_finished
from shared.running.script import CODE_FOLDER, kept_code, kept_script, own_script, shared_digest, what_changed
from shared.starting.children import child_environment, ending_with_parent, loop_argv, sameloop_argv
from shared.starting.launch import Family, check_end

if TYPE_CHECKING:
    from benchmarks.locate import Location

# Two processes must agree on the order of a set of strings, from which scripts make their labels.
HASH_SEED = "0"


def compare_sides(sides: tuple[Side, Side], output_dir: Path, overwrite: bool, config: RunConfig) -> dict[str, Any]:
    """Run both sides, one after the other, and write `comparison.json` and its charts, as `benchmarks.compare` does.

    An interrupted comparison on a script's job keeps the side that is done, if nothing has changed since.

    Args:
        sides: on a script's job, or both on the job of the settings.
        output_dir: gets `manual/` and `trainer/`, a side each, and the comparison.
        overwrite: replace an existing comparison.
        config: the settings, where no script decides.

    Raises:
        SameLoopError: the input is at fault, or a side did not finish.
        Interrupted: Ctrl-C or SIGTERM.
    """
    for side in sides:
        # Refused before anything runs.
        _ = side.script and side.script.source, side.loop and own_script(side.loop)
    with _folder_for(output_dir, sides, overwrite):
        for number, (role, side) in enumerate(zip(LOOPS, sides, strict=True), start=1):
            announce(f"{number} of {len(sides)}: {side.name}")
            if _is_done(output_dir / role, side):
                announce(f"it is done already, in {output_dir / role}")
                continue
            shutil.rmtree(output_dir / role, ignore_errors=True)
            (output_dir / role).mkdir()
            if side.script is None:
                _run_on_our_job(role, side, config, output_dir / role)
            else:
                run_side(role, side, output_dir / role, words=words_for(sides, output_dir))
        announce("comparing every step, every evaluation and every weight")
        _check_words([output_dir / role for role in LOOPS], sides)
        return write_comparison(output_dir)


def run_side(role: str, side: Side, folder: Path, words: Path | None = None, **looks_at: int) -> None:
    """Run a script up to its door and one side behind it, in a process of its own.

    Args:
        role: `manual` or `trainer`.
        side: what trains.
        folder: gets the run.
        words: the tokenizer of the other side's run, from which this side takes its token ids.
        looks_at: instead of a whole run: `detail_step`, of which every tensor is recorded, or `until_step`, up to
            which it is traced.

    Raises:
        SameLoopError: the side did not finish; its own message is on stderr already.
    """
    task = {
        "does": "loop" if side.is_loop else "trainer",
        "role": role,
        "loop": str(side.loop) if side.loop else None,
        "name": side.name,
        "folder": str(folder),
        "words": str(words) if words else None,
        **looks_at,
    }
    start(side.script, task)
    if not looks_at and not (folder / "model.safetensors").is_file():
        raise SameLoopError(f"{side.name} ended its process before it was done")


def start(script: Script | None, task: dict[str, Any]) -> None:
    """Run a script in a process of its own, and the task behind its door."""
    assert script is not None
    full_task = {**task, "script": str(script.file), "arguments": list(script.arguments), "code": script.digest}
    _run(sameloop_argv("port-side", json.dumps(full_task)), script.file.name)


def _run(command: list[str], name: str) -> None:
    environment = {**ending_with_parent(child_environment()), "PYTHONHASHSEED": HASH_SEED}
    # What a script prints of its own, and Trainer's log lines, must not be mixed with the verdict.
    with Family() as family, family.passing_signals_on() as signals:
        status = family.start(command, environment, stdout=2).wait()
    check_end(128 + signals[0] if signals else status, name, "interrupted; the same command keeps a side that is done")


def _run_on_our_job(role: str, side: Side, config: RunConfig, folder: Path) -> None:
    """Run a loop of the user's on the job of our settings, as either side."""
    flags = config.model_copy(update={"loop": str(side.loop)}).flags()
    _run(loop_argv("manual", *flags, "--output-dir", str(folder), "--overwrite-output-dir"), side.name)


@contextmanager
def _folder_for(output_dir: Path, sides: tuple[Side, Side], overwrite: bool) -> Iterator[None]:
    """The folder, empty or with the first side done; its old content is put back if this comparison does not finish.

    Raises:
        SameLoopError: the folder holds something else.
    """
    previous = output_dir.with_name(output_dir.name + ".previous")
    goes_on = (
        not overwrite and not (output_dir / COMPARISON_FILE).exists() and _is_done(output_dir / LOOPS[0], sides[0])
    )
    if not goes_on and output_dir.exists() and any(output_dir.iterdir()):
        is_ours = (output_dir / COMPARISON_FILE).is_file() or (output_dir / LOOPS[0] / FILE_NAME).is_file()
        if not is_ours:
            raise SameLoopError(
                f"--output-dir {output_dir}: it holds files that are not a SameLoop run; name a new or empty folder"
            )
        if not overwrite and _side_names(output_dir) not in (None, [side.name for side in sides]):
            raise SameLoopError(
                f"--output-dir {output_dir}: it holds another comparison; name another folder, or add "
                "--overwrite-output-dir"
            )
        shutil.rmtree(previous, ignore_errors=True)
        output_dir.rename(previous)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SameLoopError(f"--output-dir {output_dir}: cannot be written ({error.strerror})") from None
    except BaseException as error:
        if previous.exists() or not (isinstance(error, Interrupted) and _is_done(output_dir / LOOPS[0], sides[0])):
            shutil.rmtree(output_dir, ignore_errors=True)
        if previous.exists():
            previous.rename(output_dir)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _is_done(run_dir: Path, side: Side) -> bool:
    """Whether a folder holds this side's finished run on a script's job, and none of the code has changed."""
    if side.script is None or not is_finished(run_dir):
        return False
    job, kept = RunRecord.read(run_dir).header.get("job", {}), kept_code(run_dir)
    expected = {"script": str(side.script.file), "arguments": list(side.script.arguments), "side": side.name}
    if kept is None or any(job.get(name) != value for name, value in expected.items()):
        return False
    # A loop that is written for the script follows from the script.
    is_same = (
        what_changed(kept, own_script(side.loop).code) is None if side.loop else kept["shared"] == shared_digest()
    )
    return is_same and job.get("code") == side.script.digest


def _side_names(output_dir: Path) -> list[str] | None:
    """The names of the sides of the comparison in a folder; None where they have no names of their own."""
    try:
        jobs = [RunRecord.read(output_dir / role).header["job"] for role in LOOPS]
    except (SameLoopError, KeyError):
        return None
    return [job["side"] for job in jobs]


def words_for(sides: tuple[Side, Side], folder: Path) -> Path | None:
    """Where the first side's run in a folder keeps its tokenizer, for the second one; None if they run two scripts."""
    return folder / LOOPS[0] / TOKENIZER_FILE if sides[0].script == sides[1].script else None


def _check_words(folders: Sequence[Path], sides: tuple[Side, Side]) -> None:
    """Check that both runs of a script have the same vocabulary.

    Raises:
        SameLoopError: they have not: the library tokenizers, when it trains, gives tokens other ids each time.
    """
    files = [folder / TOKENIZER_FILE for folder in folders]
    if sides[0].script is None or sides[0].script != sides[1].script or not all(map(Path.is_file, files)):
        return
    ours, theirs = (read_json(file)["model"].get("vocab") for file in files)
    if ours != theirs:
        raise SameLoopError(
            f"{sides[-1].name}: each time it runs, its tokenizer gives tokens other ids (it is trained in the "
            "script), so its two runs have different data; train it once, save it, load it in the script"
        )


def kept_sides(output_dir: Path) -> tuple[Side, Side]:
    """The sides of a comparison on a script's job; a loop is the copy that the run has kept.

    Raises:
        SameLoopError: the kept code is not the code that ran.
    """

    def side(role: str) -> Side:
        job = RunRecord.read(output_dir / role).header["job"]
        loop_script = kept_script(output_dir / role) if job["is_loop"] else None
        loop = output_dir / role / CODE_FOLDER / loop_script.name if loop_script else None
        return Side(Script(Path(job["script"]), tuple(job["arguments"])), loop)

    ours, theirs = map(side, LOOPS)
    return ours, theirs


def locate_sides(output_dir: Path) -> Location | None:
    """Run both sides again, up to their first divergence, and name the first tensor; None if there is none.

    Raises:
        SameLoopError: there is no comparison, it has changed since, or a side did not finish.
    """
    from benchmarks.locate import Location, differences
    from benchmarks.runs import read_comparison

    first = read_comparison(output_dir)["first_divergence"]
    if first is None:
        return None
    step, details = max(1, first["step"]), []
    with tempfile.TemporaryDirectory() as folder:
        sides = kept_sides(output_dir)
        for role, side in zip(LOOPS, sides, strict=True):
            announce(f"{side.name} again, up to step {step}")
            (Path(folder) / role).mkdir()
            run_side(role, side, Path(folder) / role, words=words_for(sides, Path(folder)), detail_step=step)
            details.append(RunRecord.read(Path(folder) / role).detail)
    return next(differences(step, *details), Location(step, None, ""))


def is_own(output_dir: Path) -> bool:
    """Whether a folder holds a comparison on a script's job."""
    return _side_names(output_dir) is not None


def sources_of(sides: tuple[Side, Side]) -> dict[str, str]:
    """The source of both sides; a loop that is to be written for a script is written first.

    Raises:
        SameLoopError: a file cannot be read, or the script does not reach its Trainer.
    """

    def source(side: Side) -> str:
        if side.loop is not None:
            return own_script(side.loop).source
        assert side.script is not None
        return eject(side.script, f"{side.script.file.stem}_loop.py")[0] if side.is_ejected else side.script.source

    return dict(zip(LOOPS, map(source, sides), strict=True))


def eject(script: Script, name: str) -> tuple[str, list[str]]:
    """The script with its manual loop, and notes for its reader.

    Raises:
        SameLoopError: the script does not reach its Trainer.
    """
    with tempfile.TemporaryDirectory(prefix="sameloop-eject-") as folder:
        start(script, {"does": "eject", "folder": folder, "name": name})
        result = read_json(Path(folder) / "ejected.json")
    return result["source"], result["notes"]


def default_folder(side: Side) -> Path:
    """`runs/my_trainer` for my_trainer.py."""
    file = side.script.file if side.script else side.loop
    assert file is not None
    return Path("runs") / os.path.splitext(file.name)[0]  # noqa: PTH122 - a name with two dots keeps the first
