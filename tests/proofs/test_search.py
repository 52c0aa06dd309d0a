"""Whole configurations, drawn so that every pair of setting values meets, each compared in full."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from conftest import assert_identical

from benchmarks.proofs.parity import (
    SEARCH_SPACE,
    all_pairs,
    compare_in_process,
    covering_configurations,
    ejected_difference,
    pairs_of,
    search_config,
)
from shared.config import RunConfig

# Not the two whose loaders start dozens of processes, 4 and 19. The slow tests search the rest, and all of it and more
# `make parity-sweep` does.
IN_EVERY_RUN = (0, 1, 2, 3, 6, 7, 8, 9)


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=[] if n in IN_EVERY_RUN else [pytest.mark.slow]) for n in range(25)]
)
def test_whole_configurations_are_identical(number: int, tmp_path: Path) -> None:
    """The first 25 of the search, 20 of them as ejected scripts, too; `make parity-sweep` runs 300 and 100."""
    config = drawn()[number]
    assert_identical(compare_in_process(config, tmp_path))
    if number < EJECTED:
        assert ejected_difference(config, tmp_path, tmp_path / "trainer") == ""


EJECTED = 20


@cache
def drawn() -> list[RunConfig]:
    """The first 25 configurations of the search."""
    return [config for config, _ in covering_configurations(25)]


def test_the_search_can_meet_every_pair_and_never_repeats_itself() -> None:
    pairs = all_pairs()
    met: set = set()
    configurations = list(covering_configurations(60))
    for config, _ in configurations:
        settings = {name: getattr(config, name) for name in SEARCH_SPACE}
        assert search_config(settings) == config
        met |= pairs_of(settings)
    assert met <= pairs
    assert configurations[-1][1] == len(met) / len(pairs) > 0.85
    assert [config for config, _ in configurations[:25]] == drawn()
