"""Watch a loop for the judge: record the tensors that each step is made from, and those that result from it.

The flight recorder keeps digests, which are enough to compare two runs. Computing a step again needs the tensors
themselves: the weights before it, the batch, the random state, the gradients. Both listen to `shared.recording.hooks`.

The events, in the order in which they happen; `model` is the number of the model they are about, 0 for the one that
was passed to the loop, others for copies of it, or other models that it calls:

- `weights`: all weights of a model, if they changed since its last such event; looked at before a pass, and before
  and after a step.
- `forward`: a call of the model: `inputs.*`, `rng` (torch's random state before it), `logits`, `loss`; whether it is
  in train mode (`training`), the modules in the other mode (`others`), whether gradients are on, whether it has drawn
  a random number (`drew`), the probabilities of its dropout layers, autocast's type, the files and modules whose code
  called it.
- `part`: a part of the model was called first, not the model.
- `backward`: the value (`loss`), the gradients before it (`before.*`, without those that are zero) and after it
  (`after.*`).
- `clip`: a call of torch's clip functions: its name and its limit. It is used for the text of a cause only.
- `step`: an optimizer's step: its class, its number (`object`: 0 for the first that stepped), its groups with their
  settings and parameters, the gradients that it uses (`gradients.*`), and the number of graphs of earlier forward
  passes that are still in memory.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch

from shared.recording.evidence import BATCH_KEYS, plain
from shared.recording.hooks import Hooks, Listener, field_of

Write = Callable[[str, Mapping[str, Any], Mapping[str, torch.Tensor] | None], None]
# Entries of an optimizer's group that are not settings: torch adds them by itself.
NO_SETTINGS = ("params", "initial_lr")
# With more graphs than this in memory it is worth running the garbage collector before counting them.
MANY_GRAPHS = 3


class Watch(Listener):
    """Context manager that watches the one training that happens inside it.

    Args:
        write: receives the events.
        model: the model to be trained; None: the first module that is called.
    """

    def __init__(self, write: Write, model: torch.nn.Module | None = None) -> None:
        self._write = write
        self._model = model
        self._hooks = Hooks(self)
        # Each model that was called, and by its number the weights that were written last.
        self._models: list[torch.nn.Module] = [] if model is None else [model]
        self._weights: dict[int, dict[str, torch.Tensor]] = {}
        self._graphs: list[weakref.ref] = []
        self._optimizers: list[weakref.ref[torch.optim.Optimizer]] = []
        # Saved here, before the loop can replace them.
        self._equal, self._rng_state = torch.equal, torch.get_rng_state

    def __enter__(self) -> Watch:
        self._hooks.__enter__()
        if self._model is not None:
            self._hooks.set_model(self._model)
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(*exception)

    def finish(self) -> None:
        """Record the weights at the end of the run: those of the model that was passed to the loop."""
        if self._models and self._hooks.layers:
            self._write_weights(0)

    # The model --------------------------------------------------------------------------------------

    def model_is_known(self, hooks: Hooks) -> None:
        called = hooks.first_called
        if called is not hooks.model and any(part is called for part in hooks.model.modules()):
            self._write("part", {"name": next(n for n, part in hooks.model.named_modules() if part is called)}, None)

    def _number(self, module: torch.nn.Module) -> int:
        """The number of a model that is called, or of the model inside a wrapper that is called."""
        model = self._hooks.model if module in self._hooks.layers else module
        if not any(known is model for known in self._models):
            self._models.append(model)
        return next(number for number, known in enumerate(self._models) if known is model)

    def before_forward(self, module: torch.nn.Module) -> None:
        self._write_weights(self._number(module))
        self._rng = self._rng_state()
        self._callers = _callers()

    def after_forward(self, module: torch.nn.Module, inputs: dict[str, Any], output: Any) -> None:
        tensors = {f"inputs.{key}": inputs[key] for key in BATCH_KEYS if isinstance(inputs.get(key), torch.Tensor)}
        tensors["rng"] = self._rng
        for name in ("logits", "loss"):
            if (value := field_of(output, name)) is not None:
                tensors[name] = value.detach().clone()
                if name == "logits" and value.requires_grad:
                    self._graphs.append(_graph_reference(value))
        self._write(
            "forward",
            {
                "model": self._number(module),
                "training": module.training,
                "others": [name for name, part in module.named_modules() if part.training != module.training],
                "graph": torch.is_grad_enabled(),
                "drew": not self._equal(self._rng, self._rng_state()),
                "dropout": sorted(
                    {layer.p for layer in module.modules() if isinstance(layer, torch.nn.Dropout) and layer.training}
                ),
                "autocast": str(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else None,
                "callers": self._callers,
            },
            tensors,
        )

    def _write_weights(self, number: int) -> None:
        """Record the weights of a model if they changed since they were written last."""
        now = {name: parameter.detach() for name, parameter in self._models[number].named_parameters()}
        last_weights = self._weights.get(number, {})
        if now.keys() == last_weights.keys() and all(
            now[name].dtype == last.dtype and self._equal(now[name], last) for name, last in last_weights.items()
        ):
            return
        self._weights[number] = {name: value.clone() for name, value in now.items()}
        self._write("weights", {"model": number}, self._weights[number])

    def _gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad for name, p in self._hooks.model.named_parameters() if p.grad is not None}

    # Backward, clip and step ------------------------------------------------------------------------

    def before_backward(self, losses: list[torch.Tensor]) -> None:
        self._before = {name: gradient.clone() for name, gradient in self._gradients().items()}

    def after_backward(self, losses: list[torch.Tensor]) -> None:
        self._write_backward(losses, self._before, self._gradients())

    def after_grad(self, losses: list[torch.Tensor], gradients: dict[str, torch.Tensor]) -> None:
        self._write_backward(losses, {}, gradients)

    def _write_backward(
        self, losses: list[torch.Tensor], before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]
    ) -> None:
        remaining = {f"before.{name}": gradient for name, gradient in before.items() if gradient.any()}
        tensors = {**remaining, **{f"after.{name}": gradient for name, gradient in after.items()}}
        if all(loss.numel() == 1 for loss in losses):
            tensors["loss"] = torch.stack([loss.detach().reshape(()).float() for loss in losses]).sum()
        self._write("backward", {}, tensors)

    def before_clip(self, function: str, limit: float) -> None:
        self._write("clip", {"function": function, "limit": limit}, None)

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._write_weights(self._number(self._hooks.model))
        names = {id(parameter): name for name, parameter in self._hooks.model.named_parameters()}
        groups = [
            {
                "parameters": [names.get(id(parameter)) for parameter in group["params"]],
                "settings": {key: plain(value) for key, value in group.items() if key not in NO_SETTINGS},
            }
            for group in optimizer.param_groups
        ]
        if not any(known() is optimizer for known in self._optimizers):
            self._optimizers.append(weakref.ref(optimizer))
        if len(self._live_graphs()) > MANY_GRAPHS:
            gc.collect()
        self._write(
            "step",
            {
                "optimizer": type(optimizer).__name__,
                "object": next(number for number, known in enumerate(self._optimizers) if known() is optimizer),
                "groups": groups,
                "graphs": len(self._live_graphs()),
            },
            {f"gradients.{name}": gradient for name, gradient in self._gradients().items()},
        )

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        # Changes between the step and the next call of the model are not part of the step.
        self._write_weights(self._number(self._hooks.model))

    def _live_graphs(self) -> list[weakref.ref]:
        self._graphs = [graph for graph in self._graphs if graph() is not None]
        return self._graphs


def _graph_reference(value: torch.Tensor) -> weakref.ref:
    """A weak reference that is dead as soon as the graph behind `value` is."""

    def hook(gradient: torch.Tensor) -> None:
        """Change nothing: the graph's node owns this function, which lives as long as the graph."""

    value.register_hook(hook)
    return weakref.ref(hook)


def _callers() -> list[str]:
    """The distinct files and modules of the running code, the innermost first."""
    callers: dict[str, None] = {}
    frame = sys._getframe(1)
    while frame is not None:
        callers[frame.f_code.co_filename] = None
        callers[str(frame.f_globals.get("__name__"))] = None
        frame = frame.f_back
    return list(callers)
