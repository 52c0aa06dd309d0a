"""What two sequences of learning rates say of the schedules that made them."""

from __future__ import annotations

import math
from itertools import pairwise


def schedule_text(step: int, ours: list[float], theirs: list[float], batches: int, per_epoch: int) -> str:
    """What the two sequences of learning rates say; `batches`: how many make up one step of the manual loop.

    `per_epoch`: how many steps an epoch has.
    """
    count = min(len(ours), len(theirs))
    # Of the steps that both loops have.
    ours_both, theirs_both = ours[:count], theirs[:count]
    mine, other = ours[step - 1], theirs[step - 1]
    values = f"the schedule: {mine:.6g} against {other:.6g}"
    if _same_sequence(ours_both, theirs_both):
        return (
            f"the schedule's arithmetic: equal but for the last digits ({mine!r} against {other!r}); $Trainer "
            "multiplies the optimizer's rate by max(0, (steps - step) / steps)"
        )
    if step > 1 and len(set(ours_both)) == 1:
        return (
            f"the schedule: the learning rate did not change in $loop, at {mine:.6g} in the optimizer's groups; "
            "call scheduler.step() after every optimizer step, unless the optimizer changes the rate inside step()"
        )
    moves = [n for n, (before, now) in enumerate(pairwise(ours_both), start=1) if before != now]
    if step > 1 and per_epoch and moves and all(n % per_epoch == 0 for n in moves):
        return (
            f"{values}: in $loop the learning rate changes only when an epoch begins; call scheduler.step() after "
            "every optimizer step"
        )
    ratios = [a / b for a, b in zip(ours_both, theirs_both, strict=True) if b]
    if step == 1 and len(ratios) > 1 and all(math.isclose(ratio, ratios[0], rel_tol=1e-9) for ratio in ratios):
        return f"the learning rate: {ratios[0]:.6g} times $Trainer's at every step; check the optimizer's lr"
    # If Trainer's schedule changes at all: is ours ahead of it, or faster?
    if len(set(theirs_both)) > 1:
        if count > 2 and _same_sequence(ours_both[:-1], theirs_both[1:]):
            return (
                f"{values}: in $loop every step has the learning rate that $Trainer has one step later; call "
                "scheduler.step() after optimizer.step(), not before"
            )
        per_batch = f"in $loop it moves {batches} times per step; call scheduler.step() once, after optimizer.step()"
        if batches > 1 and _runs_ahead(ours_both, theirs_both[batches:], batches):
            return f"{values}: {per_batch}"
        check = "check its shape, the warm-up and the total number of steps"
        for speed in range(2, count) if step == 2 else ():
            if _runs_ahead(ours_both, theirs_both, speed):
                if speed == batches:
                    return f"{values}: {per_batch}"
                return f"{values}: in $loop it moves {speed} times as fast; {check}"
            if _runs_ahead(theirs_both, ours_both, speed):
                return f"{values}: in $loop it moves {speed} times as slowly; {check} (not of batches)"
    totals = _steps_to_zero(ours), _steps_to_zero(theirs)
    if all(totals) and totals[0] != totals[1] and math.isclose(ours[0], theirs[0], rel_tol=1e-9):
        return (
            f"{values}: in $loop the learning rate falls to 0 within {totals[0]} steps, in $Trainer within "
            f"{totals[1]}; check the total number of steps"
        )
    return f"{values}; check its shape, the warm-up and the total number of steps"


def _steps_to_zero(rates: list[float]) -> int | None:
    """Within how many steps the rates fall to 0 in a straight line; None if they do not."""
    if len(rates) < 3 or rates[0] <= rates[1]:
        return None
    total = round(rates[0] / (rates[0] - rates[1]))
    line = [rates[0] * max(0, total - n) / total for n in range(len(rates))]
    return total if _same_sequence(rates, line) else None


def _runs_ahead(fast: list[float], slow: list[float], speed: int) -> bool:
    """Whether every step of one schedule has the rate that the other has `speed` times as many steps later."""
    ahead = slow[::speed]
    return len(ahead) > 1 and _same_sequence(fast[: len(ahead)], ahead)


def _same_sequence(ours: list[float], theirs: list[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15) for a, b in zip(ours, theirs, strict=True))
