"""A subset of a set that is sorted by label: one class, and an accuracy that means nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gotchas.base import Gotcha, quiet
from shared.config import RunConfig
from shared.determinism import one_thread
from shared.progress import announce

# The tiny model learns something from 2,000 of them in a few seconds.
SETTINGS: dict[str, Any] = {
    "dataset": "embedded",
    "max_length": 64,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "learning_rate": 3e-3,
    "num_train_epochs": 2,
    "max_grad_norm": 1.0,
}


@dataclass(frozen=True)
class SubsetCheck:
    """One loop, trained on a subset of the sorted set and on a subset of the shuffled one.

    Attributes:
        size, evaluated: how many reviews the model is trained on, and how many each evaluation has.
        unshuffled, shuffled: how many of each class are in the first `size` reviews, before and after the shuffle.
        accuracy_on_next, accuracy_on_balanced: of the model trained on the first `size` reviews as they come, on
            the reviews right after them and on as many of each class.
        accuracy_of_shuffled: of the model trained on the shuffled subset, on the same balanced reviews.
    """

    size: int
    evaluated: int
    unshuffled: dict[str, int]
    shuffled: dict[str, int]
    accuracy_on_next: float
    accuracy_on_balanced: float
    accuracy_of_shuffled: float


def run(size: int = 2000, evaluated: int = 500) -> SubsetCheck:
    """Train the tiny model on `train[:size]` of IMDB, in the order of the Hub, and on the same of its shuffle.

    None of the reviews to evaluate on, half of each class, is used for training.
    """
    import numpy as np

    from shared.data import tokenized
    from shared.model import load_tokenizer
    from shared.sources.origin import load_splits

    config = RunConfig.build("tiny", **SETTINGS, train_size=size, eval_size=evaluated)
    announce(f"training on {size:,} IMDB reviews as they come, and on {size:,} shuffled ones")
    with quiet(), one_thread():
        tokenizer = load_tokenizer(config)
        rows = load_splits(config)["train"]().rows
        names = rows.features["label"].names
        labels = np.array(rows["label"])
        order = np.random.default_rng(config.slice_seed).permutation(len(rows))
        # Neither model was trained on these: they come after the shuffled subset, and are not in the sorted one.
        unseen = order[size:][order[size:] >= size]
        of_each = [unseen[labels[unseen] == number][: evaluated // 2] for number in (0, 1)]
        balanced = np.concatenate(of_each).tolist()
        subsets = {
            "unshuffled": range(size),
            "after": range(size, size + len(balanced)),
            "shuffled": order[:size].tolist(),
            "balanced": balanced,
        }
        datasets = {
            name: tokenized(rows.select(chosen, keep_in_memory=True), tokenizer, config.max_length)
            for name, chosen in subsets.items()
        }
        on_next, on_balanced = _train(
            config, tokenizer, names, datasets["unshuffled"], datasets, ("after", "balanced")
        )
        (of_shuffled,) = _train(config, tokenizer, names, datasets["shuffled"], datasets, ("balanced",))

    def counted(chosen: Sequence[int]) -> dict[str, int]:
        return {name: int((labels[list(chosen)] == number).sum()) for number, name in enumerate(names)}

    return SubsetCheck(
        size,
        len(balanced),
        counted(subsets["unshuffled"]),
        counted(subsets["shuffled"]),
        on_next,
        on_balanced,
        of_shuffled,
    )


def _train(
    config: RunConfig,
    tokenizer: Any,
    names: Sequence[str],
    train_dataset: Any,
    datasets: dict[str, Any],
    evaluated_on: Sequence[str],
) -> list[float]:
    """Train the minimal loop on a subset, and return the accuracy on each of the evaluated ones."""
    from benchmarks.mistakes.costs import evaluate_rightly
    from manual_loop.minimal import train
    from shared.running.plain import train_fresh

    model, _, _ = train_fresh(train, config, tokenizer, train_dataset, datasets[evaluated_on[0]], names)
    return [evaluate_rightly(model, tokenizer, datasets[name])[0] for name in evaluated_on]


def printed(check: SubsetCheck) -> Iterator[Any]:
    """The classes of both subsets, and the models' accuracies."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"the first {check.size:,} of IMDB's 25,000 training reviews", title_justify="left")
    table.add_column("subset")
    for name in check.unshuffled:
        table.add_column(name, justify="right")
    # Text, or rich would take what is in brackets for a style.
    table.add_row(Text(f'split="train[:{check.size}]"'), *(f"{count:,}" for count in check.unshuffled.values()))
    table.add_row(
        Text(f"shuffle(seed=0).select(range({check.size}))"), *(f"{count:,}" for count in check.shuffled.values())
    )
    yield table
    evaluated = f"accuracy on {check.evaluated} others"
    table = Table(title=f"{evaluated}, after two epochs of the same loop", title_justify="left")
    table.add_column("trained on")
    table.add_column("evaluated on")
    table.add_column("accuracy", justify="right")
    table.add_row("the sorted subset", "the next of the sorted set", f"{check.accuracy_on_next:.1%}")
    table.add_row("the sorted subset", "as many of each class", f"{check.accuracy_on_balanced:.1%}")
    table.add_row("the shuffled subset", "as many of each class", f"{check.accuracy_of_shuffled:.1%}")
    yield table
    yield "the model is tiny and begins with random weights; the loop is manual_loop/minimal.py"


SUBSET = Gotcha(
    "slice",
    "a subset of a sorted dataset has one class only",
    'Shuffle, then select: dataset.shuffle(seed=42).select(range(1000)). Many a copy takes split="train[:1000]" '
    "instead.",
    run,
    printed,
    "Count the classes of a subset before you train on it: an accuracy of 100 % is the sign of one class, not of a "
    "good model.",
)
