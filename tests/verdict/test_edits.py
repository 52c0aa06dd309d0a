"""Edits of a script: a mistake gets its own cause, a right rewrite gets none.

Half a second each. In `make test` one or two of a kind, all of them in `make test-slow` and `make gallery-page`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mistakes.catalogue import MISTAKES
from benchmarks.mistakes.mistake import IDENTICAL, NO_DIFFERENCE, Mistake
from benchmarks.proofs.gallery import REWRITES, compare_mistake, is_compared_rightly

COMPARED = {name: mistake for name, mistake in MISTAKES.items() if mistake.compared}


def some() -> Iterator[str]:
    """One of each phase where the same differs first, and one more for which `Trainer` need not run again."""
    counts: Counter[tuple] = Counter()
    for name, mistake in COMPARED.items():
        kind = (mistake.phase, mistake.compared.where.partition(": ")[2], bool(mistake.compared.stopped))
        if not counts[kind] or (counts[kind] == 1 and not mistake.compared_settings and not mistake.compared.stopped):
            counts[kind] += 1
            yield name


SOME = set(some())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in SOME else [pytest.mark.slow]) for name in COMPARED],
)
def test_a_mistake_gets_its_own_cause(name: str, kept_runs: Path) -> None:
    mistake = MISTAKES[name]
    comparison = compare_mistake(mistake, kept_runs)
    assert is_compared_rightly(mistake.compared, comparison), comparison.stopped or comparison.first
    assert "GPU" not in str(comparison)


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.what)
def test_a_right_rewrite_is_identical(rewrite: Mistake, kept_runs: Path) -> None:
    comparison = compare_mistake(rewrite, kept_runs)
    assert is_compared_rightly(NO_DIFFERENCE, comparison), comparison.stopped or comparison.first
    assert "GPU" not in str(comparison)


def test_the_order_of_an_epoch_is_explained_in_a_whole_sentence(kept_runs: Path) -> None:
    assert compare_mistake(MISTAKES["same_order"], kept_runs).first["likely_cause"] == (
        "the sampler: the order differs from this epoch on: its generator was seeded with 42; seed it in every "
        "epoch, with seed + epoch (43 here)"
    )


def test_a_cause_that_is_not_the_right_one_is_noticed(kept_runs: Path) -> None:
    expected, comparison = MISTAKES["no_clip"].compared, compare_mistake(MISTAKES["no_clip"], kept_runs)
    assert is_compared_rightly(expected, comparison)
    assert not is_compared_rightly(expected._replace(code="zero.missing"), comparison)
    assert not is_compared_rightly(expected._replace(where=IDENTICAL), comparison)
    assert not is_compared_rightly(expected._replace(also=("optimizer.settings",)), comparison)
    assert not is_compared_rightly(expected._replace(stopped="NameError"), comparison)
