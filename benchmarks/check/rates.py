"""Judge the learning rate of every step, which depends on the number of steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.check.notes import Notes
from benchmarks.check.passes import Passes
from benchmarks.check.replay import Reference
from shared.config import RunConfig

# Learning rates are float64 numbers; a loop that computes them in float32 is off by a few u (2**-24).
RATE_BOUND = 1e-6
# Findings about steps that are not where they must be: these have moved the schedule's steps, too, so that wrong rates
# say nothing about the schedule.
OTHER_STEPS = ("step.missing", "step.empty", "step.number", "step.last", "step.none")
# The default learning rate of `torch.optim.AdamW`.
TORCHS_RATE = 1e-3


def judge_rates(rates: Sequence[float], passes: Passes, reference: Reference, notes: Notes) -> None:
    """Compare the learning rates of all steps with the right ones."""
    config = passes.config
    right = reference.learning_rates(config.total_steps())
    if not rates or list(rates) == right[: len(rates)]:
        return
    # A loop with another number of steps may have the right schedule for that number.
    own = reference.learning_rates(len(rates)) if passes.ended else right
    if _fits(rates[: len(right)], right, config) or _fits(rates, own, config):
        notes.exact = False
        return
    if any(map(notes.has, OTHER_STEPS)):
        notes.reached.discard("schedule step")
        return
    wrong = next(
        (k for k, (a, b) in enumerate(zip(rates, right, strict=False)) if not _is_close(a, b, config)), len(right)
    )
    explanation = _wrong_start(rates, (right, own), config)
    code = "schedule.rate" if explanation else _cause(list(rates), right, passes, reference)
    student, expected = (f"learning rate {line[min(wrong, len(line) - 1)]:.6g}" for line in (rates, right))
    notes.add(code, student, expected, wrong + 1, explanation=explanation)


def _wrong_start(rates: Sequence[float], schedules: Iterable[list[float]], config: RunConfig) -> str:
    """What to say of it if only the rate at the start of the schedule is wrong."""
    for right in schedules:
        scaled = [rate * right[0] / rates[0] for rate in rates] if rates[0] else []
        if scaled and right[0] and _fits(scaled, right, config) and len(set(rates)) > 1:
            return "0.001 is torch's own default" if rates[0] == TORCHS_RATE else f"is {rates[0]:g} hard-coded?"
    return ""


def _cause(rates: list[float], right: list[float], passes: Passes, reference: Reference) -> str:
    """The code of the wrong schedule that has these learning rates."""
    config, total, per_epoch = passes.config, len(right), passes.steps_per_epoch
    per_step = config.gradient_accumulation_steps
    candidates = {
        "schedule.constant": [rates[0]] * len(rates),
        "schedule.ahead": [*right[1:], 0.0],
        "schedule.behind": [right[0], *right[:-1]],
        "schedule.per_epoch": [right[k // per_epoch] for k in range(total)],
        "schedule.epoch_total": [*reference.learning_rates(per_epoch), *([0.0] * (total - per_epoch))],
        "schedule.batch_total": reference.learning_rates(passes.per_epoch * passes.epochs)[:total],
    }
    for code, candidate in candidates.items():
        if _fits(rates, candidate, config):
            return code
    if per_step > 1 and any(_fits(rates, schedule, config) for schedule in _moved_per_batch(total, passes, reference)):
        return "schedule.per_batch"
    if not _is_close(rates[0], right[0], config) and config.warmup_steps == 0:
        return "schedule.first"
    return "schedule.shape"


def _moved_per_batch(total: int, passes: Passes, reference: Reference) -> Iterator[list[float]]:
    """The rates of a schedule that moves after every batch, before or after the optimizer's step."""
    ends = [number for number, batch in enumerate(passes.batches, start=1) if batch.ends]
    rates = reference.learning_rates(total, len(passes.batches) + 1)
    for before in ([0, *ends], ends):
        yield [rates[count] for count in before][:total]


def _fits(rates: Sequence[float], right: Sequence[float], config: RunConfig) -> bool:
    pairs = zip(rates, right, strict=False)
    return len(rates) <= len(right) and all(_is_close(a, b, config) for a, b in pairs)


def _is_close(actual: float, right: float, config: RunConfig) -> bool:
    return math.isfinite(actual) and abs(actual - right) <= RATE_BOUND * config.learning_rate
