"""Edits of the page as readers make them: right rewrites are identical, of a mistake nothing false is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.edits import EDITS, IDENTICAL
from benchmarks.parity import edits_page, is_judged_rightly, run_edit


@pytest.fixture(scope="module")
def trainer_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer")


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_judged_as_it_must_be(name: str, trainer_runs: Path) -> None:
    result = run_edit(EDITS[name], trainer_runs)
    assert is_judged_rightly(EDITS[name], result), result.stopped or result.comparison["first_divergence"]
    assert "GPU" not in str(result)


def test_a_cause_that_is_not_the_right_one_is_noticed(trainer_runs: Path) -> None:
    result = run_edit(EDITS["clip_left_out"], trainer_runs)
    assert not is_judged_rightly(EDITS["clip_left_out"]._replace(cause="zero_grad() is missing"), result)
    assert not is_judged_rightly(EDITS["clip_left_out"]._replace(quantity=IDENTICAL), result)
    assert "**wrong:**" in edits_page([(EDITS["clip_left_out"]._replace(cause="nothing of the kind"), result)])
