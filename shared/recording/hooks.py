"""The only module that hooks into a training: it notifies a listener of what happens, as it happens.

The recorder and the watcher of a check are listeners. Most hooks are PyTorch's own, around the model's forward
pass and around every optimizer's step. What has no hook is wrapped for as long as the hooks are on: the backward pass,
torch's clip functions, the beginning of a pass over a loader, and `torch.save`.

Nothing is disturbed: no random number is drawn, no tensor changed.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

from shared.processes import pass_is_made_up

CLIPS = ("clip_grad_norm_", "clip_grad_value_")


class Listener:
    """Base class of a listener; each method is called when the event happens, and does nothing by itself."""

    def model_is_known(self, hooks: Hooks) -> None:
        """The model is about to be called for the first time."""

    def before_forward(self, module: torch.nn.Module) -> None:
        """The model is about to be called; `module`: itself, a copy of it, or what wraps it."""

    def after_forward(self, module: torch.nn.Module, inputs: dict[str, Any], output: Any) -> None:
        """It has been called; `inputs` by the parameters of its `forward`, however the loop has passed them."""

    def before_backward(self, losses: list[torch.Tensor]) -> None:
        """`torch.autograd.backward` is about to be called, with these values."""

    def after_backward(self, losses: list[torch.Tensor]) -> None:
        """The backward pass is done."""

    def after_grad(self, losses: list[torch.Tensor], gradients: dict[str, torch.Tensor]) -> None:
        """`torch.autograd.grad` has given gradients of the model's parameters, by name."""

    def before_clip(self, function: str, limit: float) -> None:
        """One of torch's clip functions is about to be called."""

    def after_clip(self, function: str, limit: float, returned: Any) -> None:
        """It has returned, the norm for example."""

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """The weights are about to be updated, after all that the loop itself has hooked to its optimizer."""

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """They have been updated."""

    def pass_begins(self, loader: DataLoader) -> None:
        """A pass over a loader begins."""

    def before_save(self) -> None:
        """`torch.save` is about to be called."""


# The hooks that are on, the innermost last.
_ON: list[Hooks] = []


# Functions, not methods: a model that a loop copies or saves takes its hooks along, with a method all that it holds.
def _before_forward(module: torch.nn.Module, args: tuple) -> None:
    if _ON:
        _ON[-1]._before_forward(module)


