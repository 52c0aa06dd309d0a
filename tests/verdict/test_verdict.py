"""The verdict on records that differ in one place, and on models that differ in one number."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.verdict.table import verdict_text
from benchmarks.verdict.verdict import compare_runs, compare_weights, equal
from shared.errors import SameLoopError


@pytest.fixture
def copies(tiny_runs: dict[str, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Both tiny runs, to be tampered with."""
    for loop, folder in tiny_runs.items():
        shutil.copytree(folder, tmp_path / loop)
    return tmp_path / "manual", tmp_path / "trainer"


def tamper(folder: Path, kind: str, number: int, change: Callable[[dict], object]) -> None:
    """Change the `number`-th line of a kind, counted from 0, in a record."""
    path = folder / "record.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    change([line for line in lines if line["kind"] == kind][number])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def add_one_bit(line: dict, name: str) -> None:
    line[name] = math.nextafter(line[name], math.inf)


CHANGES = [
    ("step", 4, lambda line: line["batch"][0].update(labels="0" * 32), 5, "batch"),
    ("step", 4, lambda line: line.update(mode=["eval"]), 5, "mode"),
    ("step", 4, lambda line: line["rng"].update(torch="0"), 5, "rng"),
    ("step", 4, lambda line: line.update(forward_losses=[0.5]), 5, "forward_losses"),
    ("step", 4, lambda line: line.update(losses=[0.5]), 5, "losses"),
    ("step", 4, lambda line: add_one_bit(line, "grad_norm"), 5, "grad_norm"),
    ("step", 4, lambda line: add_one_bit(line, "learning_rate"), 5, "learning_rate"),
    ("evaluation", 0, lambda line: line.update(logits="0"), 8, "eval_forward_logits"),
    ("evaluation", 1, lambda line: line["batch"].update(labels="0"), 16, "eval_forward_batch"),
    ("footer", 0, lambda line: add_one_bit(line["log_history"][1], "eval_loss"), 8, "eval_loss"),
    ("footer", 0, lambda line: add_one_bit(line["log_history"][3], "eval_accuracy"), 16, "eval_accuracy"),
    ("footer", 0, lambda line: add_one_bit(line["log_history"][0], "loss"), 8, "logged loss"),
    ("start", 0, lambda line: line["initial_weights"].update({"classifier.weight": "0"}), 0, "initial weights"),
    ("header", 0, lambda line: line["config"].update(seed=1), 0, "config"),
]


@pytest.mark.parametrize(("kind", "number", "change", "step", "quantity"), CHANGES)
def test_one_changed_value_is_found(copies, kind: str, number: int, change, step: int, quantity: str) -> None:
    manual, trainer = copies
    assert compare_runs(manual, trainer)["verdict"] == "identical"
    tamper(manual, kind, number, change)
    comparison = compare_runs(manual, trainer)
    first = comparison["first_divergence"]
    assert comparison["verdict"] == "diverged"
    assert first["step"] == step
    assert first["quantity"].startswith(quantity)
    assert first["likely_cause"]
    assert f"diverged at step {step}" in verdict_text(comparison).plain


def test_the_first_of_several_divergences_is_the_earliest_in_causal_order(copies) -> None:
    manual, trainer = copies
    tamper(manual, "step", 9, lambda line: line["batch"][0].update(labels="0" * 32))
    tamper(manual, "step", 6, lambda line: (add_one_bit(line, "grad_norm"), line["rng"].update(torch="0")))
    tamper(manual, "evaluation", 0, lambda line: line.update(logits="0"))
    first = compare_runs(manual, trainer)["first_divergence"]
    assert (first["step"], first["quantity"]) == (7, "rng")


def test_a_missing_step_is_a_divergence(copies) -> None:
    manual, trainer = copies
    path = manual / "record.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"step": 16, "batch"' not in line))
    comparison = compare_runs(manual, trainer)
    assert comparison["verdict"] == "diverged"
    assert (comparison["first_divergence"]["step"], comparison["first_divergence"]["quantity"]) == (
        16,
        "number of steps",
    )


def test_one_bit_in_one_weight_is_found(copies) -> None:
    manual, trainer = copies
    weights = load_file(manual / "model.safetensors")
    value = weights["classifier.bias"][0]
    weights["classifier.bias"][0] = torch.nextafter(value, torch.tensor(math.inf))
    save_file(weights, manual / "model.safetensors", metadata={"format": "pt"})
    comparison = compare_runs(manual, trainer)
    assert comparison["first_divergence"]["quantity"] == "weights"
    assert comparison["first_divergence"]["manual"] == "classifier.bias"
    assert 0 < comparison["max_abs_diff"]["weights"] < 1e-8


def test_models_of_other_shapes_cannot_be_subtracted(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "one")
    save_file({"a": torch.zeros(3), "b": torch.zeros(1)}, tmp_path / "other")
    difference = compare_weights(tmp_path / "one", tmp_path / "other")
    assert difference.differing == ["b", "a"]
    assert difference.max_abs_diff is None


def test_a_damaged_model_is_one_clear_line(copies) -> None:
    manual, trainer = copies
    (manual / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(SameLoopError, match="cannot read the saved weights"):
        compare_runs(manual, trainer)


def test_equal_is_exact_and_knows_nan() -> None:
    assert equal(math.nan, math.nan) and equal([1.0, math.nan], [1.0, math.nan])
    assert not equal(1.0, math.nextafter(1.0, 2))
    assert not equal([1.0], [1.0, 1.0])
    assert not equal(None, 0.0)
