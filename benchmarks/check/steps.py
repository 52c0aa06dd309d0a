"""Judge a loop's steps: compute each batch and each update again, correctly, from the loop's own state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from benchmarks.check.notes import Notes, norm_of
from benchmarks.check.passes import Batch, Passes
from benchmarks.check.recording import Event
from benchmarks.check.replay import Pass, Reference, Tensors
from benchmarks.check.updates import Step, UpdateJudge, tensors_named
from benchmarks.judge.finding import counted


class StepJudge:
    """Judges the steps of a run.

    Args:
        passes: the batches and evaluations of the recording.
        reference: computes each step again.
        notes: receives the findings.

    Attributes:
        rates: the learning rate of every step.
    """

    def __init__(self, passes: Passes, reference: Reference, notes: Notes) -> None:
        self.rates: list[float] = []
        self._config = passes.config
        self._passes, self._reference, self._notes = passes, reference, notes
        self._updates = UpdateJudge(passes, reference, notes)
        # The gradients after the last backward pass.
        self._grads: Tensors = {}
        self._has_stepped = self._step_was_due = True
        # The number of graphs in memory at the last step, the number of batches since then, and whether torch's clip
        # was called since then.
        self._graphs = self._batches = 0
        self._has_clipped = False

    @property
    def _count(self) -> int:
        return len(self.rates)

    def judge(self, events: Sequence[Event]) -> None:
        """Judge all events of the run."""
        self._clip_places = _clip_places(events)
        self._has_steps = any(event.kind == "step" for event in events)
        changes = [event for event in events if event.kind == "weights" and event["model"] == self._passes.trained]
        self._is_moved = self._has_steps or len(changes) > 1
        forwards = {id(batch.forward): batch for batch in self._passes.batches}
        current: Batch | None = None
        last: Batch | None = None
        last_event = "start"
        for event in events:
            if event.kind == "weights":
                if event["model"] != self._passes.trained:
                    continue  # the weights of a copy say nothing about the training
                if not self._has_steps and self._batches:
                    self._judge_unseen_step(last)
                self._updates.receive(event.tensors())
            elif event.kind == "forward":
                self._updates.judge_pending()
                current = forwards.get(id(event))
                last_event = "forward" if current is not None else last_event
            elif event.kind == "backward" and current is not None:
                self._judge_batch(current, event, last)
                last, current, last_event = current, None, "backward"
            elif event.kind == "backward" and last is not None:
                self._judge_second_backward(tensors_named(event.tensors(), "after."), last)
            elif event.kind == "clip" and last_event == "backward":
                self._has_clipped = True
            elif event.kind == "step":
                self._judge_step(Step.of(event), last)
                last_event = "step"
        self._updates.finish(self._count)
        self._judge_end(last)

    # A batch ----------------------------------------------------------------------------------------

    def _judge_batch(self, batch: Batch, event: Event, last: Batch | None) -> None:
        """Judge a forward and a backward pass."""
        step = self._count + 1
        self._updates.check_before_batch(step)
        self._notes.reached |= {"collator", "train mode", "forward", "loss", "backward"}
        tensors = event.tensors()
        before, after = tensors_named(tensors, "before."), tensors_named(tensors, "after.")
        if self._is_moved and last is not None and last.ends and not self._has_stepped:
            made = f"{counted(self._batches, 'batch')} without a step"
            due = f"a step after {counted(last.share, 'batch')}"
            self._notes.add("step.missing", made, due, step, batch=last.place + 1, epoch=last.epoch + 1)
        if self._is_moved:
            self._notes.reached.add("zero")
            self._judge_zero(before, step)
        self._batches += 1
        self._judge_mode(batch, step)
        self._grads = after
        self._has_stepped = False
        if self._updates.is_float32:
            self._replay(batch, before, tensors.get("loss"), step)

    def _judge_mode(self, batch: Batch, step: int) -> None:
        forward = batch.forward
        if forward["training"] and not forward["others"]:
            return
        if forward["training"]:
            self._notes.add("mode.parts", "eval mode", "train mode", step, name=forward["others"][0])
            return
        number = self._passes.batches.index(batch)
        evaluated = any(evaluation.after and evaluation.after <= number for evaluation in self._passes.evaluations)
        moment = "after the evaluation" if evaluated and self._count else "before this step"
        self._notes.add("mode.eval", "eval mode", "train mode", step, moment=moment)

    def _replay(self, batch: Batch, before: Tensors, loss: torch.Tensor | None, step: int) -> None:
        """Compute the batch again, correctly, from the loop's weights, reviews, random state and gradients."""
        notes, forward, tensors = self._notes, batch.forward, batch.forward.tensors()
        right, differs = self._passes.train.right_inputs(tensors, batch.reviews)
        if differs is not None:
            code, text, student, expected_value = differs
            notes.add(code, student, expected_value, step, text)
        if right is None:
            return
        inputs = right

        def again(scale: float = 1.0) -> Pass:
            modes = forward["training"], forward["others"]
            weights = self._updates.weights
            return self._reference.batch(weights, inputs, tensors["rng"], *modes, batch.share, before, scale)

        expected, logits = again(), tensors.get("logits")
        if logits is not None and not notes.equal(logits, expected.logits):
            if differs is None:
                self._judge_answers(forward, logits, expected.logits, step)
            # The rest is judged from the logits that the loop has.
            inputs = {**right, **{name: tensors[f"inputs.{name}"] for name in right if f"inputs.{name}" in tensors}}
            if "inputs.attention_mask" not in tensors:
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            expected = again()
            if not notes.equal(logits, expected.logits):
                return
        # An extra pass is harmless if the loss is that of one pass; it may be there to compute the accuracy.
        is_of_one = loss is not None and notes.equal(loss, expected.loss)
        if batch.passes > 1 and not (is_of_one and batch.backwards == 1):
            made = f"{batch.passes} forward passes, {counted(batch.backwards, 'backward pass')}"
            notes.add("forward.repeated", made, "1 of each", step)
            return
        factor = self._factor(loss, expected.loss, step)
        if factor is None:
            return
        if factor != 1.0:
            is_scaled = notes.same_gradients(self._grads, again(factor).gradients, count=False)
            self._judge_loss(batch, loss, expected.loss, factor if is_scaled else math.nan, step)
        elif not notes.same_gradients(self._grads, expected.gradients):
            notes.add("backward.other", _norm(self._grads), _norm(expected.gradients), step)

    def _judge_answers(self, forward: Event, logits: torch.Tensor, right: torch.Tensor, step: int) -> None:
        """Find out why the model's logits for the right inputs are others."""
        dropped = self._reference.dropout(forward["training"])
        if forward["autocast"]:
            kind = forward["autocast"].removeprefix("torch.")
            self._notes.add_difference("autocast.forward", logits, right, step, kind=kind)
        elif forward["dropout"] != dropped and not forward["others"]:
            self._notes.add("dropout.rates", _dropout(forward["dropout"]), _dropout(dropped), step)
        else:
            self._notes.add_difference("forward.other", logits, right, step)

    def _judge_second_backward(self, after: Tensors, last: Batch) -> None:
        """Judge a backward pass without a new forward pass before it."""
        if last.passes == 1 and not self._notes.same_gradients(after, self._grads, count=False):
            self._notes.add("backward.repeated", _norm(after), _norm(self._grads), self._count + 1)
        self._grads = after

    def _judge_zero(self, before: Tensors, step: int) -> None:
        """Judge the gradients before a backward pass: none after a step, else those after the last backward pass."""
        notes = self._notes
        if self._has_stepped:
            if before and self._step_was_due:
                of_step = sum(bool(gradient.any()) for gradient in self._grads.values())
                before_pass = f"{_norm(before)} before the backward pass"
                if len(before) < of_step:
                    notes.add("zero.partly", before_pass, "0", step, left=len(before), of_step=of_step)
                else:
                    notes.add("zero.missing", before_pass, "0", step)
        elif not self._batches or not self._grads:
            return
        elif not before:
            right = f"{_norm(self._grads)}, of the batches before"
            notes.add("zero.inside", "0 before the backward pass", right, step)
        elif not notes.same_gradients(before, self._grads):
            factor = norm_of(before) / max(norm_of(self._grads), 1e-30)
            clipped = self._has_clipped and notes.same_gradients(before, _scaled(self._grads, factor))
            code = "clip.inside" if clipped else "backward.between"
            notes.add(code, _norm(before), _norm(self._grads), step)

    def _factor(self, loss: torch.Tensor | None, right: torch.Tensor, step: int) -> float | None:
        """The loop's loss divided by the right one, NaN if that says nothing; None if the loop's is no scalar."""
        if loss is None:
            self._notes.add("loss.not_scalar", step=step)
            return None
        if self._notes.equal(loss, right):
            return 1.0
        factor = (loss / right).item() if right else math.nan
        return factor if math.isfinite(factor) and factor else math.nan

    def _judge_loss(self, batch: Batch, loss: torch.Tensor, right: torch.Tensor, factor: float, step: int) -> None:
        """Report a wrong loss; `factor`: how many times larger it and all gradients are, or NaN."""
        reviews, per_step = len(batch.reviews), self._config.gradient_accumulation_steps
        texts: dict[float, str] = {
            batch.share: f"the loss is not divided by the {batch.share} batches of this step",
            reviews: "the loss is the sum over the batch, not its mean",
            reviews * batch.share: "the loss is the sum over the batch, not its mean",
            -1: "the loss has the wrong sign",
        }
        texts[batch.share / per_step] = (
            f"the loss is divided by {per_step}, but this step of the epoch has {counted(batch.share, 'batch')}"
        )
        matching = next((text for wrong, text in texts.items() if wrong != 1 and abs(factor / wrong - 1) < 1e-3), None)
        if math.isfinite(factor):
            text = matching or f"backward() is called on {factor:.6g} times the mean loss of this batch"
            self._notes.add_difference("loss.scale", loss, right, step, text)
        else:
            self._notes.add_difference("loss.criterion", loss, right, step)

    # A step -----------------------------------------------------------------------------------------

    def _judge_step(self, taken: Step, last: Batch | None) -> None:
        """Judge a step: the number of batches before it, and the gradients that the optimizer gets."""
        if self._has_steps and not self._batches and self._updates.merge(taken):
            return
        self._updates.judge_pending()
        self._notes.reached |= {"step", "schedule step", "optimizer"}
        self.rates.append(taken.rate)
        step = self._count
        self._step_was_due = True
        per_step = counted(self._config.gradient_accumulation_steps, "batch")
        if not self._batches:
            self._notes.add("step.empty", "0 batches", per_step, step)
        elif last is not None and (not last.ends or self._batches != last.share):
            self._step_was_due = last.ends
            due = counted(last.share, "batch") if last.ends else per_step
            self._notes.add("step.number", counted(self._batches, "batch"), due, step)
        if self._updates.is_float32 and self._grads and last is not None and last.ends and self._batches == last.share:
            self._notes.reached.add("clip")
            self._judge_clip(taken.gradients, step)
        self._has_clipped = False
        self._updates.start(taken, step)
        self._has_stepped, self._batches, self._graphs = True, 0, taken.graphs

    def _judge_clip(self, gradients: Tensors, step: int) -> None:
        """Judge whether the gradients at the step are those after the last backward pass, clipped."""
        notes, after = self._notes, self._grads
        right = self._reference.clipped(after)
        if notes.same_gradients(gradients, right):
            return
        norm, unclipped = norm_of(gradients), norm_of(after)
        if not any(gradient.any() for gradient in gradients.values()):
            notes.add("zero.before_step", "norm 0 at the step", _norm(right), step)
            return
        where = ""
        if notes.same_gradients(gradients, after, count=False):
            code = "clip.missing"
            if self._clip_places == {"forward"}:
                where = ": the clip comes before the backward pass, when they are not there yet"
            elif self._clip_places == {"step"}:
                where = ": the clip comes after the step"
        elif notes.same_gradients(gradients, _scaled(after, norm / max(unclipped, 1e-30)), count=False):
            code = "clip.limit"
        elif any(norm_of({name: grad}) > 1.001 * norm_of({name: after[name]}) for name, grad in gradients.items()):
            code = "clip.changed"
        else:
            code = "clip.uneven"
        right_norm = min(unclipped, self._config.max_grad_norm)
        notes.add(code, f"norm {norm:.4g}", f"norm {right_norm:.4g}", step, where=where)

    def _judge_unseen_step(self, last: Batch | None) -> None:
        """Judge a change of the weights without a torch optimizer; it is right if AdamW would make the same step."""
        rates = self._reference.learning_rates(self._config.total_steps())
        rate = rates[min(self._count, len(rates) - 1)]
        names = list(self._updates.weights)
        self._judge_step(Step.unseen(names, self._reference.clipped(self._grads), rate), last)

    def _judge_end(self, last: Batch | None) -> None:
        if self._passes.ended and last is not None and not self._has_stepped and (last.ends or not self._is_moved):
            code = "step.last" if self._is_moved else "step.none"
            made, due = (counted(count, "step") for count in (self._count, self._config.total_steps()))
            self._notes.add(code, made, due, self._count + 1)
            self._notes.reached.add("step")
        if self._passes.without_backward and not self._passes.batches:
            self._notes.reached.add("backward")
            self._notes.add("backward.missing", step=1)
        if self._graphs > 2 * self._config.gradient_accumulation_steps + 4:
            self._notes.reached.add("loss")
            self._notes.add("loss.graphs", counted(self._graphs, "graph"), "1 graph", self._count)


def _clip_places(events: Sequence[Event]) -> set[str]:
    """The kinds of events after which torch's clip functions are called."""
    places, before = set(), "forward"
    for event in events:
        if event.kind == "clip":
            places.add(before)
        elif event.kind in ("forward", "backward", "step"):
            before = event.kind
    return places


def _scaled(gradients: Tensors, factor: float) -> Tensors:
    return {name: gradient * factor for name, gradient in gradients.items()}


def _norm(gradients: Tensors) -> str:
    return f"norm {norm_of(gradients):.4g}"


def _dropout(shares: Sequence[float]) -> str:
    return f"dropout {', '.join(f'{share:g}' for share in shares) or 'none'}"
