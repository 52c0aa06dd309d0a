"""Edits of a page: a mistake gets the cause that is its own, of a right rewrite nothing is said.

Half a second each. In `make test` one or two of a kind, all of them in `make test-slow` and `make gallery-page`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mistakes.catalogue import MISTAKES
from benchmarks.mistakes.mistake import IDENTICAL, NO_DIFFERENCE
from benchmarks.mistakes.rewrites import REWRITES
from benchmarks.proofs.gallery import compare_mistake, compare_rewrite, is_compared_rightly

COMPARED = {name: mistake for name, mistake in MISTAKES.items() if mistake.compared}


def some() -> Iterator[str]:
    """One of each phase where the same differs first, and one more for which `Trainer` need not run again."""
    seen: Counter[tuple] = Counter()
    for name, mistake in COMPARED.items():
        kind = (mistake.phase, mistake.compared.where.partition(": ")[2], mistake.stops)
        if not seen[kind] or (seen[kind] == 1 and not mistake.compared_settings and not mistake.stops):
            seen[kind] += 1
            yield name


SOME = set(some())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in SOME else [pytest.mark.slow]) for name in COMPARED],
)
def test_a_mistake_gets_its_own_cause(name: str, kept_runs: Path) -> None:
    mistake = MISTAKES[name]
    said = compare_mistake(mistake, kept_runs)
    assert is_compared_rightly(mistake.compared, said, mistake.stops), said.stopped or said.first
    assert "GPU" not in str(said)


@pytest.mark.parametrize("name", REWRITES)
def test_a_right_rewrite_is_identical(name: str, kept_runs: Path) -> None:
    said = compare_rewrite(REWRITES[name], kept_runs)
    assert is_compared_rightly(NO_DIFFERENCE, said), said.stopped or said.first
    assert "GPU" not in str(said)


def test_the_order_of_an_epoch_is_explained_in_a_whole_sentence(kept_runs: Path) -> None:
    assert compare_mistake(MISTAKES["same_order"], kept_runs).first["likely_cause"] == (
        "the sampler: the order differs from this epoch on: its generator was seeded with 42; seed it in every "
        "epoch, with seed + epoch (43 here)"
    )


def test_a_cause_that_is_not_the_right_one_is_noticed(kept_runs: Path) -> None:
    expected, said = MISTAKES["no_clip"].compared, compare_mistake(MISTAKES["no_clip"], kept_runs)
    assert is_compared_rightly(expected, said)
    assert not is_compared_rightly(expected._replace(code="zero.missing"), said)
    assert not is_compared_rightly(expected._replace(where=IDENTICAL), said)
    assert not is_compared_rightly(expected._replace(also=("optimizer.settings",)), said)
    assert not is_compared_rightly(expected, said, stops=True)
