"""Why another loss is handed to `backward()` though the model gives the same: a scale of the right one, or another."""

from __future__ import annotations

import math

from benchmarks.judge.evidence import Evidence
from benchmarks.judge.finding import Finding
from shared.recording.record import RunRecord

# Two float32 losses whose quotient is one number have it up to the rounding of both.
SAME_FACTOR = 2**-21


def loss_cause(evidence: Evidence) -> Finding:
    """Equal weights and batches, another loss handed to `backward()`: a scale of the right one, or another one."""
    ours, theirs = evidence.lines
    mine, other = ours["losses"], theirs["losses"]
    values = {"manual": mine, "trainer": other}
    ratios = [a / b for a, b in zip(mine, other, strict=False) if b]
    same = ratios and all(math.isclose(each, ratios[0], rel_tol=SAME_FACTOR) for each in ratios)
    own = _own_ratios(evidence.manual)
    if own is None:
        # The model gave no loss: one pass alone cannot tell a scale from another criterion.
        size, batches = len((ours.get("reviews") or [[]])[0]), len(mine)
        if same and (
            (len(ratios) > 1 and math.isclose(ratios[0], batches, rel_tol=SAME_FACTOR))
            or (size > 1 and math.isclose(ratios[0], size, rel_tol=SAME_FACTOR))
        ):
            return _scale(evidence, ratios[0])
        return evidence.finding(
            "loss.criterion",
            "the criterion: the model computes no loss in $loop, and the one handed to backward() is another than the "
            f"model's ({_shown(mine)} in $loop, {_shown(other)} in $Trainer); use the mean cross-entropy of the batch",
            **values,
        )
    if all(size > 1 and math.isclose(each, size, rel_tol=SAME_FACTOR) for each, _, size in own):
        return _scale(evidence, own[0][0])
    full = [each for each, batches, _ in own if batches == len(mine)]
    if all(math.isclose(each, full[0], rel_tol=SAME_FACTOR) for each in full):
        return _scale(evidence, ratios[0] if ratios else math.nan)
    return evidence.finding(
        "loss.criterion",
        f"the loss: the model's own loss is equal, but another one is handed to backward() ({_shown(mine)} in $loop, "
        f"{_shown(other)} in $Trainer). It is no multiple of the model's: from pass to pass it is "
        f"{min(full):.6g} to {max(full):.6g} times that; check what the loss is made of",
        **values,
    )


def _own_ratios(record: RunRecord) -> list[tuple[float, int, int]] | None:
    """By what each loss handed to `backward()` is larger than the model's own, the batches of its step, its reviews.

    None where that cannot be told: the model gave no loss, or one pass had none or several backward passes.
    """
    found = []
    for line in record.steps:
        pairs = list(zip(line["losses"], line["forward_losses"], strict=False))
        if len(line["losses"]) != len(line["forward_losses"]) or any(not own for _, own in pairs):
            return None
        sizes = map(len, line["reviews"])
        found += [(loss / own, len(pairs), size) for (loss, own), size in zip(pairs, sizes, strict=False)]
    return found


def _shown(losses: list[float]) -> str:
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
        "the loss's scale: the model's loss is equal, the one handed to backward() is not (in $loop "
        f"{factor:.6g} times $Trainer's{why}); check what it is "
        f"divided by, gradient_accumulation_steps or the size of a short last group{smoothing}",
        factor=factor,
    )
