"""What chance can do: to what a step takes, and to a share of right answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import NamedTuple

from shared.recording.record import RunRecord, training_seconds

# Fewer steps than this tell nothing. From here on, two loops of which three quarters of the steps are faster than
# three quarters of the other's differ by more than chance (median test, two-sided, far below 5 %).
FEWEST_STEPS = 20
HINT = "`sameloop speed` runs both in turns"
# Student's t, 97.5 %, with 19 degrees of freedom.
T_OF_FEWEST_STEPS = 2.093
RESAMPLES = 1000
CONFIDENCE = 0.95
# Below this probability a difference is called more than chance.
LEVEL = 1 - CONFIDENCE


class Spread(NamedTuple):
    """A middle, and between which values it is said to lie."""

    median: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """The median of at least one value, and the ends of the middle half, both values that occur."""
    ordered = sorted(values)
    quarter = (len(ordered) - 1) // 4
    return Spread(median(ordered), ordered[quarter], ordered[-1 - quarter])


def ratio_of_parts(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Spread:
    """By what the seconds of a step differ, ours / theirs, of steps taken in turn; with a 95 % confidence interval.

    What a busy machine adds to a step is short and large: a part of a step is mostly spared, a whole one seldom. So
    the median over the steps is taken for each part, and then the parts' ratios are put together, each weighed by its
    share of the time: exp(sum over the parts of share * median of log(ours / theirs)). What happens in fewer than half
    of the steps, as a log line does, is left out with the noise.

    The interval is that of the bootstrap over the steps: 2.093 of its standard errors, Student's t for
    `FEWEST_STEPS` steps and wider than need be for more (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapters 6 and 12).

    Args:
        ours, theirs: (steps, parts), seconds; at least `FEWEST_STEPS` steps. If the two do not have the same parts in
            every step, whole steps are held against each other.
    """
    # The command line asks this module how many steps are enough, and is to answer at once.
    import numpy as np

    if len({*map(len, ours), *map(len, theirs)}) > 1:
        ours, theirs = ([[sum(step)] for step in steps] for steps in (ours, theirs))
    mine, other = np.array(ours), np.array(theirs)
    logs, shares = np.log(mine / other), np.median(other, axis=0)
    shares /= shares.sum()
    draws = np.random.default_rng(0).integers(0, len(logs), (RESAMPLES, len(logs)))
    drawn = [float(shares @ np.median(logs[each], axis=0)) for each in draws]
    middle = float(shares @ np.median(logs, axis=0))
    error = T_OF_FEWEST_STEPS * float(np.std(drawn)) * math.sqrt(len(logs) / (len(logs) - 1))
    return Spread(*(math.exp(each) for each in (middle, middle - error, middle + error)))


def warm_steps(record: RunRecord) -> list[dict]:
    """The steps whose time says something: all but the first, which warms up, unless it is the only one."""
    return record.steps[1:] or record.steps


def step_seconds(record: RunRecord) -> Spread | None:
    """The seconds of a step, evaluation, checkpoints and recording left out; None where there is no step."""
    return spread_of([training_seconds(line) for line in warm_steps(record)]) if record.steps else None


def which_is_faster(manual: RunRecord, trainer: RunRecord, *, of: str = "manual / Trainer") -> str:
    """One sentence on the time of a step by hand and Trainer's, with a ratio only where these runs can tell one.

    They can where there are enough steps, and where the middle halves of the two loops' steps do not meet. Held
    against each other step by step, the loops would more often look different when they are not: what slows a machine
    down lasts for many steps.

    Args:
        manual, trainer: the runs.
        of: what the ratio is of.
    """
    told = ratio_of_steps(manual, trainer)
    if isinstance(told, str):
        return f"Time of a step: {told}; {HINT}."
    steps = min(len(warm_steps(record)) for record in (manual, trainer))
    return (
        f"Time of a step, {of}: {told.median:.2f} (middle halves of {steps:,} steps: {told.low:.2f} to "
        f"{told.high:.2f}). A machine that was busier during one of the runs looks the same; {HINT}."
    )


def ratio_of_steps(manual: RunRecord, trainer: RunRecord) -> Spread | str:
    """The ratio of the loops' steps, manual / Trainer, and the least and most of their middle halves; else why not."""
    steps = min(len(warm_steps(record)) for record in (manual, trainer))
    ours, theirs = step_seconds(manual), step_seconds(trainer)
    if ours is None or theirs is None or steps < FEWEST_STEPS:
        return "too few steps to tell the loops apart"
    if ours.low <= theirs.high and theirs.low <= ours.high:
        return f"no difference that these {steps:,} steps could tell"
    return Spread(ours.median / theirs.median, ours.low / theirs.high, ours.high / theirs.low)


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


def wilson(right: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies with 95 % confidence, when `right` of `count` were seen.

    The score interval of Wilson 1927, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22. It stays within 0 and 1, and is one of more than a point also where all
    answers are right, unlike plus and minus two standard errors.

    Args:
        right: from 0 to `count`; of several counts, their mean.
        count: at least 1.
    """
    z = NormalDist().inv_cdf(1 - LEVEL / 2)
    share, weight = right / count, z * z / count
    middle = share + weight / 2
    reach = z * math.sqrt(share * (1 - share) / count + weight / count / 4)
    low, high = (middle - reach) / (1 + weight), (middle + reach) / (1 + weight)
    # At the two ends the formula gives exactly 0 and 1, but for rounding.
    return (low if right else 0.0), (high if right < count else 1.0)


def mcnemar(only_one: int, only_other: int) -> float:
    """How likely a difference of this size or a larger one is between two that are equally good.

    The exact test of McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12: where just one of the two is right, it is either one with probability 1/2. What
    both get right, or both wrong, says nothing. Two-sided.

    Args:
        only_one, only_other: how many questions only the one, only the other has answered rightly.
    """
    count, fewer = only_one + only_other, min(only_one, only_other)
    term = total = 1
    for number in range(fewer):
        term = term * (count - number) // (number + 1)
        total += term
    # Whole numbers: of two that divide them Python rounds the quotient once, however large they are.
    return min(1.0, 2 * total / 2**count)
