"""Ways of working in which a loop differs from `Trainer`: facts that hold whatever the numbers are.

The optimizer's settings, the mode, the schedule, the clip, what was left in the gradients: a loop with three mistakes
has three findings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

from benchmarks.judge.finding import (
    Finding,
    counted,
    differing_inputs,
    follows_evaluation,
    line_of,
    missing_of,
    more_than,
    names_of,
)
from benchmarks.judge.reported import wrongly_reported
from benchmarks.judge.schedules import schedule_text
from shared.recording.record import RunRecord

# A norm after a clip is equal to the limit up to the rounding of one division and one product in float32.
ROUNDING = 1e-4


def findings(manual: RunRecord, trainer: RunRecord) -> list[Finding]:
    """Every way of working in which the two loops differ, in the order of a step; one finding per topic."""
    by_topic: dict[str, Finding] = {}
    start = (Finding(code, 0, text) for code, text in _start(manual, trainer))
    rules = (_optimizers, _by_step, _schedule, _evaluations)
    for finding in chain(start, *(rule(manual, trainer) for rule in rules)):
        by_topic.setdefault(finding.topic, finding)
    return list(by_topic.values())


def _start(manual: RunRecord, trainer: RunRecord) -> Iterator[tuple[str, str]]:
    """What differs before the first step, a code and its text each."""
    if not manual.start.get("is_given", True):
        text = (
            "the model: your loop calls and trains another model than the one that train() got, such as a copy of it; "
            "the model that train() got is saved, and stays as it was. Train that one"
        )
        yield "model.copy", text
    frozen = [set(record.start.get("frozen", [])) for record in (manual, trainer)]
    if extra := sorted(frozen[0] - frozen[1]):
        yield "model.frozen", f"frozen weights: {names_of(extra)} cannot learn in $loop (requires_grad is False)"
    elif extra := sorted(frozen[1] - frozen[0]):
        yield "model.not_frozen", f"frozen weights: {names_of(extra)} learn in $loop, and must not (freeze_body)"
    ours, theirs = (record.start.get("dtypes") for record in (manual, trainer))
    if ours != theirs and ours and theirs:
        yield "dtype.weights", f"the weights' type: {' and '.join(ours)} in $loop, {' and '.join(theirs)} in $Trainer"
    missing = missing_of(manual)
    if missing and missing != missing_of(trainer):
        yield "optimizer.missing", f"the optimizer: {names_of(missing)} are in none of its groups and cannot learn"
    if settings := _optimizer_differences(manual, trainer):
        yield "optimizer.settings", f"the optimizer: its settings differ ({settings})"


def _optimizer_differences(manual: RunRecord, trainer: RunRecord) -> str:
    """`weight_decay 0.01 in $loop, 0.0 in $Trainer`, from the records' description of the optimizer."""
    ours, theirs = (record.start.get("optimizer", {}) for record in (manual, trainer))
    if ours.get("class") != theirs.get("class"):
        return f"{ours.get('class')} in $loop, {theirs.get('class')} in $Trainer"
    our_groups, their_groups = ours.get("groups", []), theirs.get("groups", [])
    if len(our_groups) == 1:
        # One group against two: its settings are compared with those of both.
        our_groups = our_groups * len(their_groups)
    texts = [
        f"{name} {mine[name]} in $loop, {other.get(name)} in $Trainer"
        for mine, other in zip(our_groups, their_groups, strict=False)
        for name in mine
        if name not in ("initial_lr", "parameters") and mine[name] != other.get(name)
    ]
    sizes = [[group["parameters"] for group in record] for record in (our_groups, their_groups)]
    if not texts and sizes[0] != sizes[1] and len({str(group.get("weight_decay")) for group in their_groups}) > 1:
        texts = ["parameters are split into other groups"]
    return "; ".join(dict.fromkeys(texts))


