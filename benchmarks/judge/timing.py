"""What a step takes, and whether two loops can be told apart by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from shared.record import RunRecord, training_seconds

# Fewer steps than this tell nothing. From here on, two loops of which three quarters of the steps are faster than
# three quarters of the other's differ by more than chance (median test, two-sided, far below 5 %).
FEWEST_STEPS = 20
HINT = "`sameloop speed` runs both in turns"
# Of fewer pairs, not even the smallest and the largest ratio are a 95 % interval for the median.
FEWEST_RATIOS = 6


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


def interval_of_median(values: Sequence[float]) -> Spread:
    """The median, and a 95 % confidence interval for it: of at least `FEWEST_RATIOS` values two that occur.

    The interval belongs to the sign test and assumes nothing about how the values are distributed: each is above the
    true median or below it, like a coin's two sides, so the k-th smallest is above it where fewer than k are below
    (Conover, Practical Nonparametric Statistics, 3rd edition 1999, sections 3.2 and 3.4; Hahn and Meeker, Statistical
    Intervals, 1991, section 5.2). The largest k is taken with which both ends together fail in at most 5 %.
    """
    ordered, count = sorted(values), len(values)
    left_out, chance = 0, 2 / 2**count
    while chance + 2 * math.comb(count, left_out + 1) / 2**count <= 0.05:
        left_out += 1
        chance += 2 * math.comb(count, left_out) / 2**count
    return Spread(median(ordered), ordered[left_out], ordered[-1 - left_out])


def warm_steps(record: RunRecord) -> list[dict]:
    """The steps whose time says something: all but the first, which warms up, unless it is the only one."""
    return record.steps[1:] or record.steps


def step_seconds(record: RunRecord) -> Spread | None:
    """The seconds of a step, evaluation, checkpoints and recording left out; None where there is no step."""
    return spread_of([training_seconds(line) for line in warm_steps(record)]) if record.steps else None


def which_is_faster(manual: RunRecord, trainer: RunRecord) -> str:
    """One sentence on the time of a step by hand and Trainer's, with a ratio only where these runs can tell one.

    They can where there are enough steps, and where the middle halves of the two loops' steps do not meet. Held
    against each other step by step, the loops would more often look different when they are not: what slows a machine
    down lasts for many steps.
    """
    steps = min(len(warm_steps(record)) for record in (manual, trainer))
    ours, theirs = step_seconds(manual), step_seconds(trainer)
    if ours is None or theirs is None or steps < FEWEST_STEPS:
        return f"Time of a step: too few steps to tell the loops apart; {HINT}."
    if ours.low <= theirs.high and theirs.low <= ours.high:
        return f"Time of a step: no difference that these {steps:,} steps could tell; {HINT}."
    return (
        f"Time of a step, by hand / Trainer: {ours.median / theirs.median:.2f} (middle halves of {steps:,} steps: "
        f"{ours.low / theirs.high:.2f} to {ours.high / theirs.low:.2f}). A machine that was busier during one of the "
        f"runs looks the same; {HINT}."
    )


def duration(seconds: float) -> str:
    """Three digits, in milliseconds below a second: `3.04 ms`, `1.25 s`, `118 s`."""
    value, unit = (seconds * 1000, "ms") if seconds < 0.9995 else (seconds, "s")
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def unit_for(longest: float) -> tuple[str, float]:
    """The unit that an axis of up to so many seconds has, and by what seconds are multiplied for it."""
    return ("milliseconds", 1000.0) if longest < 1 else ("seconds", 1.0)


def range_text(spread: Spread) -> str:
    """`2.90 to 3.40 ms`."""
    (low, unit), high = duration(spread.low).split(), duration(spread.high)
    return f"{low}{'' if high.endswith(f' {unit}') else f' {unit}'} to {high}"
