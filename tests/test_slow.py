"""Full runs: minutes, not seconds. `make test-slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.compare import compare
from benchmarks.proofs.parity import Cell, run_cell
from shared.config import RunConfig
from shared.recording.record import RunRecord

pytestmark = pytest.mark.slow


def test_the_quick_preset_is_identical_learns_and_costs_little_to_watch(tmp_path: Path, monkeypatch) -> None:
    """Takes about 4 minutes on 2 cores: both loops on 512 real reviews, with as many threads as there are cores."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    comparison = compare(RunConfig.build("quick"), tmp_path / "quick")
    assert comparison["verdict"] == "identical"
    assert comparison["steps"] == 128
    assert set(comparison["max_abs_diff"].values()) == {0.0}
    for loop in ("manual", "trainer"):
        assert comparison[loop]["eval_accuracy"][-1] >= 0.78
        footer = RunRecord.read(tmp_path / "quick" / loop).footer
        # A share of the same run, not a time: hooks of 2% would be noticed on any machine.
        assert footer["recorder_seconds"] < 0.02 * footer["train_seconds"]


def test_the_compiled_model_is_identical_with_full_determinism() -> None:
    """Takes about 2 minutes on 2 cores: TorchInductor compiles the model's graphs again in each of two processes."""
    settings = {"torch_compile": True, "full_determinism": True, "num_train_epochs": 1}
    assert run_cell(Cell(settings))["first_divergence"] is None