def _optimizers(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    """Steps that another optimizer makes first, and learning rates that differ by group."""
    numbers = [line.get("optimizer", 0) for line in manual.steps]
    if numbers and numbers[-1] and numbers == sorted(numbers):
        first = numbers.index(numbers[-1] if len(numbers) > len(trainer.steps) else 1)
        if len(numbers) > len(trainer.steps):
            yield Finding(
                "step.before",
                1,
                f"the steps: the first {counted(first, 'step')} are made by another optimizer than the "
                f"{len(numbers) - first} after them, such as a search for a learning rate; they have moved the "
                "weights, too. Train a copy there, or put the weights back",
                {"before": first, "after": len(numbers) - first},
            )
        else:
            yield Finding(
                "optimizer.again",
                first + 1,
                f"the optimizer: step {first + 1} is made by another optimizer object than step {first}; unless its "
                "state was loaded, the means of the gradients and of their squares start from zero there",
                {"optimizers": numbers[-1] + 1},
            )
    ours, theirs = (line_of(record, 1).get("learning_rates") or [] for record in (manual, trainer))
    if set(ours) != set(theirs) and ours and theirs and max(len(set(ours)), len(set(theirs))) > 1:
        texts = [", ".join(f"{rate:.6g}" for rate in dict.fromkeys(rates)) for rates in (ours, theirs)]
        yield Finding(
            "optimizer.rates",
            1,
            f"the groups' learning rates: {texts[0]} in $loop, {texts[1]} in $Trainer",
            {"manual": ours, "trainer": theirs},
        )


def _by_step(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    """What single steps show about the way of working, in the order of the steps."""
    for ours, theirs in zip(manual.steps, trainer.steps, strict=False):
        for rule in STEP_RULES:
            if (result := rule(ours, theirs, manual, trainer)) is not None:
                code, text = result
                yield Finding(code, ours["step"], text)


StepResult = tuple[str, str] | None


def _mode_of_step(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    mine, other = set(ours.get("mode", [])), set(theirs.get("mode", []))
    if mine == other or not mine or not other:
        return None
    if "eval" in mine and other == {"train"}:
        when = "after the evaluation" if follows_evaluation(trainer, ours["step"]) else "before this step"
        return "mode.eval", f"train mode: dropout is off because model.train() was not called {when}"
    return (
        "mode.other",
        f"train mode: the model was in {' and '.join(sorted(mine))} mode in $loop, not in $Trainer",
    )


def _parts(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    mine, other = ((line.get("parts") or [[]])[0] for line in (ours, theirs))
    if mine == other or not mine or ours.get("mode") != theirs.get("mode"):
        return None
    mode = "eval" if (ours.get("mode") or ["train"])[0] == "train" else "train"
    return "mode.parts", (
        f"train mode: a part of the model, {names_of(mine)}, is in {mode} mode in $loop, so its dropout is "
        f"{'off' if mode == 'eval' else 'on'}; in $Trainer all of the model is in one mode"
    )


def _dropout(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    mine, other = (line.get("dropout", [[]])[:1] for line in (ours, theirs))
    if mine == other or ours.get("mode") != theirs.get("mode") or not mine or not other:
        return None
    texts = [", ".join(f"{p:g}" for p in rates[0]) or "none" for rates in (mine, other)]
    return "dropout.rates", f"dropout: the layers that are on drop {texts[0]} in $loop, {texts[1]} in $Trainer"


def _autocast(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    mine, other = (set(line.get("autocast", [])) for line in (ours, theirs))
    if mine == other or not mine or not other:
        return None
    texts = [" and ".join(str(dtype or "float32") for dtype in kinds) for kinds in (mine, other)]
    return "autocast.forward", f"autocast: the forward pass runs in {texts[0]} in $loop, in {texts[1]} in $Trainer"


def _backward_passes(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    mine, other = (line.get("backward_passes", []) for line in (ours, theirs))
    if not mine or len(mine) != len(other) or mine == other:
        return None
    if not any(mine) and ours.get("grad_norm"):
        return None  # there are gradients, so they were computed in another way
    if not any(mine):
        return "backward.missing", "backward: loss.backward() is not called, so there is no gradient to learn from"
    return (
        "backward.repeated",
        f"backward: loss.backward() is called {max(mine)} times for a batch, in $Trainer {max(other)}",
    )


def _leftover(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    mine, other = (line.get("gradients", {}).get("left", 0.0) for line in (ours, theirs))
    # What the optimizer does not hold, it does not set to zero either: that has a finding of its own.
    if not mine or other or missing_of(manual):
        return None
    before = manual.steps[ours["step"] - 2].get("grad_norm") or 0.0 if ours["step"] > 1 else 0.0
    if mine < before * (1 - ROUNDING):
        return "zero.partly", (
            "leftover gradients: not all gradients of the step before are set to zero, so they are added to these (of "
            f"their norm, {before:.4g}, {mine:.4g} was there before the first backward pass of this step)"
        )
    return "zero.missing", (
        "leftover gradients: zero_grad() is missing after the step before, so its gradients are added to these "
        f"(norm {mine:.4g} was there before the first backward pass of this step)"
    )


def _between(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    """With accumulation: what happens to the gradients between two backward passes of one step."""
    mine, after = ours.get("gradients", {}).get("between", []), ours.get("gradients", {}).get("backward", [])
    other = theirs.get("gradients", {}).get("between", [])
    if len(mine) != len(other):
        return None
    for before, now, expected in zip(after, mine, other, strict=False):
        if now == 0 and expected > 0:
            return "zero.inside", (
                "zero_grad() inside the accumulation: the gradients of the batches before are lost, only the "
                "last batch counts; call it once per step"
            )
        if now < before:
            return "clip.inside", (
                f"the clip: gradients are scaled between two batches of one step ({before:.4g} to {now:.4g}); clip "
                "once, after the last batch's backward pass"
            )
    return None


def _detached(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    mine, other = (set(line.get("without_gradient", [])) for line in (ours, theirs))
    frozen = set(trainer.start.get("frozen", [])) ^ set(manual.start.get("frozen", []))
    extra = sorted(mine - other - frozen)
    if not extra or not any(ours.get("backward_passes", [])):
        return None
    passed_back = ours.get("gradients", {}).get("backward") or [0.0]
    if passed_back[-1] and not ours.get("grad_norm"):
        return "zero.before_step", (
            f"the gradients: the backward pass leaves some (norm {passed_back[-1]:.4g}), and at the step there are "
            "none; zero_grad() comes in between, call it after the step"
        )
    return "backward.detached", (
        f"no gradient: {names_of(extra)} get none in $loop; the loss does not reach them (a detach, a no_grad, or an "
        "output that is not used)"
    )


def _weights_between(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    before = line_of(manual, ours["step"] - 1)
    if ours.get("weights") == before.get("weights_after", ours.get("weights")):
        return None
    return "weights.between", (
        f"the weights: between step {before['step']} and step {ours['step']} they are changed without an optimizer "
        "step (an average of weights, weights put back, a clamp)"
    )


def _clip(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepResult:
    """Whether the gradients are clipped, judged by what happens to them after the last backward pass."""
    limit = trainer.config.max_grad_norm
    norm, at_step = ours.get("unclipped_norm"), ours.get("grad_norm", 0.0)
    scaled = ours.get("gradients", {}).get("scaled")
    their_scaled = theirs.get("gradients", {}).get("scaled") or [1.0, 1.0]
    if trainer.config.loop:  # a loop may differ from what the settings say
        limit = theirs.get("grad_norm", 0.0) if their_scaled[1] < 1 - ROUNDING else 0.0
    if norm is None or scaled is None or not at_step or not any(ours.get("backward_passes", [])):
        return None
    if manual.start.get("dtypes") != trainer.start.get("dtypes"):
        return None  # in 16 bits, norms are rounded too coarsely to decide
    lowest, highest = scaled
    if limit and norm > limit * (1 + ROUNDING) and lowest == highest == 1.0:
        return "clip.missing", (
            f"the clip: in $loop the gradients reach the optimizer at norm {at_step:.4g}, $Trainer scales them down "
            f"to max_grad_norm {limit:.4g}"
        )
    if highest > 1 + ROUNDING and highest - lowest > ROUNDING and their_scaled[1] - their_scaled[0] <= ROUNDING:
        return "clip.changed", (
            "the gradients: after the backward pass they are changed in $loop, and not by a clip (the "
            f"tensors' norms by factors of {lowest:.4g} to {highest:.4g}; noise, for example)"
        )
    if highest - lowest > ROUNDING and their_scaled[1] - their_scaled[0] <= ROUNDING:
        return "clip.uneven", (
            f"the clip: in $loop some tensors are scaled more than others (by {lowest:.4g} to {highest:.4g}), as "
            "clip_grad_value_ or a clip per tensor does; $Trainer scales all alike, with clip_grad_norm_"
        )
    target = min(norm, limit) if limit else norm
    if norm and lowest != 1.0 and not missing_of(manual) and not math.isclose(at_step, target, rel_tol=10 * ROUNDING):
        how = f"to max_grad_norm {limit:.4g}" if limit else "not at all"
        return (
            "clip.limit",
            f"the clip: in $loop norm {norm:.4g} is scaled to {at_step:.4g}, $Trainer scales it {how}",
        )
    return None


STEP_RULES = (
    *(_mode_of_step, _parts, _dropout, _autocast, _backward_passes, _leftover, _between, _detached, _clip),
    *(_weights_between,),
)


def _schedule(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    """The learning rates of all steps: they depend on no weight, so they differ for a reason of their own."""
    ours, theirs = ([line["learning_rate"] for line in record.steps] for record in (manual, trainer))
    step = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False), start=1) if a != b), None)
    if step is not None:
        yield Finding(
            "schedule.rate",
            step,
            schedule_text(step, ours, theirs, len(manual.steps[0]["batch"]), trainer.steps_per_epoch),
            {"manual": ours[step - 1], "trainer": theirs[step - 1]},
        )


def _evaluations(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    for ours, theirs in zip(manual.evaluations, trainer.evaluations, strict=False):
        if ours["step"] != theirs["step"]:
            return
        if set(ours["mode"]) != set(theirs["mode"]):
            yield Finding(
                "evaluate.mode",
                ours["step"],
                "the evaluation's mode: call model.eval() before and model.train() after",
            )
        if "batch" in ours and ours["samples"] != theirs["samples"] and not more_than(ours, theirs):
            yield evaluated_batches(ours, theirs)
    yield from wrongly_reported(manual)


def evaluated_batches(ours: dict[str, Any], theirs: dict[str, Any]) -> Finding:
    """In what the batches of two evaluations differ."""

    def finding(code: str, text: str) -> Finding:
        return Finding(code, ours.get("step", 0), text)

    if differing_inputs(ours.get("batch"), theirs.get("batch")) == {"attention_mask"}:
        return finding("evaluate.mask", "the evaluation's attention mask: the same tokens with another mask")
    if ours.get("samples") != theirs.get("samples"):
        counts = f"{ours.get('samples')} examples in $loop, {theirs.get('samples')} in $Trainer"
        mine, other = (line.get("batch_sizes") or [] for line in (ours, theirs))
        # Only if all but the last batch were evaluated, the last one was left out.
        if mine == other[: len(mine)] and len(other) == len(mine) + 1:
            return finding(
                "evaluate.last_batch",
                f"the evaluation's batches: {counts}; do not leave out a smaller last batch (drop_last)",
            )
        return finding(
            "evaluate.samples", f"the evaluation's batches: {counts}; evaluate the whole validation set, once"
        )
    if ours.get("reviews") != theirs.get("reviews"):
        return finding(
            "evaluate.reviews",
            "the evaluation's batches: other examples; check which subset is evaluated, and how it is cut",
        )
    if ours.get("batch_sizes") != theirs.get("batch_sizes"):
        sizes = ours["batch_sizes"][:1], theirs["batch_sizes"][:1]
        return finding(
            "evaluate.batch_size",
            f"the evaluation's batches: {sizes[0][0]} examples at a time in $loop, {sizes[1][0]} in $Trainer",
        )
    if differing_inputs(ours.get("batch"), theirs.get("batch")) == {"labels"}:
        return finding("evaluate.labels", "the evaluation's labels: the same examples with different labels")
    is_wider = ours.get("padded_tokens") != theirs.get("padded_tokens")
    how = "in another order or with another padding" if is_wider else "in another order, or with another mask"
    return finding("evaluate.order", f"the evaluation's batches: the same examples {how}")
