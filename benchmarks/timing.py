"""What a step takes, and whether two loops can be told apart by it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from shared.record import RunRecord, training_seconds

# Fewer steps than this tell nothing. From here on, three quarters of the steps on one side of 1 are more than chance
# would give (sign test, two-sided, 5 %), so that the rule below needs no other.
FEWEST_STEPS = 20
HINT = "`sameloop speed` runs both in turns"


class Spread(NamedTuple):
    """A median, and between which values the middle half lies: at least a quarter is beyond either."""

    median: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of at least one value; `low` and `high` are values that occur."""
    ordered = sorted(values)
    quarter = (len(ordered) - 1) // 4
    return Spread(median(ordered), ordered[quarter], ordered[-1 - quarter])


def warm_steps(record: RunRecord) -> list[dict]:
    """The steps whose time says something: all but the first, which warms up, unless it is the only one."""
    return record.steps[1:] or record.steps


def step_seconds(record: RunRecord) -> Spread | None:
    """The seconds of a step, evaluation, checkpoints and recording left out; None where there is no step."""
    return spread_of([training_seconds(line) for line in warm_steps(record)]) if record.steps else None


def step_ratios(manual: RunRecord, trainer: RunRecord) -> list[float]:
    """Step by step, how many times as long the loop by hand took: both do the same work in the same step."""
    pairs = zip(manual.steps[1:], trainer.steps[1:], strict=False)
    seconds = [(training_seconds(ours), training_seconds(theirs)) for ours, theirs in pairs]
    return [ours / theirs for ours, theirs in seconds if theirs]


def which_is_faster(manual: RunRecord, trainer: RunRecord) -> str:
    """One sentence on the time of a step by hand and Trainer's, with a ratio only where these runs can tell one."""
    ratios = step_ratios(manual, trainer)
    if len(ratios) < FEWEST_STEPS:
        return f"Time per step: too few steps to tell the loops apart; {HINT}."
    found = spread_of(ratios)
    if found.low <= 1 <= found.high:
        return f"Time per step: no difference that these {len(ratios):,} steps could tell; {HINT}."
    return (
        f"Time per step, by hand / Trainer: {found.median:.2f}, the middle half of {len(ratios):,} steps "
        f"{found.low:.2f} to {found.high:.2f}. A machine that was busier during one run looks the same; {HINT}."
    )


def duration(seconds: float) -> str:
    """Three digits, in milliseconds below a second: `3.04 ms`, `1.25 s`, `118 s`."""
    value, unit = (seconds * 1000, "ms") if seconds < 0.9995 else (seconds, "s")
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def unit_for(longest: float) -> tuple[str, float]:
    """The unit that an axis of up to so many seconds has, and by what seconds are multiplied for it."""
    return ("ms", 1000.0) if longest < 1 else ("s", 1.0)


def spread_text(spread: Spread | None, missing: str = "–") -> str:
    """`3.04 ms (2.90 ms to 3.40 ms)`."""
    if spread is None:
        return missing
    return f"{duration(spread.median)} ({duration(spread.low)} to {duration(spread.high)})"
