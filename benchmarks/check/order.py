"""Judge which reviews a loop trains on, in which order, and from which random states its dropout draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

from benchmarks.check.notes import Notes
from benchmarks.check.passes import Batch, Passes, has_known
from benchmarks.judge.finding import counted
from shared.files import digest
from shared.recording.evidence import as_bytes

# Two shuffled orders of n reviews have about two pairs of consecutive reviews in common, however large n is (each of
# the n - 1 pairs has a probability of 2/n); half of 60 pairs has a probability below 1e-30.
SAME_PAIRS = 0.5


def judge_order(passes: Passes, notes: Notes) -> None:
    """Judge that each epoch has every review once, in batches of the right size, in a new random order."""
    notes.reached |= {"batch", "shuffle"}
    unknown = (batch for batch in passes.batches if None in batch.reviews)
    foreign = next((batch for batch in unknown if has_known(passes.eval.reviews(batch.forward.tensors()))), None)
    if foreign is not None:
        notes.add("batch.slice", "reviews of eval_dataset", "reviews of train_dataset", passes.step_of(foreign))
        return
    if any(not batch.reviews or None in batch.reviews for batch in passes.batches):
        # A review that is not recognized by its tokens cannot be counted.
        notes.reached -= {"batch", "shuffle"}
        return
    epochs = [list(batches) for _, batches in groupby(passes.batches, lambda batch: batch.epoch)]
    complete = epochs if passes.ended else epochs[:-1]
    size = passes.config.per_device_train_batch_size
    if passes.size != size:
        sizes = counted(passes.size, "review"), counted(size, "review")
        notes.add("batch.size", *sizes, 1, size=passes.size, due=size)
    for number, batches in enumerate(complete, start=1):
        if _judge_epoch(passes, notes, number, batches):
            break
    if passes.ended and len(epochs) != passes.epochs:
        notes.add("batch.epochs", counted(len(epochs), "epoch"), counted(passes.epochs, "epoch"), count=len(epochs))
    _judge_shuffle(passes, notes, complete)


def _judge_epoch(passes: Passes, notes: Notes, number: int, batches: list[Batch]) -> bool:
    """Judge an epoch's batches; return whether something is wrong. `number` is the epoch's, from 1."""
    size, subset_size = passes.size, len(passes.train)
    sizes = [len(batch.reviews) for batch in batches]
    held = Counter(review for batch in batches for review in batch.reviews)
    missing = subset_size - len([review for review in held if review is not None])
    twice = sum(count - 1 for count in held.values())
    step = passes.step_of(batches[-1])
    again = next((later for batch, later in pairwise(batches) if batch.reviews == later.reviews), None)
    if again is not None:
        twice_in_a_row = f"the reviews of batch {again.place} as batch {again.place + 1}"
        notes.add("batch.again", twice_in_a_row, "another batch", passes.step_of(again))
    elif any(count != size for count in sizes[:-1]):
        wrong = next(batch for batch in batches if len(batch.reviews) != size)
        counts = counted(len(wrong.reviews), "review"), counted(size, "review")
        notes.add("batch.size", *counts, passes.step_of(wrong), text="the batches do not all have the same size")
    elif missing and twice and abs(sum(sizes) - subset_size) < size:
        unused = f"{counted(missing, 'review')} of epoch {number} never used"
        notes.add("shuffle.replacement", unused, "each review once per epoch", step)
    elif missing:
        is_last_batch = subset_size % size and missing == subset_size % size
        used = f"{counted(subset_size - missing, 'review')} in epoch {number}"
        notes.add("batch.last" if is_last_batch else "batch.missing", used, counted(subset_size, "review"), step)
    elif twice:
        notes.add("batch.twice", f"{counted(twice, 'review')} of epoch {number} twice", "each review once", step)
    else:
        return False
    return True


def _judge_shuffle(passes: Passes, notes: Notes, epochs: list[list[Batch]]) -> None:
    size = passes.size
    orders: list[list[int]] = []
    for number, batches in enumerate(epochs, start=1):
        order = [review for batch in batches for review in batch.reviews if review is not None]
        code, text = _why_not_random(order, number, orders, passes) if len(order) >= size else ("", "")
        if code:
            first_reviews = f"reviews {', '.join(map(str, order[:4]))} ..."
            notes.add(code, first_reviews, "another random order", passes.step_of(batches[0]), text)
            return
        orders.append(order)


def _why_not_random(order: list[int], number: int, earlier: list[list[int]], passes: Passes) -> tuple[str, str]:
    """Why an epoch's order is not random: a code and its text; empty strings if it may be random."""
    if order == sorted(order):
        return "shuffle.none", "the reviews come in the dataset's own order: they are not shuffled"
    if passes.train.is_sorted(order):
        return "shuffle.sorted", "the reviews come sorted, not in a random order"
    if order in earlier:
        return "shuffle.same", f"epoch {number} has the same order as an earlier epoch: shuffle again in every epoch"
    if share := _same_pairs(order, list(range(len(passes.train)))):
        return "shuffle.moved", (
            f"the order is not random: {share} of the pairs of consecutive reviews are consecutive in the dataset, "
            "too, forwards or backwards; it is only reversed, or shifted, or shuffled batch by batch"
        )
    for before, other in enumerate(earlier, start=1):
        if share := _same_pairs(order, other):
            return "shuffle.moved", (
                f"the order of epoch {number} is made from epoch {before}'s, not random: {share} of the pairs of "
                "consecutive reviews are the same, forwards or backwards"
            )
    return "", ""


def _same_pairs(order: Sequence[int], other: Sequence[int]) -> str:
    """`59 of 60`, the pairs of consecutive reviews that both orders have; empty if that may be chance."""
    pairs = [frozenset(pair) for pair in pairwise(order)]
    same = len(set(pairs) & {frozenset(pair) for pair in pairwise(other)})
    return f"{same} of {len(pairs)}" if same > SAME_PAIRS * len(pairs) else ""


def judge_seeds(passes: Passes, notes: Notes) -> None:
    """Judge that dropout's random numbers are new each time: an equal random state drops the same neurons again."""
    notes.reached |= {"seed", "device"}
    step_of_state: dict[str, int] = {}
    for batch in passes.batches:
        if not batch.forward["drew"]:
            continue
        state = digest([as_bytes(batch.forward.tensors()["rng"])])
        if state in step_of_state:
            earlier = f"as at step {step_of_state[state]}"
            notes.add("seed.again", earlier, "a state of its own", passes.step_of(batch))
            return
        step_of_state[state] = passes.step_of(batch)
