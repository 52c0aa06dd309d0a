"""Random variation: of the time of a step, and of a share of right answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import NamedTuple

from shared.recording.record import RunRecord, training_seconds

# With fewer steps nothing can be concluded. From this number on, if three quarters of one loop's steps are faster than
# three quarters of the other's, they differ by more than chance (median test, two-sided, far below 5 %).
FEWEST_STEPS = 20
HINT = "to compare the times, use `sameloop speed`: it runs both in turns"
# Student's t, 97.5 %, with 19 degrees of freedom.
T_OF_FEWEST_STEPS = 2.093
RESAMPLES = 1000
CONFIDENCE = 0.95
# Below this probability a difference counts as more than chance.
LEVEL = 1 - CONFIDENCE


class Spread(NamedTuple):
    """A median or mean, and the ends of its range."""

    median: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """The median of at least one value, and the ends of the middle half, both values that occur."""
    ordered = sorted(values)
    quarter = (len(ordered) - 1) // 4
    return Spread(median(ordered), ordered[quarter], ordered[-1 - quarter])


def ratio_of_parts(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Spread:
    """The ratio of the seconds of a step, ours / theirs, for steps taken in turn; with a 95 % confidence interval.

    A busy machine delays a step rarely but by much: most parts of a step are not affected, but few whole steps. So
    the median over the steps is taken for each part, and then the parts' ratios are combined, each weighted by its
    share of the time: exp(sum over the parts of share * median of log(ours / theirs)). What happens in fewer than half
    of the steps, such as a log line, is left out together with the noise.

    The interval is that of the bootstrap over the steps: 2.093 of its standard errors, Student's t for
    `FEWEST_STEPS` steps, and too wide for more (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapters 6 and 12).

    Args:
        ours, theirs: (steps, parts), seconds; at least `FEWEST_STEPS` steps. If the two do not have the same parts in
            every step, whole steps are compared.
    """
    # The command line imports this module for `FEWEST_STEPS`, and must answer at once.
    import numpy as np

    if len({*map(len, ours), *map(len, theirs)}) > 1:
        ours, theirs = ([[sum(step)] for step in steps] for steps in (ours, theirs))
    mine, other = np.array(ours), np.array(theirs)
    logs, shares = np.log(mine / other), np.median(other, axis=0)
    shares /= shares.sum()
    draws = np.random.default_rng(0).integers(0, len(logs), (RESAMPLES, len(logs)))
    ratios = [float(shares @ np.median(logs[sample], axis=0)) for sample in draws]
    middle = float(shares @ np.median(logs, axis=0))
    error = T_OF_FEWEST_STEPS * float(np.std(ratios)) * math.sqrt(len(logs) / (len(logs) - 1))
    return Spread(*(math.exp(log) for log in (middle, middle - error, middle + error)))


def warm_steps(record: RunRecord) -> list[dict]:
    """The steps whose time counts: all but the first, which warms up, unless it is the only one."""
    return record.steps[1:] or record.steps


def step_seconds(record: RunRecord) -> Spread | None:
    """The seconds of a step, without evaluation, checkpoints and recording; None where there is no step."""
    return spread_of([training_seconds(line) for line in warm_steps(record)]) if record.steps else None


def which_is_faster(manual: RunRecord, trainer: RunRecord, *, of: str = "manual / Trainer") -> str:
    """One sentence on the time of a step in both loops, with a ratio only where these runs show a difference.

    They do where there are enough steps, and where the middle halves of the two loops' steps do not overlap. Compared
    step by step, the loops would more often look different when they are not: what slows a machine down lasts for
    many steps.
    `of` is the name of the ratio.
    """
    ratio = ratio_of_steps(manual, trainer)
    if isinstance(ratio, str):
        return f"Time of a step: {ratio}; {HINT}."
    steps = min(len(warm_steps(record)) for record in (manual, trainer))
    return (
        f"Time of a step, {of}: {ratio.median:.2f} (middle halves of {steps:,} steps: {ratio.low:.2f} to "
        f"{ratio.high:.2f}). A machine that was busier during one of the runs looks the same; {HINT}."
    )


def ratio_of_steps(manual: RunRecord, trainer: RunRecord) -> Spread | str:
    """The ratio of the loops' steps, manual / Trainer, with its range from their middle halves; else a reason."""
    steps = min(len(warm_steps(record)) for record in (manual, trainer))
    ours, theirs = step_seconds(manual), step_seconds(trainer)
    if ours is None or theirs is None or steps < FEWEST_STEPS:
        return "too few steps to tell the loops apart"
    if ours.low <= theirs.high and theirs.low <= ours.high:
        return f"no clear difference in {steps:,} steps, without the first"
    return Spread(ours.median / theirs.median, ours.low / theirs.high, ours.high / theirs.low)


def duration(seconds: float) -> str:
    """Three digits, in milliseconds below a second: `3.04 ms`, `1.25 s`, `118 s`."""
    value, unit = (seconds * 1000, "ms") if seconds < 0.9995 else (seconds, "s")
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def unit_for(longest: float) -> tuple[str, float]:
    """The unit of an axis of up to so many seconds, and the factor from seconds to it."""
    return ("milliseconds", 1000.0) if longest < 1 else ("seconds", 1.0)


def range_text(spread: Spread) -> str:
    """`2.90 to 3.40 ms`."""
    (low, unit), high = duration(spread.low).split(), duration(spread.high)
    return f"{low}{'' if high.endswith(f' {unit}') else f' {unit}'} to {high}"


def wilson(right: float, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, when `right` of `count` were observed.

    The score interval of Wilson 1927, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22. It stays within 0 and 1, and has a width above zero even where all
    answers are right, unlike plus and minus two standard errors.

    Args:
        right: from 0 to `count`; for several counts, their mean.
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
    """The probability of a difference of this size or larger between two models that are equally good.

    The exact test of McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12: where just one of the two is right, it is either one with probability 1/2. What
    both get right, or both wrong, does not count. Two-sided.

    Args:
        only_one, only_other: how many examples only the one, only the other model has classified correctly.
    """
    count, fewer = only_one + only_other, min(only_one, only_other)
    term = total = 1
    for number in range(fewer):
        term = term * (count - number) // (number + 1)
        total += term
    # Whole numbers: Python rounds their quotient only once, however large they are.
    return min(1.0, 2 * total / 2**count)
