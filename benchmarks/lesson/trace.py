"""What a loop really does, event by event, recorded through hooks while it runs.

Both loops end in the same few calls of torch and of transformers: a batch is padded, a gradient is clipped, a weight
moves. Each such call is an event, with the values it was made with and the stack of calls that led to it, in the
installed release. Hooks catch what has a hook; the rest is wrapped for as long as the tracer is on.

Two things are rearranged. `Trainer`'s loader (accelerate's) pads every batch one batch ahead, to know which is the
last, and a loop that accumulates fetches a group of batches at once: the padding of a batch and its move to the device
are shown where the batch is used. And what only `Trainer` does twice (moving what is there already, clearing
gradients that are not there yet) is listed separately as a repetition.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from transformers import DataCollatorWithPadding, PreTrainedModel, Trainer
from transformers.optimization import GreedyLR
from transformers.trainer_pt_utils import LengthGroupedSampler

from benchmarks.lesson.events import Frame
from benchmarks.lesson.timeline import Timeline
from shared import data, model
from shared.running import checkpoints
from shared.running.script import LoopScript

SCHEDULERS = (LRScheduler, ReduceLROnPlateau, GreedyLR)
SAMPLERS = (RandomSampler, SequentialSampler, LengthGroupedSampler)
# The description of a batch that is not padded to a number of tokens.
PUT_TOGETHER = "put together"


class Traced(Exception):  # noqa: N818 - a signal, not an error
    """The requested step has been traced: nothing is left to do."""


class _Batch:
    """A batch between its padding and its use."""

    def __init__(self, description: str, frames: tuple[Frame, ...], tensors: dict[str, torch.Tensor]) -> None:
        self.description, self.frames = description, frames
        self.is_used = False
        self.tensors = {id(tensor): tensor for tensor in tensors.values()}
        self.moved_to: tuple[str, bool, tuple[Frame, ...]] | None = None


class Tracer(Timeline):
    """Context manager that traces the one run of a loop that happens inside it.

    Args:
        loop, script, module: as `Timeline`; there are no events of what the script lacks.
        until_step: stop the run with `Traced` after the first epoch boundary that follows this step; None: let it run
            to its end.
    """

    # The name of the training examples.
    examples = "reviews"

    def __init__(self, loop: str, script: LoopScript, module: ModuleType, until_step: int | None = None) -> None:
        super().__init__(loop, script, module)
        self._until_step = until_step
        self._model: torch.nn.Module | None = None
        self._pending: dict[bool, deque[_Batch]] = {True: deque(), False: deque()}
        self._model_is_placed = self._loader_is_built = self._has_stepped = False

    def __enter__(self) -> Tracer:
        self._install()
        super().__enter__()
        return self

    # What is hooked -------------------------------------------------------------------------------

    def _install(self) -> None:
        self._install_at_the_ends()
        self._wrap(torch, "manual_seed", self._on_seed)
        self._wrap(torch, "use_deterministic_algorithms", self._on_determinism)
        self._wrap(torch.nn.Module, "to", self._on_model_to)
        self._wrap(DataLoader, "__init__", self._on_loader)
        self._wrap(Optimizer, "__init__", self._on_optimizer)
        for scheduler in SCHEDULERS:
            self._wrap(scheduler, "__init__", self._on_schedule)
            self._wrap(scheduler, "step", self._on_schedule_step)
        self._wrap(DataLoader, "__iter__", self._on_pass)
        # The manual loop has its own class of the sampler by length.
        own = [getattr(module, LengthGroupedSampler.__name__, None) for module in self._modules]
        for sampler in {*SAMPLERS, *(sampler_class for sampler_class in own if isinstance(sampler_class, type))}:
            self._wrap(sampler, "__iter__", self._on_order)
        self._wrap(torch.Tensor, "to", self._on_tensor_to)
        self._wrap(torch.nn.Module, "train", self._on_train_mode)
        self._undo.append(register_module_forward_pre_hook(self._on_forward).remove)
        self._wrap(torch.Tensor, "__truediv__", self._on_divide)
        self._wrap(torch.Tensor, "backward", self._on_backward)
        self._wrap(torch.Tensor, "__iadd__", self._on_add)
        self._wrap(torch.nn.utils, "clip_grad_norm_", self._on_clip)
        self._undo.append(register_optimizer_step_pre_hook(self._on_step).remove)
        for owner in (Optimizer, torch.nn.Module):
            self._wrap(owner, "zero_grad", self._on_zero)
        for name, on_call in (("log", self._on_log), ("evaluate", self._on_evaluate)):
            for owner in self._modules if self._is_manual else [Trainer]:
                if callable(getattr(owner, name, None)):
                    self._wrap_here(owner, name, on_call)

    def _install_at_the_ends(self) -> None:
        """Wrap loading and saving, as this package does them."""
        for owner, name in ((data, "load_data"), (model, "load_model"), (model, "load_tokenizer")):
            self._wrap(owner, name, partial(self._on_load, name))
        self._wrap(DataCollatorWithPadding, "__call__", self._on_collate)
        self._wrap(torch, "save", self._on_torch_save)
        self._wrap(checkpoints, "seal", self._on_seal)
        self._wrap(PreTrainedModel, "save_pretrained", self._on_save)

    # Before the first batch -----------------------------------------------------------------------

    def _on_load(self, name: str, original: Callable, *args: Any, **kwargs: Any) -> Any:
        frames = self._frames()
        self._silent += 1
        loaded = original(*args, **kwargs)
        self._silent -= 1
        if name == "load_data":
            sizes = f"{len(loaded.train_dataset)} + {len(loaded.eval_dataset)}"
            self._event("data", f"{sizes} reviews loaded, shuffled, selected, tokenized", frames=frames)
        elif name == "load_model":
            weights = sum(parameter.numel() for parameter in loaded.parameters())
            self._event("model", f"{type(loaded).__name__}, {weights:,} weights", frames=frames)
        else:
            self._event("data", f"the tokenizer, {len(loaded):,} tokens", frames=frames)
            self._wrap_here(loaded, "save_pretrained", self._on_tokenizer_save)
        return loaded

    def _on_seed(self, original: Callable, seed: int) -> Any:
        self._event("seed", "torch, numpy and random seeded", seed=seed)
        return original(seed)

    def _on_determinism(self, original: Callable, mode: bool, **options: Any) -> None:
        self._event("determinism", "deterministic algorithms only", mode=mode)
        return original(mode, **options)

    def _on_model_to(self, original: Callable, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self._is_model(module) and not self._silent:
            if self._model_is_placed:
                self._repetition("the model is moved to the device where it already is")
            else:
                device, now = _device(args, kwargs), next(module.parameters()).device.type
                self._event("device", f"the model moved to {device}", is_idle=device == now)
            self._model_is_placed = True
        return original(module, *args, **kwargs)

    def _is_model(self, module: torch.nn.Module) -> bool:
        return isinstance(module, PreTrainedModel)

    def _on_loader(self, original: Callable, loader: DataLoader, dataset: Any, *args: Any, **kwargs: Any) -> None:
        # The first one is for training. Trainer builds another around it, and one for every evaluation.
        if not self._loader_is_built:
            self._loader_is_built = True
            self._event("batch", f"a loader of batches built over {len(dataset)} {self.examples}")
        original(loader, dataset, *args, **kwargs)

    def _on_optimizer(self, original: Callable, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        original(optimizer, *args, **kwargs)
        # Groups with the same settings count as one.
        tensors: dict[float, int] = {}
        for group in optimizer.param_groups:
            decay = float(group.get("weight_decay", 0.0))
            tensors[decay] = tensors.get(decay, 0) + len(group["params"])
        by_decay = {
            f"tensors with weight decay {decay:g}:": count for decay, count in sorted(tensors.items()) if count
        }
        lr = optimizer.param_groups[0]["lr"]
        self._event("optimizer", f"{type(optimizer).__name__} built", **by_decay, lr=lr)

    def _on_schedule(self, original: Callable, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        frames = self._frames()
        self._silent += 1  # the constructor takes a first step by itself
        original(scheduler, *args, **kwargs)
        self._silent -= 1
        self._event("schedule", f"{type(scheduler).__name__} built", frames=frames)

    # Batches --------------------------------------------------------------------------------------

    def _on_pass(self, original: Callable, loader: DataLoader) -> Any:
        if not self._evaluating:
            self._finish_step()
            self._enter("epoch", self._epoch + 1)
        examples = f"{len(loader.dataset)} {self.examples}"
        self._event("batch", f"a pass over {examples} begins; the DataLoader draws one random number")
        return original(loader)

    def _on_order(self, original: Callable, sampler: Any) -> Any:
        generator, own_seed = getattr(sampler, "generator", None), getattr(sampler, "seed", None)
        name = {RandomSampler: "random", SequentialSampler: "in the dataset's order"}
        order = next((text for kind, text in name.items() if isinstance(sampler, kind)), "by length")
        seed = {} if own_seed is None else {"seed": own_seed}
        if isinstance(generator, torch.Generator):
            seed = {"seed": generator.initial_seed()}
        self._event("shuffle", f"the order of the {self.examples}: {order}", **seed)
        return original(sampler)

    def _on_collate(self, original: Callable, *args: Any) -> Any:
        frames = self._frames()
        batch = original(*args)
        tensors = dict(batch) if isinstance(batch, Mapping) else {}
        shape = tensors["input_ids"].shape if "input_ids" in tensors else ()
        # The last argument is the list of examples.
        size = f"padded to {shape[1]} tokens" if len(shape) == 2 else PUT_TOGETHER
        self._pending[self._evaluating].append(_Batch(f"{len(args[-1])} {self.examples} {size}", frames, tensors))
        self._activity += 1
        return batch

    def _on_tensor_to(self, original: Callable, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        for batch in self._pending[self._evaluating]:
            if id(tensor) in batch.tensors and batch.moved_to is None:
                device = _device(args, kwargs)
                batch.moved_to = (device, tensor.device.type == device, self._frames())
                self._activity += 1
                break
        return original(tensor, *args, **kwargs)

    def _show_batch(self) -> None:
        """Record the use of the oldest batch that has not been used."""
        pending = self._pending[self._evaluating]
        if pending and not pending[0].is_used:
            pending[0].is_used = True
            if not self._evaluating:
                self._finish_step()
                self.trace.batches_ahead = max(self.trace.batches_ahead, len(pending) - 1)
                self._stop_after_last_step()
                self._enter("step")
            self._event("collator", pending[0].description, frames=pending[0].frames)

    def _stop_after_last_step(self) -> None:
        if self._until_step is not None and self._part == "epoch" and self._steps >= self._until_step:
            raise Traced

    # One step -------------------------------------------------------------------------------------

    def _on_train_mode(self, original: Callable, module: torch.nn.Module, mode: bool = True) -> Any:
        if self._silent or not self._is_model(module):
            return original(module, mode)
        if mode:
            self._show_batch()
        self._event("train mode", f"dropout {'on' if mode else 'off'}")
        self._silent += 1  # it goes down into every module
        result = original(module, mode)
        self._silent -= 1
        return result

    def _on_forward(self, module: torch.nn.Module, args: tuple) -> None:
        if self._model is None:
            self._model = module
        if module is not self._model:
            return
        self._show_batch()
        pending = self._pending[self._evaluating]
        if pending:
            batch = pending.popleft()
            if batch.moved_to is not None:
                device, is_idle, frames = batch.moved_to
                self._event("device", f"the batch moved to {device}", frames=frames, is_idle=is_idle)
        gradients = "with" if torch.is_grad_enabled() else "without"
        self._event("forward", f"forward pass, {gradients} gradients, dropout {'on' if module.training else 'off'}")

    def _on_divide(self, original: Callable, tensor: torch.Tensor, other: Any) -> torch.Tensor:
        if tensor.dim() == 0 and tensor.requires_grad and self._is_called_from_loop():
            description = f"the loss, divided by the number of batches in the step ({other})"
            self._event("loss", description, loss=tensor.item(), is_idle=other == 1)
        return original(tensor, other)

    def _on_backward(self, original: Callable, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        self._event("backward", "backward pass", loss=tensor.item())
        original(tensor, *args, **kwargs)

    def _on_add(self, original: Callable, tensor: torch.Tensor, other: Any) -> torch.Tensor:
        if tensor.dim() == 0 and isinstance(other, torch.Tensor) and self._is_called_from_loop():
            self._event("log", "the loss added to the sum for the log", loss=other.item())
        return original(tensor, other)

    def _on_clip(
        self, original: Callable, parameters: Any, max_norm: float, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        frames = self._frames()
        norm = original(parameters, max_norm, *args, **kwargs)
        # Without a limit only the norm is taken, which changes nothing.
        description, is_idle = f"gradients scaled to norm {max_norm:g} at most", max_norm == math.inf
        self._event("clip", description, frames=frames, is_idle=is_idle, grad_norm=norm.item())
        return norm

    def _on_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        self._has_stepped = True
        self._event(
            "step", f"{type(optimizer).__name__} updates the weights", lr=float(optimizer.param_groups[0]["lr"])
        )

    def _on_schedule_step(self, original: Callable, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        if self._silent:
            return original(scheduler, *args, **kwargs)
        frames = self._frames()
        original(scheduler, *args, **kwargs)
        lr = float(scheduler.optimizer.param_groups[0]["lr"])
        return self._event("schedule step", "the learning rate of the next step", frames=frames, lr=lr)

    def _on_zero(self, original: Callable, owner: Any, *args: Any, **kwargs: Any) -> None:
        groups = owner.param_groups if isinstance(owner, Optimizer) else [{"params": owner.parameters()}]
        if any(parameter.grad is not None for group in groups for parameter in group["params"]):
            self._event("zero", "the gradients set to None")
        else:
            self._repetition("zero_grad() is called before there are any gradients")
        original(owner, *args, **kwargs)
        self._finish_step()

    def _finish_step(self) -> None:
        """A step is over when the gradients are cleared, or when something else begins without that."""
        if self._has_stepped:
            self._has_stepped = False
            self._enter("after")
            self._steps += 1

    # Logging, evaluations and checkpoints -----------------------------------------------------------

    def _on_log(self, original: Callable, *args: Any, **kwargs: Any) -> None:
        # In the manual loop the values are keywords, in `Trainer` a dictionary.
        values = next((argument for argument in args if isinstance(argument, dict)), kwargs)
        logged = {name: values[name] for name in self._logged_names(values) if name in values}
        self._finish_step()
        if any(name.startswith("eval_") for name in logged):
            self._event("evaluate", "logged", part="evaluation", **logged)
        elif logged:
            self._event("log", "logged", **logged)
        original(*args, **kwargs)

    def _logged_names(self, values: Mapping[str, Any]) -> list[str]:
        """The logged values that are no measurements of time."""
        return ["loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy"]

    def _on_evaluate(self, original: Callable, *args: Any, **kwargs: Any) -> Any:
        self._finish_step()
        part = self._part
        self._enter("evaluation")
        self._event("evaluate", "an evaluation begins")
        self._evaluating = True
        try:
            return original(*args, **kwargs)
        finally:
            self._evaluating = False
            self._enter(part)

    def _on_save(
        self, original: Callable, model: PreTrainedModel, folder: str | Path, *args: Any, **kwargs: Any
    ) -> Any:
        self._finish_step()
        if "checkpoint-" not in Path(folder).name:
            self._enter("end")
        self._event(*self._saving("the weights saved"))
        return original(model, folder, *args, **kwargs)

    def _on_tokenizer_save(self, original: Callable, *args: Any, **kwargs: Any) -> Any:
        self._event(*self._saving("the tokenizer saved"))
        return original(*args, **kwargs)

    def _on_torch_save(self, original: Callable, value: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        parts = {
            "optimizer": "the optimizer's state",
            "scheduler": "the schedule's state",
            "rng_state": "random states",
        }
        for name, description in parts.items():
            if isinstance(file, (str, Path)) and Path(file).name.startswith(name):
                self._event(*self._saving(f"{description} saved"))
        original(value, file, *args, **kwargs)

    def _on_seal(self, original: Callable, *args: Any, **kwargs: Any) -> None:
        self._event("checkpoint", "a checksum of every file of the checkpoint is stored")
        original(*args, **kwargs)

    def _saving(self, text: str) -> tuple[str, str]:
        return ("save", f"{text} at the end") if self._part == "end" else ("checkpoint", f"{text}, in a checkpoint")


def _device(args: tuple, kwargs: dict[str, Any]) -> str:
    """The kind of device that `.to(...)` was called with: `cuda` and `cuda:0` are the same one here."""
    return str(args[0] if args else kwargs.get("device", "the device")).partition(":")[0]
