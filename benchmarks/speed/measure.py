"""Measuring the lesson in speed: round by round every change at every length, each run in a process of its own."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from benchmarks.mistakes.mistake import edited
from benchmarks.speed.grid import cut_off, turns
from benchmarks.speed.lesson import CHANGES, PLAIN, Figures, Lesson, Row, change_of, figures
from shared import hardware
from shared.config import RunConfig, flag, job_name
from shared.errors import SameLoopError, shown
from shared.progress import announce
from shared.recording.kept import Kept
from shared.recording.record import RunRecord
from shared.running.folder import is_finished
from shared.running.script import own_script, package_script
from shared.starting.children import child_environment, loop_argv
from shared.starting.launch import Family, ending

CUT_OFF = "the lesson is cut off; the same command goes on with the run it was at"


def measure(config: RunConfig, lengths: Sequence[int], repeats: int, folder: Path) -> Lesson:
    """Run what has not been run yet, round by round, and keep each run's figures in `folder`.

    Each figure is kept with all that it depends on: settings, code, machine, versions. The same call goes on where it
    was cut off.

    Raises:
        SameLoopError: the plain loop does not run.
        Interrupted: Ctrl-C or SIGTERM.
    """
    environment = _environment()
    jobs = _jobs(config, lengths, folder)
    remarks = {key: why for key, (own, _) in jobs.items() if (why := _obstacle(own))}
    # The plain loop first: if that does not run, nothing does.
    order = sorted((key for key in jobs if key not in remarks), key=lambda key: key[1] != PLAIN)
    order.sort(key=lambda key: lengths.index(key[0]))
    runs: dict[tuple[int, str], list[Figures]] = {key: [] for key in jobs}
    total, parameters = repeats * len(order), None
    for number, (turn, (length, name)) in enumerate(turns(order, repeats), start=1):
        if (length, name) in remarks:
            continue
        own, code = jobs[length, name]
        of = _depends_on(own, code, environment, turn)
        digest = xxhash.xxh3_64_hexdigest(json.dumps(of, sort_keys=True).encode())
        kept = Kept(f"{digest}.json", KeptRun, "sameloop speed --lesson", schema=1)
        found = _read_kept(kept, folder / "kept", of)
        if found is None:
            announce(f"{number} of {total}: {length} tokens, {change_of(name).label}")
            try:
                found = KeptRun(of, *_run(own, folder))
            except NotRunError as error:
                if name == PLAIN:
                    raise SameLoopError(str(error)) from None
                # What cannot be run here is said in its row.
                remarks[length, name], runs[length, name] = f"did not run: {error}", []
                continue
            (folder / "kept").mkdir(parents=True, exist_ok=True)
            kept.write(folder / "kept", found)
        runs[length, name].append(found.figures)
        parameters = found.parameters
    rows = []
    for (length, name), (own, _) in jobs.items():
        remark = remarks.get((length, name)) or _remark(own)
        if (
            name == "fast"
            and (twin := next((each for (at, each), (its, _) in jobs.items() if its == own), name)) != name
        ):
            remark = "; ".join(filter(None, (f"the same run as {change_of(twin).label}", remark)))
        rows.append(Row(name, length, _shown_settings(own, config, length), runs[length, name], remark))
    return Lesson(job_name(config, parameters), config.model_dump(), rows, environment)


def _jobs(
    config: RunConfig, lengths: Sequence[int], folder: Path
) -> dict[tuple[int, str], tuple[RunConfig, dict[str, str]]]:
    """By length and change: the settings, and the code that runs under them."""
    scripts = {"": package_script("manual")}
    jobs = {}
    for length in lengths:
        for change in CHANGES:
            settings, file = {**config.model_dump(), "max_length": length, **change.settings(config)}, ""
            if change.pieces:
                file = str(folder / f"{change.name}.py")
                settings["loop"] = file
            if file not in scripts:
                folder.mkdir(parents=True, exist_ok=True)
                Path(file).write_text(edited(scripts[""], change.pieces).source, encoding="utf-8")
                scripts[file] = own_script(Path(file))
            jobs[length, change.name] = RunConfig.build(**settings), dict(scripts[file].code)
    return jobs


def _environment() -> dict[str, Any]:
    """What a time depends on besides the settings and the code; the commit says nothing that the code does not."""
    from shared.running.run import environment

    found = {name: value for name, value in environment().items() if name != "git"}
    return {**found, "processor": hardware.processor_name(), "cores": hardware.cores()}


def _depends_on(config: RunConfig, code: Mapping[str, str], environment: Mapping[str, Any], turn: int) -> dict:
    settings = {name: value for name, value in config.settings.items() if name != "loop"}
    return {"dials": settings, "code": dict(code), "environment": dict(environment), "round": turn}


@dataclass(frozen=True)
class KeptRun:
    """A run's figures, with all that they depend on, and how many parameters its model has."""

    of: dict[str, Any]
    figures: Figures
    parameters: int


def _read_kept(kept: Kept[KeptRun], folder: Path, of: Mapping[str, Any]) -> KeptRun | None:
    """What was kept of a run of exactly this; None if nothing was, or it is damaged."""
    try:
        found = kept.read(folder)
    except SameLoopError:
        return None
    return found if found.of == of else None


def _obstacle(config: RunConfig) -> str:
    """Why this machine cannot run these settings; empty if it can."""
    from shared.determinism import check_device

    try:
        check_device(config)
    except SameLoopError as error:
        return f"not here: {error}"
    return ""


def _remark(config: RunConfig) -> str:
    """What one must know of numbers that this machine gives."""
    known = hardware.bf16(config.use_cpu)
    if config.bf16 and not known.in_hardware:
        return f"without hardware for it ({known.why})"
    return ""


def _shown_settings(config: RunConfig, plain: RunConfig, length: int) -> str:
    different = plain.model_copy(update={"max_length": length}).differences(config)
    return " ".join(part for name, (_, value) in different.items() for part in flag(name, value))


class NotRunError(Exception):
    """A run that did not come to its end, and why in a line."""


def _run(config: RunConfig, folder: Path) -> tuple[Figures, int]:
    """Run the manual loop in a process of its own; the figures of it, and how many parameters the model has.

    Raises:
        NotRunError: it did not come to its end.
        Interrupted: Ctrl-C or SIGTERM.
    """
    run, said, compiled = folder / "run", folder / "run.txt", folder / "compiled"
    shutil.rmtree(compiled, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*config.flags(), "--output-dir", str(run), "--overwrite-output-dir"]
    with cut_off(CUT_OFF), said.open("wb") as file, Family() as family:
        process = family.start(
            loop_argv("manual", *arguments),
            # What torch has kept of an earlier compilation would make this one's time another.
            {**child_environment(), "TORCHINDUCTOR_CACHE_DIR": str(compiled.resolve())},
            stdout=file,
            stderr=file,
        )
        with suppress(OSError):
            # Where memory runs out, the system is to end this one, and nothing else of the user's.
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000", encoding="ascii")
        returncode = process.wait()
    if returncode or not is_finished(run):
        lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        how = ending(returncode)
        how += ", as where memory has run out" if returncode == -signal.SIGKILL else ""
        raise NotRunError(shown(last.removeprefix("sameloop: error: "), 200) if returncode > 0 and last else how)
    record = RunRecord.read(run)
    found = figures(record), record.start["parameters"]
    shutil.rmtree(run)  # the model is as large as a hundred of these figures' files
    shutil.rmtree(compiled, ignore_errors=True)
    said.unlink()
    return found
