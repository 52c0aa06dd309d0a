"""Why another loss is passed to `backward()` though the model's loss is equal: a multiple of it, or another loss."""

from __future__ import annotations

import math

from benchmarks.judge.evidence import Evidence
from benchmarks.judge.finding import Finding
from benchmarks.judge.reported import UNIT
from shared.recording.record import RunRecord

# The quotient of two float32 losses is exact up to the rounding of both.
SAME_FACTOR = 2**-21


def loss_cause(evidence: Evidence) -> Finding:
    """Equal weights and batches, another loss passed to `backward()`: a multiple of the right one, or another one."""
    ours, theirs = evidence.lines
    mine, other = ours["losses"], theirs["losses"]
    values = {"manual": mine, "trainer": other}
    ratios = [a / b for a, b in zip(mine, other, strict=False) if b]
    same = ratios and all(math.isclose(ratio, ratios[0], rel_tol=SAME_FACTOR) for ratio in ratios)
    own = _own_ratios(evidence.manual)
    if own is None:
        # The model gave no loss: from one pass alone, a scale looks like another criterion.
        size, batches = len((ours.get("reviews") or [[]])[0]), len(mine)
        if same and (
            (len(ratios) > 1 and math.isclose(ratios[0], batches, rel_tol=SAME_FACTOR))
            or (size > 1 and math.isclose(ratios[0], size, rel_tol=SAME_FACTOR))
        ):
            return _scale(evidence, ratios[0])
        # A float32 mean of n losses, added up in another order, is off by about n units at most.
        if ratios and all(math.isclose(ratio, 1, rel_tol=max(size, 2) * UNIT) for ratio in ratios):
            return evidence.finding(
                "loss.rounding",
                "the loss's rounding: the model computes no loss in $loop, and the one passed to backward() is equal "
                f"but for the last digits ({mine[0]!r} in $loop, {other[0]!r} in $Trainer){_visible(evidence)}",
                values,
            )
        return evidence.finding(
            "loss.criterion",
            "the criterion: the model computes no loss in $loop, and the loss passed to backward() differs from "
            f"$Trainer's ({_text(mine)} in $loop, {_text(other)} in $Trainer); use the batch's mean cross-entropy",
            values,
        )
    if all(size > 1 and math.isclose(ratio, size, rel_tol=SAME_FACTOR) for ratio, _, size in own):
        return _scale(evidence, own[0][0])
    full = [ratio for ratio, batches, _ in own if batches == len(mine)]
    if all(math.isclose(ratio, full[0], rel_tol=SAME_FACTOR) for ratio in full):
        return _scale(evidence, ratios[0] if ratios else math.nan)
    return evidence.finding(
        "loss.criterion",
        f"the loss: the model's own loss is equal, but another one is passed to backward() ({_text(mine)} in $loop, "
        f"{_text(other)} in $Trainer). It is not a multiple of the model's: from pass to pass it is "
        f"{min(full):.6g} to {max(full):.6g} times that; check what the loss is made of",
        values,
    )


def _visible(evidence: Evidence) -> str:
    """The first step whose loss differs so much that four digits show it."""
    pairs = zip(evidence.manual.steps, evidence.trainer.steps, strict=False)
    factors = {
        ours["step"]: f"{ours['losses'][0] / theirs['losses'][0]:.4g}"
        for ours, theirs in pairs
        if ours["losses"] and theirs["losses"]
    }
    step = next((step for step, factor in factors.items() if factor != "1"), None)
    return f"; in step {step} it is {factors[step]} times $Trainer's" if step else ""


def _own_ratios(record: RunRecord) -> list[tuple[float, int, int]] | None:
    """Each loss passed to `backward()`, as a multiple of the model's own; its step's batches; its batch's reviews.

    None where that is not known: the model gave no loss, or one pass had none or several backward passes.
    """
    ratios = []
    for line in record.steps:
        pairs = list(zip(line["losses"], line["forward_losses"], strict=False))
        if len(line["losses"]) != len(line["forward_losses"]) or any(not own for _, own in pairs):
            return None
        sizes = map(len, line["reviews"])
        ratios += [(loss / own, len(pairs), size) for (loss, own), size in zip(pairs, sizes, strict=False)]
    return ratios


def _text(losses: list[float]) -> str:
    return ", ".join(f"{loss:.6g}" for loss in losses[:4]) or "none"


def _scale(evidence: Evidence, factor: float) -> Finding:
    """The right loss, times a number."""
    ours, theirs = evidence.lines
    size, batches = len((ours.get("reviews") or [[]])[0]), len(theirs["losses"])
    why = f", the batch's {size} examples: a sum, not a mean" if size > 1 and math.isclose(factor, size) else ""
    if not why and batches > 1 and math.isclose(factor, batches, rel_tol=SAME_FACTOR):
        why = f", the step's {batches} batches: divide each batch's loss by their number"
    # Groups of batches that are divided by the wrong number show in the short one only.
    smoothing = " and label smoothing" if evidence.trainer.config.label_smoothing_factor else ""
    return evidence.finding(
        "loss.scale",
        "the loss's scale: the model's loss is equal, the one passed to backward() is not (in $loop "
        f"{factor:.6g} times $Trainer's{why}); check what it is "
        f"divided by, gradient_accumulation_steps or the size of a short last group{smoothing}",
        {"factor": factor},
    )
