"""`map(tokenize, batched=True)` against one review at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.gotchas.base import Gotcha, quiet
from benchmarks.judge.finding import counted
from shared.config import RunConfig
from shared.progress import announce


@dataclass(frozen=True)
class MapTimes:
    """The times of both ways, measured alternately.

    Attributes:
        reviews, max_length: how many, and how many tokens each is cut to.
        is_fast: whether the tokenizer is one of the fast ones, which take many texts at once.
        seconds, work: by whether it was batched, one per pair: seconds, and seconds of processor time, summed over
            all threads.
        equal: whether both gave the same tokens in every pair.
        tokens: how many, without padding.
    """

    reviews: int
    max_length: int
    is_fast: bool
    seconds: dict[bool, list[float]]
    work: dict[bool, list[float]]
    equal: bool
    tokens: int

    @property
    def factors(self) -> list[float]:
        """How many times as long one by one takes, one per pair."""
        return [slow / fast for fast, slow in zip(self.seconds[True], self.seconds[False], strict=True)]


def run(reviews: int = 1000, pairs: int = 5, max_length: int = 256) -> MapTimes:
    """Tokenize the same IMDB reviews in both ways, alternately, without a cache; `pairs`: how many times each way."""
    from shared.data import load_subsets, tokenized
    from shared.model import load_tokenizer

    config = RunConfig.build("quick", train_size=reviews, eval_size=1, max_length=max_length)
    announce(f"tokenizing {reviews:,} IMDB reviews, {pairs} times each way")
    with quiet():
        tokenizer = load_tokenizer(config)
        rows = load_subsets(config).train
        seconds: dict[bool, list[float]] = {True: [], False: []}
        work: dict[bool, list[float]] = {True: [], False: []}
        equal = True
        for pair in range(pairs):
            datasets = {}
            # Every second pair in the other order, so that neither way always runs after the other.
            for batched in (True, False) if pair % 2 == 0 else (False, True):
                started, worked = time.perf_counter(), time.process_time()
                datasets[batched] = tokenized(rows, tokenizer, max_length, batched)
                seconds[batched].append(time.perf_counter() - started)
                work[batched].append(time.process_time() - worked)
            equal = equal and datasets[True].to_dict() == datasets[False].to_dict()
    tokens = sum(map(len, datasets[True]["input_ids"]))
    return MapTimes(reviews, max_length, tokenizer.is_fast, seconds, work, equal, tokens)


def printed(times: MapTimes) -> Iterator[Any]:
    """Both times, the factor, and whether the tokens are the same."""
    from rich.table import Table

    kind = "fast" if times.is_fast else "slow"
    pairs = counted(len(times.factors), "pair")
    yield f"{times.reviews:,} IMDB reviews, at most {times.max_length} tokens, {kind} tokenizer, {pairs}"
    table = Table()
    table.add_column("tokenize gets")
    for heading in ("seconds", "processor seconds", "reviews/s"):
        table.add_column(heading, justify="right")
    for label, batched in (("1,000 reviews at a time", True), ("one review at a time", False)):
        middle, work = statistics.median(times.seconds[batched]), statistics.median(times.work[batched])
        table.add_row(label, f"{middle:.2f}", f"{work:.2f}", f"{times.reviews / middle:,.0f}")
    yield table
    factor, low, high = statistics.median(times.factors), min(times.factors), max(times.factors)
    yield f"one by one takes {factor:.2f} times as long (median of the pairs; they range from {low:.2f} to {high:.2f})"
    same = "the same" if times.equal else "NOT the same"
    yield "medians; a fast tokenizer spreads 1,000 reviews over the cores, so other programs can slow it down"
    yield f"the tokens are {same}: ids, masks and labels of every review, {times.tokens:,} tokens"


MAPPING = Gotcha(
    "map",
    "dataset.map(tokenize, batched=True), or one review at a time",
    "Tokenize with dataset.map(tokenize, batched=True): it is much faster.",
    run,
    printed,
    "batched=True changes the time, never the tokens; by how much depends on the reviews' length and on the "
    "machine, so measure before you believe a factor.",
)
