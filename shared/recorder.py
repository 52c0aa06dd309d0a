"""The flight recorder: watches a training loop from outside and writes its record.

The loop holds no recording code. The recorder uses PyTorch's own hooks: one before and one after the
model's forward pass, one before and one after every optimizer step. Two things have no hook, the value
handed to `loss.backward()` and the saving of a checkpoint, so `torch.Tensor.backward` and `torch.save` are
wrapped for as long as the recorder is on.

It does not disturb what it watches: it draws no random number, changes no tensor, and on a GPU makes no
transfer per step (tensors are kept and converted together, `FLUSH_EVERY` steps at a time).
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import xxhash
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from shared.progress import announce
from shared.record import RecordWriter, cut_back, file_name, training_seconds

# On a GPU a step's values are fetched together with those of this many steps.
FLUSH_EVERY = 50
# The model's inputs that make up a batch, in the order in which they are digested.
BATCH_KEYS = ("input_ids", "attention_mask", "labels")


class FlightRecorder:
    """Context manager that records the one training run that happens inside it.

    Args:
        folder: where the record goes; it must exist.
        header: the fields of the record's header line.
        rank: the number of this process, where there are several; each writes its own record.
        detail_step: the optimizer step, from 1, of which every tensor is to be recorded. The run ends after it,
            or after the first batch of an evaluation that follows it, with `DetailTaken`.
        resume_step: the step of the checkpoint that the run goes on from; its record is continued. 0: a new run.

    Raises:
        SameLoopError: the record to continue is not there or too short.

    Example:
        with FlightRecorder(folder, header) as recorder:
            log_history = train(config, folder)
            recorder.finish(log_history)
    """

    def __init__(
        self,
        folder: Path,
        header: dict[str, Any],
        rank: int = 0,
        detail_step: int | None = None,
        resume_step: int = 0,
    ) -> None:
        path = folder / file_name(rank)
        earlier = cut_back(path, resume_step) if resume_step else None
        self._writer = RecordWriter(path, append=earlier is not None)
        if earlier is None:
            self._writer.write("header", **header)
        else:
            self._writer.write("resume", step=resume_step, environment=header["environment"])
            begun_with = earlier.header.get("environment", {})
            for name, value in header["environment"].items():
                if name != "git" and begun_with.get(name) != value:
                    announce(
                        f"note: begun with {name} {begun_with.get(name)}, now {value}: the rest may round otherwise"
                    )
        self._loss_is_scaled = header["config"]["fp16"]
        self._handles: list[Any] = []
        self._model: torch.nn.Module | None = None
        self._depth = 0
        self._steps = resume_step
        self._is_resumed = earlier is not None
        self._micro_batches: list[dict[str, Any]] = []
        self._eval_batches: list[dict[str, Any]] = []
        self._pending: list[Callable[[], None]] = []
        self._start_line: dict[str, Any] = {}
        steps, evaluations = (earlier.steps, earlier.evaluations) if earlier else ([], [])
        self._totals = {name: sum(line[name] for line in steps) for name in ("samples", "tokens", "padded_tokens")}
        self._train_seconds = sum(training_seconds(line) for line in steps)
        self._checkpoint_seconds = sum(line["seconds"].get("checkpoint", 0.0) for line in steps)
        self._evaluation_seconds = sum((line["seconds"] for line in evaluations), 0.0)
        self._own_seconds = 0.0
        # What the loop does between two forward passes: prepare data, or save a checkpoint.
        self._between = "data"
        self._clock = _Clock()
        self._detail = _Detail(detail_step) if detail_step else None

    # The instrument goes on and off ---------------------------------------------------------------

    def __enter__(self) -> FlightRecorder:
        self._originals = (torch.Tensor.backward, torch.save)
        recorder, (original_backward, original_save) = self, self._originals

        def backward(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            recorder._before_backward(tensor)
            original_backward(tensor, *args, **kwargs)

        def save(*args: Any, **kwargs: Any) -> None:
            recorder._before_save()
            original_save(*args, **kwargs)

        torch.Tensor.backward, torch.save = backward, save
        self._handles = [
            register_module_forward_pre_hook(self._on_first_call),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        torch.Tensor.backward, torch.save = self._originals
        for handle in self._handles:
            handle.remove()
        try:
            self._flush()
            if self._detail is not None:
                self._writer.write("detail", **self._detail.parts)
        finally:
            self._writer.close()

    def finish(self, log_history: list[dict[str, Any]], **totals: Any) -> None:
        """Write the footer: the run came to its end.

        Args:
            log_history: what the loop returned, its own log lines.
            totals: further fields, for example the weights' digest.
        """
        self._close_evaluation()
        self._flush()
        seconds = self._train_seconds
        self._writer.write(
            "footer",
            steps=self._steps,
            **self._totals,
            train_seconds=seconds,
            evaluation_seconds=self._evaluation_seconds,
            checkpoint_seconds=self._checkpoint_seconds,
            recorder_seconds=self._own_seconds,
            samples_per_second=self._totals["samples"] / seconds if seconds else 0.0,
            tokens_per_second=self._totals["tokens"] / seconds if seconds else 0.0,
            peak_memory_mb=peak_memory_mb(),
            log_history=log_history,
            **totals,
        )

    # What it sees ---------------------------------------------------------------------------------

    def _on_first_call(self, module: torch.nn.Module, args: tuple) -> None:
        """The first module ever called is the model, or what wraps it; from now on only it is watched."""
        with self._own_time():
            announce("training and evaluating")
            self._handles.pop(0).remove()
            self._model = module
            layers = unwrap(module)
            for layer in layers:
                self._handles.append(layer.register_forward_pre_hook(self._before_forward))
                self._handles.append(layer.register_forward_hook(self._after_forward, with_kwargs=True))
            if not self._is_resumed:
                self._start_line = describe_model(layers[-1])
        # PyTorch listed this call's hooks before this one ran, so the new pre-hook misses it.
        self._before_forward(module, args)

    def _before_forward(self, module: torch.nn.Module, args: tuple) -> None:
        if torch.compiler.is_compiling():
            return
        self._depth += 1
        if self._depth == 1:
            if torch.is_grad_enabled() and self._eval_batches:
                self._close_evaluation()
            self._clock.mark(self._between)
            self._between = "data"
            if self._detail is not None:
                self._detail.before_forward(unwrap(self._model)[-1], self._steps + 1)

    def _after_forward(self, module: torch.nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        self._depth -= 1
        if self._depth:
            return
        self._clock.mark("forward")
        if self._detail is not None:
            self._detail.after_forward(self._steps)
        with self._own_time():
            inputs = {key: kwargs[key] for key in BATCH_KEYS if isinstance(kwargs.get(key), torch.Tensor)}
            seen = {
                "inputs": {key: _keep(value) for key, value in inputs.items()},
                "mode": module.training,
                "forward_loss": _keep(_field(output, "loss")),
                "backward_loss": None,
            }
            if torch.is_grad_enabled():
                self._micro_batches.append(seen)
            else:
                # In float32, which holds every 16-bit number: it makes no difference who converts them.
                logits = _field(output, "logits")
                seen["logits"] = None if logits is None else _keep(logits.float())
                seen["seconds"] = self._clock.take()
                self._eval_batches.append(seen)

    def _before_backward(self, loss: torch.Tensor) -> None:
        if self._micro_batches and loss.numel() == 1:
            with self._own_time():
                self._micro_batches[-1]["backward_loss"] = _keep(loss)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        self._clock.mark("backward")
        with self._own_time():
            groups = optimizer.param_groups
            gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
            if self._start_line:
                self._writer.write("start", **self._start_line, optimizer=describe_optimizer(optimizer))
                self._start_line = {}
            if self._detail is not None:
                self._detail.before_step(unwrap(self._model)[-1], self._steps + 1)
            self._now = {
                "rng": rng_digest(),
                "grad_norm": torch.nn.utils.get_total_norm(gradients) if gradients else torch.tensor(0.0),
                "learning_rate": float(groups[0]["lr"]),
                "memory_mb": memory_mb(),
            }

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        self._clock.mark("optimizer")
        with self._own_time():
            self._steps += 1
            seconds = self._clock.take()
            self._train_seconds += training_seconds({"seconds": seconds})
            self._checkpoint_seconds += seconds.get("checkpoint", 0.0)
            step, now, micro_batches = self._steps, self._now, self._micro_batches
            self._micro_batches = []
            self._pending.append(lambda: self._write_step(step, now, micro_batches, seconds))
            on_gpu = now["grad_norm"].device.type != "cpu"
            if not on_gpu or len(self._pending) >= FLUSH_EVERY:
                self._flush()
            if self._detail is not None:
                self._detail.after_step(unwrap(self._model)[-1], self._steps)

    def _before_save(self) -> None:
        """A checkpoint is being made, a part of which `torch.save` writes: no checkpoint gets ahead of the record."""
        self._between = "checkpoint"
        self._close_evaluation()
        with self._own_time():
            self._flush()
            self._writer.flush_to_disk()

    def _close_evaluation(self) -> None:
        if self._eval_batches:
            with self._own_time():
                batches, self._eval_batches = self._eval_batches, []
                step = self._steps
                seconds = sum(sum(batch["seconds"].values()) for batch in batches)
                self._evaluation_seconds += seconds
                self._pending.append(lambda: self._write_evaluation(step, batches, seconds))
                self._flush()

    # What it writes -------------------------------------------------------------------------------

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for write in pending:
            write()

    def _write_step(self, step: int, now: dict, micro_batches: list[dict], seconds: dict[str, float]) -> None:
        counts = self._count(micro_batches)
        for name, count in counts.items():
            self._totals[name] += count
        forward_losses = [_number(seen["forward_loss"]) for seen in micro_batches]
        losses = [_number(seen["backward_loss"]) for seen in micro_batches]
        # The step's loss is the sum of what was handed to backward(), each batch's share. With fp16 that is scaled;
        # the mean of the model's own losses is the same, unscaled.
        shares = [loss for loss in losses if loss is not None]
        if self._loss_is_scaled and None not in forward_losses:
            shares = [loss / len(forward_losses) for loss in forward_losses]
        self._writer.write(
            "step",
            step=step,
            batch=[_batch_digest(seen) for seen in micro_batches],
            reviews=[_review_digests(seen["inputs"]) for seen in micro_batches],
            mode=["train" if seen["mode"] else "eval" for seen in micro_batches],
            rng=now["rng"],
            forward_losses=forward_losses,
            losses=losses,
            loss=sum(shares),
            grad_norm=_number(now["grad_norm"]),
            learning_rate=now["learning_rate"],
            **counts,
            memory_mb=now["memory_mb"],
            seconds=seconds,
        )

    def _write_evaluation(self, step: int, batches: list[dict], seconds: float) -> None:
        losses = [_number(seen["forward_loss"]) for seen in batches]
        sizes = [len(seen["inputs"]["input_ids"]) for seen in batches]
        correct = [
            int((seen["logits"].argmax(-1) == seen["inputs"]["labels"]).sum())
            for seen in batches
            if seen["logits"] is not None and "labels" in seen["inputs"]
        ]
        known = None not in losses
        self._writer.write(
            "evaluation",
            step=step,
            mode=["train" if seen["mode"] else "eval" for seen in batches],
            batch=_digest(_bytes(value) for seen in batches for value in seen["inputs"].values()),
            logits=_digest(_bytes(seen["logits"]) for seen in batches if seen["logits"] is not None),
            # Every review counts alike: each batch's mean, weighted by the batch's size.
            loss=float(np.average(losses, weights=sizes)) if known else None,
            accuracy=sum(correct) / sum(sizes) if len(correct) == len(batches) else None,
            **self._count(batches),
            seconds=seconds,
        )

    @staticmethod
    def _count(batches: list[dict]) -> dict[str, int]:
        inputs = [seen["inputs"] for seen in batches if "input_ids" in seen["inputs"]]
        return {
            "samples": sum(len(each["input_ids"]) for each in inputs),
            "tokens": sum(
                int(each.get("attention_mask", torch.ones_like(each["input_ids"])).sum()) for each in inputs
            ),
            "padded_tokens": sum(each["input_ids"].numel() for each in inputs),
        }

    def _own_time(self) -> _OwnTime:
        return _OwnTime(self)


class _OwnTime:
    """Adds what happens inside to the recorder's own seconds, and takes it off the loop's clock."""

    def __init__(self, recorder: FlightRecorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        spent = time.perf_counter() - self._started
        self._recorder._own_seconds += spent
        self._recorder._clock.skip(spent)


class _Clock:
    """Splits the loop's time into phases; starts with the first forward pass."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._phases: dict[str, float] = {}

    def mark(self, phase: str) -> None:
        """All time since the last mark belongs to `phase`."""
        now = time.perf_counter()
        if self._last is not None:
            self._phases[phase] = self._phases.get(phase, 0.0) + now - self._last
        self._last = now

    def skip(self, seconds: float) -> None:
        """Leave these seconds, just spent, out of every phase."""
        if self._last is not None:
            self._last += seconds

    def take(self) -> dict[str, float]:
        """The seconds by phase since the last call."""
        phases, self._phases = self._phases, {}
        return phases


