"""Measure the lesson on speed: every change at every length in each round, each run in a process of its own."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import xxhash

from benchmarks.mistakes.mistake import edited
from benchmarks.speed.lesson import CHANGES, PLAIN, Figures, Lesson, Row, change_of, figures
from benchmarks.speed.lockstep import cut_off
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

CUT_OFF = "the lesson was interrupted; the same command continues with the same run"


def measure(config: RunConfig, lengths: Sequence[int], repeats: int, folder: Path) -> Lesson:
    """Run what has not been run yet, round by round, and keep each run's figures in `folder`.

    What slows the machine for longer than a round slows every change at every length alike. Each figure is kept with
    everything that it depends on: settings, code, machine, versions. After an interruption the same call continues.

    Raises:
        SameLoopError: the plain loop does not run.
        Interrupted: Ctrl-C or SIGTERM.
    """
    environment = _environment()
    jobs = _jobs(config, lengths, folder)
    remarks = {key: why for key, (own, _) in jobs.items() if (why := _obstacle(own))}
    # The plain loop first: if it does not run, no other does.
    order = [key for key in jobs if key not in remarks]
    order.sort(key=lambda key: (lengths.index(key[0]), key[1] != PLAIN))
    runs: dict[tuple[int, str], list[Figures]] = {key: [] for key in jobs}
    total, parameters = repeats * len(order), None
    for number, (turn, (length, name)) in enumerate(product(range(repeats), order), start=1):
        if (length, name) in remarks:
            continue
        own, code = jobs[length, name]
        settings = {name: value for name, value in own.settings.items() if name != "loop"}
        inputs = {"dials": settings, "code": code, "environment": environment, "round": turn}
        digest = xxhash.xxh3_64_hexdigest(json.dumps(inputs, sort_keys=True).encode())
        kept = Kept(f"{digest}.json", KeptRun, "sameloop speed --lesson", schema=1)
        kept_run = None
        with suppress(SameLoopError):  # nothing is kept, or it is damaged
            kept_run = kept.read(folder / "kept")
        if kept_run is None or kept_run.of != inputs:
            announce(f"{number} of {total}: {length} tokens, {change_of(name).label}")
            try:
                kept_run = KeptRun(inputs, *_run(own, folder))
            except NotRunError as error:
                if name == PLAIN:
                    raise SameLoopError(str(error)) from None
                # The row of a change that cannot be run here says so.
                remarks[length, name], runs[length, name] = f"did not run: {error}", []
                continue
            (folder / "kept").mkdir(parents=True, exist_ok=True)
            kept.write(folder / "kept", kept_run)
        runs[length, name].append(kept_run.figures)
        parameters = kept_run.parameters
    rows = []
    for (length, name), (own, _) in jobs.items():
        remark = remarks.get((length, name)) or _remark(own)
        if (
            name == "fast"
            and (same := next((other for (at, other), (its, _) in jobs.items() if its == own), name)) != name
        ):
            remark = "; ".join(filter(None, (f"the same run as {change_of(same).label}", remark)))
        rows.append(Row(name, length, _shown_settings(own, config, length), runs[length, name], remark))
    return Lesson(job_name(config, parameters), config.model_dump(), rows, environment)


def _jobs(
    config: RunConfig, lengths: Sequence[int], folder: Path
) -> dict[tuple[int, str], tuple[RunConfig, dict[str, str]]]:
    """The settings and the code of each run, by length and change."""
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
    """What a time also depends on, apart from settings and code; the commit says no more than the code."""
    from shared.running.run import environment

    facts = {name: value for name, value in environment().items() if name != "git"}
    return {**facts, "processor": hardware.processor_name(), "cores": hardware.cores()}


@dataclass(frozen=True)
class KeptRun:
    """A run's figures, with everything that they depend on, and the number of its model's parameters."""

    of: dict[str, Any]
    figures: Figures
    parameters: int


def _obstacle(config: RunConfig) -> str:
    """Why this machine cannot run these settings; empty if it can."""
    from shared.determinism import check_device

    try:
        check_device(config)
    except SameLoopError as error:
        return f"not here: {error}"
    return ""


def _remark(config: RunConfig) -> str:
    """A remark on the numbers of this machine; empty if there is none."""
    known = hardware.bf16(config.use_cpu)
    if config.bf16 and not known.in_hardware:
        return f"without hardware for it ({known.why})"
    return ""


def _shown_settings(config: RunConfig, plain: RunConfig, length: int) -> str:
    different = plain.model_copy(update={"max_length": length}).differences(config)
    return " ".join(part for name, (_, value) in different.items() for part in flag(name, value))


class NotRunError(Exception):
    """A run that did not finish, with the reason in one line."""


def _run(config: RunConfig, folder: Path) -> tuple[Figures, int]:
    """Run the manual loop in a process of its own; returns its figures, and the number of the model's parameters.

    Raises:
        NotRunError: it did not finish.
        Interrupted: Ctrl-C or SIGTERM.
    """
    run, output, compiled = folder / "run", folder / "run.txt", folder / "compiled"
    shutil.rmtree(compiled, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*config.flags(), "--output-dir", str(run), "--overwrite-output-dir"]
    with cut_off(CUT_OFF), output.open("wb") as file, Family() as family:
        process = family.start(
            loop_argv("manual", *arguments),
            # What torch has cached of an earlier compilation would change the time of this one.
            {**child_environment(), "TORCHINDUCTOR_CACHE_DIR": str(compiled.resolve())},
            stdout=file,
            stderr=file,
        )
        with suppress(OSError):
            # If memory runs out, the system should end this process, and no other of the user's.
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000", encoding="ascii")
        returncode = process.wait()
    if returncode or not is_finished(run):
        lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        how = ending(returncode)
        how += ", probably because memory ran out" if returncode == -signal.SIGKILL else ""
        raise NotRunError(shown(last.removeprefix("sameloop: error: "), 200) if returncode > 0 and last else how)
    record = RunRecord.read(run)
    result = figures(record), record.start["parameters"]
    shutil.rmtree(run)  # the model is as large as a hundred of these figures' files
    shutil.rmtree(compiled, ignore_errors=True)
    output.unlink()
    return result
