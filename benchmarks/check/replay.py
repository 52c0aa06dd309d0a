"""Compute the right step from the state of another loop.

A whole run of the right loop would diverge from the other one at the first difference, and the rest could not be
compared. So every step is computed again from the other loop's own weights, batch, random state and gradients. What it
has inherited is then equal on both sides, and a difference is a mistake of this step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from benchmarks.check.job import Job
from manual_loop.forward import forward
from manual_loop.optimizer import adamw_settings, parameter_groups
from manual_loop.schedule import make_schedule

Tensors = Mapping[str, torch.Tensor]
CPU = torch.device("cpu")


class Pass(NamedTuple):
    """The result of a forward and a backward pass.

    Attributes:
        logits: (batch, classes).
        loss: the value to call `backward()` on, a scalar.
        gradients: of every parameter, added to those from before.
    """

    logits: torch.Tensor
    loss: torch.Tensor
    gradients: dict[str, torch.Tensor]


class Reference:
    """The right loop of a job, which can compute a step from any state.

    Its optimizer gets all of the other loop's gradients, in order, so its averages are those that the right optimizer
    would have after them.
    """

    def __init__(self, job: Job) -> None:
        self._model, self._config = job.model, job.config
        self._parameters = dict(job.model.named_parameters())
        self.first_weights = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        groups = parameter_groups(job.model, job.config)
        # A check has no other optimizer.
        self._optimizer = torch.optim.AdamW(groups, **adamw_settings(job.config), fused=True)

    def dropout(self, training: bool) -> list[float]:
        """The distinct probabilities `p` of the model's dropout layers."""
        layers = (module for module in self._model.modules() if isinstance(module, torch.nn.Dropout))
        return sorted({layer.p for layer in layers}) if training else []

    def settings(self, name: str) -> dict:
        """The settings of the right optimizer's group that holds a parameter."""
        parameter = self._parameters[name]
        return next(group for group in self._optimizer.param_groups if any(parameter is p for p in group["params"]))

    def batch(
        self,
        weights: Tensors,
        inputs: Tensors,
        rng: torch.Tensor,
        training: bool,
        others: Sequence[str],
        share: int,
        before: Tensors,
        scale: float = 1.0,
    ) -> Pass:
        """Forward and backward pass of one batch.

        Args:
            weights: at that moment.
            inputs: `input_ids` and `attention_mask`, both (batch, tokens), and `labels` (batch,).
            rng: torch's random state before the pass.
            training: the model's mode.
            others: the modules that are in the other mode.
            share: the loss is divided by it: the number of batches of this step.
            before: the gradients that the backward pass adds to.
            scale: the loss is multiplied by it; 1, or the factor by which the other loop's loss is wrong.
        """
        self._put(weights, before)
        self._model.train(training)
        for name, module in self._model.named_modules():
            if name in others:
                module.training = not training
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(rng)
            loss, logits = forward(self._model, dict(inputs), CPU, self._config)
        loss = loss / share
        (loss if scale == 1.0 else loss * scale).backward()
        return Pass(logits.detach(), loss.detach(), self._gradients())

    def clipped(self, gradients: Tensors) -> dict[str, torch.Tensor]:
        """The gradients after clipping."""
        self._put({}, gradients)
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.max_grad_norm)
        return self._gradients()

    def step(self, weights: Tensors, gradients: Tensors, learning_rate: float) -> dict[str, torch.Tensor]:
        """The weights after the optimizer's step."""
        self._put(weights, gradients)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        return {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def answers(self, weights: Tensors, inputs: Tensors) -> torch.Tensor:
        """The logits (batch, classes) of an evaluation; without dropout."""
        self._put(weights, {})
        self._model.eval()
        return self._model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits

    def learning_rates(self, steps: int, count: int | None = None) -> list[float]:
        """The learning rates of a schedule over `steps` steps: the first `count` of them, or all if it is None."""
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=self._config.learning_rate)
        scheduler = make_schedule(optimizer, steps, self._config)
        rates = []
        for _ in range(steps if count is None else count):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
        return rates

    @torch.no_grad()
    def _put(self, weights: Tensors, gradients: Tensors) -> None:
        for name, parameter in self._parameters.items():
            if name in weights:
                parameter.copy_(weights[name])
            parameter.grad = gradients[name].clone() if name in gradients else None

    def _gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad.clone() for name, p in self._parameters.items() if p.grad is not None}


def all_equal(ours: Tensors, theirs: Tensors) -> bool:
    """Whether two sets of tensors have the same names and the same bits."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