def _after_forward(module: torch.nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
    if _ON:
        _ON[-1]._after_forward(module, args, kwargs, output)


class Hooks:
    """Context manager that notifies a listener of the one training that happens inside it.

    The model is the first module with weights that is called, unless the loop was given one and calls what belongs
    together with it: a module of its own around it, `DataParallel`, or a part of it. Then the given one is the model.
    A copy that is trained from the first step on takes its place, and is not the given one.

    Attributes:
        layers: the model and what wraps it, outermost first; empty until it is known.
        is_given: whether the model is the one that the loop was given.
        first_called: the module that was called first.
    """

    def __init__(self, listener: Listener) -> None:
        self.layers: list[torch.nn.Module] = []
        self.is_given = True
        self.first_called: torch.nn.Module | None = None
        self._listener = listener
        # A weak reference: watching the model must not keep it alive.
        self._given_model: Callable[[], torch.nn.Module | None] = lambda: None
        self._only = False
        self._handles: list[Any] = []
        self._undo: list[Callable[[], None]] = []
        self._last_hook: Any = None
        self._depth = 0
        self._has_stepped = False
        self._first_weight: torch.Tensor | None = None
        self._names: dict[int, str] = {}

    @property
    def model(self) -> torch.nn.Module:
        """The innermost layer, whose weights are trained.

        Raises:
            IndexError: no module was called yet.
        """
        return self.layers[-1]

    def __enter__(self) -> Hooks:
        _ON.append(self)
        utils = torch.nn.utils
        self._wrap(torch.autograd, "backward", self._around_backward)
        self._wrap(torch.autograd, "grad", self._around_grad)
        for module in (utils, utils.clip_grad):
            for name in CLIPS:
                self._wrap(module, name, self._around_clip)
        self._wrap(DataLoader, "__iter__", self._around_pass)
        self._wrap(torch, "save", self._around_save)
        self._first = register_module_forward_pre_hook(self._on_first_call)
        self._handles = [
            self._first,
            register_optimizer_step_pre_hook(self._about_to_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        _ON.remove(self)
        for undo in reversed(self._undo):
            undo()
        for handle in filter(None, (*self._handles, self._last_hook)):
            handle.remove()

    def _wrap(self, owner: Any, name: str, around: Callable) -> None:
        """Have a function replaced by what `around` makes of it."""
        original = getattr(owner, name)
        setattr(owner, name, around(original))
        self._undo.append(functools.partial(setattr, owner, name, original))

    # The model ------------------------------------------------------------------------------------

    def set_model(self, model: torch.nn.Module, only: bool = False) -> None:
        """The loop is given this model; from here on, a copy that it makes of it is watched, too.

        With `only`, a module that does not belong together with it is not taken for the model: a teacher, for example.
        """
        self._given_model, self._only = weakref.ref(model), only
        self._follow(model)

    def _follow(self, module: torch.nn.Module) -> None:
        if _before_forward not in module._forward_pre_hooks.values():
            self._handles.append(module.register_forward_pre_hook(_before_forward))
            self._handles.append(module.register_forward_hook(_after_forward, with_kwargs=True))

    def _on_first_call(self, module: torch.nn.Module, args: tuple) -> None:
        if pass_is_made_up() or next(module.parameters(), None) is None:
            return
        given_model = self._given_model()
        belongs_to_given = given_model is not None and _belong_together(module, given_model)
        if self._only and given_model is not None and not belongs_to_given:
            return
        self._first.remove()
        self.layers, self.first_called = _unwrap(module), module
        if belongs_to_given and given_model is not self.model:
            self.layers = [given_model]
        self.is_given = given_model is None or self.model is given_model
        is_followed = _before_forward in module._forward_pre_hooks.values()
        for layer in self.layers:
            self._follow(layer)
        self._signature = inspect.signature(self.model.forward)
        self._listener.model_is_known(self)
        if module in self.layers and not is_followed:
            # PyTorch listed this call's hooks before this one ran, so the new pre-hook misses it.
            self._before_forward(module)

    def _before_forward(self, module: torch.nn.Module) -> None:
        if torch.compiler.is_compiling():
            return
        self._depth += 1
        if self._depth == 1:
            self._note_names(module)
            if not self._has_stepped and module.training and torch.is_grad_enabled() and self._is_copy(module):
                self.layers, self.is_given = [module], False
                self._listener.model_is_known(self)
            self._listener.before_forward(module)

    def _after_forward(self, module: torch.nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        self._depth -= 1
        if self._depth == 0:
            self._listener.after_forward(module, self._inputs(args, kwargs), output)

    def _note_names(self, module: torch.nn.Module) -> None:
        """Keep the weights' names, also of those that `torch.func.functional_call` puts in their places for a pass."""
        first = next(module.parameters(), None)
        if first is not self._first_weight:
            self._first_weight = first
            self._names = {id(weight): name for name, weight in module.named_parameters()}

    def _is_copy(self, module: torch.nn.Module) -> bool:
        """Whether a module has its hooks from the model that it is a copy of, other than `DataParallel`'s copies."""
        return module not in self.layers and not getattr(module, "_is_replica", False)

    def _inputs(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = self._signature.bind_partial(*args, **kwargs).arguments
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                bound = {**bound, **bound.pop(name, {})}
        return bound

    # What has no hook -----------------------------------------------------------------------------

    def _around_backward(self, original: Callable) -> Callable:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if pass_is_made_up() or not self.layers:
                original(tensors, *args, **kwargs)
                return
            losses = _as_list(tensors)
            self._listener.before_backward(losses)
            original(tensors, *args, **kwargs)
            self._listener.after_backward(losses)

        return backward

    def _around_grad(self, original: Callable) -> Callable:
        def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            gradients_of_inputs = original(outputs, inputs, *args, **kwargs)
            if self.layers:
                gradients = {
                    self._names[id(tensor)]: gradient
                    for tensor, gradient in zip(_as_list(inputs), gradients_of_inputs, strict=True)
                    if id(tensor) in self._names and gradient is not None
                }
                if gradients:
                    self._listener.after_grad(_as_list(outputs), gradients)
            return gradients_of_inputs

        return grad

    def _around_clip(self, original: Callable) -> Callable:
        # The names of torch's own parameters, which a loop may use.
        signature, name = inspect.signature(original), original.__name__

        @functools.wraps(original)
        def clip(*args: Any, **kwargs: Any) -> Any:
            arguments = signature.bind_partial(*args, **kwargs).arguments
            limit = float(arguments.get("max_norm", arguments.get("clip_value", 0.0)))
            self._listener.before_clip(name, limit)
            returned = original(*args, **kwargs)
            self._listener.after_clip(name, limit, returned)
            return returned

        return clip

    def _around_pass(self, original: Callable) -> Callable:
        def begin_pass(loader: DataLoader) -> Any:
            self._listener.pass_begins(loader)
            return original(loader)

        return begin_pass

    def _around_save(self, original: Callable) -> Callable:
        def save(*args: Any, **kwargs: Any) -> None:
            self._listener.before_save()
            original(*args, **kwargs)

        return save

    # The optimizer --------------------------------------------------------------------------------

    def _about_to_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        """Run after all that the loop itself has hooked to its optimizer, a clip for example."""
        if self._last_hook is not None:
            self._last_hook.remove()
        self._last_hook = optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> Any:
        """Run before the weights are updated: where the passes are in a closure, after it has been called."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):
            self._notify_before_step(optimizer)
            return None

        def watched() -> Any:
            returned = closure()
            self._notify_before_step(optimizer)
            return returned

        if "closure" in kwargs:
            return args, {**kwargs, "closure": watched}
        return (args[0], watched, *args[2:]), kwargs

    def _notify_before_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.layers:
            self._listener.before_step(optimizer)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        if self.layers:
            self._has_stepped = True
            self._listener.after_step(optimizer)


def _unwrap(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The model and what it wraps, outermost first.

    torch.compile and DistributedDataParallel train through a wrapper and evaluate the module inside, so
    both must be watched.
    """
    layers = [model]
    while (inner := getattr(layers[-1], "_orig_mod", None)) is not None or (
        isinstance(layers[-1], torch.nn.parallel.DistributedDataParallel) and (inner := layers[-1].module) is not None
    ):
        layers.append(inner)
    return layers


def field_of(output: Any, name: str) -> torch.Tensor | None:
    """`logits` or `loss` of a model's output, in any of its forms; None where there is none."""
    if isinstance(output, tuple) and not hasattr(output, name):  # `return_dict=False`: the loss is a scalar
        output = {"logits" if part.dim() else "loss": part for part in reversed(tensors_in(output))}
    value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
    return value if isinstance(value, torch.Tensor) else None


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All tensors in a module's output, in order. 16-bit ones in float32: who converts them makes no difference."""
    if isinstance(value, torch.Tensor):
        return [value.float() if value.is_floating_point() else value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for member in value for tensor in tensors_in(member)] if isinstance(value, (list, tuple)) else []


def _belong_together(module: torch.nn.Module, model: torch.nn.Module) -> bool:
    """Whether one is a part of the other."""
    return any(part is model for part in module.modules()) or any(part is module for part in model.modules())


def _as_list(tensors: Any) -> list[torch.Tensor]:
    return [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
