"""The norms of one step's gradients, from before its first backward pass until the optimizer takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from shared.files import digest
from shared.recording.evidence import common_factor, norms, scaling, some_of


class Gradients:
    """The gradients of one step, from before its first backward pass until the optimizer takes them.

    Their norms are taken where something has happened to them; a version counter, which nearly every change in place
    raises, shows when nothing has. The last check on a CPU reads a few numbers of each gradient instead of all of
    them, if these show what has happened: a clip by norm has multiplied all alike, so the norms have changed as these
    numbers have. That saves half of the time of the checks, and differs from the norms of all numbers by some 1e-7.

    Each check gives one vector, a norm per tensor, on the gradients' device; `gradient_norms` makes numbers of them.
    """

    def __init__(self) -> None:
        self._sampled: np.ndarray | None = None
        self._sample_at_step: str | None = None
        self._left: torch.Tensor | None = None
        self._backward: list[torch.Tensor] = []
        self._between: list[torch.Tensor] = []
        self._state: list[tuple[int, int]] = []
        self._norms = torch.zeros(1)
        self._measured: list[torch.Tensor] = []

    def versions(self) -> list[int]:
        """How often each gradient that was measured last has been changed in place, until now."""
        return [gradient._version for gradient in self._measured]

    def after_clip(self, before: list[int], norm: Any, max_norm: float) -> None:
        """Called after torch's clip, with the `versions` before it, the norm that it found, and its limit.

        A clip that was not needed multiplies every gradient by 1.0, which raises the version and changes no bit. If
        nothing else has changed them since the last check, the norms need not be taken again. On a GPU they are:
        checking there whether the clip was needed would take longer.
        """
        if not isinstance(norm, torch.Tensor) or norm.device.type != "cpu" or not self._measured:
            return
        unchanged = before == [version for _, version in self._state]
        if unchanged and self.versions() == [version + 1 for version in before] and max_norm / (norm + 1e-6) >= 1.0:
            self._state = [(id(gradient), gradient._version) for gradient in self._measured]

    def before_backward(self, trained: list[torch.nn.Parameter]) -> None:
        """Called before each backward pass, with the parameters that can be trained."""
        self._update_norms(trained)
        if self._left is None:
            self._left = self._norms
        else:
            self._between.append(self._norms)

    def after_backward(self, trained: list[torch.nn.Parameter]) -> None:
        """Called after each backward pass."""
        self._update_norms(trained)
        self._backward.append(self._norms)
        self._sampled = some_of(self._measured)

    def at_step(self, held: list[torch.nn.Parameter], trained: list[torch.nn.Parameter]) -> dict[str, Any]:
        """Called before the step, with the parameters that the optimizer holds, in the model's order.

        Returns:
            `left`, before the first backward pass: what an earlier step has left behind, None where nothing has been
            passed back; `backward`, after each; `between`, before each but the first; `before` and `after`: what the
            loop has done to them after the last; `taken`: those that the optimizer takes; `sample`: a digest of a few
            numbers of each, None where they are not dense float32 on the CPU.
        """
        before = self._norms
        self._last_check(trained)
        return {
            "left": self._left,
            "backward": self._backward,
            "between": self._between,
            "before": before,
            "after": self._norms,
            "taken": self.taken(held, trained),
            "sample": self._sample_at_step,
        }

    def taken(self, held: list[torch.nn.Parameter], trained: list[torch.nn.Parameter]) -> torch.Tensor:
        """The norms, after the last check, of those that the step's optimizers hold."""
        held = [p for p in held if p.grad is not None]
        same = [id(p) for p in held] == [id(p) for p in trained if p.grad is not None]
        return self._norms if same else norms([p.grad for p in held])

    def _last_check(self, trained: list[torch.nn.Parameter]) -> None:
        """Take the norms at the step. This also notices what raises no version counter, as a clip of `p.grad.data`."""
        sampled = some_of([p.grad for p in trained if p.grad is not None])
        self._sample_at_step = None if sampled is None else digest([sampled.data])
        before = self._sampled
        if sampled is None or before is None:
            factor = None
        else:
            factor = 1.0 if np.array_equal(sampled, before) else common_factor(before, sampled)
        if factor == 1.0:
            self._update_norms(trained)
        elif factor:
            self._norms = self._norms * abs(factor)
        else:
            self._state = [(0, -1)]  # of no gradient, so that the norms are taken, also where there are none
            self._update_norms(trained)

    def _update_norms(self, trained: list[torch.nn.Parameter]) -> None:
        """Take the norms again if any gradient is another one, or changed, since they were taken."""
        gradients = [p.grad for p in trained if p.grad is not None]
        state = [(id(gradient), gradient._version) for gradient in gradients]
        if state != self._state:
            self._state, self._norms, self._measured = state, norms(gradients), gradients


def gradient_norms(measured: dict[str, Any]) -> dict[str, Any]:
    """The norms of all gradients together, from what `Gradients.at_step` gave, on the CPU.

    `scaled`: by what factors the loop has changed the tensors' norms after the last backward pass.
    """

    def total(norms_of_each: torch.Tensor) -> float:
        return torch.linalg.vector_norm(norms_of_each).item()

    backward = [total(part) for part in measured["backward"]]
    return {
        "left": 0.0 if measured["left"] is None else total(measured["left"]),
        "backward": backward,
        "between": [total(part) for part in measured["between"]],
        "scaled": scaling(measured["before"], measured["after"]),
        "unclipped": backward[-1] if backward else 0.0,
        "at_step": total(measured["taken"]),
    }
