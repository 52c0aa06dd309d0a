"""`sameloop check`: run a loop in its own process, judge its recording, and report which phases are right."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.check.child import record
from benchmarks.check.formats import clean, evidence
from benchmarks.check.job import OWN_SETTINGS, job_config, make_job
from benchmarks.check.recording import Event, RecordingError, RecordingWriter, TooLargeError, read_recording
from benchmarks.check.rubric import (
    DIFFERENT,
    EQUIVALENT,
    FAIL,
    FAILED,
    GOOD,
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
from benchmarks.check.workshop import Workshop
from shared.config import RunConfig
from shared.determinism import one_thread
from shared.errors import SameLoopError, shown
from shared.running.script import PACKAGES, LoopScript
from shared.starting.children import ROOT
from shared.starting.launch import Family, ending

if TYPE_CHECKING:
    from benchmarks.check.notes import Notes

# Errors of torch and Python for a number or a tensor that is too large for them or for the judge's memory.
TOO_MUCH = (RuntimeError, OverflowError, MemoryError)
LONGEST_WHY = 1000
# The events of a recording that are not part of the training.
NOT_JUDGED = ("begin", "refused", "returned", "raised", "gaps", "used")
# Judging a right loop takes a second, and 250 MB in addition to the imports.
JUDGE_SECONDS, JUDGE_MB = 120, 2000
# A result has about 20,000 characters.
LONGEST_RESULT = 4_000_000
# A check has its own values of these, which nobody hard-codes by chance.
FIXED_BY_CHECK = ("seed", "learning_rate")


class JudgeError(Exception):
    """The judge ended without a result: that is a bug of SameLoop."""


def check(
    file: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    points: Mapping[str, float] | None = None,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    workshop: Workshop | None = None,
) -> Result:
    """Run a loop and judge it, each in a process of its own.

    Args:
        file: the loop's.
        settings: of the job, as `job_config` takes them.
        points: of each item; 1 for an item that is not named.
        seconds, megabytes: the limits of the loop's process.
        workshop: starts the processes; None: a new one for this check.

    Raises:
        SameLoopError: there is no such file, or a setting is wrong.
    """
    settings = dict(settings or {})
    job_config(**settings)
    if not file.is_file():
        raise SameLoopError(f"{file}: there is no such file; `sameloop start` writes one to begin with")
    with (
        Workshop() if workshop is None else nullcontext(workshop) as workshop,
        running(workshop, file, settings, seconds, megabytes) as outcome,
    ):
        options = {
            "name": file.name,
            "outcome": {**outcome._asdict(), "recording": str(outcome.recording)},
            "settings": settings,
            "points": dict(points) if points else None,
            "own": str(file.resolve()),
        }
        judged = judge_in_process(workshop, options, outcome.recording.parent)
        if isinstance(judged, str):
            return failed_result(file.name, judged, points)
        return Result(**judged)


def failed_result(name: str, why: str, points: Mapping[str, float] | None) -> Result:
    """The result for a loop that could not be run or judged at all."""
    return Result(name, FAILED, make_rubric((), (), points), 0.0, 0.0, why=why)


def judge_in_process(workshop: Workshop, options: Mapping[str, Any], folder: Path) -> dict[str, Any] | str:
    """Judge in a separate process that has its own limits, because the recording may come from anybody.

    Args:
        workshop: starts the process.
        options: the arguments of `judge_here`.
        folder: holds its result until it is read.

    Returns:
        The fields of the result, or the reason why it cannot be judged.

    Raises:
        JudgeError: with the end of what the process printed.
    """
    file, output_file = folder / "result", folder / "output"
    with file.open("wb") as result, output_file.open("wb") as output, Family() as family:
        function = ("benchmarks.check.check", "judge_here")
        options = {**options, "memory_mb": JUDGE_MB}
        process = workshop.start(family, function, options, folder, output.fileno(), result.fileno())
        with suppress(subprocess.TimeoutExpired):
            process.wait(JUDGE_SECONDS)
        status = process.poll()
    if status is None or status < 0:
        how = "the judge was not done in time" if status is None else ending(status)
        return f"its recording is larger than can be judged ({how})"
    if status or file.stat().st_size > LONGEST_RESULT:
        raise JudgeError(output_file.read_text(encoding="utf-8", errors="replace")[-2000:])
    return json.loads(file.read_text(encoding="utf-8"))


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
    own_file = Path(options["own"])
    try:
        result = judge_run(options["name"], outcome, job_config(**options["settings"]), options["points"], own_file)
    except TooLargeError as error:
        result = failed_result(options["name"], outcome.stopped or str(error), options["points"])
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

    config, started = job_config(**(settings or {})), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="sameloop-check-") as folder,
        one_thread(),
        torch.random.fork_rng(devices=[]),
    ):
        recording = Path(folder) / "recording"
        with recording.open("wb") as file:
            writer = RecordingWriter(file)
            writer.write("begin", {})
            record(script, make_job(config), writer, Path(folder))
        outcome = Outcome(recording, None, 0, "", time.monotonic() - started, 0.0)
        return judge_run(script.name, outcome, config, None, None)


def judge_run(
    name: str, outcome: Outcome, config: RunConfig, points: Mapping[str, float] | None, own_file: Path | None
) -> Result:
    """Judge a recording; `own_file`: the loop's file, None if SameLoop's own loops may have called the model.

    Raises:
        TooLargeError: the recording is larger than that of any training.
    """
    import torch

    from benchmarks.check.judge import judge
    from benchmarks.check.notes import Notes

    events: list[Event] = []
    log, why = None, ""
    # The loop had one thread, too; with another number of threads the rounding differs.
    with one_thread(), torch.random.fork_rng(devices=[]):
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


# After a comparison -------------------------------------------------------------------------------


def check_diverged(loop: Path, config: RunConfig) -> Result:
    """Check the loop of a comparison that has diverged: compare each of its steps with the right one.

    The comparison knows where two whole runs diverge; everything after that has inherited the difference. A check
    computes every step again from the loop's own state, so it can separate a loop's own mistakes from their
    consequences.

    Args:
        loop: the file that ran.
        config: the arguments that it ran with. The check's small job has those of them that a check accepts.
    """
    return check(loop, {name: getattr(config, name) for name in OWN_SETTINGS if name not in FIXED_BY_CHECK})


def cause_sentences(result: Result) -> list[str]:
    """A sentence for each part of the loop that is wrong, or one that says that none is."""
    if result.verdict in GOOD:
        return [
            "step by step, on a check's small job, every part of your loop is right: what differs is something that "
            "a check leaves free (random numbers, the order of the examples, the last digits of a mean), or that it "
            "does not have (this run's other arguments, its data, its device)"
        ]
    wrong = [f"{row['item']}, {evidence(row)}" for row in result.rubric if row["status"] == FAIL]
    return [f"step by step, on a check's small job: {cause}" for cause in wrong or [result.why]]
