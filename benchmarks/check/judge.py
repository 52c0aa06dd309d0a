"""Judge a loop's recording: compare each step with the right one, and the whole run with what a run must contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.check.evaluations import EvaluationJudge
from benchmarks.check.job import Job
from benchmarks.check.notes import Notes
from benchmarks.check.order import judge_order, judge_seeds
from benchmarks.check.passes import Passes
from benchmarks.check.rates import judge_rates
from benchmarks.check.recording import Event
from benchmarks.check.replay import Reference
from benchmarks.check.steps import StepJudge
from benchmarks.judge.finding import counted


def judge(job: Job, events: Sequence[Event], log: Sequence[dict[str, Any]] | None, notes: Notes) -> None:
    """Judge one run.

    Args:
        job: the loop's arguments; this changes the weights of its model.
        events: of the recording.
        log: what the loop returned; None if it did not finish.
        notes: receives the findings, also those before an error in an inconsistent recording.

    Raises:
        RecordingError, KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError: it is inconsistent.
    """
    events = _without_steps_before(events, job, notes)
    passes = Passes(job, events, ended=log is not None)
    part = next((event["name"] for event in events if event.kind == "part"), None)
    if part is not None and not passes.batches:
        notes.reached.add("forward")
        notes.add("forward.part", part, "model(...)", 1)
        return
    reference = Reference(job)
    if passes.batches:
        judge_order(passes, notes)
        judge_seeds(passes, notes)
    steps = StepJudge(passes, reference, notes)
    steps.judge(events)
    judge_rates(steps.rates, passes, reference, notes)
    EvaluationJudge(passes, reference, notes).judge(log)


def _without_steps_before(events: Sequence[Event], job: Job, notes: Notes) -> Sequence[Event]:
    """The events without extra steps that another optimizer makes first, as in a learning-rate search."""
    steps = [number for number, event in enumerate(events) if event.kind == "step"]
    objects = [events[number]["object"] for number in steps]
    first = objects.count(0)
    if len(objects) <= job.config.total_steps() or objects != sorted(objects) or not 0 < first <= len(objects) // 2:
        return events
    made, due = (counted(count, "step") for count in (len(objects), job.config.total_steps()))
    notes.add("step.before", made, due, 1, first=counted(first, "step"), others=len(objects) - first)
    return events[steps[first - 1] + 1 :]
