"""The flight recorder: watches a training loop from outside and writes its record.

The loop holds no recording code: `shared.recording.hooks` tells what happens. A clip that is not torch's, and so not
seen, costs time and no evidence.

It does not disturb what it watches: it draws no random number, changes no tensor, and on a GPU makes one transfer
per step, of the loss (the other tensors are kept and fetched together, `FLUSH_EVERY` steps at a time).
It steps in once only: a loss that is not finite ends the run before the weights are lost, in either loop.

A forward pass belongs to a step if a backward pass follows it, or if the model is in train mode with gradients on;
otherwise it belongs to an evaluation.
"""

from __future__ import annotations

import math
import resource
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader

from shared.errors import LossNotFinite
from shared.model import told_of_models
from shared.progress import announce
from shared.recording.evidence import (
    BATCH_KEYS,
    FIRST_TOKENS,
    WeightSample,
    as_bytes,
    batch_digests,
    common_factor,
    describe_loader,
    describe_model,
    describe_optimizer,
    digest,
    mask_of,
    named_digests,
    norms,
    on_host,
    parts_in_another_mode,
    review_digest,
    reviews_of,
    rng_digests,
    scaling,
    some_of,
    torch_rng_digest,
    total_norm,
)
from shared.recording.hooks import Hooks, Listener, field_of, tensors_in
from shared.recording.record import RecordWriter, cut_back, file_name, training_seconds

# On a GPU a step's values are fetched together with those of this many steps.
FLUSH_EVERY = 50
# To be asked in every step how much memory it has.
_THIS = psutil.Process()


