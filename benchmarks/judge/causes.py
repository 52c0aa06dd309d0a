"""What causes a divergence, decided only from the evidence in the two records.

`benchmarks.judge.ways` compares the two loops' ways of working. Here a rule per quantity says which of them explains
what differs first, or decides from that quantity's own values. Competing explanations are tested: a scale must be the
same factor in every pass, a rounding must lie within its bound. Where the evidence does not decide, the finding says
so, with what was observed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from benchmarks.judge.batches import batch_cause, other_inputs
from benchmarks.judge.evidence import Evidence
from benchmarks.judge.finding import NOT_DECIDED, Finding, line_of, missing_of
from benchmarks.judge.losses import loss_cause
from benchmarks.judge.randomness import random_state_cause
from benchmarks.judge.reported import reported_evaluation
from benchmarks.judge.ways import ROUNDING, evaluated_batches
from benchmarks.judge.words import Words
from shared.recording.record import RunRecord


def explain(step: int, quantity: str, manual: RunRecord, trainer: RunRecord) -> list[Finding]:
    """What the evidence says about why the runs diverge here: first the cause, then the other findings.

    Args:
        step: the step of the first divergence, from 1; 0 is before the first.
        quantity: what differs first, as `benchmarks.verdict.verdict` names it.
        manual, trainer: the two records.
    """
    evidence = Evidence(step, quantity, manual, trainer)
    cause = _not_reproducible(evidence)
    if cause is None:
        rule = next(rule for prefix, rule in RULES if quantity.startswith(prefix))
        cause = rule(evidence)
    words = Words.of(manual, trainer)
    return [finding._replace(text=words.fill(finding.text)) for finding in (cause, *_others(cause, evidence))]


# After these nothing else can be said: the runs were not of one job, or not of one model.
STANDS_ALONE = (
    *("environment.not_reproducible", "environment.config", "environment.processes"),
    *("loss.upstream", "model.other", "model.copy"),
)
# These findings give the number of steps themselves, or are the reason for another number of them.
COVER_THE_STEPS = ("batch.size", "batch.count", "step.number", "step.none")


def _others(cause: Finding, evidence: Evidence) -> list[Finding]:
    """What else the manual loop does differently, apart from the cause of the first divergence."""
    manual, trainer = evidence.manual, evidence.trainer
    if cause.code in STANDS_ALONE or not manual.steps:
        return []
    # Batches of another size lead to another number of steps, and so to another schedule.
    follows = ("schedule",) if cause.code in ("batch.size", "batch.count") else ()
    others = [finding for finding in evidence.ways if finding.text not in cause.text and finding.topic not in follows]
    if len(manual.steps) != len(trainer.steps) and cause.code not in COVER_THE_STEPS:
        others.append(_number_of_steps(evidence))
    return others


# What explains the quantity that differs first ----------------------------------------------------

# What can differ by rounding without a mistake.
SUMS = ("forward_losses", "losses", "grad_norm", "eval_forward_logits", "eval_forward_loss", "eval_loss", "weights")


def _not_reproducible(evidence: Evidence) -> Finding | None:
    """Where a run is not even equal to itself, there is no other cause to look for."""
    config, device = evidence.trainer.config, evidence.trainer.header["environment"]["device"]
    if config.full_determinism or evidence.quantity not in SUMS:
        return None
    if config.torch_compile:
        computation = "what torch.compile makes of the embeddings' gradient"
    elif device != "cpu" and not config.use_cpu:
        computation = "some of the GPU's sums (embeddings' gradient, attention's backward pass)"
    else:
        return None
    return evidence.finding(
        "environment.not_reproducible",
        f"possibly no mistake: {computation} adds up in an order that varies from run to run, so the same loop "
        "run twice differs in the last digits too; compare with --full-determinism, which must be identical",
    )


def _config(evidence: Evidence) -> Finding:
    return evidence.finding("environment.config", "the two runs have different $settings")


def _number_of_processes(evidence: Evidence) -> Finding:
    return evidence.finding("environment.processes", "the two runs had different numbers of processes")


def _initial_weights(evidence: Evidence) -> Finding:
    if finding := evidence.first_of("dtype"):
        return finding
    kinds = [record.start.get("model") for record in (evidence.manual, evidence.trainer)]
    if kinds[0] != kinds[1]:
        return evidence.finding(
            "model.other",
            f"the model: what is called first is a {kinds[0]} in $loop and a {kinds[1]} in $Trainer; call the model "
            "that was loaded, not a part of it or another one",
            {"manual": kinds[0], "trainer": kinds[1]},
        )
    name = evidence.quantity.removeprefix("initial weights: ")
    if "classifier" in name:
        return evidence.finding(
            "model.head",
            f"the head: {name} is the first tensor that differs and the body is equal, so the new head was drawn "
            "from another random state, or drawn again; seed right before the model is built, and leave it as it is",
            {"tensor": name},
        )
    return evidence.finding(
        "model.body",
        f"the body: {name} is the first tensor that differs before any step; other pretrained weights were loaded, or "
        "these were set again before the training",
        {"tensor": name},
    )


def _mode(evidence: Evidence) -> Finding:
    return evidence.first_of("mode") or evidence.finding("mode.not_decided", NOT_DECIDED)


def _forward_loss(evidence: Evidence) -> Finding:
    if evidence.step == 1 or not evidence.weights_differ:
        return (
            evidence.first_of("autocast", "dtype")
            or other_inputs(evidence)
            or evidence.finding(
                "forward.loss",
                "the forward pass: weights, batch and random state are equal, the loss is not; check dropout, "
                "autocast, and how the loss is computed",
            )
        )
    return _weights_moved_differently(evidence)


def _backward_loss(evidence: Evidence) -> Finding:
    ours, theirs = evidence.lines
    mine, other = ours["losses"], theirs["losses"]
    if finding := evidence.first_of("backward"):
        return finding
    if evidence.trainer.config.trainer_defaults and mine and other and mine[0]:
        return evidence.finding(
            "loss.upstream",
            f"the upstream fault: without the remedy, $Trainer's loss is {other[0] / mine[0]:.6g} times too large; it "
            "believes that $model divides its loss by the number of items and leaves its own division out "
            "(huggingface/transformers#47688)",
        )
    if evidence.step > 1 and evidence.weights_differ:
        return _weights_moved_differently(evidence)
    if finding := evidence.first_of("autocast", "dtype"):
        return finding
    return loss_cause(evidence)


def _grad_norm(evidence: Evidence) -> Finding:
    ours, theirs = evidence.lines
    if finding := evidence.first_of("zero", "model", "backward"):
        return finding
    if missing_of(evidence.manual) and (finding := evidence.first_of("optimizer")):
        return finding
    if evidence.weights_differ:
        return _weights_moved_differently(evidence)
    mine, other = ours["grad_norm"], theirs["grad_norm"]
    if ours.get("unclipped_norm") == theirs.get("unclipped_norm"):
        if finding := evidence.first_of("clip"):
            return finding
        if other and math.isclose(mine, other, rel_tol=ROUNDING) and ours.get("gradients"):
            return evidence.finding(
                "clip.rounding",
                f"the clip's arithmetic: the gradients are equal, and both clips end at norm {other:.4g}, but not in "
                "the last digits; torch.nn.utils.clip_grad_norm_ multiplies by max_norm / (norm + 1e-6)",
            )
        return evidence.finding(
            "clip.not_decided",
            f"{NOT_DECIDED}: the gradients are equal after the backward pass, at the optimizer they are not (norm "
            f"{mine:.6g} in $loop, {other:.6g} in $Trainer)",
        )
    if finding := evidence.first_of("clip"):
        return finding
    mine, other = ours.get("unclipped_norm"), theirs.get("unclipped_norm")
    how = f" ({mine / other:.6g} times $Trainer's)" if mine and other else ""
    return evidence.finding(
        "backward.not_decided",
        f"{NOT_DECIDED}: weights, batch and loss are equal, the gradients of the backward pass are not{how}; what the "
        "loss is made of differs, or how it is differentiated",
    )


def _learning_rate(evidence: Evidence) -> Finding:
    return evidence.first_of("schedule") or evidence.finding("schedule.not_decided", NOT_DECIDED)


def _weights_moved_differently(evidence: Evidence) -> Finding:
    """Same batch, random state and earlier gradients, another loss: the step before moved the weights differently."""
    if finding := evidence.first_of("weights", "step", "optimizer", "model", "dtype", "backward"):
        return finding
    # Gradients of another direction can be clipped to the same norm.
    if (finding := evidence.first_of("zero", "clip")) and finding.step < evidence.step:
        return finding
    return evidence.finding(
        "optimizer.other",
        "the optimizer: up to here gradients and learning rates are equal, so the step before moved the weights "
        "differently; check the kind of optimizer, its settings, and what else touches the weights",
    )


def _when_to_evaluate(evidence: Evidence) -> Finding:
    steps = [[line["step"] for line in record.evaluations] for record in (evidence.manual, evidence.trainer)]
    when = [", ".join(map(str, numbers)) or "none" for numbers in steps]
    return evidence.finding(
        "evaluate.moment",
        "the epoch's length or the evaluation's moment: only one loop evaluates here (after the steps "
        f"{when[0]} in $loop, {when[1]} in $Trainer); check whether a last batch that is not full is left out, and "
        "when to evaluate",
    )


def _evaluation(evidence: Evidence) -> Finding:
    ours, theirs = evidence.evaluations
    quantity = evidence.quantity
    if quantity in ("eval_loss", "eval_accuracy"):
        if not evidence.manual.steps:
            return evidence.finding(
                "evaluate.number", "the evaluation's numbers: what is evaluated is equal, the reported number is not"
            )
        return reported_evaluation(evidence.step, quantity, ours, evidence.manual, evidence.trainer)
    if not evidence.manual.steps and quantity == "eval_forward_logits":
        return _no_steps(evidence)
    if quantity == "eval_forward_batch":
        return evaluated_batches(ours, theirs)
    if quantity == "eval_forward_logits":
        return _evaluated_logits(evidence)
    by_name = {
        "eval_forward_mode": (
            "evaluate.mode",
            "the evaluation's mode: call model.eval() before and model.train() after",
        ),
        "eval_forward_loss": ("evaluate.loss", "the evaluation's forward pass: equal logits, another loss"),
        "eval_forward_accuracy": ("evaluate.labels", "the evaluation's labels: equal logits, another accuracy"),
    }
    if quantity not in by_name:  # a metric of somebody's own job
        return evidence.finding(
            "evaluate.number", f"the evaluation's metric: the predictions are equal, the reported {quantity} is not"
        )
    return evidence.finding(*by_name[quantity])


def _evaluated_logits(evidence: Evidence) -> Finding:
    """Equal batches, other outputs: another precision, or other weights."""
    ours, theirs = evidence.evaluations
    if ours.get("autocast", [None])[:1] != theirs.get("autocast", [None])[:1]:
        return evidence.finding(
            "evaluate.precision", "the evaluation's precision: one loop evaluates under autocast, the other does not"
        )
    after = line_of(evidence.manual, evidence.step).get("weights_after")
    if ours.get("weights") and after and ours["weights"] != after:
        following = line_of(evidence.manual, evidence.step + 1).get("weights")
        then = "; the training goes on with the weights of the last step" if following == after else ""
        return evidence.finding(
            "evaluate.weights",
            f"the evaluation's weights: after step {evidence.step} they are changed without an optimizer step, and "
            f"these are evaluated (an average of weights, weights put back){then}",
        )
    if ours.get("weights") and ours["weights"] == theirs.get("weights"):
        return evidence.finding(
            "evaluate.forward",
            "the evaluation's forward pass: weights and batches are equal, the outputs are not; check what is on in "
            "the evaluation whatever the model's mode is, such as a functional dropout",
        )
    if parts := [names for names in ours.get("parts", []) if names]:
        return evidence.finding(
            "evaluate.mode", f"the evaluation's mode: a part of the model, {parts[0][0]}, is in another mode"
        )
    finding = _weights_moved_differently(evidence)
    return finding._replace(text=f"the weights at the evaluation: the last step's update differs. {finding.text}")


def _no_steps(evidence: Evidence) -> Finding:
    """The run came to its end, and no optimizer of `torch.optim` made a step."""
    steps = len(evidence.trainer.steps)
    weights = [line.get("weights") for line in evidence.manual.evaluations]
    text = f"the step: no optimizer of torch.optim made one in $loop, {steps} are made in $Trainer"
    if len(set(weights)) > 1:
        text += "; the weights change without one: the evaluations in $loop saw different weights"
    else:
        same = ", and the evaluations in $loop saw one and the same weights" if len(weights) > 1 else ""
        text += f"{same}; check whether optimizer.step() is reached"
    return evidence.finding("step.none", text, {"trainer": steps})


def _number_of_steps(evidence: Evidence) -> Finding:
    ours, theirs = len(evidence.manual.steps), len(evidence.trainer.steps)
    return Finding(
        "step.number",
        min(ours, theirs) + 1,
        f"the length: {ours} steps in $loop, {theirs} in $Trainer; check when the loop stops",
        {"manual": ours, "trainer": theirs},
    )


def _logged(evidence: Evidence) -> Finding:
    if not any("loss" in line for line in evidence.manual.log_history):
        text = "the log: the loop returned no line with a training loss; every step itself is equal"
    elif evidence.quantity == "logged grad_norm":
        text = "the log: every step is equal, the gradient norm that is logged is not; log the norm before the clip"
    else:
        text = "the log: every step is equal, what the loops report is not; check how the mean loss is computed"
    return evidence.finding("log.training", text)


def _final_weights(evidence: Evidence) -> Finding:
    if not evidence.manual.steps:
        return _no_steps(evidence)
    if after_the_end := _weights_at_the_end(evidence):
        return after_the_end
    finding = _weights_moved_differently(evidence)
    if finding.code == "model.copy":
        return finding
    return finding._replace(
        text=f"the last step or the saving: every step is equal, the saved weights are not. {finding.text}"
    )


def _weights_at_the_end(evidence: Evidence) -> Finding | None:
    """Whether the weights were changed after the last step without an optimizer step."""
    record = evidence.manual
    at_the_end, steps = record.footer.get("weights"), record.steps
    if not steps or not at_the_end or at_the_end == steps[-1].get("weights_after", at_the_end):
        return None
    same = [line["step"] for line in steps if line.get("weights_after") == at_the_end]
    again = f"; they are those after step {same[-1]} again" if same else ""
    return evidence.finding(
        "weights.end",
        f"the weights at the end: after the last step, {len(steps)}, they are changed without an optimizer "
        f"step{again}; $Trainer ends with the last step's weights, unless load_best_model_at_end is set",
    )


# Quantity, or how its name starts -> the rule that explains it. First match wins.
RULES: tuple[tuple[str, Callable[[Evidence], Finding]], ...] = (
    ("config", _config),
    ("number of processes", _number_of_processes),
    ("initial weights", _initial_weights),
    ("batch", batch_cause),
    ("mode", _mode),
    ("rng", random_state_cause),
    ("forward_losses", _forward_loss),
    ("losses", _backward_loss),
    ("grad_norm", _grad_norm),
    ("learning_rate", _learning_rate),
    ("number of steps", _number_of_steps),
    ("evaluation", _when_to_evaluate),
    ("eval_", _evaluation),
    ("logged", _logged),
    ("number of log lines", _logged),
    ("weights", _final_weights),
)
