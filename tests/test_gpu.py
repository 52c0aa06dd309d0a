"""On a GPU: identical with full determinism, and how far apart without. `make gpu-test`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.compare import compare
from shared.config import RunConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is False"),
]

PRECISIONS = {"fp32": {}, "bf16": {"bf16": True}, "fp16": {"fp16": True}}


@pytest.mark.parametrize("preset", ["tiny", "quick"])
@pytest.mark.parametrize("settings", PRECISIONS.values(), ids=PRECISIONS)
def test_identical_on_a_gpu_with_full_determinism(preset: str, settings: dict, tmp_path: Path) -> None:
    config = RunConfig.build(preset, full_determinism=True, gradient_accumulation_steps=2, **settings)
    comparison = compare(config, tmp_path / "run")
    assert comparison["environment"]["device"] != "cpu"
    assert comparison["first_divergence"] is None


@pytest.mark.parametrize("settings", PRECISIONS.values(), ids=PRECISIONS)
def test_without_full_determinism_any_difference_is_explained(settings: dict, tmp_path: Path) -> None:
    comparison = compare(RunConfig.build("quick", **settings), tmp_path / "run")
    print(settings, comparison["verdict"], comparison["max_abs_diff"], comparison["first_divergence"])
    if comparison["verdict"] != "identical":
        assert "--full-determinism" in comparison["first_divergence"]["likely_cause"]
