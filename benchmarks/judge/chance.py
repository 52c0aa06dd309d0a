"""What chance can do to a share of right answers: how far it may be off, and whether two differ by more than that."""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95
# Below this probability a difference is called more than chance.
LEVEL = 1 - CONFIDENCE


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
