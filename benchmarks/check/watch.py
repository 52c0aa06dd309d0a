"""Watching a loop for the judge: what a step was made from, and what came of it, tensor by tensor.

The flight recorder keeps digests, from which two runs can be compared. To do a step again one needs the tensors
themselves: the weights before it, the batch, the random state, the gradients. The hooks are the same: PyTorch's own
around the forward pass and the optimizer's step, and a wrapper around `torch.autograd.backward`. Nothing is changed
and no random number drawn.

The events, in the order in which they happen:

- `weights`: all of them, when they are not those of the last such event.
- `forward`: a call of the model: `inputs.*`, `rng` (torch's random state before it), `logits`, `loss`; in train
  mode (`training`), which modules are in the other mode (`others`), whether gradients are on, autocast's type, the
  files whose code called it.
- `backward`: the value (`loss`), the gradients before it (`before.*`, left out where they are zero) and after it
  (`after.*`).
- `clip`: a call of torch's clip functions: its name and its limit. Only for the words of a cause.
- `step`: an optimizer's step: its class, its groups with their settings and parameters, the gradients it found
  (`gradients.*`), and how many graphs of earlier forward passes are still held.
- `stepped`: the step is done.
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from shared.recording.evidence import BATCH_KEYS

Write = Callable[[str, Mapping[str, Any], Mapping[str, torch.Tensor] | None], None]
# A setting of an optimizer's group that is none: what torch adds by itself.
NO_SETTINGS = ("params", "initial_lr")
# With so many graphs held it is worth asking the garbage collector whether anybody still wants them.
MANY_GRAPHS = 3


# The watches that are on, the innermost last.
_ON: list[Watch] = []


# Functions, not methods: a model that a loop copies or saves takes its hooks along, with a method all that it holds.
def _before_forward(module: torch.nn.Module, args: tuple) -> None:
    if _ON:
        _ON[-1]._before_forward(module, args)


def _after_forward(module: torch.nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
    if _ON:
        _ON[-1]._after_forward(module, args, kwargs, output)


class _Token:
    """Lives as long as the graph of the forward pass that it was given to."""


class Watch:
    """Context manager that watches the one training that happens inside it.

    Args:
        write: takes the events.
        model: what is trained; None: the first module that is called.
    """

    def __init__(self, write: Write, model: torch.nn.Module | None = None) -> None:
        self._write = write
        self._model = model
        self._handles: list[Any] = []
        self._weights: dict[str, torch.Tensor] = {}
        self._graphs: list[weakref.ref] = []
        self._depth = 0
        # Bound before anything that is watched can replace them.
        self._equal, self._rng_state = torch.equal, torch.get_rng_state

    def __enter__(self) -> Watch:
        _ON.append(self)
        functions = torch.nn.utils.clip_grad
        self._originals = [
            (torch.autograd, "backward", torch.autograd.backward),
            (torch.autograd, "grad", torch.autograd.grad),
            *(
                (module, name, getattr(module, name))
                for module in (torch.nn.utils, functions)
                for name in ("clip_grad_norm_", "clip_grad_value_")
            ),
        ]
        for owner, name, original in self._originals:
            wrapper = {"backward": self._backward, "grad": self._grad}.get(name, self._clip)
            setattr(owner, name, wrapper(original))
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        if self._model is None:
            self._first = register_module_forward_pre_hook(self._on_first_call)
        else:
            self._follow(self._model)
        return self

    def __exit__(self, *exception: object) -> None:
        _ON.remove(self)
        for owner, name, original in self._originals:
            setattr(owner, name, original)
        for handle in self._handles:
            handle.remove()

    def finish(self) -> None:
        """Keep the weights that the run ends with."""
        if self._model is not None:
            self._keep_weights()

    # The model --------------------------------------------------------------------------------------

    def _on_first_call(self, module: torch.nn.Module, args: tuple) -> None:
        self._first.remove()
        self._follow(module)
        # PyTorch listed this call's hooks before this one ran, so the new one misses it.
        self._before_forward(module, args)

    def _follow(self, model: torch.nn.Module) -> None:
        self._model = model
        self._signature = inspect.signature(model.forward)

        self._handles += [
            model.register_forward_pre_hook(_before_forward),
            model.register_forward_hook(_after_forward, with_kwargs=True),
        ]

    def _before_forward(self, module: torch.nn.Module, args: tuple) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        self._model = module
        self._keep_weights()
        self._rng = self._rng_state()
        self._callers = _files()

    def _after_forward(self, module: torch.nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        self._depth -= 1
        if self._depth:
            return
        inputs = self._inputs(args, kwargs)
        tensors = {f"inputs.{key}": inputs[key] for key in BATCH_KEYS if isinstance(inputs.get(key), torch.Tensor)}
        tensors["rng"] = self._rng
        for name in ("logits", "loss"):
            value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
            if isinstance(output, tuple) and not hasattr(output, name):
                value = next((each for each in output if (each.dim() == 0) == (name == "loss")), None)
            if isinstance(value, torch.Tensor):
                tensors[name] = value.detach().clone()
                if name == "logits" and value.requires_grad:
                    self._graphs.append(_mark(value))
        self._write(
            "forward",
            {
                "training": module.training,
                "others": [name for name, each in module.named_modules() if each.training != module.training],
                "graph": torch.is_grad_enabled(),
                "autocast": str(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else None,
                "callers": self._callers,
            },
            tensors,
        )

    def _inputs(self, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """What the model was called with, by the names of its `forward`."""
        bound = self._signature.bind_partial(*args, **kwargs).arguments
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                bound = {**bound, **bound.pop(name, {})}
        return bound

    def _keep_weights(self) -> None:
        """Write the weights down if they are not those that were written last."""
        now = {name: parameter.detach() for name, parameter in self._model.named_parameters()}
        if now.keys() == self._weights.keys() and all(
            now[name].dtype == kept.dtype and self._equal(now[name], kept) for name, kept in self._weights.items()
        ):
            return
        self._weights = {name: value.clone() for name, value in now.items()}
        self._write("weights", {}, self._weights)

    def _gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad for name, p in self._model.named_parameters() if p.grad is not None}

    # Backward, clip and step ------------------------------------------------------------------------

    def _backward(self, original: Callable) -> Callable:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if self._model is None:
                original(tensors, *args, **kwargs)
                return
            before = {name: gradient.clone() for name, gradient in self._gradients().items()}
            original(tensors, *args, **kwargs)
            self._write_backward(tensors, before, self._gradients())

        return backward

    def _grad(self, original: Callable) -> Callable:
        def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(outputs, inputs, *args, **kwargs)
            if self._model is not None:
                names = {id(parameter): name for name, parameter in self._model.named_parameters()}
                inputs = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
                after = {
                    names[id(each)]: gradient
                    for each, gradient in zip(inputs, found, strict=True)
                    if id(each) in names and gradient is not None
                }
                if after:
                    self._write_backward(outputs, {}, after)
            return found

        return grad

    def _write_backward(self, losses: Any, before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> None:
        losses = [losses] if isinstance(losses, torch.Tensor) else list(losses)
        left = {f"before.{name}": gradient for name, gradient in before.items() if gradient.any()}
        tensors = {**left, **{f"after.{name}": gradient for name, gradient in after.items()}}
        if all(loss.numel() == 1 for loss in losses):
            tensors["loss"] = torch.stack([loss.detach().reshape(()).float() for loss in losses]).sum()
        self._write("backward", {}, tensors)

    def _clip(self, original: Callable) -> Callable:
        # The names of torch's own parameters, which a loop may use.
        limit_of = inspect.signature(original)

        @functools.wraps(original)
        def clip(*args: Any, **kwargs: Any) -> Any:
            given = limit_of.bind_partial(*args, **kwargs).arguments
            limit = given.get("max_norm", given.get("clip_value", 0.0))
            self._write("clip", {"function": original.__name__, "limit": float(limit)}, None)
            return original(*args, **kwargs)

        return clip

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        if self._model is None:
            return
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        groups = [
            {
                "parameters": [names.get(id(each)) for each in group["params"]],
                "settings": {key: _plain(value) for key, value in group.items() if key not in NO_SETTINGS},
            }
            for group in optimizer.param_groups
        ]
        if len(self._alive()) > MANY_GRAPHS:
            gc.collect()
        self._write(
            "step",
            {"optimizer": type(optimizer).__name__, "groups": groups, "graphs": len(self._alive())},
            {f"gradients.{name}": gradient for name, gradient in self._gradients().items()},
        )

    def _alive(self) -> list[weakref.ref]:
        self._graphs = [graph for graph in self._graphs if graph() is not None]
        return self._graphs

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        if self._model is not None:
            self._write("stepped", {}, None)


def _mark(value: torch.Tensor) -> weakref.ref:
    """A reference that is dead as soon as the graph behind `value` is."""
    token = _Token()
    # A hook belongs to the graph's node, and this one holds the token; it returns nothing, so it changes nothing.
    value.register_hook(lambda gradient, token=token: None)
    return weakref.ref(token)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _files() -> list[str]:
    """The files of the code that is running, innermost first, each once."""
    found: dict[str, None] = {}
    frame = sys._getframe(1)
    while frame is not None:
        found[frame.f_code.co_filename] = None
        frame = frame.f_back
    return list(found)