class DetailTaken(Exception):  # noqa: N818 - a signal, not an error
    """The step that was asked for has been recorded in detail: nothing is left to do."""


class _Detail:
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
            self.parts.setdefault("weights_before", _named_digests(model.state_dict()))
            self._listen(model, "outputs")
        elif step == self._step + 1:
            self._listen(model, "evaluation_outputs")

    def after_forward(self, steps_done: int) -> None:
        """Stop listening; the first batch of an evaluation after the step is enough."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if "evaluation_outputs" in self.parts:
            raise DetailTaken

    def before_step(self, model: torch.nn.Module, step: int) -> None:
        if step == self._step:
            gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            self.parts["gradients"] = _named_digests(gradients)

    def after_step(self, model: torch.nn.Module, step: int) -> None:
        if step == self._step:
            self.parts["weights_after"] = _named_digests(model.state_dict())

    def _listen(self, model: torch.nn.Module, part: str) -> None:
        heard = self.parts.setdefault(part, [])
        for name, module in model.named_modules():
            label = f"{name or 'the model'} ({type(module).__name__})"

            def hear(module: torch.nn.Module, args: tuple, output: Any, label: str = label) -> None:
                heard.append([label, _digest(map(_bytes, _tensors(output)))])

            self._handles.append(module.register_forward_hook(hear))


def _named_digests(tensors: dict[str, torch.Tensor]) -> list[list[str]]:
    return [[name, _digest([_bytes(value)])] for name, value in tensors.items()]


def _tensors(value: Any) -> list[torch.Tensor]:
    """All tensors in a module's output, in order. 16-bit ones in float32: who converts them makes no difference."""
    if isinstance(value, torch.Tensor):
        return [value.float() if value.is_floating_point() else value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, (list, tuple)) else []


