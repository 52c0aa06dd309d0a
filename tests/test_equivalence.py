"""The heart: both loops, compared in full, and the proof that the comparison would notice."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import datasets
import pytest

from benchmarks.faults import DIALS as FAULT_DIALS
from benchmarks.faults import FAULTS, Fault, faulty_page
from benchmarks.verdict import compare_runs
from shared.config import Optim, RunConfig, Schedule
from shared.run import run_loop
from tests.conftest import run_in_process

ZERO = {
    "loss": 0.0,
    "grad_norm": 0.0,
    "learning_rate": 0.0,
    "eval_loss": 0.0,
    "eval_accuracy": 0.0,
    "weights": 0.0,
}

SEVERAL = {"num_train_epochs": 2, "train_size": 45, "eval_size": 19}  # nothing divides evenly
DIALS = {
    "preset": {},
    "two_epochs": {"num_train_epochs": 2},
    "part_of_an_epoch": {"num_train_epochs": 1.3},
    "max_steps": {"max_steps": 11},
    "short_last_batch": {"train_size": 61, "eval_size": 29},
    "drop_last": {"train_size": 61, "eval_size": 29, "dataloader_drop_last": True},
    "one_batch": {"train_size": 5, "eval_size": 3},
    "other_seed": {"seed": 7},
    "data_seed": {"data_seed": 3, "num_train_epochs": 2},
    "slice_seed": {"slice_seed": 11},
    "batch_sizes": {"per_device_train_batch_size": 5, "per_device_eval_batch_size": 7},
    "sequence_length": {"max_length": 8},
    "sequential": {**SEVERAL, "train_sampling_strategy": "sequential"},
    "group_by_length": {**SEVERAL, "train_sampling_strategy": "group_by_length"},
    "workers": {"dataloader_num_workers": 2},
    "accumulation": {**SEVERAL, "gradient_accumulation_steps": 4},
    "bf16": {**SEVERAL, "bf16": True},
    "label_smoothing": {**SEVERAL, "label_smoothing_factor": 0.1},
    "label_smoothing_accumulation": {**SEVERAL, "label_smoothing_factor": 0.1, "gradient_accumulation_steps": 4},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "full_determinism": {"full_determinism": True},
    "freeze_body": {**SEVERAL, "freeze_body": True},
    "weight_decay": {"weight_decay": 0.1},
    "betas_and_epsilon": {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6},
    "clip": {"max_grad_norm": 0.05},
    "no_clip": {"max_grad_norm": 0},
    **{optim: {**SEVERAL, "optim": optim, "weight_decay": 0.1} for optim in get_args(Optim)},
    **{name: {**SEVERAL, "lr_scheduler_type": name, "warmup_steps": 3} for name in get_args(Schedule)},
    "warmup_ratio": {"warmup_steps": 0.25},
    "logging_steps": {"logging_strategy": "steps", "logging_steps": 3},
    "no_logging": {"logging_strategy": "no"},
    "eval_steps": {"eval_strategy": "steps", "eval_steps": 3, "num_train_epochs": 2},
    "no_evaluation": {"eval_strategy": "no"},
    "trainer_defaults": {"trainer_defaults": True},
}


@pytest.mark.parametrize("dials", DIALS.values(), ids=DIALS)
def test_both_loops_are_bit_identical(dials: dict, compare_in_process) -> None:
    config = RunConfig.build("tiny", **dials)
    comparison = compare_in_process(config)
    assert comparison["first_divergence"] is None
    assert comparison["verdict"] == "identical"
    evaluated = config.eval_strategy != "no"
    assert comparison["max_abs_diff"] == {name: 0.0 if evaluated or "eval" not in name else None for name in ZERO}


def test_four_labels_need_no_other_change(tmp_path: Path, compare_in_process) -> None:
    rows = [{"text": f"review number {i} " + "good " * (i % 7), "label": i % 4} for i in range(60)]
    path = tmp_path / "four.jsonl"
    datasets.Dataset.from_list(rows).to_json(path)
    config = RunConfig.build("tiny", dataset=str(path), train_size=40, eval_size=20)
    comparison = compare_in_process(config)
    assert comparison["verdict"] == "identical"
    saved = (tmp_path / "run/manual/config.json").read_text()
    assert '"3": "LABEL_3"' in saved


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_one_wrong_line_is_caught_and_named(fault: Fault, tmp_path: Path) -> None:
    config = RunConfig.build("tiny", **{**FAULT_DIALS, **fault.dials})
    run_loop("manual", lambda: faulty_page(fault).train, config, tmp_path / "manual")
    run_in_process("trainer", config, tmp_path / "trainer")

    comparison = compare_runs(tmp_path / "manual", tmp_path / "trainer")
    assert comparison["verdict"] == "diverged"
    first = comparison["first_divergence"]
    assert (first["step"], first["quantity"]) == (fault.step, fault.quantity)
    assert fault.cause in first["likely_cause"]
