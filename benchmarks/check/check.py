"""`sameloop check`: run a loop in its own process, judge its recording, and report which phases are right."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.check.apart import judge_in_process
from benchmarks.check.bounds import exceeded_limit
from benchmarks.check.child import record
from benchmarks.check.formats import clean
from benchmarks.check.job import job_config, make_job
from benchmarks.check.recording import Event, RecordingError, RecordingWriter, read_recording
from benchmarks.check.rubric import (
    DIFFERENT,
    EQUIVALENT,
    FAIL,
    FAILED,
    HINTS,
    IDENTICAL,
    ITEMS,
    NOT_REACHED,
    PASS,
    UNFINISHED,
    Result,
    make_rubric,
)
from benchmarks.check.runner import MEGABYTES, SECONDS, Outcome, running
from benchmarks.check.sandbox import limit_memory
from benchmarks.check.workshop import Workshop, use_workshop
from shared.config import RunConfig
from shared.errors import SameLoopError, shown
from shared.running.script import PACKAGES, LoopScript
from shared.starting.children import ROOT

if TYPE_CHECKING:
    from benchmarks.check.notes import Notes

# Errors of torch and Python for a number or a tensor that is too large for them or for the judge's memory.
TOO_MUCH = (RuntimeError, OverflowError, MemoryError)
LONGEST_WHY = 1000
# The events of a recording that are not part of the training.
NOT_JUDGED = ("begin", "refused", "returned", "raised", "gaps", "used")


def check(
    file: Path | None,
    settings: Mapping[str, Any] | None = None,
    *,
    points: Mapping[str, float] | None = None,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    workshop: Workshop | None = None,
) -> Result:
    """Run a loop and judge it, each in a process of its own.

    Args:
        file: the loop's; None: the package's manual loop.
        settings: of the job, as `job_config` takes them.
        points: of each item; 1 for an item that is not named.
        seconds, megabytes: the limits of the loop's process.
        workshop: starts the processes; None: a new one for this check.

    Raises:
        SameLoopError: there is no such file, or a setting is wrong.
    """
    settings = dict(settings or {})
    job_config(**settings)
    if file is not None and not file.is_file():
        raise SameLoopError(f"{file}: there is no such file; `sameloop start` writes one to begin with")
    with use_workshop(workshop) as workshop, running(file, settings, seconds, megabytes, workshop) as outcome:
        name = "manual_loop/train.py" if file is None else file.name
        options = {
            "name": name,
            "outcome": {**outcome._asdict(), "recording": str(outcome.recording)},
            "settings": settings,
            "points": dict(points) if points else None,
            "own": None if file is None else str(file.resolve()),
        }
        judged = judge_in_process(workshop, options, outcome.recording.parent)
        if isinstance(judged, str):
            return failed_result(name, judged, points)
        return Result(**judged)


def failed_result(name: str, why: str, points: Mapping[str, float] | None) -> Result:
    """The result for a loop that could not be run or judged at all."""
    rubric = make_rubric((), (), points)
    return Result(name, FAILED, rubric, 0.0, float(sum(row["most"] for row in rubric)), 0.0, why=why)


def judge_here(arguments: Sequence[str]) -> int:
    """Judge a recording and write the result to an open file, as JSON; this runs in the judge's process.

    Args:
        arguments: one, JSON: the options that `check` makes, `number` (of the open file) and `memory_mb`.
    """
    import benchmarks.check.judge
    import benchmarks.check.warm  # noqa: F401 - so that the memory limit does not count the imports

    options = json.loads(arguments[0])
    limit_memory(options["memory_mb"])
    outcome = Outcome(**{**options["outcome"], "recording": Path(options["outcome"]["recording"])})
    own_file = None if options["own"] is None else Path(options["own"])
    if too_much := exceeded_limit(outcome.recording):
        result = failed_result(options["name"], outcome.stopped or too_much, options["points"])
    else:
        result = judge_run(options["name"], outcome, job_config(**options["settings"]), options["points"], own_file)
    result = dataclasses.replace(
        result, why=shown(result.why, LONGEST_WHY), output=clean(result.output), traceback=clean(result.traceback)
    )
    with os.fdopen(options["number"], "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(result), file)
    return 0


def check_script(script: LoopScript, settings: Mapping[str, Any] | None = None) -> Result:
    """Run a script of SameLoop, perhaps with a planted mistake, in this process, and judge it as `check` does.

    For the gallery and for tests: trusted code needs no process of its own, whose imports take most of a check.

    Raises:
        SameLoopError: a setting is wrong.
    """
    import torch

    config = job_config(**(settings or {}))
    threads, started = torch.get_num_threads(), time.monotonic()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="sameloop-check-") as folder, torch.random.fork_rng(devices=[]):
            recording = Path(folder) / "recording"
            with recording.open("wb") as file:
                writer = RecordingWriter(file)
                writer.write("begin", {})
                record(script, make_job(config), writer, Path(folder))
            outcome = Outcome(recording, None, 0, "", time.monotonic() - started, 0.0)
            return judge_run(script.name, outcome, config, None, None)
    finally:
        torch.set_num_threads(threads)


def judge_run(
    name: str, outcome: Outcome, config: RunConfig, points: Mapping[str, float] | None, own_file: Path | None
) -> Result:
    """Judge a recording; `own_file`: the loop's file, None if SameLoop's own loops may have called the model."""
    import torch

    from benchmarks.check.judge import judge
    from benchmarks.check.notes import Notes

    threads = torch.get_num_threads()
    # The loop had one thread, too; with another number of threads the rounding differs.
    torch.set_num_threads(1)
    events: list[Event] = []
    log, why = None, ""
    try:
        with torch.random.fork_rng(devices=[]):
            notes, job = Notes(), make_job(config)
            try:
                events = list(read_recording(outcome.recording))
                log = events[-1]["log"] if events and events[-1].kind == "returned" else None
                why = _failure_reason(outcome, events, own_file)
                judge(job, [event for event in events if event.kind not in NOT_JUDGED], log, notes)
            except (RecordingError, KeyError, IndexError, TypeError, ValueError, AttributeError, *TOO_MUCH) as error:
                # What `watch` writes is consistent; if the recording is not, the loop has written to it.
                reason = f"{type(error).__name__}: {shown(error, 80)}"
                why = why or f"its recording is not consistent ({reason}): the loop has tampered with it"
    finally:
        torch.set_num_threads(threads)
    if not why and not notes.reached >= {"step", "forward"}:
        no_training = (
            "no training was seen: the loop must call the model, loss.backward() and the step() of a torch optimizer"
        )
        why = next((finding.text for finding in notes.findings), no_training)
    return _result(name, outcome, events, notes, why, points)


def _result(
    name: str, outcome: Outcome, events: Sequence[Event], notes: Notes, why: str, points: Mapping[str, float] | None
) -> Result:
    """The result of a recording that was judged; `why`: the reason of a failure, empty if there is none."""
    raised = next((event for event in events if event.kind == "raised"), None)
    open_items = _open_items(events, notes.reached)
    is_unfinished = bool(open_items) and not why
    if is_unfinished:
        why = _next_gap(open_items)
    rubric = make_rubric(notes.findings, notes.reached, points, open_items)
    statuses = {row["status"] for row in rubric}
    if not why and statuses == {PASS, NOT_REACHED}:
        why = "not every phase of a training was seen"
    if why:
        verdict = UNFINISHED if is_unfinished else FAILED
    elif FAIL in statuses:
        verdict = DIFFERENT
    else:
        verdict = IDENTICAL if notes.exact else EQUIVALENT
    # What was right before a crash counts, and the part of a loop with gaps that is written.
    counts = verdict != FAILED or (raised is not None and why == raised["line"])
    return Result(
        name=name,
        verdict=verdict,
        rubric=rubric,
        score=float(sum(row["points"] for row in rubric)) if counts else 0.0,
        most=float(sum(row["most"] for row in rubric)),
        seconds=outcome.seconds,
        why=why,
        peak_mb=outcome.peak_mb,
        rounding=notes.rounding,
        smallest=notes.smallest,
        output=outcome.output,
        traceback=raised["traceback"] if raised else "",
    )


def _open_items(events: Sequence[Event], reached: set[str]) -> list[str]:
    """The items whose gap is still open, in the skeleton's order.

    While `batch` is open, `shuffle` and `collator` cannot be judged unless the loop's were used: those that were not
    are taken out of `reached`.
    """
    open_gaps: list[str] = next((event["open"] for event in events if event.kind == "gaps"), [])
    used: list[str] = next((event["phases"] for event in events if event.kind == "used"), [])
    if "batch" in open_gaps:
        reached -= {"shuffle", "collator"} - set(used)
    return [item for item in open_gaps if item in ITEMS]


def _next_gap(open_items: Sequence[str]) -> str:
    """`9 gaps are still open; the next is clip: How long may it be?`"""
    count = "1 gap is" if len(open_items) == 1 else f"{len(open_items)} gaps are"
    return f"{count} still open; the next is {open_items[0]}. {HINTS[open_items[0]]}"


def _forbidden_caller(events: Sequence[Event], own_file: Path) -> str | None:
    """Who called the model instead of the loop: transformers' Trainer or SameLoop; None if neither did."""
    callers = {caller for event in events if event.kind == "forward" for caller in event["callers"]}
    for caller in callers - {str(own_file.resolve())}:
        # The module is checked, too, because code can be compiled under any file name.
        if caller.replace("\\", "/").endswith("transformers/trainer.py") or caller == "transformers.trainer":
            return "transformers' Trainer"
        is_ours = any(Path(caller).is_relative_to(ROOT / package) for package in PACKAGES)
        if is_ours or caller.partition(".")[0] in PACKAGES:
            return "SameLoop's own loop"
    return None


def _failure_reason(outcome: Outcome, events: Sequence[Event], own_file: Path | None) -> str:
    """Why there is no verdict, in one sentence; empty if there can be a verdict."""
    if outcome.stopped:
        return outcome.stopped
    refused = next((event["what"] for event in events if event.kind == "refused"), None)
    if refused:
        return refused
    if own_file is not None and (other := _forbidden_caller(events, own_file)):
        return f"the loop does not train by itself: {other} does"
    if not events:
        return (
            f"its process ended before the loop began (exit status {outcome.status}): {outcome.output[-300:].strip()}"
        )
    last = events[-1]
    if last.kind == "raised":
        if last["type"] == "MemoryError" or ("alloc" in last["line"] and "memory" in last["line"]):
            return f"it took too much memory ({last['line']})"
        return last["line"]
    if last.kind != "returned":
        ending = f"signal {-outcome.status}" if outcome.status < 0 else f"exit status {outcome.status}"
        return f"it ended its process before the training was done ({ending})"
    return ""
