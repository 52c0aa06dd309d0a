"""The report's table of steps: each step's numbers, and the reviews of its batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np

from benchmarks.charts.data import NAMES
from benchmarks.verdict.verdict import STEP_QUANTITIES, equal
from shared.config import RunConfig
from shared.data import prepared_subsets
from shared.errors import SameLoopError
from shared.model import load_tokenizer
from shared.recording.evidence import review_digest
from shared.recording.record import RunRecord, training_seconds

# All review texts together take about this many characters, so that the page stays below 3 MB.
TEXT_BUDGET = 1_000_000
LONGEST_TEXT, SHORTEST_TEXT = 500, 30
# A table of more would make the page too large to send.
MOST_ROWS = 8000


class Reviews(NamedTuple):
    """The reviews of the training subset.

    Attributes:
        rows: the place in the subset of each review, by the digest of its tokens.
        texts, labels: their texts, cut to a length that all of them fit in, and their classes; by place.
        note: the reason if there are none.
    """

    rows: dict[str, int]
    texts: list[str]
    labels: list[int]
    note: str = ""


def load_reviews(config: RunConfig) -> Reviews:
    """The training subset again, to find the review of a digest; empty, with a note, if it cannot be loaded."""
    try:
        train = prepared_subsets(config).train
        texts, labels = train[:]["text"], train[:]["label"]
        tokens = load_tokenizer(config)(texts, truncation=True, max_length=config.max_length)["input_ids"]
    except SameLoopError as error:
        return Reviews({}, [], [], f"The reviews cannot be loaded again: {error}")
    length = max(SHORTEST_TEXT, min(LONGEST_TEXT, TEXT_BUDGET // max(1, len(train))))
    rows = {review_digest(np.array(ids)): row for row, ids in reversed(list(enumerate(tokens)))}
    texts = [text if len(text) <= length else f"{text[:length].rstrip()} …" for text in texts]
    return Reviews(rows, texts, labels)


def step_table(
    records: Sequence[RunRecord], reviews: Reviews, sides: Mapping[str, str] = NAMES, is_own_job: bool = False
) -> dict[str, Any]:
    """Every step, column by column, for the page's script; a selection if there are very many.

    Args:
        records: the manual loop's, Trainer's.
        reviews: of the training set.
        sides: what both are called, by `manual` and `trainer`.
        is_own_job: whether it is a script's.

    Returns:
        `is_own_job`; `sides`: the two names; `has_tokens`: whether the examples are made of tokens; `count`: how many
        steps there are; `steps`: of which step each row is, None if there is one of every step; `columns`: lists of a
        value for each row, None where it is missing; `trainer`: the columns in which the Trainer's run differs;
        `differs`: by step, the first quantity that does; `reviews` and `trainer_reviews` (None if they are the same):
        by row, the places of its reviews in `texts` and `labels`; `places`: of those texts, their places in the
        subset, None if these are the same.
    """
    ours, theirs = (record.steps for record in records)
    count = max(len(ours), len(theirs))
    differs = {
        step: name
        for step, pair in enumerate(zip(ours, theirs, strict=False), start=1)
        if (name := _first_unequal(*pair)) is not None
    } | dict.fromkeys(range(min(len(ours), len(theirs)) + 1, count + 1), "number_of_steps")
    steps = _shown_steps(count, differs)
    note = reviews.note or _note(records[0])
    if len(steps) < count:
        note = f"{len(steps):,} of them are in the table, evenly selected; record.jsonl has the rest. {note}".rstrip()
    numbers = ("loss", "unclipped_norm", "grad_norm", "learning_rate", "samples", "tokens", "padded_tokens")

    def column(lines: list[dict], value: Callable[[dict], Any]) -> list[Any]:
        return [_plain(value(lines[step - 1])) if step <= len(lines) else None for step in steps]

    both = {name: [column(lines, methodcaller("get", name)) for lines in (ours, theirs)] for name in numbers}
    columns = {name: ours for name, (ours, _) in both.items()}
    drawn = [column(lines, lambda line: _places(line, reviews.rows)) for lines in (ours, theirs)]
    named, drawn = _renumbered(drawn)
    return {
        "is_own_job": is_own_job,
        "sides": [*sides.values()],
        "has_tokens": any(columns["tokens"]) or not steps,
        "count": count,
        "steps": steps if len(steps) < count else None,
        "columns": {
            "epoch": [records[len(ours) < count].epoch_of(step) for step in steps],
            **columns,
            "seconds_manual": column(ours, _milliseconds),
            "seconds_trainer": column(theirs, _milliseconds),
        },
        "trainer": {name: other for name, (ours, other) in both.items() if ours != other},
        "evaluations": [[line["step"], line["loss"], line["accuracy"]] for line in records[0].evaluations],
        "trainer_evaluations": [[line["step"], line["loss"], line["accuracy"]] for line in records[1].evaluations],
        "differs": {str(step): differs[step] for step in steps if step in differs},
        "reviews": drawn[0],
        "trainer_reviews": drawn[1] if drawn[0] != drawn[1] else None,
        "places": named if named != list(range(len(named))) else None,
        "texts": [reviews.texts[place] for place in named],
        "labels": [reviews.labels[place] for place in named],
        "note": note,
    }


def _renumbered(drawn: list[list[Any]]) -> tuple[list[int], list[list[Any]]]:
    """The places that are drawn, in order, and `drawn` with each place's number among them; -1 stays."""
    named = sorted({place for lines in drawn for places in lines for place in places or () if place >= 0})
    number = {place: new for new, place in enumerate(named)} | {-1: -1}
    return named, [[places and [number[place] for place in places] for places in lines] for lines in drawn]


def _shown_steps(count: int, differs: Mapping[int, str]) -> list[int]:
    """The steps in the table: all of them, or an even selection of very many, with the first ones that differ."""
    if count <= MOST_ROWS:
        return list(range(1, count + 1))
    even = range(1, count + 1, math.ceil(count / (MOST_ROWS - 1000)))
    return sorted({*even, count, *sorted(differs)[:900]})


def _note(record: RunRecord) -> str:
    """A note on the reviews of the steps; usually empty."""
    processes = record.header.get("world_size", 1)
    return f"Of {processes} processes, these are the first one's reviews and numbers." if processes > 1 else ""


def _places(line: dict[str, Any], rows: dict[str, int]) -> list[int]:
    return [rows.get(digest, -1) for batch in line["reviews"] for digest in batch]


def _milliseconds(line: dict[str, Any]) -> float:
    return float(f"{1000 * training_seconds(line):.3g}")


def _first_unequal(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    return next((name for name in STEP_QUANTITIES if not equal(ours.get(name), theirs.get(name))), None)


def _plain(value: Any) -> Any:
    """JSON has no NaN: it and the infinities become text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
