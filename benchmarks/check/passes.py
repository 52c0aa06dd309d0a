"""Assign each forward pass of a recording to a batch of an epoch, or to an evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.check.job import Job
from benchmarks.check.recording import Event
from benchmarks.check.replay import Tensors, all_equal
from benchmarks.check.subsets import Subset


@dataclass
class Batch:
    """A batch that was trained on: a forward pass with a backward pass after it.

    Attributes:
        forward: its event.
        reviews: the numbers of its reviews in the training set, in order; None for one that is not in it.
        epoch, place: its epoch, and its place among the epoch's batches, both from 0.
        share: the number of batches that its step must consist of.
        ends: whether a step must follow it.
        passes: the number of forward passes over it before a step.
        backwards: the number of these that a backward pass followed.
    """

    forward: Event
    reviews: list[int | None]
    epoch: int = 0
    place: int = 0
    share: int = 1
    ends: bool = True
    passes: int = 1
    backwards: int = 1


@dataclass
class Evaluation:
    """A pass over reviews without training.

    Attributes:
        after: the number of batches that had been trained on before it.
        forwards: its forward passes, each with the numbers of its reviews in the validation set.
        weights: of the model that was called, at that time.
        is_current: whether these are the weights after the last step.
    """

    after: int
    forwards: list[tuple[Event, list[int | None]]] = field(default_factory=list)
    weights: Tensors = field(default_factory=dict)
    is_current: bool = True

    @property
    def is_of_subset(self) -> bool:
        return any(has_known(reviews) for _, reviews in self.forwards)


class Passes:
    """A run's batches and evaluations.

    Args:
        job: the arguments that the loop was called with.
        events: of the whole run.
        ended: whether the loop finished.

    Attributes:
        config, ended: the job's settings, and that argument.
        batches, evaluations: in order.
        without_backward: whether there were forward passes in train mode that no backward pass followed.
        trained: the number of the model that was trained; 0: the one that was passed to the loop.
        train, eval: the training and the validation set.
        size: the number of reviews in most batches.
        per_epoch: the number of batches of that size that an epoch must have.
    """

    def __init__(self, job: Job, events: Sequence[Event], ended: bool) -> None:
        pad = job.tokenizer.pad_token_id
        self.config, self.ended = job.config, ended
        self.train, self.eval = (Subset(rows, pad) for rows in (job.train_dataset, job.eval_dataset))
        self.epochs = int(self.config.num_train_epochs)
        self.batches: list[Batch] = []
        self.evaluations: list[Evaluation] = []
        self.without_backward = False
        self._classify(events)
        # A hard-coded batch size gives one finding; the rest of the run is judged with the size that the loop has.
        lengths = Counter(len(batch.reviews) for batch in self.batches[:-1] if batch.reviews)
        self.size = lengths.most_common(1)[0][0] if lengths else self.config.per_device_train_batch_size
        self.per_epoch = math.ceil(len(self.train) / self.size)
        self.trained = self.batches[0].forward["model"] if self.batches else 0
        self._assign_epochs()

    @property
    def ends(self) -> list[int]:
        """For each epoch the number of batches from the start of the run to its end."""
        count = len(self.batches)
        return [n for n in range(1, count + 1) if n == count or self.batches[n].place == 0]

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.per_epoch / self.config.gradient_accumulation_steps)

    def step_of(self, batch: Batch) -> int:
        """The number, from 1, of the step that a batch must be part of."""
        return batch.epoch * self.steps_per_epoch + batch.place // self.config.gradient_accumulation_steps + 1

    def _classify(self, events: Sequence[Event]) -> None:
        """Separate training from evaluation: a forward pass belongs to training if a backward pass follows it."""
        pending: Event | None = None
        # The last known weights of each model, and those after the last step.
        weights: dict[int, Event] = {}
        stepped: Event | None = None
        is_after_step = False
        # Since the last backward pass: the reviews of forward passes in train mode, and whether there was a step.
        unused: list[list[int | None]] = []
        has_stepped = True

        def finish_pending() -> None:
            nonlocal pending
            if pending is None:
                return
            reviews = self.eval.reviews(pending.tensors())
            if pending["training"] and pending["graph"] and not has_known(reviews):
                self.without_backward = True
                unused.append(self.train.reviews(pending.tensors()))
            else:
                self._add_evaluation(pending, reviews, weights.get(pending["model"]), stepped)
            pending = None

        # Without a torch optimizer it is not known which weights a step has produced.
        has_steps = any(event.kind == "step" for event in events)
        for event in events:
            if event.kind == "weights":
                finish_pending()
                weights[event["model"]] = event
                if is_after_step or stepped is None or not has_steps:
                    stepped = event
            elif event.kind == "forward":
                finish_pending()
                pending = event
            elif event.kind == "backward" and pending is not None and pending["graph"]:
                self._add_batch(pending, unused, has_stepped)
                pending, unused, has_stepped = None, [], False
            is_after_step = event.kind == "step"
            has_stepped |= is_after_step
        finish_pending()

    def _add_batch(self, forward: Event, unused: list[list[int | None]], has_stepped: bool) -> None:
        """A backward pass follows this forward pass: over a new batch, or over the last one again."""
        reviews = self.train.reviews(forward.tensors())
        again = sum(earlier == reviews for earlier in unused)
        if self.batches and not has_stepped and reviews and self.batches[-1].reviews == reviews:
            self.batches[-1].passes += 1 + again
            self.batches[-1].backwards += 1
        else:
            self.batches.append(Batch(forward, reviews, passes=1 + again))

    def _add_evaluation(
        self, forward: Event, reviews: list[int | None], weights: Event | None, stepped: Event | None
    ) -> None:
        last = self.evaluations[-1] if self.evaluations else None
        if last is None or last.after != len(self.batches) or self._begins_again(last, reviews):
            self.evaluations.append(Evaluation(len(self.batches)))
        evaluation = self.evaluations[-1]
        if not evaluation.weights and weights is not None and has_known(reviews):
            evaluation.weights = weights.tensors()
            if stepped is not None and weights is not stepped:
                evaluation.is_current = all_equal(evaluation.weights, stepped.tensors())
        evaluation.forwards.append((forward, reviews))

    def _begins_again(self, evaluation: Evaluation, reviews: list[int | None]) -> bool:
        """Whether a pass over reviews is of a further evaluation, perhaps of another model: the last one is whole."""
        held = {review for _, earlier in evaluation.forwards for review in earlier if review is not None}
        return len(held) == len(self.eval) and has_known(reviews)

    def _assign_epochs(self) -> None:
        """Assign each batch its epoch, its place in it, and its step."""
        starts = self._epoch_starts()
        epoch, place = -1, 0
        for number, batch in enumerate(self.batches):
            if number in starts:
                epoch, place = epoch + 1, 0
            batch.epoch, batch.place = epoch, place
            place += 1
        per_step = self.config.gradient_accumulation_steps
        lengths = Counter(batch.epoch for batch in self.batches)
        if self.batches and not self.ended:  # The run was cut off: the epoch is not complete.
            lengths[self.batches[-1].epoch] = max(self.per_epoch, lengths[self.batches[-1].epoch])
        for batch in self.batches:
            last = lengths[batch.epoch]
            first = batch.place // per_step * per_step
            batch.share = min(per_step, last - first)
            batch.ends = batch.place == min(first + per_step, last) - 1

    def _epoch_starts(self) -> set[int]:
        """The batches with which an epoch begins.

        If the total number of batches is right, each epoch has the right number. Otherwise an epoch ends where the
        validation set is evaluated, or, if it never is, where reviews come again.
        """
        count = len(self.batches)
        if count == self.per_epoch * self.epochs:
            return set(range(0, count, self.per_epoch))
        inner = {e.after for e in self.evaluations if e.is_of_subset and 0 < e.after < count}
        if inner and len(inner) <= 2 * self.epochs:
            return {0, *inner}
        starts: set[int] = set()
        epoch_reviews: set[int] | None = None
        for number, batch in enumerate(self.batches):
            batch_reviews = {review for review in batch.reviews if review is not None}
            if epoch_reviews is None or len(epoch_reviews & batch_reviews) > len(batch_reviews) // 2:
                starts.add(number)
                epoch_reviews = set()
            epoch_reviews |= batch_reviews
        return starts


def has_known(reviews: Iterable[int | None]) -> bool:
    """Whether at least one review of a batch is in the set."""
    return any(review is not None for review in reviews)
