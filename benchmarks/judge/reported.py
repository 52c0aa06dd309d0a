"""What a loop reports about an evaluation, compared with what the evaluation's own batches give.

Right parts can be combined wrongly: divided by the number of batches, each batch weighed alike, in percent.
Each such way is computed from the recorded batches; the one whose result is the reported number is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.judge.finding import Finding, counted
from shared.recording.record import RunRecord

# A reported number may have been summed in float32, which holds 24 bits: n terms are off by about n / 2 units at most.
UNIT = 2**-24


def reported_evaluation(
    step: int, quantity: str, evaluation: dict[str, Any], manual: RunRecord, trainer: RunRecord
) -> Finding:
    """Why the reported number differs though the evaluation is equal.

    Args:
        step: the step that the evaluation follows.
        quantity: `eval_loss` or `eval_accuracy`.
        evaluation: the record's line of the manual loop's evaluation.
        manual, trainer: the two records.
    """
    mine, other = (
        next((line[quantity] for line in record.log_history if line.get("step") == step and quantity in line), None)
        for record in (manual, trainer)
    )
    values = {"manual": mine, "trainer": other}
    if other is None and mine is not None:
        return Finding("evaluate.number", step, f"the report: $Trainer reports no {quantity} here", values)
    if mine is None:
        reported = any(line.get("step") == step for line in manual.log_history)
        returned = f"no {quantity}" if reported and manual.log_history else "nothing"
        return Finding(
            "evaluate.not_reported",
            step,
            f"the report: the loop returned {returned} for this evaluation, which itself is equal; return its values",
            values,
        )
    samples = evaluation.get("samples", 1)
    if quantity == "eval_loss" and other is not None and math.isclose(mine, other, rel_tol=samples * UNIT):
        return Finding(
            "evaluate.rounding",
            step,
            "the evaluation's mean: equal but for the last digits; $Trainer repeats each batch's loss once per "
            "example and takes numpy's mean of them in float32, and every other way to add them up rounds differently",
            values,
        )
    if finding := _way(step, quantity, mine, evaluation, manual, other):
        return finding._replace(values=values)
    text = (
        "the evaluation's mean: the batches' losses are equal, the reported mean is not; weigh every "
        "example alike and average with numpy"
        if quantity == "eval_loss"
        else "the evaluation's metric: the predictions are equal, the reported accuracy is not"
    )
    return Finding("evaluate.number", step, f"{text} ({mine:.6g} in $loop, {other:.6g} in $Trainer)", values)


def wrongly_reported(manual: RunRecord) -> Iterator[Finding]:
    """Numbers that a loop reports about its own evaluations and that these do not give, where it is known how."""
    for line in manual.log_history:
        evaluation = next((candidate for candidate in manual.evaluations if candidate["step"] == line.get("step")), {})
        for quantity in ("eval_loss", "eval_accuracy"):
            expected = evaluation.get(quantity.removeprefix("eval_"))
            mine = line.get(quantity)
            if expected is None or mine is None or math.isclose(mine, expected, rel_tol=evaluation["samples"] * UNIT):
                continue
            if finding := _way(line["step"], quantity, mine, evaluation, manual):
                yield finding


def _way(
    step: int,
    quantity: str,
    mine: float,
    evaluation: dict[str, Any],
    manual: RunRecord,
    other: float | None = None,
) -> Finding | None:
    """The way in which the reported number was computed from the evaluation's batches, if it is a known one.

    Where that is the mean over the examples, it is the other number, `other`, that was computed in another way.
    """
    sizes = evaluation.get("batch_sizes") or []
    parts = evaluation.get("losses" if quantity == "eval_loss" else "correct") or []
    if not sizes or len(parts) != len(sizes) or None in parts:
        return None
    in_epoch = sum(len(line["batch"]) for line in manual.steps[: manual.steps_per_epoch])
    samples = evaluation.get("samples", 1)
    training, rounding = (manual.config.train_size, in_epoch), max(samples, 8) * UNIT
    way = way_of(quantity, mine, sizes, parts, training, rounding)
    if way is None:
        return None
    subject = "the evaluation's mean" if quantity == "eval_loss" else "the evaluation's metric"
    own = evaluation.get(quantity.removeprefix("eval_"))
    if other is not None and own is not None and math.isclose(mine, own, rel_tol=rounding):
        theirs = way_of(quantity, other, sizes, parts, training, rounding)
        as_what = f"is {theirs[1]}" if theirs else "is not"
        return Finding(
            way[0],
            step,
            f"{subject}: {mine:.6g} in $loop is the mean over the {samples} examples; {other:.6g} in $Trainer "
            f"{as_what}",
        )
    advice = "do not round it" if way[0] == "evaluate.mean" else "weigh every example alike"
    return Finding(
        way[0],
        step,
        f"{subject}: {mine:.6g} in $loop is {way[1]}; $Trainer reports the mean over the {samples} examples: {advice}",
    )


def way_of(
    quantity: str,
    mine: float,
    sizes: Sequence[int],
    parts: Sequence[float],
    training: tuple[int, int],
    rounding: float,
) -> tuple[str, str] | None:
    """In which way a number was computed from an evaluation's batches: a finding's code, and the way in words.

    Args:
        quantity: `eval_loss` or `eval_accuracy`.
        mine: the number.
        sizes: the batches' sizes.
        parts: each batch's mean loss, or how many of its answers are right.
        training: how many reviews, and batches, an epoch of the training has.
        rounding: two numbers are the same up to this relative difference.

    Returns:
        None if it was none of the known ways.
    """
    for code, how, value in _ways(quantity, sizes, parts, training):
        rounded = next((f", rounded to {places} places" for places in range(2, 7) if round(value, places) == mine), "")
        if rounded or math.isclose(mine, value, rel_tol=rounding):
            return code, f"{how}{rounded}"
    return None


def _ways(
    quantity: str, sizes: Sequence[int], parts: Sequence[float], training: tuple[int, int]
) -> Iterator[tuple[str, str, float]]:
    """Ways to combine the batches' parts wrongly: a code, the words for it, and the result."""
    # Sums over reviews: a batch's loss is a mean, its number of right answers is a sum already.
    sums = [a * b for a, b in zip(parts, sizes, strict=True)] if quantity == "eval_loss" else list(parts)
    means = [total / size for total, size in zip(sums, sizes, strict=True)]
    name = "loss" if quantity == "eval_loss" else "right answers"
    batches, reviews = len(sizes), sum(sizes)
    yield "evaluate.mean", "the right mean", sum(sums) / reviews
    yield (
        "evaluate.mean_of_means",
        f"the mean of the {counted(batches, 'batch')}' means, each weighed alike",
        sum(means) / batches,
    )
    yield (
        "evaluate.by_batches",
        f"the sum of the {name} divided by {batches}, the number of batches",
        sum(sums) / batches,
    )
    yield "evaluate.percent", "in percent", 100 * sum(sums) / reviews
    yield "evaluate.last_batch_only", "the last batch's alone", means[-1]
    yield "evaluate.sum", "a sum, not a mean", sum(means)
    yield "evaluate.sum", "a sum, not a mean", sum(sums)
    others = {
        "the number of training examples": training[0],
        "the number of training batches": training[1],
        "the batch size": sizes[0],
        "the number of full batches times the batch size": sizes[0] * batches,
    }
    for divisor, count in others.items():
        yield "evaluate.divided", f"the sum over the examples divided by {count}, {divisor}", sum(sums) / count
        yield "evaluate.divided", f"the sum of the batches' means divided by {count}, {divisor}", sum(means) / count
