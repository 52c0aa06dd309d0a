"""What usually causes a divergence, decided from the evidence in the two records."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from shared.record import RunRecord


class Evidence(NamedTuple):
    """What a rule may look at.

    Attributes:
        step: the optimizer step of the first divergence, from 1; 0 is before the first.
        quantity: the quantity that differs first.
        manual, trainer: the two records.
    """

    step: int
    quantity: str
    manual: RunRecord
    trainer: RunRecord

    def line(self, record: RunRecord, step: int | None = None) -> dict[str, Any]:
        """The record's line of `step` (by default the diverging one), or {} if it has none."""
        number = self.step if step is None else step
        return record.steps[number - 1] if 1 <= number <= len(record.steps) else {}

    @property
    def lines(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.line(self.manual), self.line(self.trainer)

    @property
    def after_evaluation(self) -> bool:
        """Whether an evaluation lies between this step and the one before."""
        return any(line["step"] == self.step - 1 for line in self.trainer.evaluations)

    @property
    def starts_epoch(self) -> bool:
        return (self.step - 1) % self.trainer.steps_per_epoch == 0


def likely_cause(step: int, quantity: str, manual: RunRecord, trainer: RunRecord) -> str:
    """One sentence or two: what the evidence says about why the runs part here.

    Args:
        step: the step of the first divergence, from 1; 0 is before the first.
        quantity: what differs first, as `benchmarks.verdict` names it.
        manual, trainer: the two records.
    """
    evidence = Evidence(step, quantity, manual, trainer)
    if not_reproducible := _not_reproducible(evidence):
        return not_reproducible
    rule = next(rule for prefix, rule in RULES if quantity.startswith(prefix))
    return rule(evidence)


# What rounding can move without anything being wrong.
SUMS = ("forward_losses", "losses", "grad_norm", "eval_forward_logits", "eval_forward_loss", "eval_loss", "weights")


def _not_reproducible(evidence: Evidence) -> str | None:
    """Where a run is not even equal to itself, there is no other cause to look for."""
    config, device = evidence.trainer.config, evidence.trainer.header["environment"]["device"]
    if config.full_determinism or evidence.quantity not in SUMS:
        return None
    if config.torch_compile:
        what = "what torch.compile makes of the embeddings' gradient"
    elif device != "cpu" and not config.use_cpu:
        what = "some of the GPU's sums (embeddings' gradient, attention's backward pass)"
    else:
        return None
    return (
        f"no mistake, perhaps: {what} adds up in an order that varies from run to run, so the same loop run twice "
        "differs in the last digits too; compare with --full-determinism, which must be identical"
    )


def _config(evidence: Evidence) -> str:
    return "the two runs were given different dials"


def _number_of_processes(evidence: Evidence) -> str:
    return "the two runs had different numbers of processes"


def _initial_weights(evidence: Evidence) -> str:
    name = evidence.quantity.removeprefix("initial weights: ")
    if "classifier" in name:
        return (
            f"the head: {name} is the first tensor that differs and the body is equal, so the new head was drawn "
            "from another random state; seed right before the model is built"
        )
    return f"the body: {name} is the first tensor that differs before any step; other pretrained weights were loaded"


def _batch(evidence: Evidence) -> str:
    ours, theirs = evidence.lines
    if len(ours["batch"]) != len(theirs["batch"]):
        return (
            f"accumulation: one step took {len(ours['batch'])} batches by hand and {len(theirs['batch'])} in Trainer; "
            "check gradient_accumulation_steps and the epoch's short last group"
        )
    if ours["samples"] != theirs["samples"]:
        return (
            f"the loader: {ours['samples']} reviews against {theirs['samples']}; check the batch size and what "
            "happens to a smaller last batch"
        )
    if ours["tokens"] == theirs["tokens"] and ours["padded_tokens"] != theirs["padded_tokens"]:
        return "the collator: the same tokens were padded to another length; pad each batch to its longest review"
    if evidence.step == 1:
        return "the sampler: other reviews from the first batch on; seed the sampler's own generator with seed + epoch"
    if evidence.starts_epoch:
        return "the sampler: the order differs from this epoch on; its generator must be seeded with seed + epoch anew"
    return "the sampler or the loader: the batches part in the middle of an epoch"


def _mode(evidence: Evidence) -> str:
    wrong, right = (set(line.get("mode", [])) for line in evidence.lines)
    if wrong == {"eval"} and right == {"train"}:
        when = "after the evaluation" if evidence.after_evaluation else "before this step"
        return f"train mode: dropout is off because model.train() was not called {when}"
    return f"train mode: the model was in {wrong} by hand and in {right} in Trainer"


def _rng(evidence: Evidence) -> str:
    if evidence.step == 1:
        return (
            "the random state: batch and mode are equal, but the state is not; seed again right before training, "
            "and let nothing draw in between (every iter(DataLoader) draws once)"
        )
    if evidence.after_evaluation or evidence.starts_epoch:
        return (
            "a stray draw: one loop drew a random number more around the evaluation or the start of this epoch "
            "(every iter(DataLoader) draws once, also for the evaluation)"
        )
    return "a stray draw: one loop drew a random number that the other did not since the step before"


def _forward_loss(evidence: Evidence) -> str:
    if evidence.step == 1:
        return (
            "the forward pass: weights, batch and random state are equal, the loss is not; check dropout, "
            "autocast, and how the loss is computed"
        )
    return _weights_moved_differently(evidence)


def _backward_loss(evidence: Evidence) -> str:
    ours, theirs = (line["losses"][0] for line in evidence.lines)
    if evidence.trainer.config.trainer_defaults and ours and theirs:
        return (
            f"the upstream fault: without the remedy, Trainer's loss is {theirs / ours:.6g} times too large; it "
            "believes that DistilBERT divides its loss by the number of items and leaves its own division out "
            "(huggingface/transformers#47688)"
        )
    factor = f" (by hand {ours / theirs:.6g} times Trainer's)" if ours and theirs else ""
    return (
        f"the loss's scale: the model's loss is equal, the one handed to backward() is not{factor}; check the "
        "division by gradient_accumulation_steps and label smoothing"
    )


def _grad_norm(evidence: Evidence) -> str:
    (ours, theirs), limit = (
        (line["grad_norm"] for line in evidence.lines),
        evidence.trainer.config.max_grad_norm,
    )
    clipped = [math.isclose(norm, limit, rel_tol=1e-4) for norm in (ours, theirs)]
    if limit and clipped == [False, True] and ours > limit:
        return (
            f"the clip: by hand the gradients reach the optimizer at norm {ours:.4g}, Trainer scales them down to "
            f"max_grad_norm {limit:g}"
        )
    if evidence.step > 1:
        return (
            "leftover gradients: loss and weights are equal up to here, the gradients are not; zero_grad() is missing "
            "after the step before, so its gradients are added to these"
        )
    return (
        f"the gradients' scale: the loss is equal, the norm is {ours / theirs:.6g} times Trainer's; check the clip "
        "and any scaling between loss and step"
        if theirs
        else "the gradients' scale: the loss is equal, the norm is not; check the clip"
    )


def _learning_rate(evidence: Evidence) -> str:
    ours, theirs = (line["learning_rate"] for line in evidence.lines)
    before = evidence.line(evidence.manual, evidence.step - 1).get("learning_rate")
    if ours == before and ours != theirs:
        return "the schedule: the learning rate stood still by hand; call scheduler.step() after every optimizer step"
    return f"the schedule: {ours:.6g} against {theirs:.6g}; check its shape, the warm-up and the total number of steps"


def _weights_moved_differently(evidence: Evidence) -> str:
    """Same batch, random state and earlier gradients, another loss: the step before moved the weights otherwise."""
    settings = _optimizer_differences(evidence)
    if settings:
        return f"the optimizer: its settings differ ({settings})"
    return (
        "the optimizer: up to here gradients and learning rates are equal, so the step before moved the weights "
        "otherwise; check the kind of optimizer and its settings"
    )


def _optimizer_differences(evidence: Evidence) -> str:
    """`weight_decay 0.01 by hand, 0.0 in Trainer`, from the records' description of the optimizer."""
    ours, theirs = (record.start.get("optimizer", {}) for record in (evidence.manual, evidence.trainer))
    if ours.get("class") != theirs.get("class"):
        return f"{ours.get('class')} by hand, {theirs.get('class')} in Trainer"
    our_groups, their_groups = ours.get("groups", []), theirs.get("groups", [])
    found = [
        f"{name} {mine[name]} by hand, {other.get(name)} in Trainer"
        for mine, other in zip(our_groups, their_groups, strict=False)
        for name in mine
        if name not in ("initial_lr", "parameters") and mine[name] != other.get(name)
    ]
    if not found and [g["parameters"] for g in our_groups] != [g["parameters"] for g in their_groups]:
        found = ["parameters are split into other groups"]
    return "; ".join(dict.fromkeys(found))


def _when_to_evaluate(evidence: Evidence) -> str:
    return (
        "the epoch's length or the evaluation's moment: only one loop evaluates here; check whether a last batch "
        "that is not full is left out, and when to evaluate"
    )


def _evaluation(evidence: Evidence) -> str:
    by_name = {
        "eval_forward_batch": "the evaluation's batches: other reviews, another order or another padding",
        "eval_forward_mode": "the evaluation's mode: call model.eval() before and model.train() after",
        "eval_forward_logits": "the weights at the evaluation: the last step moved them otherwise. "
        + _weights_moved_differently(evidence),
        "eval_forward_loss": "the evaluation's forward pass: equal logits, another loss",
        "eval_forward_accuracy": "the evaluation's labels: equal logits, another accuracy",
        "eval_loss": "the evaluation's mean: the batches' losses are equal, the reported mean is not; weigh every "
        "review alike and average with numpy",
        "eval_accuracy": "the evaluation's metric: the predictions are equal, the reported accuracy is not",
    }
    return by_name[evidence.quantity]


def _number_of_steps(evidence: Evidence) -> str:
    return (
        f"the length: {len(evidence.manual.steps)} steps by hand, {len(evidence.trainer.steps)} in Trainer; "
        "check when the loop stops"
    )


def _logged(evidence: Evidence) -> str:
    return "the log: every step is equal, what the loops report of them is not; check how the mean loss is taken"


def _final_weights(evidence: Evidence) -> str:
    return (
        "the last step or the saving: every step is equal, the saved weights are not. "
        + _weights_moved_differently(evidence)
    )


# Quantity, or how its name starts -> the rule that explains it. First match wins.
RULES: tuple[tuple[str, Callable[[Evidence], str]], ...] = (
    ("config", _config),
    ("number of processes", _number_of_processes),
    ("initial weights", _initial_weights),
    ("batch", _batch),
    ("mode", _mode),
    ("rng", _rng),
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
