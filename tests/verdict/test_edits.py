"""Edits of the page as readers make them: right rewrites are identical, of a mistake nothing false is said.

Half a second each; all of them run in `make edits-table`, a minute.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.proofs.edits import EDITS, IDENTICAL
from benchmarks.proofs.parity import edits_page, is_judged_rightly, run_edit

# Mistakes whose rule the planted faults or the loops of other styles test too; `make test-slow` has them.
TESTED_ELSEWHERE = [
    "mistyped",
    "syntax",
    "no_return",
    "clip_left_out",
    "norm_without_clip",
    "clip_after_step",
    "shuffle_true",
    "not_shuffled",
    "no_mask",
    "adamw_no_decay",
    "scheduler_first",
    "four_steps_more",
    "no_second_seed",
    "stray_draw",
    "loss_summed",
    "zero_once_per_epoch",
    "frozen_body",
    "eval_drops_last",
    "rate_doubled",
    "eval_other_batch_size",
    "no_evaluation_reported",
    "batch16",
]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in TESTED_ELSEWHERE else []) for name in EDITS],
)
def test_an_edit_is_judged_as_it_must_be(name: str, kept_runs: Path) -> None:
    result = run_edit(EDITS[name], kept_runs)
    assert is_judged_rightly(EDITS[name], result), result.stopped or result.comparison["first_divergence"]
    assert "GPU" not in str(result)


def test_the_edits_left_to_the_slow_tests_exist() -> None:
    assert set(TESTED_ELSEWHERE) < set(EDITS)
    assert not [name for name in TESTED_ELSEWHERE if EDITS[name].quantity == IDENTICAL and not EDITS[name].stops]


def test_a_cause_that_is_not_the_right_one_is_noticed(kept_runs: Path) -> None:
    result = run_edit(EDITS["clip_left_out"], kept_runs)
    assert not is_judged_rightly(EDITS["clip_left_out"]._replace(cause="zero_grad() is missing"), result)
    assert not is_judged_rightly(EDITS["clip_left_out"]._replace(quantity=IDENTICAL), result)
    assert "**wrong:**" in edits_page([(EDITS["clip_left_out"]._replace(cause="nothing of the kind"), result)])
