"""The flight recorder: watches a training loop from outside and writes its record.

The loop holds no recording code: `shared.recording.hooks` reports what happens. A clip that is not torch's, and so
not noticed, costs time and no evidence.

It does not disturb what it watches: it draws no random number, changes no tensor, and on a GPU makes one transfer
per step, of the loss (the other tensors are kept and fetched together, `FLUSH_EVERY` steps at a time).
It intervenes in one case only: a loss that is not finite ends the run before the weights are lost, in either loop.

A forward pass belongs to a step if a backward pass follows it, or if the model is in train mode with gradients on;
otherwise it belongs to an evaluation.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from shared.errors import LossNotFinite
from shared.files import digest
from shared.model import observing_models
from shared.progress import announce
from shared.recording.costs import Clock, memory_mb, peak_memory_mb
from shared.recording.detail import Detail
from shared.recording.evidence import (
    BATCH_KEYS,
    WeightSample,
    as_bytes,
    describe_loader,
    describe_model,
    describe_optimizer,
    on_host,
    parts_in_another_mode,
    rng_digests,
    torch_rng_digest,
)
from shared.recording.gradients import Gradients
from shared.recording.hooks import Hooks, Listener, field_of, tensors_in
from shared.recording.lines import counts, evaluation_line, step_line
from shared.recording.record import RecordWriter, RunRecord, cut_back, file_name, training_seconds

# On a GPU a step's values are fetched together with those of this many steps.
FLUSH_EVERY = 50


class FlightRecorder(Listener):
    """Context manager that records the one training run that happens inside it.

    Args:
        folder: where the record goes; it must exist.
        rank: the number of this process, where there are several; each writes its own record.
        detail_step: the optimizer step, from 1, of which every tensor is to be recorded. The run ends after it,
            or after the first batch of an evaluation that follows it, with `DetailTaken`.
        resume_step: the step of the checkpoint that the run continues from; its record is continued. 0: a new run.

    Attributes:
        without_loss: the names of what the model was called with last, if it gave no loss then.

    Raises:
        SameLoopError: the record to continue is not there or too short.
        LossNotFinite: while the loop runs, before a step whose loss is NaN or infinite.

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
        self._writer, earlier = _opened(folder, header, rank, resume_step)
        self._loss_is_scaled = header["config"]["fp16"]
        # In a user's own job, all inputs of the model are recorded, whatever their names.
        self._is_own_job = "job" in header
        self._hooks = Hooks(self)
        self._models = observing_models(self._hooks.set_model)
        self._parameters: list[tuple[str, torch.nn.Parameter]] = []
        self._steps = resume_step
        self._is_resumed = earlier is not None
        self._micro_batches: list[dict[str, Any]] = []
        self._passes: list[dict[str, Any]] = []
        self._gradients = Gradients()
        self._sample = WeightSample()
        self._eval_batches: list[dict[str, Any]] = []
        self._pending: list[tuple[Callable[..., None], tuple]] = []
        self._start_line: dict[str, Any] = {}
        # The last step, until it is known that no other optimizer is a part of it.
        self._open: dict[str, Any] | None = None
        self.without_loss: list[str] = []
        self._optimizers: list[weakref.ref[torch.optim.Optimizer]] = []
        steps, evaluations = (earlier.steps, earlier.evaluations) if earlier else ([], [])
        self._totals = {name: sum(line[name] for line in steps) for name in ("samples", "tokens", "padded_tokens")}
        self._train_seconds = sum(training_seconds(line) for line in steps)
        self._checkpoint_seconds = sum(line["seconds"].get("checkpoint", 0.0) for line in steps)
        self._evaluation_seconds = sum((line["seconds"] for line in evaluations), 0.0)
        # What the loop does between two forward passes: prepare data, or save a checkpoint.
        self._between = "data"
        self._clock = Clock()
        self._detail = Detail(detail_step) if detail_step else None

    # Switched on and off ---------------------------------------------------------------------------

    def watch(self, model: torch.nn.Module) -> None:
        """Take this model for the one that is trained, whichever other models are called."""
        self._hooks.set_model(model, only=True)

    def __enter__(self) -> FlightRecorder:
        self._hooks.__enter__()
        self._models.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._models.__exit__(*exception)
        self._hooks.__exit__(*exception)
        try:
            self._close_step()
            self._flush()
            if self._detail is not None:
                self._writer.write("detail", **self._detail.parts)
        finally:
            self._writer.close()

    def finish(self, log_history: list[dict[str, Any]], **totals: Any) -> None:
        """Write the footer: the run came to its end, and returned `log_history`; `totals` are further fields."""
        self._close_step()
        self._move_evaluation_pass()
        self._close_evaluation()
        self._flush()
        if self._hooks.layers:
            totals["weights"] = digest(map(as_bytes, self._weights()))
        seconds = self._train_seconds
        self._writer.write(
            "footer",
            steps=self._steps,
            **self._totals,
            train_seconds=seconds,
            evaluation_seconds=self._evaluation_seconds,
            checkpoint_seconds=self._checkpoint_seconds,
            recorder_seconds=self._clock.own_seconds,
            samples_per_second=self._totals["samples"] / seconds if seconds else 0.0,
            tokens_per_second=self._totals["tokens"] / seconds if seconds else 0.0,
            peak_memory_mb=peak_memory_mb(),
            log_history=log_history,
            **totals,
        )

    # What it records ------------------------------------------------------------------------------

    def model_is_known(self, hooks: Hooks) -> None:
        with self._clock.own():
            announce("training and evaluating")
            self._parts = list(hooks.model.named_modules())
            self._dropouts = [module for module in hooks.model.modules() if isinstance(module, torch.nn.Dropout)]
            if not self._is_resumed:
                self._start_line = {**describe_model(hooks.model), "is_given": hooks.is_given}

    def before_forward(self, module: torch.nn.Module) -> None:
        self._close_step()
        with self._clock.own():
            self._rng_before = torch_rng_digest()
        self._move_evaluation_pass()
        if torch.is_grad_enabled() and module.training:
            self._close_evaluation()
        self._clock.mark(self._between)
        self._between = "data"
        if self._detail is not None:
            self._detail.before_forward(self._hooks.model, self._steps + 1)

    def after_forward(self, module: torch.nn.Module, inputs: dict[str, Any], output: Any) -> None:
        self._clock.mark("forward")
        if self._detail is not None:
            self._detail.after_forward()
        with self._clock.own():
            # In float32, which holds every 16-bit number: it makes no difference who converts them.
            logits = field_of(output, "logits")
            if logits is None and self._is_own_job and (tensors := tensors_in(output)):
                logits = torch.cat([tensor.flatten().float() for tensor in tensors])
            in_training = torch.is_grad_enabled() and module.training
            self.without_loss = list(inputs) if field_of(output, "loss") is None else []
            micro_batch = {
                "inputs": {
                    key: _copy(inputs[key])
                    for key in (BATCH_KEYS if not self._is_own_job else inputs)
                    if isinstance(inputs.get(key), torch.Tensor) and key != "num_items_in_batch"
                },
                "mode": module.training,
                "parts": parts_in_another_mode(self._parts),
                "rng_before": self._rng_before,
                "dropout": sorted({dropout.p for dropout in self._dropouts if dropout.training}),
                "autocast": _autocast(next(iter(inputs.values()), None)),
                "graph": torch.is_grad_enabled(),
                "passes": self._passes,
                "forward_loss": _copy(field_of(output, "loss")),
                "backward_losses": [],
                "logits": None if logits is None or in_training else _copy(logits.float()),
                "seconds": {},
            }
            self._called = module
            self._passes = []
            if torch.is_grad_enabled():
                self._micro_batches.append(micro_batch)
            else:
                self._note_weights(micro_batch, module)
                self._eval_batches.append(micro_batch)
            if not in_training:
                micro_batch["seconds"] = self._clock.take()

    def _move_evaluation_pass(self) -> None:
        """A pass in eval mode that no backward pass has followed was part of an evaluation, graph or no graph."""
        if self._micro_batches and not (last := self._micro_batches[-1])["mode"] and not last["backward_losses"]:
            self._note_weights(last, self._called)
            self._eval_batches.append(self._micro_batches.pop())

    def _note_weights(self, micro_batch: dict[str, Any], module: torch.nn.Module) -> None:
        """Keep a sample of the weights that an evaluation begins with: the model's, or those of a copy of it."""
        if not self._eval_batches:
            is_copy = module not in self._hooks.layers
            micro_batch["weights"] = WeightSample().take(list(module.parameters())) if is_copy else self._weights()

    def before_backward(self, losses: list[torch.Tensor]) -> None:
        self._close_step()
        self._close_evaluation()
        with self._clock.own():
            if self._micro_batches and all(loss.numel() == 1 for loss in losses):
                self._micro_batches[-1]["backward_losses"] += map(_copy, losses)
            self._gradients.before_backward(self._trained())

    def after_backward(self, losses: list[torch.Tensor]) -> None:
        with self._clock.own():
            self._gradients.after_backward(self._trained())

    def before_clip(self, function: str, limit: float) -> None:
        self._before_clip = self._gradients.versions()

    def after_clip(self, function: str, limit: float, returned: Any) -> None:
        if function == "clip_grad_norm_":
            with self._clock.own():
                self._gradients.after_clip(self._before_clip, returned, limit)

    def pass_begins(self, loader: DataLoader) -> None:
        self._passes.append(describe_loader(loader))

    def _named(self) -> list[tuple[str, torch.nn.Parameter]]:
        """The model's parameters, in its own order; listed once per step, as a walk through all modules takes long."""
        if not self._parameters and self._hooks.layers:
            self._parameters = list(self._hooks.model.named_parameters())
        return self._parameters

    def _weights(self) -> list[torch.Tensor]:
        """A sample of the model's weights as they are now."""
        return self._sample.take([parameter for _, parameter in self._named()])

    def _trained(self) -> list[torch.nn.Parameter]:
        """The model's parameters that can be trained, in the model's own order."""
        return [parameter for _, parameter in self._named() if parameter.requires_grad]

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        groups = optimizer.param_groups
        model = self._hooks.model
        if self._open is not None and self._is_a_part_of(self._open, optimizer):
            self._add_optimizer(self._open, optimizer)
            return
        self._close_step()
        with self._clock.own():
            self._move_evaluation_pass()
            if self._start_line and "optimizer" not in self._start_line:
                self._start_line["optimizer"] = describe_optimizer(optimizer, model)
            if not any(reference() is optimizer for reference in self._optimizers):
                self._optimizers.append(weakref.ref(optimizer))
        # On a GPU this waits until the passes are done, which is the loop's time, not the recorder's.
        losses = [loss.flatten() for batch in self._micro_batches for loss in batch["backward_losses"]]
        # One that is NaN or infinite would make every weight so, too. A sum of finite losses is finite, but for fp16's
        # scale; one transfer from a GPU, as Trainer makes, too.
        if losses and not math.isfinite(total := torch.cat(losses).sum().item()):
            raise LossNotFinite(self._steps + 1, total, float(groups[0]["lr"]))
        self._clock.mark("backward")
        with self._clock.own():
            if self._detail is not None:
                self._detail.before_step(model, self._steps + 1)
            held = [parameter for group in groups for parameter in group["params"]]
            self._now = {
                "rng": rng_digests(),
                "held": held,
                "optimizer": next(n for n, reference in enumerate(self._optimizers) if reference() is optimizer),
                "gradients": self._gradients.at_step(_in_order(held, self._named()), self._trained()),
                "learning_rates": [float(group["lr"]) for group in groups],
                "weights": self._weights(),
                "without_gradient": [name for name, p in self._named() if p.requires_grad and p.grad is None],
                "memory_mb": memory_mb(),
            }

    def _is_a_part_of(self, step: dict[str, Any], optimizer: torch.optim.Optimizer) -> bool:
        """Whether another optimizer steps over other parameters, with nothing in between: then both make one step."""
        if self._micro_batches:
            return False
        stepped = {id(parameter) for parameter in step["now"]["held"]}
        return not any(id(parameter) in stepped for group in optimizer.param_groups for parameter in group["params"])

    def _add_optimizer(self, step: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Add a further optimizer to the step that another one has begun."""
        with self._clock.own():
            now, gradients = step["now"], step["gradients"]
            now["held"] = now["held"] + [p for group in optimizer.param_groups for p in group["params"]]
            now["learning_rates"] += [float(group["lr"]) for group in optimizer.param_groups]
            now["gradients"]["taken"] = gradients.taken(_in_order(now["held"], self._named()), self._trained())
            if self._start_line:
                further = describe_optimizer(optimizer, self._hooks.model)
                described = self._start_line["optimizer"]
                described["missing"] = [name for name in described["missing"] if name in further["missing"]]
                described["groups"] += further["groups"]

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._clock.mark("optimizer")
        with self._clock.own():
            if self._open is None:
                self._steps += 1
                self._open = {"now": self._now, "micro_batches": self._micro_batches, "gradients": self._gradients}
                self._micro_batches, self._gradients = [], Gradients()
            self._open["now"]["weights_after"] = self._weights()
            if self._detail is not None:
                self._detail.after_step(self._hooks.model, self._steps)
            held = {id(parameter) for parameter in self._open["now"]["held"]}
            all_held = all(id(parameter) in held for parameter in self._trained())
        if all_held:
            self._close_step()

    def _close_step(self) -> None:
        """Write the last step's line: no further optimizer can be a part of it."""
        if self._open is None:
            return
        with self._clock.own():
            step, now, micro_batches = self._steps, self._open["now"], self._open["micro_batches"]
            self._open, self._parameters = None, []
            if self._start_line:
                self._writer.write("start", **self._start_line)
                self._start_line = {}
            seconds = self._clock.take()
            for batch in micro_batches:
                for phase, spent in batch["seconds"].items():
                    seconds[phase] = seconds.get(phase, 0.0) + spent
            self._train_seconds += training_seconds({"seconds": seconds})
            self._checkpoint_seconds += seconds.get("checkpoint", 0.0)
            self._pending.append((self._write_step, (step, now, micro_batches, seconds)))
            if all(weight.device.type == "cpu" for weight in now["weights"]) or len(self._pending) >= FLUSH_EVERY:
                self._flush()

    def before_save(self) -> None:
        """A checkpoint is being made, a part of which `torch.save` writes: no checkpoint gets ahead of the record."""
        self._between = "checkpoint"
        self._close_step()
        self._move_evaluation_pass()
        self._close_evaluation()
        with self._clock.own():
            self._flush()
            self._writer.flush_to_disk()

    def _close_evaluation(self) -> None:
        if self._eval_batches:
            with self._clock.own():
                batches, self._eval_batches = self._eval_batches, []
                step = self._steps
                seconds = sum(sum(batch["seconds"].values()) for batch in batches)
                self._evaluation_seconds += seconds
                self._pending.append((self._write_evaluation, (step, batches, seconds)))
                self._flush()

    # What it writes -------------------------------------------------------------------------------

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for (write, _), values in zip(pending, on_host([values for _, values in pending]), strict=True):
            write(*values)

    def _write_step(
        self, step: int, now: dict[str, Any], micro_batches: list[dict[str, Any]], seconds: dict[str, float]
    ) -> None:
        totals = counts(micro_batches, self._is_own_job)
        for name, count in totals.items():
            self._totals[name] += count
        self._writer.write("step", **step_line(step, now, micro_batches, seconds, self._loss_is_scaled), **totals)

    def _write_evaluation(self, step: int, batches: list[dict[str, Any]], seconds: float) -> None:
        self._writer.write(
            "evaluation", **evaluation_line(step, batches, seconds), **counts(batches, self._is_own_job)
        )


def _opened(
    folder: Path, header: dict[str, Any], rank: int, resume_step: int
) -> tuple[RecordWriter, RunRecord | None]:
    """The record, begun, and what it holds already if it is continued."""
    path = folder / file_name(rank)
    earlier = cut_back(path, resume_step) if resume_step else None
    writer = RecordWriter(path, append=earlier is not None)
    if earlier is None:
        writer.write("header", **header)
    else:
        writer.write("resume", step=resume_step, environment=header["environment"], config=header["config"])
        begun_with = earlier.header.get("environment", {})
        for name, value in header["environment"].items():
            if name != "git" and begun_with.get(name) != value:
                announce(f"note: begun with {name} {begun_with.get(name)}, now {value}: rounding may differ")
    return writer, earlier


def _in_order(held: list[torch.nn.Parameter], named: list[tuple[str, torch.nn.Parameter]]) -> list[torch.nn.Parameter]:
    """Parameters in the model's own order: another order of the same sum would round differently."""
    by_id = {id(parameter): parameter for parameter in held}
    return [by_id.pop(id(parameter)) for _, parameter in named if id(parameter) in by_id] + list(by_id.values())


def _copy(value: torch.Tensor | None) -> torch.Tensor | None:
    """A copy that nothing done to the original later can change; it stays on its device."""
    return None if value is None else value.detach().clone()


def _autocast(value: Any) -> str | None:
    """The 16-bit type that matrix products run in where `value` lies; None: they run in the weights' own."""
    kind = value.device.type if isinstance(value, torch.Tensor) else "cpu"
    return str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if torch.is_autocast_enabled(kind) else None
