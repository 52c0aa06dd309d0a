"""One step in every detail, for finding the first tensor that differs."""

from __future__ import annotations

from typing import Any

import torch

from shared.files import digest
from shared.recording.evidence import as_bytes, named_digests
from shared.recording.hooks import field_of, tensors_in


class DetailTaken(Exception):  # noqa: N818 - a signal, not an error
    """The requested step has been recorded in detail: nothing is left to do."""


class Detail:
    """Digests of every weight, module output and gradient of one step, each a list of [name, digest]."""

    def __init__(self, step: int) -> None:
        self.parts: dict[str, list[list[str]]] = {}
        self._step = step
        self._handles: list[Any] = []

    def before_forward(self, model: torch.nn.Module, step: int) -> None:
        """Start listening to the modules, in the step's forward passes and in an evaluation after it."""
        training = torch.is_grad_enabled()
        if step > self._step and training:
            raise DetailTaken
        if step == self._step and training:
            self.parts.setdefault("weights_before", named_digests(model.state_dict()))
            self._listen(model, "outputs")
        elif step == self._step + 1:
            self._listen(model, "evaluation_outputs")

    def after_forward(self) -> None:
        """Stop listening; the first batch of an evaluation after the step is enough."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if "evaluation_outputs" in self.parts:
            raise DetailTaken

    def before_step(self, model: torch.nn.Module, step: int) -> None:
        if step == self._step:
            gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            self.parts["gradients"] = named_digests(gradients)

    def after_step(self, model: torch.nn.Module, step: int) -> None:
        if step == self._step:
            self.parts["weights_after"] = named_digests(model.state_dict())

    def _listen(self, model: torch.nn.Module, part: str) -> None:
        heard = self.parts.setdefault(part, [])
        for name, module in model.named_modules():
            label = f"{name or 'the model'} ({type(module).__name__})"

            def hear(module: torch.nn.Module, args: tuple, output: Any, label: str = label) -> None:
                logits = field_of(output, "logits") if module is model else None
                # The model's loss is made of these and of labels that a loop may keep from it.
                tensors = tensors_in(output if logits is None else logits)
                heard.append([label, digest(map(as_bytes, tensors))])

            self._handles.append(module.register_forward_hook(hear))