def unwrap(model: torch.nn.Module) -> list[torch.nn.Module]:
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


def describe_model(model: torch.nn.Module) -> dict[str, Any]:
    """The model as it stands: class, parameter counts, and a digest of every tensor by name."""
    parameters = dict(model.named_parameters())
    return {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in parameters.values()),
        "trainable_parameters": sum(p.numel() for p in parameters.values() if p.requires_grad),
        "initial_weights": dict(_named_digests(model.state_dict())),
    }


def describe_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer as it stands: class, and each group's settings, with the number of its parameters."""
    return {
        "class": type(optimizer).__name__,
        "groups": [
            {
                "parameters": sum(p.numel() for p in group["params"]),
                **{name: _plain(value) for name, value in sorted(group.items()) if name not in ("params", "lr")},
            }
            for group in optimizer.param_groups
        ],
    }


def rng_digest() -> str:
    """A digest of every random state that a training loop could draw from.

    Python's, numpy's, torch's on the CPU and, where there is one, on the current GPU. Reading them
    draws nothing, and the GPU's state is kept on the host, so nothing waits for it.
    """
    name, keys, *rest = np.random.get_state()
    states = [repr(random.getstate()).encode(), keys.tobytes(), repr((name, rest)).encode()]
    states.append(_bytes(torch.get_rng_state()))
    if torch.cuda.is_available():
        states.append(_bytes(torch.cuda.get_rng_state()))
    return _digest(states)


