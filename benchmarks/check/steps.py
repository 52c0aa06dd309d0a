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
        # The number of batches since the last step, and whether torch's clip was called since then.
        self._batches = 0
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
            self._notes.add(
                "step.missing",
                f"no step follows batch {last.place + 1} of epoch {last.epoch + 1}",
                counted(self._batches, "batch") + " without a step",
                f"a step after {counted(last.share, 'batch')}",
                step,
            )
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
        off = forward["others"] if forward["training"] else []
        number = self._passes.batches.index(batch)
        evaluated = any(evaluation.after and evaluation.after <= number for evaluation in self._passes.evaluations)
        moment = "after the evaluation" if evaluated and self._count else "before this step"
        self._notes.add(
            "mode.parts" if off else "mode.eval",
            f"not all of the model is in train mode: {off[0]} is not"
            if off
            else f"model.train() was not called {moment}, so dropout is off",
            "eval mode",
            "train mode",
            step,
        )

    def _replay(self, batch: Batch, before: Tensors, loss: torch.Tensor | None, step: int) -> None:
        """Compute the batch again, correctly, from the loop's weights, reviews, random state and gradients."""
        notes, forward, tensors = self._notes, batch.forward, batch.forward.tensors()
        right, differs = self._passes.train.right_inputs(tensors, batch.reviews)
        if differs is not None:
            notes.add(*differs, step)
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
            notes.add(
                "forward.repeated",
                "the model is called several times on the same reviews before a step",
                f"{batch.passes} forward passes, {counted(batch.backwards, 'backward pass')}",
                "1 of each",
                step,
            )
            return
        factor = self._factor(loss, expected.loss, step)
        if factor is None:
            return
        if factor != 1.0:
            is_scaled = notes.same_gradients(self._grads, again(factor).gradients, count=False)
            self._judge_loss(batch, loss, expected.loss, factor if is_scaled else math.nan, step)
        elif not notes.same_gradients(self._grads, expected.gradients):
            notes.add(
                "backward.other",
                "the backward pass leaves other gradients than the loss has",
                f"norm {norm_of(self._grads):.4g}",
                f"norm {norm_of(expected.gradients):.4g}",
                step,
            )

    def _judge_answers(self, forward: Event, logits: torch.Tensor, right: torch.Tensor, step: int) -> None:
        """Find out why the model's logits for the right inputs are others."""
        dropped = self._reference.dropout(forward["training"])
        if forward["autocast"]:
            kind = forward["autocast"].removeprefix("torch.")
            self._notes.add_difference("autocast.forward", f"the forward pass runs in {kind}", logits, right, step)
        elif forward["dropout"] != dropped and not forward["others"]:
            self._notes.add(
                "dropout.rates",
                "the dropout layers' probability is not that of the model's own configuration",
                f"dropout {_shares(forward['dropout'])}",
                f"dropout {_shares(dropped)}",
                step,
            )
        else:
            self._notes.add_difference("forward.other", "the logits are not those of this batch", logits, right, step)

    def _judge_second_backward(self, after: Tensors, last: Batch) -> None:
        """Judge a backward pass without a new forward pass before it."""
        if last.passes > 1:
            self._grads = after
            return
        if not self._notes.same_gradients(after, self._grads, count=False):
            self._notes.add(
                "backward.repeated",
                "there are two backward passes for one forward pass: its gradients count twice",
                f"norm {norm_of(after):.4g}",
                f"norm {norm_of(self._grads):.4g}",
                self._count + 1,
            )
        self._grads = after

    def _judge_zero(self, before: Tensors, step: int) -> None:
        """Judge the gradients before a backward pass: none after a step, else those after the last backward pass."""
        notes = self._notes
        if self._has_stepped:
            if before and self._step_was_due:
                notes.add(
                    "zero.missing",
                    "the gradients of the step before are still there: zero_grad() is missing between the steps",
                    f"norm {norm_of(before):.4g} before the backward pass",
                    "0",
                    step,
                )
        elif not self._batches or not self._grads:
            return
        elif not before:
            notes.add(
                "zero.inside",
                "zero_grad() comes between the batches of one step: only the last one counts",
                "0 before the backward pass",
                f"norm {norm_of(self._grads):.4g}, of the batches before",
                step,
            )
        elif not notes.same_gradients(before, self._grads):
            factor = norm_of(before) / max(norm_of(self._grads), 1e-30)
            clipped = self._has_clipped and notes.same_gradients(before, _scaled(self._grads, factor))
            notes.add(
                "clip.inside" if clipped else "backward.between",
                "the gradients are clipped after every batch, not once per step"
                if clipped
                else "the gradients change between two batches of one step",
                f"norm {norm_of(before):.4g}",
                f"norm {norm_of(self._grads):.4g}",
                step,
            )

    def _factor(self, loss: torch.Tensor | None, right: torch.Tensor, step: int) -> float | None:
        """The loop's loss divided by the right one, NaN if that says nothing; None if the loop's is no scalar."""
        if loss is None:
            self._notes.add("loss.not_scalar", "backward() is not called on a single number", step=step)
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
            self._notes.add_difference("loss.scale", text, loss, right, step)
        else:
            text = "backward() is called on another loss than the mean of this batch, and not on a multiple of it"
            self._notes.add_difference("loss.criterion", text, loss, right, step)

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
            self._notes.add(
                "step.empty",
                "the optimizer steps without a backward pass since its last step",
                "0 batches",
                per_step,
                step,
            )
        elif last is not None and (not last.ends or self._batches != last.share):
            self._step_was_due = last.ends
            self._notes.add(
                "step.number",
                "the optimizer steps after another number of batches than gradient_accumulation_steps says",
                counted(self._batches, "batch"),
                counted(last.share, "batch") if last.ends else per_step,
                step,
            )
        if self._updates.is_float32 and self._grads and last is not None and last.ends and self._batches == last.share:
            self._notes.reached.add("clip")
            self._judge_clip(taken.gradients, step)
        self._has_clipped = False
        self._updates.start(taken, step)
        self._has_stepped, self._batches = True, 0

    def _judge_clip(self, gradients: Tensors, step: int) -> None:
        """Judge whether the gradients at the step are those after the last backward pass, clipped."""
        notes, after = self._notes, self._grads
        right = self._reference.clipped(after)
        if notes.same_gradients(gradients, right):
            return
        norm, unclipped = norm_of(gradients), norm_of(after)
        if not any(gradient.any() for gradient in gradients.values()):
            notes.add(
                "zero.before_step",
                "zero_grad() comes between the backward pass and the step: nothing is left to step with",
                "norm 0 at the step",
                f"norm {norm_of(right):.4g}",
                step,
            )
            return
        if notes.same_gradients(gradients, after, count=False):
            code, text = "clip.missing", "the gradients reach the optimizer unclipped"
            if self._clip_places == {"forward"}:
                text += ": the clip comes before the backward pass, when they are not there yet"
            elif self._clip_places == {"step"}:
                text += ": the clip comes after the step"
        elif notes.same_gradients(gradients, _scaled(after, norm / max(unclipped, 1e-30)), count=False):
            code, text = "clip.limit", "the gradients are scaled to another norm than max_grad_norm"
        elif any(norm_of({name: grad}) > 1.001 * norm_of({name: after[name]}) for name, grad in gradients.items()):
            code = "clip.changed"
            text = "after the backward pass the gradients are changed in another way than by a clip, as by noise"
        else:
            code = "clip.uneven"
            text = "the gradients are not scaled by one number, all together, but clipped in another way"
        limit = self._config.max_grad_norm or math.inf
        notes.add(code, text, f"norm {norm:.4g}", f"norm {min(unclipped, limit):.4g}", step)

    def _judge_unseen_step(self, last: Batch | None) -> None:
        """Judge a change of the weights without a torch optimizer; it is right if AdamW would make the same step."""
        rates = self._reference.learning_rates(self._config.total_steps())
        rate = rates[min(self._count, len(rates) - 1)]
        names = list(self._updates.weights)
        self._judge_step(Step.unseen(names, self._reference.clipped(self._grads), rate), last)

    def _judge_end(self, last: Batch | None) -> None:
        if self._passes.ended and last is not None and not self._has_stepped and (last.ends or not self._is_moved):
            self._notes.add(
                "step.last" if self._is_moved else "step.none",
                "no step follows the last batch" if self._is_moved else "optimizer.step() is never called",
                counted(self._count, "step"),
                counted(self._config.total_steps(), "step"),
                self._count + 1,
            )
            self._notes.reached.add("step")
        if self._passes.without_backward and not self._passes.batches:
            self._notes.reached.add("backward")
            self._notes.add(
                "backward.missing", "there are forward passes in train mode, and never a backward pass", step=1
            )
        graphs = self._updates.graphs
        if graphs > 2 * self._config.gradient_accumulation_steps + 4:
            self._notes.reached.add("loss")
            self._notes.add(
                "loss.graphs",
                "the graphs of earlier steps are still in memory: use loss.item() or loss.detach() to keep or add up "
                "losses",
                counted(graphs, "graph"),
                "1 graph",
                self._count,
            )


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


def _shares(dropped: Sequence[float]) -> str:
    return ", ".join(f"{share:g}" for share in dropped) or "none"
