"""Going through a loop's steps: each batch and each update is done again, rightly, from where the loop stands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from benchmarks.check.clips import clip_places, judge_clip, scaled
from benchmarks.check.job import Job
from benchmarks.check.notes import Notes, norm_of
from benchmarks.check.passes import Batch, Passes
from benchmarks.check.recording import Event
from benchmarks.check.replay import Pass, Reference, Tensors
from benchmarks.check.updates import Step, UpdateJudge, tensors_named
from benchmarks.judge.finding import counted


class StepJudge:
    """Judges the steps of a run.

    Args:
        job: what the loop was called with.
        passes: which pass of the recording is what.
        reference: does each step again.
        notes: takes what is found.

    Attributes:
        rates: the learning rate of every step.
        grouping_is_right: whether every step is made of the batches that it must be made of.
    """

    def __init__(self, job: Job, passes: Passes, reference: Reference, notes: Notes) -> None:
        self.rates: list[float] = []
        self.grouping_is_right = True
        self._config = job.config
        self._passes, self._reference, self._notes = passes, reference, notes
        self._updates = UpdateJudge(job, passes, reference, notes)
        # The gradients after the last backward pass.
        self._grads: Tensors = {}
        self._has_stepped = self._step_was_due = True
        # The batches since the last step, and whether torch's clip was called since.
        self._batches = 0
        self._has_clipped = False

    @property
    def _count(self) -> int:
        return len(self.rates)

    def judge(self, events: Sequence[Event], ended: bool) -> None:
        """Go through all events of the run; `ended`: whether the loop came to its end."""
        self._clip_places = clip_places(events)
        self._has_steps = any(event.kind == "step" for event in events)
        changes = [event for event in events if event.kind == "weights" and event["model"] == self._passes.trained]
        self._is_moved = self._has_steps or len(changes) > 1
        forwards = {id(batch.forward): batch for batch in self._passes.batches}
        current: Batch | None = None
        last: Batch | None = None
        last_event = "start"
        for event in filter(self._passes.is_of_training, events):
            if event.kind == "weights":
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
        self._judge_end(ended, last)

    # A batch ----------------------------------------------------------------------------------------

    def _judge_batch(self, batch: Batch, event: Event, last: Batch | None) -> None:
        """A forward and a backward pass."""
        step = self._count + 1
        self._updates.check_before_batch(step)
        self._notes.reached |= {"collator", "train mode", "forward", "loss", "backward"}
        tensors = event.tensors()
        before, after = tensors_named(tensors, "before."), tensors_named(tensors, "after.")
        if self._is_moved and last is not None and last.ends and not self._has_stepped:
            self._wrong_grouping(
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
        """Do the batch again, rightly, from the loop's weights, reviews, random state and gradients."""
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
            # What follows is judged from the answers that there are.
            inputs = {**right, **{name: tensors[f"inputs.{name}"] for name in right if f"inputs.{name}" in tensors}}
            if "inputs.attention_mask" not in tensors:
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            expected = again()
            if not notes.equal(logits, expected.logits):
                return
        # Of a pass too many nothing comes if the loss is that of the one pass; it may count right answers.
        is_of_one = loss is not None and notes.equal(loss, expected.loss)
        if batch.passes > 1 and not (is_of_one and batch.backwards == 1):
            self._judge_repeated(batch, step)
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
        """Of the right inputs the model makes other logits."""
        dropped = self._reference.dropout(forward["training"])
        if forward["autocast"]:
            kind = forward["autocast"].removeprefix("torch.")
            self._notes.add_difference("autocast.forward", f"the forward pass runs in {kind}", logits, right, step)
        elif forward["dropout"] != dropped and not forward["others"]:
            self._notes.add(
                "dropout.rates",
                "the dropout layers drop another share than the model's own configuration says",
                f"dropout {_shares(forward['dropout'])}",
                f"dropout {_shares(dropped)}",
                step,
            )
        else:
            self._notes.add_difference("forward.other", "the logits are not those of this batch", logits, right, step)

    def _judge_repeated(self, batch: Batch, step: int) -> None:
        """The model is called several times on a batch: what is handed to `backward()` is made of all of them."""
        self._notes.add(
            "forward.repeated",
            "the model is called several times on the same reviews before the weights are moved",
            f"{batch.passes} forward passes, {counted(batch.backwards, 'backward pass')}",
            "1 of each",
            step,
        )

    def _judge_second_backward(self, after: Tensors, last: Batch) -> None:
        """A backward pass that no forward pass over another batch comes before."""
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
        """What is there before a backward pass: nothing after a step, within one what the last pass left."""
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
            clipped = self._has_clipped and notes.same_gradients(before, scaled(self._grads, factor))
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
        """By what the value that was handed to `backward()` is larger than the right one; None if there is no such."""
        if loss is None:
            self._notes.add("loss.not_scalar", "what was handed to backward() is not one number", step=step)
            return None
        if self._notes.equal(loss, right):
            return 1.0
        factor = (loss / right).item() if right else math.nan
        return factor if math.isfinite(factor) and factor else math.nan

    def _judge_loss(self, batch: Batch, loss: torch.Tensor, right: torch.Tensor, factor: float, step: int) -> None:
        """Another value was handed to `backward()`; `factor`: by what it and all gradients are larger, or NaN."""
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
            text = matching or f"the value handed to backward() is {factor:.6g} times the mean loss of this batch"
            self._notes.add_difference("loss.scale", text, loss, right, step)
        else:
            text = "the value handed to backward() is not the mean loss of this batch, nor a multiple of it"
            self._notes.add_difference("loss.criterion", text, loss, right, step)

    # A step -----------------------------------------------------------------------------------------

    def _judge_step(self, taken: Step, last: Batch | None) -> None:
        """The optimizer is called: after how many batches, with which gradients."""
        if self._has_steps and not self._batches and self._updates.merge(taken):
            return
        self._updates.judge_pending()
        self._notes.reached |= {"step", "schedule step", "optimizer"}
        self.rates.append(taken.rate)
        step = self._count
        self._step_was_due = True
        per_step = counted(self._config.gradient_accumulation_steps, "batch")
        if not self._batches:
            self._wrong_grouping(
                "step.empty",
                "the optimizer steps without a backward pass since its last step",
                "0 batches",
                per_step,
                step,
            )
        elif last is not None and (not last.ends or self._batches != last.share):
            self._step_was_due = last.ends
            self._wrong_grouping(
                "step.number",
                "the optimizer steps after another number of batches than gradient_accumulation_steps says",
                counted(self._batches, "batch"),
                counted(last.share, "batch") if last.ends else per_step,
                step,
            )
        if self._updates.is_float32 and self._grads and last is not None and last.ends and self._batches == last.share:
            self._notes.reached.add("clip")
            right, limit = self._reference.clipped(self._grads), self._config.max_grad_norm
            judge_clip(taken.gradients, self._grads, right, limit, self._clip_places, self._notes, step)
        self._has_clipped = False
        self._updates.start(taken, step)
        self._has_stepped, self._batches = True, 0

    def _judge_unseen_step(self, last: Batch | None) -> None:
        """No optimizer of torch's moves the weights: a step is where they change, and right if AdamW would do it."""
        rates = self._reference.learning_rates(self._config.total_steps())
        rate = rates[min(self._count, len(rates) - 1)]
        names = list(self._updates.weights)
        self._judge_step(Step.unseen(names, self._reference.clipped(self._grads), rate), last)

    def _wrong_grouping(self, code: str, text: str, student: str, right: str, step: int) -> None:
        self.grouping_is_right = False
        self._notes.add(code, text, student, right, step)

    def _judge_end(self, ended: bool, last: Batch | None) -> None:
        if ended and last is not None and not self._has_stepped and (last.ends or not self._is_moved):
            self._wrong_grouping(
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
                "the graphs of earlier steps are still held: what adds up or keeps losses needs loss.item() or "
                "loss.detach()",
                counted(graphs, "graph"),
                "1 graph",
                self._count,
            )


def _shares(dropped: Sequence[float]) -> str:
    return ", ".join(f"{share:g}" for share in dropped) or "none"