class FlightRecorder(Listener):
    """Context manager that records the one training run that happens inside it.

    Args:
        folder: where the record goes; it must exist.
        header: the fields of the record's header line.
        rank: the number of this process, where there are several; each writes its own record.
        detail_step: the optimizer step, from 1, of which every tensor is to be recorded. The run ends after it,
            or after the first batch of an evaluation that follows it, with `DetailTaken`.
        resume_step: the step of the checkpoint that the run goes on from; its record is continued. 0: a new run.

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
        path = folder / file_name(rank)
        earlier = cut_back(path, resume_step) if resume_step else None
        self._writer = RecordWriter(path, append=earlier is not None)
        if earlier is None:
            self._writer.write("header", **header)
        else:
            self._writer.write("resume", step=resume_step, environment=header["environment"], config=header["config"])
            begun_with = earlier.header.get("environment", {})
            for name, value in header["environment"].items():
                if name != "git" and begun_with.get(name) != value:
                    announce(
                        f"note: begun with {name} {begun_with.get(name)}, now {value}: the rest may round otherwise"
                    )
        self._loss_is_scaled = header["config"]["fp16"]
        # Of somebody's own job, all that goes into the model is looked at, by whatever names.
        self._is_own_job = "job" in header
        self._hooks = Hooks(self)
        self._models = told_of_models(self._hooks.give)
        self._parameters: list[tuple[str, torch.nn.Parameter]] = []
        self._steps = resume_step
        self._is_resumed = earlier is not None
        self._micro_batches: list[dict[str, Any]] = []
        self._passes: list[dict[str, Any]] = []
        self._gradients = _Gradients()
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
        self._own_seconds = 0.0
        # What the loop does between two forward passes: prepare data, or save a checkpoint.
        self._between = "data"
        self._clock = _Clock()
        self._detail = _Detail(detail_step) if detail_step else None

    # The instrument goes on and off ---------------------------------------------------------------

    def watch(self, model: torch.nn.Module) -> None:
        """Take this model for the one that is trained, whatever else is called besides."""
        self._hooks.give(model, only=True)

    def __enter__(self) -> FlightRecorder:
        self._hooks.__enter__()
        self._models.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
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
        """Write the footer: the run came to its end.

        Args:
            log_history: what the loop returned, its own log lines.
            totals: further fields, for example the weights' digest.
        """
        self._close_step()
        self._sort_out()
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
            recorder_seconds=self._own_seconds,
            samples_per_second=self._totals["samples"] / seconds if seconds else 0.0,
            tokens_per_second=self._totals["tokens"] / seconds if seconds else 0.0,
            peak_memory_mb=peak_memory_mb(),
            log_history=log_history,
            **totals,
        )

    # What it sees ---------------------------------------------------------------------------------

    def model_is_known(self, hooks: Hooks) -> None:
        with self._own_time():
            announce("training and evaluating")
            self._parts = list(hooks.model.named_modules())
            self._dropouts = [each for each in hooks.model.modules() if isinstance(each, torch.nn.Dropout)]
            if not self._is_resumed:
                self._start_line = {**describe_model(hooks.model), "is_given": hooks.is_given}

    def before_forward(self, module: torch.nn.Module) -> None:
        self._close_step()
        with self._own_time():
            self._rng_before = torch_rng_digest()
        self._sort_out()
        if torch.is_grad_enabled() and module.training:
            self._close_evaluation()
        self._clock.mark(self._between)
        self._between = "data"
        if self._detail is not None:
            self._detail.before_forward(self._hooks.model, self._steps + 1)

    def after_forward(self, module: torch.nn.Module, inputs: dict[str, Any], output: Any) -> None:
        self._clock.mark("forward")
        if self._detail is not None:
            self._detail.after_forward(self._steps)
        with self._own_time():
            # In float32, which holds every 16-bit number: it makes no difference who converts them.
            logits = field_of(output, "logits")
            if logits is None and self._is_own_job and (given := tensors_in(output)):
                logits = torch.cat([each.flatten().float() for each in given])
            in_training = torch.is_grad_enabled() and module.training
            self.without_loss = list(inputs) if field_of(output, "loss") is None else []
            seen = {
                "inputs": {
                    key: _keep(inputs[key])
                    for key in (BATCH_KEYS if not self._is_own_job else inputs)
                    if isinstance(inputs.get(key), torch.Tensor) and key != "num_items_in_batch"
                },
                "mode": module.training,
                "parts": parts_in_another_mode(self._parts),
                "rng_before": self._rng_before,
                "dropout": sorted({each.p for each in self._dropouts if each.training}),
                "autocast": _autocast(next(iter(inputs.values()), None)),
                "graph": torch.is_grad_enabled(),
                "passes": self._passes,
                "forward_loss": _keep(field_of(output, "loss")),
                "backward_losses": [],
                "logits": None if logits is None or in_training else _keep(logits.float()),
                "seconds": {},
            }
            self._called = module
            self._passes = []
            if torch.is_grad_enabled():
                self._micro_batches.append(seen)
            else:
                self._note_weights(seen, module)
                self._eval_batches.append(seen)
            if not in_training:
                seen["seconds"] = self._clock.take()

    def _sort_out(self) -> None:
        """A pass in eval mode that no backward pass has followed was part of an evaluation, graph or no graph."""
        if self._micro_batches and not (last := self._micro_batches[-1])["mode"] and not last["backward_losses"]:
            self._note_weights(last, self._called)
            self._eval_batches.append(self._micro_batches.pop())

    def _note_weights(self, seen: dict[str, Any], module: torch.nn.Module) -> None:
        """Keep a sample of the weights that an evaluation begins with: the model's, or those of a copy of it."""
        if not self._eval_batches:
            is_copy = module not in self._hooks.layers
            seen["weights"] = WeightSample().take(list(module.parameters())) if is_copy else self._weights()

    def before_backward(self, losses: list[torch.Tensor]) -> None:
        self._close_step()
        self._close_evaluation()
        with self._own_time():
            if self._micro_batches and all(loss.numel() == 1 for loss in losses):
                self._micro_batches[-1]["backward_losses"] += map(_keep, losses)
            self._gradients.before_backward(self._trained())

    def after_backward(self, losses: list[torch.Tensor]) -> None:
        with self._own_time():
            self._gradients.after_backward(self._trained())

    def before_clip(self, function: str, limit: float) -> None:
        self._before_clip = self._gradients.versions()

    def after_clip(self, function: str, limit: float, returned: Any) -> None:
        if function == "clip_grad_norm_":
            with self._own_time():
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
        return self._sample.take([each for _, each in self._named()])

    def _trained(self) -> list[torch.nn.Parameter]:
        """The model's parameters that can be trained, in the model's own order."""
        return [parameter for _, parameter in self._named() if parameter.requires_grad]

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        groups = optimizer.param_groups
        model = self._hooks.model
        if self._is_a_part_of_the_step(optimizer):
            self._take_in(optimizer)
            return
        self._close_step()
        with self._own_time():
            self._sort_out()
            if self._start_line and "optimizer" not in self._start_line:
                self._start_line["optimizer"] = describe_optimizer(optimizer, model)
            if not any(each() is optimizer for each in self._optimizers):
                self._optimizers.append(weakref.ref(optimizer))
        # On a GPU this waits until the passes are done, which is the loop's time, not the recorder's.
        self._check_loss(float(groups[0]["lr"]))
        self._clock.mark("backward")
        with self._own_time():
            if self._detail is not None:
                self._detail.before_step(model, self._steps + 1)
            held = [parameter for group in groups for parameter in group["params"]]
            self._now = {
                "rng": rng_digests(),
                "held": held,
                "optimizer": next(n for n, each in enumerate(self._optimizers) if each() is optimizer),
                "gradients": self._gradients.at_step(self._in_order(held), self._trained()),
                "learning_rate": float(groups[0]["lr"]),
                "learning_rates": [float(group["lr"]) for group in groups],
                "weights": self._weights(),
                "without_gradient": [name for name, each in self._named() if each.requires_grad and each.grad is None],
                "memory_mb": memory_mb(),
            }

    def _in_order(self, held: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
        """Parameters in the model's own order: another order of the same sum would round otherwise."""
        left = {id(parameter): parameter for parameter in held}
        return [left.pop(id(each)) for _, each in self._named() if id(each) in left] + list(left.values())

    def _is_a_part_of_the_step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether another optimizer steps over other parameters, with nothing in between: then both make one step."""
        if self._open is None or self._micro_batches:
            return False
        stepped = {id(parameter) for parameter in self._open["now"]["held"]}
        return not any(id(parameter) in stepped for group in optimizer.param_groups for parameter in group["params"])

    def _take_in(self, optimizer: torch.optim.Optimizer) -> None:
        """Add a further optimizer to the step that another one has begun."""
        with self._own_time():
            now, gradients = self._open["now"], self._open["gradients"]
            now["held"] = now["held"] + [each for group in optimizer.param_groups for each in group["params"]]
            now["learning_rates"] += [float(group["lr"]) for group in optimizer.param_groups]
            now["gradients"]["taken"] = gradients.taken(self._in_order(now["held"]), self._trained())
            if self._start_line:
                further = describe_optimizer(optimizer, self._hooks.model)
                described = self._start_line["optimizer"]
                described["missing"] = [name for name in described["missing"] if name in further["missing"]]
                described["groups"] += further["groups"]

    def _check_loss(self, learning_rate: float) -> None:
        """A loss that is not a number would make every weight one too: stop before the step.

        Raises:
            LossNotFinite: one that was handed to `backward()` for this step is NaN or infinite.
        """
        losses = [loss.flatten() for seen in self._micro_batches for loss in seen["backward_losses"]]
        # A sum of finite losses is finite, but for fp16's scale; one transfer from a GPU, as Trainer makes, too.
        if losses and not math.isfinite(total := torch.cat(losses).sum().item()):
            raise LossNotFinite(self._steps + 1, total, learning_rate)

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._clock.mark("optimizer")
        with self._own_time():
            if self._open is None:
                self._steps += 1
                self._open = {"now": self._now, "micro_batches": self._micro_batches, "gradients": self._gradients}
                self._micro_batches, self._gradients = [], _Gradients()
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
        with self._own_time():
            step, now, micro_batches = self._steps, self._open["now"], self._open["micro_batches"]
            self._open, self._parameters = None, []
            if self._start_line:
                self._writer.write("start", **self._start_line)
                self._start_line = {}
            seconds = self._clock.take()
            for seen in micro_batches:
                for phase, spent in seen["seconds"].items():
                    seconds[phase] = seconds.get(phase, 0.0) + spent
            self._train_seconds += training_seconds({"seconds": seconds})
            self._checkpoint_seconds += seconds.get("checkpoint", 0.0)
            self._pending.append((self._write_step, (step, now, micro_batches, seconds)))
            on_gpu = now["weights"] and now["weights"][0].device.type != "cpu"
            if not on_gpu or len(self._pending) >= FLUSH_EVERY:
                self._flush()

    def before_save(self) -> None:
        """A checkpoint is being made, a part of which `torch.save` writes: no checkpoint gets ahead of the record."""
        self._between = "checkpoint"
        self._close_step()
        self._sort_out()
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
                self._pending.append((self._write_evaluation, (step, batches, seconds)))
                self._flush()

    # What it writes -------------------------------------------------------------------------------

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for (write, _), values in zip(pending, on_host([values for _, values in pending]), strict=True):
            write(*values)

    def _write_step(self, step: int, now: dict, micro_batches: list[dict], seconds: dict[str, float]) -> None:
        counts = self._count(micro_batches)
        for name, count in counts.items():
            self._totals[name] += count
        forward_losses = [_number(seen["forward_loss"]) for seen in micro_batches]
        losses = [loss.item() for seen in micro_batches for loss in seen["backward_losses"]]
        # The step's loss is the sum of what was handed to backward(), each batch's share. With fp16 that is scaled;
        # the mean of the model's own losses is the same, unscaled.
        shares = losses
        if self._loss_is_scaled and None not in forward_losses:
            shares = [loss / len(forward_losses) for loss in forward_losses]
        reviews = [reviews_of(seen["inputs"]) for seen in micro_batches]
        gradients = _gradient_norms(now["gradients"])
        self._writer.write(
            "step",
            step=step,
            batch=[batch_digests(seen["inputs"]) for seen in micro_batches],
            reviews=[[review_digest(review) for review in batch] for batch in reviews],
            lengths=[[len(review) for review in batch] for batch in reviews],
            labels=[_labels(seen["inputs"]) for seen in micro_batches],
            first_review=[batch[0][:FIRST_TOKENS].tolist() if batch else [] for batch in reviews],
            masked=["attention_mask" in seen["inputs"] for seen in micro_batches],
            passes=[each for seen in micro_batches for each in seen["passes"]],
            mode=["train" if seen["mode"] else "eval" for seen in micro_batches],
            parts=[seen["parts"] for seen in micro_batches],
            rng_before=[seen["rng_before"] for seen in micro_batches],
            optimizer=now["optimizer"],
            dropout=[seen["dropout"] for seen in micro_batches],
            autocast=[seen["autocast"] for seen in micro_batches],
            rng=now["rng"],
            forward_losses=forward_losses,
            losses=losses,
            backward_passes=[len(seen["backward_losses"]) for seen in micro_batches],
            loss=sum(shares),
            # Scaled gradients say nothing about their norm.
            unclipped_norm=None if self._loss_is_scaled else gradients.pop("unclipped"),
            grad_norm=gradients.pop("at_step"),
            gradient_sample=now["gradients"]["sample"],
            gradients=gradients,
            without_gradient=now["without_gradient"],
            learning_rate=now["learning_rate"],
            learning_rates=now["learning_rates"],
            weights=digest(map(as_bytes, now["weights"])),
            weights_after=digest(map(as_bytes, now["weights_after"])),
            **counts,
            memory_mb=now["memory_mb"],
            seconds=seconds,
        )

    def _write_evaluation(self, step: int, batches: list[dict], seconds: float) -> None:
        losses = [_number(seen["forward_loss"]) for seen in batches]
        sizes = [len(next(iter(seen["inputs"].values()), ())) for seen in batches]
        reviews = [review for seen in batches for review in reviews_of(seen["inputs"])]
        correct = [
            int((seen["logits"].argmax(-1) == seen["inputs"]["labels"]).sum())
            for seen in batches
            if _has_classes(seen)
        ]
        counted = bool(sizes) and len(correct) == len(batches) and all(sizes)
        keys = [batch_digests(seen["inputs"]) for seen in batches]
        self._writer.write(
            "evaluation",
            step=step,
            weights=digest(map(as_bytes, batches[0]["weights"])),
            mode=["train" if seen["mode"] else "eval" for seen in batches],
            parts=[seen["parts"] for seen in batches],
            dropout=[seen["dropout"] for seen in batches],
            autocast=[seen["autocast"] for seen in batches],
            graph=any(seen["graph"] for seen in batches),
            batch={
                name: digest(each[name].encode() for each in keys)
                for name in keys[0]
                if all(name in each for each in keys)
            },
            batch_sizes=sizes,
            losses=losses,
            correct=correct if counted else None,
            reviews=digest(sorted(review_digest(review).encode() for review in reviews)),
            first_review=reviews[0][:FIRST_TOKENS].tolist() if reviews else [],
            passes=[each for seen in batches for each in seen["passes"]],
            logits=digest(as_bytes(seen["logits"]) for seen in batches if seen["logits"] is not None),
            # Every review counts alike: each batch's mean, weighted by the batch's size.
            loss=float(np.average(losses, weights=sizes)) if None not in losses and any(sizes) else None,
            accuracy=sum(correct) / sum(sizes) if counted else None,
            **self._count(batches),
            seconds=seconds,
        )

    def _count(self, batches: list[dict]) -> dict[str, int]:
        inputs = [seen["inputs"] for seen in batches if "input_ids" in seen["inputs"]]
        counted = [each["input_ids"] for each in inputs]
        if self._is_own_job:
            counted = [value for seen in batches for value in [*seen["inputs"].values()][:1] if value.dim()]
        return {
            "samples": sum(map(len, counted)),
            "tokens": sum(int(mask_of(each).sum()) for each in inputs),
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


class _Gradients:
    """The gradients of one step, from before its first backward pass until the optimizer takes them.

    Their norms are taken where something has happened to them; a version counter, which nearly every change in place
    raises, tells when nothing has. The last look on a CPU reads a few numbers of each gradient instead of all of
    them, if that tells what has happened: a clip by norm has multiplied all alike, so the norms have changed as these
    numbers have. That saves half of what the looks cost, and is off from the norms of all numbers by some 1e-7.

    Each look gives one vector, a norm per tensor, on the gradients' device; `_gradient_norms` makes numbers of them.
    """

    def __init__(self) -> None:
        self._sampled: np.ndarray | None = None
        self._sample_at_step: str | None = None
        self._left: torch.Tensor | None = None
        self._backward: list[torch.Tensor] = []
        self._between: list[torch.Tensor] = []
        self._state: list[tuple[int, int]] = []
        self._norms = torch.zeros(1)
        self._looked_at: list[torch.Tensor] = []

    def versions(self) -> list[int]:
        """How often each gradient that was looked at last has been changed in place, until now."""
        return [gradient._version for gradient in self._looked_at]

    def after_clip(self, before: list[int], norm: Any, max_norm: float) -> None:
        """Called after torch's clip, with the `versions` before it, the norm that it found, and its limit.

        A clip that was not needed multiplies every gradient by 1.0, which raises the version and changes no bit. If
        nothing else has changed them since the last look, the norms need not be taken anew. On a GPU they are: asking
        there whether the clip was needed would take longer.
        """
        if not isinstance(norm, torch.Tensor) or norm.device.type != "cpu" or not self._looked_at:
            return
        unchanged = before == [version for _, version in self._state]
        if unchanged and self.versions() == [each + 1 for each in before] and max_norm / (norm + 1e-6) >= 1.0:
            self._state = [(id(gradient), gradient._version) for gradient in self._looked_at]

    def before_backward(self, trained: list[torch.nn.Parameter]) -> None:
        """Called before each backward pass, with the parameters that can be trained."""
        self._look(trained)
        if self._left is None:
            self._left = self._norms
        else:
            self._between.append(self._norms)

    def after_backward(self, trained: list[torch.nn.Parameter]) -> None:
        """Called after each backward pass."""
        self._look(trained)
        self._backward.append(self._norms)
        self._sampled = some_of(self._looked_at)

    def at_step(self, held: list[torch.nn.Parameter], trained: list[torch.nn.Parameter]) -> dict[str, Any]:
        """Called before the step, with the parameters that the optimizer holds, in the model's order.

        Returns:
            `left`, before the first backward pass: what an earlier step has left behind, None where nothing has been
            passed back; `backward`, after each; `between`, before each but the first; `before` and `after`: what the
            loop has done to them after the last; `taken`: those that the optimizer takes; `sample`: a digest of a few
            numbers of each, None where they are not dense float32 on the CPU.
        """
        before = self._norms
        self._last_look(trained)
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
        """The norms, after the last look, of those that the step's optimizers hold."""
        held = [p for p in held if p.grad is not None]
        same = [id(p) for p in held] == [id(p) for p in trained if p.grad is not None]
        return self._norms if same else norms([p.grad for p in held])

    def _last_look(self, trained: list[torch.nn.Parameter]) -> None:
        """Take the norms at the step. Seen is also what raises no version counter, as a clip of `p.grad.data`."""
        sampled = some_of([p.grad for p in trained if p.grad is not None])
        self._sample_at_step = None if sampled is None else digest([sampled.data])
        told = sampled is not None and self._sampled is not None
        if told and np.array_equal(sampled, self._sampled):
            self._look(trained)
        elif told and (factor := common_factor(self._sampled, sampled)):
            self._norms = self._norms * abs(factor)
        else:
            self._state = [(0, -1)]  # of no gradient, so that they are looked at, also where there are none
            self._look(trained)

    def _look(self, trained: list[torch.nn.Parameter]) -> None:
        """Take the norms anew if any gradient is another one, or changed, since they were taken."""
        gradients = [p.grad for p in trained if p.grad is not None]
        state = [(id(gradient), gradient._version) for gradient in gradients]
        if state != self._state:
            self._state, self._norms, self._looked_at = state, norms(gradients), gradients


def _gradient_norms(seen: dict[str, Any]) -> dict[str, Any]:
    """The norms of all gradients together, from what `_Gradients.at_step` gave, on the CPU.

    `scaled`: by what factors the loop has changed the tensors' norms after the last backward pass.
    """
    backward = [total_norm(each).item() for each in seen["backward"]]
    return {
        "left": 0.0 if seen["left"] is None else total_norm(seen["left"]).item(),
        "backward": backward,
        "between": [total_norm(each).item() for each in seen["between"]],
        "scaled": scaling(seen["before"], seen["after"]),
        "unclipped": backward[-1] if backward else 0.0,
        "at_step": total_norm(seen["taken"]).item(),
    }


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
            self.parts.setdefault("weights_before", named_digests(model.state_dict()))
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
                told = tensors_in(output if logits is None else logits)
                heard.append([label, digest(map(as_bytes, told))])

            self._handles.append(module.register_forward_hook(hear))


def memory_mb() -> float:
    """The memory in use now, in MB (10^6 bytes): the GPU's where one is used, else the process's resident set."""
    if torch.cuda.is_available() and (allocated := torch.cuda.memory_allocated()):
        return allocated / 1e6
    return _THIS.memory_info().rss / 1e6


def peak_memory_mb() -> float:
    """The most memory in use so far, in MB (10^6 bytes): the GPU's where one is used, else the process's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _keep(value: torch.Tensor | None) -> torch.Tensor | None:
    """A copy that nothing done to the original later can change; it stays on its device."""
    return None if value is None else value.detach().clone()


def _labels(inputs: dict[str, torch.Tensor]) -> list[Any]:
    """One of each example; none where each has many, as one per token: the digests have them."""
    return inputs["labels"].tolist() if "labels" in inputs and inputs["labels"].dim() == 1 else []


def _has_classes(seen: dict[str, Any]) -> bool:
    """Whether a batch of an evaluation has scores of classes and the number of the right one for each example."""
    logits, labels = seen["logits"], seen["inputs"].get("labels")
    return (
        logits is not None
        and labels is not None
        and logits.dim() == 2
        and labels.shape == logits.shape[:1]
        and not labels.is_floating_point()
    )


def _autocast(value: Any) -> str | None:
    """The 16-bit type that matrix products run in where `value` lies; None: they run in the weights' own."""
    kind = value.device.type if isinstance(value, torch.Tensor) else "cpu"
    return str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if torch.is_autocast_enabled(kind) else None


def _number(value: torch.Tensor | None) -> float | None:
    return None if value is None else value.item()
