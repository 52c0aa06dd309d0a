"""Judge the weights: compute each update again from the loop's own weights and gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.check.notes import BOUND, Notes
from benchmarks.check.passes import Passes
from benchmarks.check.recording import Event
from benchmarks.check.replay import Reference, Tensors, all_equal

# A weight is a float32, so storing it rounds by u. Four roundings: the decay, the update, and their order.
WEIGHT_BOUND = 4 * 2.0**-24


@dataclass
class Step:
    """An optimizer's step, or the steps of several optimizers with different parameters, one after the other.

    Attributes:
        optimizer: the name of its class; empty if it is not a torch optimizer.
        number: of the optimizer object, 0 for the first that ever stepped.
        groups: their settings and parameters.
        gradients: that it used, by the parameters' names.
        graphs: the number of graphs of forward passes that were in memory.
    """

    optimizer: str
    number: int
    groups: list[dict[str, Any]]
    gradients: dict[str, torch.Tensor]
    graphs: int

    @classmethod
    def of(cls, event: Event) -> Step:
        gradients = tensors_named(event.tensors(), "gradients.")
        return cls(event["optimizer"], event["object"], list(event["groups"]), gradients, event["graphs"])

    @classmethod
    def unseen(cls, names: Sequence[str], gradients: Tensors, rate: float) -> Step:
        """A step without a torch optimizer: if it is right, it has these gradients and this rate."""
        settings = {"lr": rate, "weight_decay": None, "betas": None}
        return cls("", 0, [{"parameters": list(names), "settings": settings}], dict(gradients), 0)

    @property
    def rate(self) -> float:
        """The learning rate of the first group."""
        return float(self.groups[0]["settings"].get("lr") or 0.0) if self.groups else 0.0

    @property
    def parameters(self) -> set[str | None]:
        return {name for group in self.groups for name in group["parameters"]}


class UpdateJudge:
    """Judges the changes of the weights.

    Args:
        passes, reference, notes: as `StepJudge` has them.

    Attributes:
        weights: the current ones, by name; empty before the first forward pass.
        is_float32: whether they are float32, so that a step can be computed again.
    """

    def __init__(self, passes: Passes, reference: Reference, notes: Notes) -> None:
        self.weights: Tensors = {}
        self.is_float32 = True
        self._config, self._trained = passes.config, passes.trained
        self._reference, self._notes = reference, notes
        # A step that another optimizer may still continue, its number, and the weights that were seen since.
        self._pending: Step | None = None
        self._step = 0
        self._new_weights: Tensors | None = None
        self._last_optimizer: int | None = None
        # The weights at the start, and after every step.
        self._history: list[Tensors] = []

    def start(self, taken: Step, step: int) -> None:
        """An optimizer steps; `step`: the number of the step, from 1."""
        self._pending, self._step, self._new_weights = taken, step, None

    def merge(self, taken: Step) -> bool:
        """Add the step of another optimizer with other parameters to the step before; return whether that was so."""
        if self._pending is None or self._pending.parameters & taken.parameters:
            return False
        self._pending.groups += taken.groups
        self._pending.gradients |= {name: grad for name, grad in taken.gradients.items() if name in taken.parameters}
        self._new_weights = None
        return True

    def receive(self, weights: Tensors) -> None:
        """Take new weights: those after the last step, if there was one."""
        if not self.weights:
            self._judge_first(weights)
        elif self._pending is not None and self._new_weights is None:
            self._new_weights = weights
            return
        else:
            self.judge_pending()
        self.weights = weights

    def judge_pending(self) -> None:
        """Judge the weights after the last step, which is complete now."""
        if self._pending is None:
            return
        taken, before = self._pending, self.weights
        self._pending = None
        if self._new_weights is not None:
            self.weights, self._new_weights = self._new_weights, None
        self._history.append(self.weights)
        if self.is_float32:
            self._judge_dtype(self.weights)
        if self.is_float32:
            self._judge_update(taken, before)
        self._last_optimizer = taken.number

    def _judge_first(self, weights: Tensors) -> None:
        self._history.append(weights)
        self._judge_dtype(weights)
        if self.is_float32 and not all_equal(weights, self._reference.first_weights):
            self._notes.add("weights.first", step=1)
        if self._trained:
            self._notes.add("model.copy", "another model", "the model that is passed to train()", 1)

    def check_before_batch(self, step: int) -> None:
        """Judge that the weights before a batch of this step are those after the last step."""
        if self._history and self.weights is not self._history[-1] and not all_equal(self.weights, self._history[-1]):
            right = "as the step before left them" if step > 1 else "as they were passed to train()"
            self._notes.add("weights.between", "changed", right, step)

    def finish(self, step: int) -> None:
        """Judge that the weights at the end of the run are those after a step, the last or the best one."""
        self.judge_pending()
        if step and not any(all_equal(self.weights, weights) for weights in self._history):
            self._notes.add("weights.end", "changed", "as the last step left them, or an earlier one", step)

    def _judge_dtype(self, weights: Tensors) -> None:
        dtypes = ", ".join(sorted({str(weight.dtype).removeprefix("torch.") for weight in weights.values()}))
        self.is_float32 = dtypes == "float32"
        if not self.is_float32:
            self._notes.add("dtype.weights", dtypes, "float32", 1, dtypes=dtypes)

    def _judge_update(self, taken: Step, before: Tensors) -> None:
        """Judge the weights after a step."""
        right = self._reference.step(before, taken.gradients, taken.rate)
        for name, right_weight in right.items():
            actual = self.weights.get(name)
            if actual is not None and torch.equal(actual, right_weight):
                continue
            self._notes.exact = False
            difference = math.inf if actual is None else (actual - right_weight).abs().max().item()
            update, size = (right_weight - before[name]).abs().max().item(), right_weight.abs().max().item()
            if difference <= WEIGHT_BOUND * size + BOUND * update:
                if update:
                    self._notes.is_rounding(min(BOUND, difference / (update + size)))
                continue
            code, text, student, expected = self._cause(taken, name)
            if not student:
                moved = math.nan if actual is None else (actual - before[name]).abs().max().item()
                student, expected = f"{name} moved by {moved:.3g}", f"{update:.3g}"
            self._notes.smallest.setdefault("optimizer", difference / (update or 1.0))
            self._notes.add(code, student, expected, self._step, text)
            return

    def _cause(self, taken: Step, name: str) -> tuple[str, str, str, str]:
        """The code and the text of a wrong update, and both values if a setting is wrong."""
        group = next((group for group in taken.groups if name in group["parameters"]), None)
        if group is None:
            return "optimizer.missing", f"the optimizer does not have every parameter: {name} is missing", "", ""
        if (setting := self._other_setting(taken, group["settings"], name)) is not None:
            return "optimizer.settings", *setting
        rates = sorted({group["settings"].get("lr") for group in taken.groups})
        if len(rates) > 1:
            text = "the optimizer's groups have different learning rates"
            return "optimizer.rates", text, ", ".join(f"{rate:.6g}" for rate in rates), f"{taken.rate:.6g}"
        if self._last_optimizer not in (None, taken.number):
            text = (
                "this step is made by another optimizer object than the one before: its means of the gradients and of "
                "their squares start again; create the optimizer once"
            )
            return "optimizer.again", text, "", ""
        return "optimizer.other", "the step does not change the weights as AdamW does", "", ""

    def _other_setting(self, taken: Step, settings: dict[str, Any], name: str) -> tuple[str, str, str] | None:
        """A wrong setting of the optimizer that holds a parameter: the text and both values; None if there is none."""
        right = self._reference.settings(name)
        if not taken.optimizer:
            return None
        if "weight_decay" not in settings or "betas" not in settings:
            return f"the optimizer is {taken.optimizer}, not AdamW", taken.optimizer, "AdamW"
        for key in ("weight_decay", "betas", "eps", "amsgrad", "maximize"):
            value, right_value = settings.get(key), right.get(key)
            right_value = list(right_value) if isinstance(right_value, tuple) else right_value
            if key in settings and value != right_value:
                text = f"the optimizer's {key} is not the right one"
                if key == "weight_decay" and value == 0.01:
                    text += ": 0.01 is torch's own default"
                elif key == "weight_decay" and not right_value and value == self._config.weight_decay:
                    text += f" for {name}: biases and norms never decay"
                return text, f"{key} {value}", f"{key} {right_value}"
        if taken.optimizer == "Adam":
            return "the optimizer is Adam, not AdamW", "Adam", "AdamW"
        return None


def tensors_named(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names start with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
