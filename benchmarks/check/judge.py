"""Going through a loop's tape: each step is held against the right one, the run against what a run must be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.check.job import Job
from benchmarks.check.replay import Pass, Reference, Tensors
from benchmarks.check.rubric import Finding, plural
from benchmarks.check.slices import Slice
from benchmarks.check.tape import Event
from shared.recording.evidence import as_bytes, digest

# Up to here two values are equal up to rounding, relative to the right one's size: a norm for gradients, the largest
# for logits, 1 at least for a loss. Where it comes from: a float32 rounds by u = 2**-24. A dot product of n terms is
# off by n*u at most; here n is 128 at most, and the longest chain from ids to a gradient has some 40 of them, forth
# and back: 128 * 40 * 2**-24 = 3.1e-4 if every rounding went the same way, about its square root's share, 4e-6, as
# they go. `make check-table` measures both sides: the largest difference of right loops, the smallest of mistakes.
BOUND = 1e-4
# A weight is a float32 itself: written down it is off by u. Four of them: the decay, the update, their order.
WEIGHT_BOUND = 4 * 2.0**-24
# Learning rates are float64 numbers; who computes them as a float32 is off by a few u.
RATE_BOUND = 1e-6


@dataclass
class Batch:
    """A batch that was trained on: a forward pass that a backward pass follows.

    Attributes:
        forward: its event.
        reviews: which of the training slice's reviews it holds, in order; None for one that is not among them.
        epoch, place: of how many batches of which epoch it is, both from 0.
        share: of how many batches its step is to be made.
        ends: whether a step is to follow it.
    """

    forward: Event
    reviews: list[int | None]
    epoch: int = 0
    place: int = 0
    share: int = 1
    ends: bool = True


@dataclass
class Evaluation:
    """A pass over reviews without training.

    Attributes:
        after: how many batches had been trained on.
        forwards: its forward passes, each with the reviews of the evaluation slice that it holds.
        weights: at that time.
    """

    after: int
    forwards: list[tuple[Event, list[int | None]]] = field(default_factory=list)
    weights: Tensors = field(default_factory=dict)


class Judge:
    """Judges one tape.

    Attributes:
        findings: what is wrong, in the order in which it was found.
        reached: the items of which there was something to judge.
        exact: whether everything compared so far has equal bits.
        rounding: the largest difference that counts as rounding, relative.
        smallest: by item the difference that was the reason of a finding, relative.
    """

    def __init__(self, job: Job) -> None:
        self.findings: list[Finding] = []
        self.reached: set[str] = set()
        self.exact = True
        self.rounding = 0.0
        self.smallest: dict[str, float] = {}
        self._config = job.config
        self._reference = Reference(job)
        pad = job.tokenizer.pad_token_id
        self._train, self._eval = (Slice(rows, pad) for rows in (job.train_dataset, job.eval_dataset))
        self._per_epoch = math.ceil(len(self._train) / self._config.per_device_train_batch_size)
        self._epochs = int(self._config.num_train_epochs)
        self._batches: list[Batch] = []
        self._evaluations: list[Evaluation] = []

    def judge(self, events: Sequence[Event], log: Sequence[dict[str, Any]] | None) -> None:
        """Go through a tape.

        Args:
            events: all of them.
            log: what the loop returned; None if it did not come to its end.
        """
        ended = log is not None
        self._sort(events, ended)
        if self._batches:
            self.reached |= {"seed", "device"}
            self._judge_order(ended)
            self._judge_seeds()
        self._judge_steps(events, ended)
        self._judge_evaluations(log)

    # Which forward pass is what ----------------------------------------------------------------------

    def _sort(self, events: Sequence[Event], ended: bool) -> None:
        """Tell training from evaluation: a forward pass belongs to training if a backward pass follows it."""
        pending: Event | None = None
        weights: Event | None = None
        self._is_unused = False

        def settle() -> None:
            if pending is None:
                return
            inputs = pending.tensors()
            reviews = self._eval.reviews(inputs)
            if pending["training"] and pending["graph"] and not _known(reviews):
                self._is_unused = True
                return
            if not self._evaluations or self._evaluations[-1].after != len(self._batches):
                self._evaluations.append(Evaluation(len(self._batches)))
            evaluation = self._evaluations[-1]
            if not evaluation.weights and weights is not None and _known(reviews):
                evaluation.weights = weights.tensors()
            evaluation.forwards.append((pending, reviews))

        for event in events:
            if event.kind == "weights":
                settle()
                pending, weights = None, event
            elif event.kind == "forward":
                settle()
                pending = event
            elif event.kind == "backward" and pending is not None:
                self._batches.append(Batch(pending, self._train.reviews(pending.tensors())))
                pending = None
        settle()
        self._place_batches(ended)

    def _place_batches(self, ended: bool) -> None:
        """Say of each batch where in which epoch it is.

        An epoch ends after as many batches as there must be; if there are others in all, where the evaluation slice
        is evaluated, or else where a review comes back.
        """
        count, right = len(self._batches), self._per_epoch * self._epochs
        starts = set(range(0, count, self._per_epoch))
        if count != right:
            evaluated = {each.after for each in self._evaluations if any(_known(held) for _, held in each.forwards)}
            inner = {after for after in evaluated if 0 < after < count}
            if inner and len(inner) <= 2 * self._epochs:
                starts = {0, *inner}
            else:
                starts, seen = set(), set(range(len(self._train)))
                for number, batch in enumerate(self._batches):
                    held = {each for each in batch.reviews if each is not None}
                    if len(seen & held) > len(held) // 2:
                        starts.add(number)
                        seen = set()
                    seen |= held
        epoch, place = -1, 0
        for number, batch in enumerate(self._batches):
            if number in starts:
                epoch, place = epoch + 1, 0
            batch.epoch, batch.place = epoch, place
            place += 1
        per_step = self._config.gradient_accumulation_steps
        lengths = Counter(batch.epoch for batch in self._batches)
        if self._batches and not ended:  # What was cut off would have gone on.
            lengths[self._batches[-1].epoch] = max(self._per_epoch, lengths[self._batches[-1].epoch])
        for batch in self._batches:
            last = lengths[batch.epoch]
            first = batch.place // per_step * per_step
            batch.share = min(per_step, last - first)
            batch.ends = batch.place == min(first + per_step, last) - 1

    # What a whole run must be ------------------------------------------------------------------------

    def _find(self, item: str, cause: str, student: Any = "", right: Any = "", step: int | None = None) -> None:
        self.findings.append(Finding(item, step, cause, _shown(student), _shown(right)))

    def _judge_order(self, ended: bool) -> None:
        """Every review once per epoch, in batches of the right size, in a random order that is another each time."""
        self.reached |= {"batch", "shuffle"}
        size, slice_size = self._config.per_device_train_batch_size, len(self._train)
        epochs: list[list[Batch]] = []
        for batch in self._batches:
            if batch.place == 0:
                epochs.append([])
            epochs[-1].append(batch)
        foreign = next((b for b in self._batches if None in b.reviews and self._eval.holds(b.forward.tensors())), None)
        if foreign is not None:
            self._find(
                "batch",
                "the training uses reviews of the evaluation slice",
                "reviews of eval_dataset",
                "reviews of train_dataset",
                self._step_of(foreign),
            )
            return
        complete = epochs if ended else epochs[:-1]
        for number, batches in enumerate(complete, start=1):
            sizes = [len(batch.reviews) for batch in batches]
            held = Counter(review for batch in batches for review in batch.reviews)
            missing = slice_size - len([review for review in held if review is not None])
            twice = sum(count - 1 for count in held.values())
            step = self._step_of(batches[-1])
            if sizes[:-1] and any(each != size for each in sizes[:-1]):
                wrong = next(batch for batch in batches if len(batch.reviews) != size)
                self._find(
                    "batch",
                    f"the batches are not of per_device_train_batch_size, {size} reviews",
                    plural(len(wrong.reviews), "review"),
                    plural(size, "review"),
                    self._step_of(wrong),
                )
                break
            if missing and twice and abs(sum(sizes) - slice_size) < size:
                self._find(
                    "shuffle",
                    "reviews are drawn with replacement: in an epoch some come twice and others never",
                    f"{plural(missing, 'review')} of epoch {number} never seen",
                    "each review once per epoch",
                    step,
                )
                break
            if missing:
                last = slice_size % size and missing == slice_size % size
                self._find(
                    "batch",
                    "an epoch's last batch, which is not full, is left out (drop_last)"
                    if last
                    else "an epoch does not come to all reviews",
                    f"{plural(slice_size - missing, 'review')} in epoch {number}",
                    f"{plural(slice_size, 'review')}",
                    step,
                )
                break
            if twice:
                self._find(
                    "batch",
                    "reviews come more than once in an epoch",
                    f"{plural(twice, 'review')} of epoch {number} twice",
                    "each review once",
                    step,
                )
                break
        if ended and len(epochs) != self._epochs:
            self._find(
                "batch",
                "it trains for another number of epochs than num_train_epochs",
                plural(len(epochs), "epoch"),
                plural(self._epochs, "epoch"),
            )
        orders = [[review for batch in batches for review in batch.reviews] for batches in complete]
        for number, order in enumerate(orders, start=1):
            known = [review for review in order if review is not None]
            if len(known) < size:
                continue
            if known == sorted(known):
                cause = "the reviews come in the dataset's own order: they are not shuffled"
            elif self._train.is_sorted(known):
                cause = "the reviews come sorted, not in a random order"
            elif any(known == other for other in orders[: number - 1]):
                cause = f"epoch {number} has the order of an epoch before it: shuffle anew in every epoch"
            else:
                continue
            first = epochs[number - 1][0]
            self._find("shuffle", cause, f"reviews {known[:4]} ...", "another random order", self._step_of(first))
            break

    def _judge_seeds(self) -> None:
        """Dropout's numbers must go on: the same random state twice means the same neurons dropped twice."""
        seen: dict[str, int] = {}
        for batch in self._batches:
            if not batch.forward["training"]:
                continue
            state = digest([as_bytes(batch.forward.tensors()["rng"])])
            if state in seen:
                self._find(
                    "seed",
                    "the random state is that of an earlier step: a seed is set inside the loop, so dropout drops the "
                    "same again",
                    f"as at step {seen[state]}",
                    "a state of its own",
                    self._step_of(batch),
                )
                return
            seen[state] = self._step_of(batch)

    def _step_of(self, batch: Batch) -> int:
        """The number, from 1, of the step that a batch should be part of."""
        steps_per_epoch = math.ceil(self._per_epoch / self._config.gradient_accumulation_steps)
        return batch.epoch * steps_per_epoch + batch.place // self._config.gradient_accumulation_steps + 1

    # Step by step ------------------------------------------------------------------------------------

    def _judge_steps(self, events: Sequence[Event], ended: bool) -> None:
        self._weights: Tensors = {}
        self._after: Tensors = {}
        self._due: tuple[dict[str, torch.Tensor], Event, float] | None = None
        self._stepped = self._in_order = True
        self._steps = self._since = 0
        self._grouping_is_right = True
        self._clipped_since = False
        self._rates: list[float] = []
        self._is_float32 = True
        self._where, self._left = "start", len(self._batches)
        self._clip_places = _clip_places(events)
        forwards = {id(batch.forward): batch for batch in self._batches}
        current: Batch | None = None
        last: Batch | None = None
        for event in events:
            if event.kind == "weights":
                self._judge_weights(event)
            elif event.kind == "forward":
                self._settle_step(self._weights)
                current = forwards.get(id(event))
                if current is not None:
                    self._where = "forward"
            elif event.kind == "backward" and current is not None:
                self._left -= 1
                self._judge_batch(current, event, last)
                last, current, self._where = current, None, "backward"
            elif event.kind == "backward" and last is not None:
                self._judge_second_backward(event)
            elif event.kind == "clip" and self._where == "backward":
                self._clipped_since = True
            elif event.kind == "step":
                self._judge_step(event, last)
                self._where = "step"
        self._settle_step(self._weights)
        self._judge_end(ended, last, [event for event in events if event.kind == "step"])

    def _judge_weights(self, event: Event) -> None:
        """New weights: those of the step before, or there was none."""
        weights = event.tensors()
        kinds = {str(each.dtype).removeprefix("torch.") for each in weights.values()}
        if not self._weights:
            first = self._reference.first_weights
            self._is_float32 = kinds == {"float32"}
            if not self._is_float32:
                self._low_precision(kinds)
            elif weights.keys() != first.keys() or any(not torch.equal(weights[n], first[n]) for n in first):
                self._find(
                    "step", "the first forward pass has other weights than the model was handed over with", step=1
                )
        elif self._due is not None:
            self._settle_step(weights)
        elif self._steps and self._left:
            # After the last batch a best state may be put back.
            self._find(
                "step",
                "the weights change without a step of an optimizer",
                "changed",
                "as the step before left them",
                self._steps + 1,
            )
        elif not self._steps:
            self._find("step", "the weights change before the first step of an optimizer", step=1)
        self._weights = weights

    def _low_precision(self, kinds: set[str]) -> None:
        kind = ", ".join(sorted(kinds))
        self._find(
            "step",
            f"the weights themselves are in {kind}: most updates are too small for it and are rounded away; keep them "
            "in float32 and use torch.autocast",
            kind,
            "float32",
            1,
        )

    def _judge_batch(self, batch: Batch, event: Event, last: Batch | None) -> None:
        """A forward and a backward pass."""
        step = self._steps + 1
        self.reached |= {"collator", "train mode", "forward", "loss", "backward", "zero"}
        tensors, seen = event.tensors(), batch.forward.tensors()
        before, after = _named(tensors, "before."), _named(tensors, "after.")
        if last is not None and last.ends and not self._stepped:
            self._wrong_grouping(
                f"no step follows batch {last.place + 1} of epoch {last.epoch + 1}",
                plural(self._since, "batch") + " without a step",
                f"a step after {plural(last.share, 'batch')}",
                step,
            )
        self._judge_zero(before, step)
        self._since += 1
        forward = batch.forward
        if not forward["training"] or forward["others"]:
            off = forward["others"] if forward["training"] else []
            evaluated = any(each.after and each.after <= self._batches.index(batch) for each in self._evaluations)
            where = "after the evaluation" if evaluated and self._steps else "before this step"
            self._find(
                "train mode",
                f"not all of the model is in train mode: {off[0]} is not"
                if off
                else f"model.train() was not called {where}, so dropout is off",
                "eval mode",
                "train mode",
                step,
            )
        self._after = after
        self._stepped = False
        if not self._is_float32:
            return
        right, differs = self._train.right_inputs(seen, batch.reviews)
        if differs is not None:
            self._find(differs.item, differs.cause, differs.student, differs.right, step)
        if right is None:
            return
        inputs = right

        def again(scale: float = 1.0) -> Pass:
            modes = forward["training"], forward["others"]
            return self._reference.batch(self._weights, inputs, seen["rng"], *modes, batch.share, before, scale)

        found, logits = again(), seen.get("logits")
        if logits is not None and not self._equal(logits, found.logits):
            if differs is None:
                cause = "the model's answers are not those to this batch"
                if forward["autocast"]:
                    cause = f"the forward pass runs in {forward['autocast'].removeprefix('torch.')}"
                self._miss("forward", cause, logits, found.logits, step)
            # What follows is judged from the answers that there are.
            inputs = {**right, **{name: seen[f"inputs.{name}"] for name in right if f"inputs.{name}" in seen}}
            if "inputs.attention_mask" not in seen:
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            found = again()
            if not self._equal(logits, found.logits):
                return
        scale = self._judge_loss(batch, tensors.get("loss"), found.loss, len(right["labels"]), step)
        if scale is None:
            return
        if scale != 1.0:
            found = again(scale)
        if not self._same_gradients(after, found.gradients):
            if scale != 1.0:
                return
            self._find(
                "backward",
                "the backward pass leaves other gradients than the loss has",
                f"norm {_norm(after):.4g}",
                f"norm {_norm(found.gradients):.4g}",
                step,
            )

    def _judge_second_backward(self, event: Event) -> None:
        """A backward pass that no forward pass comes before."""
        after = _named(event.tensors(), "after.")
        if not self._same_gradients(after, self._after, count=False):
            self._find(
                "backward",
                "there are two backward passes for one forward pass: its gradients count twice",
                f"norm {_norm(after):.4g}",
                f"norm {_norm(self._after):.4g}",
                self._steps + 1,
            )
        self._after = after

    def _judge_zero(self, before: Tensors, step: int) -> None:
        """What is there before a backward pass: nothing after a step, within one what the last pass left."""
        if self._stepped:
            if before and self._in_order:
                self._find(
                    "zero",
                    "the gradients of the step before are still there: zero_grad() is missing between the steps",
                    f"norm {_norm(before):.4g} before the backward pass",
                    "0",
                    step,
                )
            return
        if not self._since or not self._after:
            return
        if not before:
            self._find(
                "zero",
                "zero_grad() comes between the batches of one step: only the last one counts",
                "0 before the backward pass",
                f"norm {_norm(self._after):.4g}, of the batches before",
                step,
            )
        elif not self._same_gradients(before, self._after):
            factor = _norm(before) / max(_norm(self._after), 1e-30)
            scaled = {name: each * factor for name, each in self._after.items()}
            clipped = self._clipped_since and self._same_gradients(before, scaled)
            self._find(
                "clip" if clipped else "backward",
                "the gradients are clipped after every batch, not once per step"
                if clipped
                else "the gradients change between two batches of one step",
                f"norm {_norm(before):.4g}",
                f"norm {_norm(self._after):.4g}",
                step,
            )

    def _judge_loss(
        self, batch: Batch, loss: torch.Tensor | None, right: torch.Tensor, reviews: int, step: int
    ) -> float | None:
        """The value that was handed to `backward()`; gives its factor to the right one, None if that has no sense."""
        if loss is None:
            self._find("loss", "what was handed to backward() is not one number", step=step)
            return None
        if self._equal(loss, right):
            return 1.0
        factor = (loss / right).item() if right else math.nan
        causes = {
            batch.share: f"the loss is not divided by the {batch.share} batches of this step",
            reviews: "the loss is the sum over the batch, not its mean",
            reviews * batch.share: "the loss is the sum over the batch, not its mean",
            -1: "the loss has the wrong sign",
        }
        per_step = self._config.gradient_accumulation_steps
        causes[batch.share / per_step] = (
            f"the loss is divided by {per_step}, but this step of the epoch has {plural(batch.share, 'batch')}"
        )
        named = next((text for times, text in causes.items() if times != 1 and abs(factor / times - 1) < 1e-3), None)
        self._miss(
            "loss", named or "the value handed to backward() is not the mean loss of this batch", loss, right, step
        )
        return factor if math.isfinite(factor) and factor else None

    def _judge_step(self, event: Event, last: Batch | None) -> None:
        """The optimizer is called: with which gradients, and at which learning rate."""
        self._settle_step(self._weights)
        self.reached |= {"step", "schedule step", "optimizer"}
        self._steps += 1
        step = self._steps
        self._in_order = True
        if not self._since:
            self._wrong_grouping(
                "the optimizer steps without a backward pass since its last step",
                "0 batches",
                f"{plural(self._config.gradient_accumulation_steps, 'batch')}",
                step,
            )
        elif last is not None and (not last.ends or self._since != last.share):
            self._in_order = last.ends
            self._wrong_grouping(
                "the optimizer steps after another number of batches than gradient_accumulation_steps says",
                plural(self._since, "batch"),
                plural(last.share if last.ends else self._config.gradient_accumulation_steps, "batch"),
                step,
            )
        gradients = _named(event.tensors(), "gradients.")
        if self._is_float32 and self._after and self._since == (last.share if last is not None and last.ends else 0):
            self.reached.add("clip")
            self._judge_clip(gradients, step)
        self._clipped_since = False
        rate = float(event["groups"][0]["settings"].get("lr") or 0.0) if event["groups"] else 0.0
        self._rates.append(rate)
        self._due = (gradients, event, rate)
        self._stepped, self._since = True, 0

    def _judge_clip(self, gradients: Tensors, step: int) -> None:
        right = self._reference.clipped(self._after)
        if self._same_gradients(gradients, right):
            return
        if not any(each.any() for each in gradients.values()):
            self._find(
                "zero",
                "zero_grad() comes between the backward pass and the step: nothing is left to step with",
                "norm 0 at the step",
                f"norm {_norm(right):.4g}",
                step,
            )
            return
        have, unclipped, limit = _norm(gradients), _norm(self._after), self._config.max_grad_norm
        if self._same_gradients(gradients, self._after, count=False):
            cause = "the gradients reach the optimizer unclipped"
            if self._clip_places == {"forward"}:
                cause += ": the clip comes before the backward pass, when they are not there yet"
            elif self._clip_places == {"step"}:
                cause += ": the clip comes after the step"
        elif self._same_gradients(
            gradients, {name: each * (have / max(unclipped, 1e-30)) for name, each in self._after.items()}, count=False
        ):
            cause = "the gradients are scaled to another norm than max_grad_norm"
        else:
            cause = "the gradients are not scaled by one number, all together, but clipped in another way"
        self._find("clip", cause, f"norm {have:.4g}", f"norm {min(unclipped, limit or math.inf):.4g}", step)

    def _settle_step(self, weights: Tensors) -> None:
        """The weights after a step, which the next forward pass shows."""
        if self._due is None:
            return
        (gradients, event, rate), self._due = self._due, None
        if not self._is_float32 or {str(each.dtype) for each in weights.values()} != {"torch.float32"}:
            if self._is_float32:
                self._low_precision({str(each.dtype).removeprefix("torch.") for each in weights.values()})
                self._is_float32 = False
            return
        right = self._reference.step(self._weights, gradients, rate)
        for name, each in right.items():
            if name in weights and torch.equal(weights[name], each):
                continue
            self.exact = False
            apart = (weights[name] - each).abs().max().item() if name in weights else math.inf
            update = (each - self._weights[name]).abs().max().item()
            bound = WEIGHT_BOUND * each.abs().max().item() + BOUND * update
            if apart <= bound:
                if update:
                    self.rounding = max(self.rounding, min(BOUND, apart / (update + each.abs().max().item())))
                continue
            cause, student, expected = self._why_other_weights(event, name)
            if not student:
                student, expected = (
                    f"{name} moved by {(weights[name] - self._weights[name]).abs().max():.3g}",
                    f"{update:.3g}",
                )
            self.smallest.setdefault("optimizer", apart / (update or 1.0))
            self._find("optimizer", cause, student, expected, self._steps)
            return

    def _why_other_weights(self, event: Event, name: str) -> tuple[str, str, str]:
        """The cause of a wrong step, and the two values where it is a setting."""
        group = next((each for each in event["groups"] if name in each["parameters"]), None)
        if group is None:
            return f"the optimizer was not given every parameter: {name} is missing", "", ""
        settings, right = group["settings"], self._reference.settings(name)
        class_name = type(self._reference._optimizer).__name__
        if "weight_decay" not in settings or "betas" not in settings:
            return f"the optimizer is {event['optimizer']}, not {class_name}", event["optimizer"], class_name
        for key in ("weight_decay", "betas", "eps", "amsgrad", "maximize"):
            have, wanted = settings.get(key), right.get(key)
            wanted = list(wanted) if isinstance(wanted, tuple) else wanted
            if key in settings and have != wanted:
                cause = f"the optimizer's {key} is not the right one"
                if key == "weight_decay" and have == 0.01:
                    cause += ": 0.01 is torch's own default"
                elif key == "weight_decay" and not wanted and have == self._config.weight_decay:
                    cause += f" for {name}: biases and norms never decay"
                return cause, f"{key} {have}", f"{key} {wanted}"
        if event["optimizer"] == "Adam":
            return "the optimizer is Adam, not AdamW", "Adam", class_name
        rates = {each["settings"].get("lr") for each in event["groups"]}
        if len(rates) > 1:
            return "the optimizer's groups have different learning rates", str(sorted(rates)), str(settings.get("lr"))
        return f"the step moves the weights otherwise than {class_name} does", "", ""

    def _wrong_grouping(self, cause: str, student: str, right: str, step: int) -> None:
        self._grouping_is_right = False
        self._find("step", cause, student, right, step)

    def _judge_end(self, ended: bool, last: Batch | None, steps: Sequence[Event]) -> None:
        if ended and last is not None and not self._stepped and last.ends:
            self._wrong_grouping(
                "no step follows the last batch" if steps else "optimizer.step() is never called",
                plural(len(steps), "step"),
                plural(self._config.total_steps(), "step"),
                len(steps) + 1,
            )
            self.reached.add("step")
        if self._is_unused and not self._batches:
            self.reached.add("backward")
            self._find("backward", "there are forward passes in train mode, and never a backward pass", "", "", 1)
        self._judge_rates(ended)
        per_step = self._config.gradient_accumulation_steps
        if steps and steps[-1]["graphs"] > 2 * per_step + 4:
            self.reached.add("loss")
            self._find(
                "loss",
                "the graphs of earlier steps are still held: what adds up or keeps losses needs loss.item() or "
                "loss.detach()",
                plural(steps[-1]["graphs"], "graph"),
                "1 graph",
                len(steps),
            )

    # The learning rate -------------------------------------------------------------------------------

    def _judge_rates(self, ended: bool) -> None:
        """The learning rate of every step, which depends on how many there are."""
        if not self._rates:
            return
        right = self._reference.learning_rates(self._config.total_steps())
        if self._rates == right[: len(self._rates)]:
            return
        own = self._reference.learning_rates(len(self._rates)) if ended else right
        if self._fits(self._rates, right) or self._fits(self._rates, own):
            self.exact = False
            return
        if not self._grouping_is_right:
            # Steps at the wrong places have moved the schedule's, too.
            self.reached.discard("schedule step")
            return
        base = self._config.learning_rate
        wrong = next(
            (k for k, (a, b) in enumerate(zip(self._rates, right, strict=False)) if not _near(a, b, base)), None
        )
        wrong = len(right) if wrong is None else wrong
        self._find(
            "schedule step",
            self._why_other_rates(right),
            f"learning rate {self._rates[min(wrong, len(self._rates) - 1)]:.6g}",
            f"learning rate {right[min(wrong, len(right) - 1)]:.6g}",
            wrong + 1,
        )

    def _fits(self, rates: Sequence[float], right: Sequence[float]) -> bool:
        return len(rates) <= len(right) and all(
            _near(a, b, self._config.learning_rate) for a, b in zip(rates, right, strict=False)
        )

    def _why_other_rates(self, right: list[float]) -> str:
        rates, config = self._rates, self._config
        total, per_step = len(right), config.gradient_accumulation_steps
        per_epoch = math.ceil(self._per_epoch / per_step)
        wanted = config.learning_rate
        candidates = {
            "the learning rate never changes: call scheduler.step() after every step": [rates[0]] * len(rates),
            "the schedule is one step ahead": [*right[1:], 0.0],
            "the schedule is one step behind": [right[0], *right[:-1]],
            "the schedule is moved once per epoch, not after every step": [
                right[k // per_epoch] for k in range(total)
            ],
            "the schedule falls within one epoch: its total is the steps of one epoch, not of all": [
                *self._reference.learning_rates(per_epoch),
                *([0.0] * (total - per_epoch)),
            ],
            "the schedule counts batches, not steps: it falls too slowly": self._reference.learning_rates(
                self._per_epoch * self._epochs
            )[:total],
        }
        for text, candidate in candidates.items():
            if self._fits(rates, candidate):
                return text
        beyond = self._reference.learning_rates(total, total * per_step + 1)
        moved = ([beyond[k * per_step + first] for k in range(total)] for first in (0, per_step))
        if per_step > 1 and any(self._fits(rates, each) for each in moved):
            return "the schedule is moved after every batch, not after every step"
        if not _near(rates[0], right[0], wanted) and config.warmup_steps == 0:
            return "the first step does not have config.learning_rate: a warm-up, or another rate"
        return "the schedule has another shape: check its warm-up and its total number of steps"

    # Evaluation --------------------------------------------------------------------------------------

    def _judge_evaluations(self, log: Sequence[dict[str, Any]] | None) -> None:
        passes = [each for each in self._evaluations if any(_known(reviews) for _, reviews in each.forwards)]
        ends = [number + 1 for number, batch in enumerate(self._batches) if self._is_last_of_epoch(number)]
        for each in self._evaluations:
            each.forwards = [(event, reviews) for event, reviews in each.forwards if _known(reviews)] or each.forwards
        if passes or log is not None:
            self.reached.add("evaluate")
        for number, after in enumerate(ends, start=1):
            found = next((each for each in passes if each.after == after), None)
            if found is None:
                if log is None:
                    return
                trained_on = any(each.after == after for each in self._evaluations)
                self._find(
                    "evaluate",
                    "the evaluation uses reviews of the training slice"
                    if trained_on
                    else f"no evaluation follows epoch {number}",
                    f"{len(passes)} evaluations",
                    f"{self._epochs} evaluations",
                    self._steps_of_epochs(number),
                )
                return
            if not self._judge_pass(found, self._steps_of_epochs(number)):
                return
        if log is not None and passes:
            self._judge_reported(passes, ends, log)

    def _is_last_of_epoch(self, number: int) -> bool:
        return number + 1 == len(self._batches) or self._batches[number + 1].place == 0

    def _steps_of_epochs(self, epochs: int) -> int:
        return epochs * math.ceil(self._per_epoch / self._config.gradient_accumulation_steps)

    def _judge_pass(self, evaluation: Evaluation, step: int) -> bool:
        """One evaluation: its mode, its reviews, the model's answers; whether all is right."""
        events = [event for event, _ in evaluation.forwards]
        held = Counter(review for _, reviews in evaluation.forwards for review in reviews)
        missing = len(self._eval) - len([review for review in held if review is not None])
        if any(event["training"] or event["others"] for event in events):
            self._find(
                "evaluate", "model.eval() is missing: dropout is on in the evaluation", "train mode", "eval mode", step
            )
        elif any(event["graph"] for event in events):
            self._find(
                "evaluate",
                "the evaluation builds graphs that nobody needs: torch.no_grad() is missing",
                "gradients on",
                "gradients off",
                step,
            )
        elif missing or None in held or max(held.values()) > 1:
            size = len(self._eval)
            cause = "the evaluation does not come to every review once"
            if missing == size % self._config.per_device_eval_batch_size:
                cause = "the evaluation's last batch, which is not full, is left out (drop_last)"
            self._find("evaluate", cause, plural(size - missing, "review"), plural(size, "review"), step)
        else:
            return self._judge_answers(evaluation, step)
        return False

    def _judge_answers(self, evaluation: Evaluation, step: int) -> bool:
        if {str(each.dtype) for each in evaluation.weights.values()} != {"torch.float32"}:
            return False
        for event, reviews in evaluation.forwards:
            seen = event.tensors()
            right, _ = self._eval.right_inputs(seen, reviews)
            if right is None or "logits" not in seen:
                continue
            logits = self._reference.answers(evaluation.weights, right)
            if not self._equal(seen["logits"], logits):
                mask = seen.get("inputs.attention_mask")
                cause = "the model's answers in the evaluation are not those to its batches"
                if mask is None or not torch.equal(mask, right["attention_mask"]):
                    cause += ": the attention mask is missing or wrong"
                self._miss("evaluate", cause, seen["logits"], logits, step)
                return False
        return True

    def _judge_reported(self, passes: list[Evaluation], ends: list[int], log: Sequence[dict[str, Any]]) -> None:
        """The numbers that the loop returns against the true ones."""
        lines = [line for line in log if "eval_loss" in line or "eval_accuracy" in line]
        if len(lines) == len(passes):
            pairs = list(zip(lines, passes, strict=True))
        else:
            pairs = list(zip(lines, [each for each in passes if each.after in ends], strict=False))
        if len(lines) not in (len(passes), len(ends)):
            self._find(
                "evaluate",
                "it returns not one line with eval_loss and eval_accuracy per evaluation",
                plural(len(lines), "line"),
                plural(len(ends), "line"),
            )
            return
        for line, evaluation in pairs:
            step = self._steps_of_epochs(ends.index(evaluation.after) + 1) if evaluation.after in ends else 0
            losses, rights, means, accuracies = self._truth(evaluation)
            exact = self._exact_mean(evaluation)
            for name, true, other, what in (
                ("eval_loss", sum(losses) / len(losses), sum(means) / len(means), "losses"),
                ("eval_accuracy", sum(rights) / len(rights), sum(accuracies) / len(accuracies), "accuracies"),
            ):
                value = line.get(name)
                if not isinstance(value, (int, float)) or isinstance(value, bool):
                    self._find("evaluate", f"it returns no {name}", "nothing", f"{true:.6g}", step)
                    return
                if abs(value - true) <= BOUND * max(1.0, abs(true)):
                    self.exact &= name != "eval_loss" or value == exact
                    self.rounding = max(self.rounding, abs(value - true) / max(1.0, abs(true)))
                    continue
                cause = f"the {name} that it returns is not the mean over the reviews"
                if abs(value - other) <= BOUND * max(1.0, abs(other)):
                    cause = f"the {name} is the mean of the batches' {what}: the last one, not full, weighs too much"
                elif abs(value - 100 * true) < 1e-2:
                    cause = f"the {name} is in per cent, not a share"
                self.smallest.setdefault("evaluate", abs(value - true))
                self._find("evaluate", cause, f"{name} {value:.6g}", f"{true:.6g}", step)
                return

    def _truth(self, evaluation: Evaluation) -> tuple[list[float], list[float], list[float], list[float]]:
        """The loss of each review, whether each is right, and both as means of the loop's own batches."""
        losses, rights, means, accuracies = [], [], [], []
        for event, reviews in evaluation.forwards:
            inputs, _ = self._eval.right_inputs(event.tensors(), reviews)
            logits, labels = self._reference.answers(evaluation.weights, inputs), inputs["labels"]
            each = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none").tolist()
            right = (logits.argmax(dim=-1) == labels).double().tolist()
            losses, rights = losses + each, rights + right
            means.append(sum(each) / len(each))
            accuracies.append(sum(right) / len(right))
        return losses, rights, means, accuracies

    def _exact_mean(self, evaluation: Evaluation) -> float:
        """The mean as the two pages round it, from the loop's own answers."""
        losses: list[float] = []
        for event, reviews in evaluation.forwards:
            seen = event.tensors()
            inputs, _ = self._eval.right_inputs(seen, reviews)
            if inputs is not None and "logits" in seen:
                loss = torch.nn.functional.cross_entropy(seen["logits"], inputs["labels"])
                losses += [loss.item()] * len(reviews)
        return np.mean(losses, dtype=np.float32).item()

    # Comparing ---------------------------------------------------------------------------------------

    def _equal(self, ours: torch.Tensor, right: torch.Tensor) -> bool:
        """Whether two tensors are equal, or up to rounding; keeps which."""
        if torch.equal(ours, right):
            return True
        self.exact = False
        if ours.shape != right.shape:
            return False
        apart = ((ours.float() - right.float()).abs().max() / max(1.0, right.float().abs().max().item())).item()
        if not apart <= BOUND:
            return False
        self.rounding = max(self.rounding, apart)
        return True

    def _miss(self, item: str, cause: str, ours: torch.Tensor, right: torch.Tensor, step: int) -> None:
        if ours.shape == right.shape:
            apart = ((ours.float() - right.float()).abs().max() / max(1.0, right.float().abs().max().item())).item()
            self.smallest.setdefault(item, apart)
        shown = ours.flatten()[:2].tolist(), right.flatten()[:2].tolist()
        self._find(item, cause, *(", ".join(f"{value:.6g}" for value in values) for values in shown), step)

    def _same_gradients(self, ours: Tensors, right: Tensors, count: bool = True) -> bool:
        """Whether gradients are equal, or up to rounding; one that is not there is zero."""
        square, size, equal = 0.0, 0.0, True
        for name in {*ours, *right}:
            a, b = ours.get(name), right.get(name)
            if a is not None and b is not None and torch.equal(a, b):
                size += b.double().square().sum().item()
                continue
            a = torch.zeros_like(b) if a is None else a
            b = torch.zeros_like(a) if b is None else b
            gap = (a.double() - b.double()).square().sum().item()
            equal = equal and gap == 0
            square, size = square + gap, size + b.double().square().sum().item()
        if equal:
            return True
        apart = math.sqrt(square) / max(math.sqrt(size), 1e-30)
        if count:
            self.exact = False
        if not apart <= BOUND:
            return False
        if count:
            self.rounding = max(self.rounding, apart)
        return True


def _clip_places(events: Sequence[Event]) -> set[str]:
    """After which kinds of events torch's clip functions are called."""
    places, before = set(), "forward"
    for event in events:
        if event.kind == "clip":
            places.add(before)
        elif event.kind in ("forward", "backward", "step"):
            before = event.kind
    return places


def _known(reviews: Iterable[int | None]) -> bool:
    return any(review is not None for review in reviews)


def _named(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def _norm(gradients: Tensors) -> float:
    return math.sqrt(sum(each.double().square().sum().item() for each in gradients.values()))


def _near(ours: float, right: float, base: float) -> bool:
    return abs(ours - right) <= RATE_BOUND * base


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