def memory_mb() -> float:
    """The memory in use now, in MB (10^6 bytes): the GPU's where one is used, else the process's resident set."""
    if torch.cuda.is_available() and (allocated := torch.cuda.memory_allocated()):
        return allocated / 1e6
    return psutil.Process().memory_info().rss / 1e6


def peak_memory_mb() -> float:
    """The most memory in use so far, in MB (10^6 bytes): the GPU's where one is used, else the process's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _field(output: Any, name: str) -> torch.Tensor | None:
    value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
    return value if isinstance(value, torch.Tensor) else None


def _keep(value: torch.Tensor | None) -> torch.Tensor | None:
    """A copy that nothing done to the original later can change; it stays on its device."""
    return None if value is None else value.detach().clone()


def _number(value: torch.Tensor | None) -> float | None:
    return None if value is None else value.item()


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else [*map(_plain, value)]


def _bytes(value: torch.Tensor) -> bytes:
    return value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def review_digest(tokens: np.ndarray) -> str:
    """A digest of one review as the model is given it: its token numbers, int64, without padding."""
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(tokens, dtype=np.int64).data)


def _review_digests(inputs: dict[str, torch.Tensor]) -> list[str]:
    """The digest of every review of a batch, in the batch's order; none where the model takes no tokens."""
    if "input_ids" not in inputs:
        return []
    rows = inputs["input_ids"].cpu().numpy()
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).cpu().numpy().astype(bool)
    return [review_digest(row[kept]) for row, kept in zip(rows, mask, strict=True)]


def _batch_digest(seen: dict[str, Any]) -> str:
    shape = [repr(tuple(value.shape)).encode() for value in seen["inputs"].values()]
    return _digest([*shape, *(_bytes(value) for value in seen["inputs"].values())])


def _digest(parts: Iterable[Any]) -> str:
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
