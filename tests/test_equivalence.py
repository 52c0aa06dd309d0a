"""The heart: both loops, compared in full, and the proof that the comparison would notice."""

from __future__ import annotations

import types
from pathlib import Path
from typing import NamedTuple

import datasets
import pytest

from benchmarks.verdict import compare_runs
from shared.config import RunConfig
from shared.run import run_loop
from tests.conftest import run_in_process

PAGE = Path("manual_loop/train.py")
ZERO = {
    "loss": 0.0,
    "grad_norm": 0.0,
    "learning_rate": 0.0,
    "eval_loss": 0.0,
    "eval_accuracy": 0.0,
    "weights": 0.0,
}

DIALS = {
    "preset": {},
    "two_epochs": {"num_train_epochs": 2},
    "part_of_an_epoch": {"num_train_epochs": 1.3},
    "short_last_batch": {"train_size": 61, "eval_size": 29},
    "one_batch": {"train_size": 5, "eval_size": 3},
    "other_seed": {"seed": 7},
    "data_seed": {"data_seed": 3, "num_train_epochs": 2},
    "slice_seed": {"slice_seed": 11},
    "weight_decay": {"weight_decay": 0.1},
    "betas_and_epsilon": {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6},
    "clip": {"max_grad_norm": 0.05},
    "warmup_steps": {"warmup_steps": 3},
    "warmup_ratio": {"warmup_steps": 0.25},
    "batch_sizes": {"per_device_train_batch_size": 5, "per_device_eval_batch_size": 7},
    "sequence_length": {"max_length": 8},
}


@pytest.mark.parametrize("dials", DIALS.values(), ids=DIALS)
def test_both_loops_are_bit_identical(dials: dict, compare_in_process) -> None:
    comparison = compare_in_process(RunConfig.build("tiny", **dials))
    assert comparison["first_divergence"] is None
    assert comparison["verdict"] == "identical"
    assert comparison["max_abs_diff"] == ZERO


def test_four_labels_need_no_other_change(tmp_path: Path, compare_in_process) -> None:
    rows = [{"text": f"review number {i} " + "good " * (i % 7), "label": i % 4} for i in range(60)]
    path = tmp_path / "four.jsonl"
    datasets.Dataset.from_list(rows).to_json(path)
    config = RunConfig.build("tiny", dataset=str(path), train_size=40, eval_size=20)
    comparison = compare_in_process(config)
    assert comparison["verdict"] == "identical"
    saved = (tmp_path / "run/manual/config.json").read_text()
    assert '"3": "LABEL_3"' in saved


class Fault(NamedTuple):
    """One wrong line in the manual loop, and what the verdict must make of it."""

    right: str
    wrong: str
    step: int
    quantity: str
    cause: str


# 64 reviews in batches of 8: an epoch has 8 steps, so step 9 is the first after an evaluation.
FAULTS = {
    "no_clip": Fault(
        "clip_grad_norm_(model.parameters(), config.max_grad_norm)",
        "get_total_norm([p.grad for p in model.parameters()])",
        1,
        "grad_norm",
        "the clip",
    ),
    "wrong_epoch_seed": Fault(
        "if config.data_seed is None else config.data_seed) + epoch",
        "if config.data_seed is None else config.data_seed)",
        9,
        "batch",
        "the sampler: the order differs from this epoch on",
    ),
    "weight_decay": Fault(
        '"weight_decay": config.weight_decay',
        '"weight_decay": 0.01',
        2,
        "forward_losses",
        "weight_decay 0.01 by hand, 0.0 in Trainer",
    ),
    "no_zero_grad": Fault("            optimizer.zero_grad()\n", "", 2, "grad_norm", "zero_grad() is missing"),
    "no_scheduler_step": Fault("            scheduler.step()\n", "", 2, "learning_rate", "call scheduler.step()"),
    "no_return_to_train_mode": Fault("            model.train()\n", "", 1, "mode", "model.train() was not called"),
    "train_mode_only_once": Fault(
        "            model.train()\n",
        "            step or model.train()\n",
        9,
        "mode",
        "model.train() was not called after the evaluation",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_one_wrong_line_is_caught_and_named(fault: Fault, tmp_path: Path) -> None:
    source = PAGE.read_text()
    assert source.count(fault.right) == 1, "the page has changed: plant the fault elsewhere"
    page = types.ModuleType("faulty")
    exec(compile(source.replace(fault.right, fault.wrong), "faulty.py", "exec"), page.__dict__)

    # A clip below the gradients' usual norm, so that it bites in every step.
    config = RunConfig.build("tiny", num_train_epochs=2, max_grad_norm=0.1)
    run_loop("manual", lambda: page.train, config, tmp_path / "manual")
    run_in_process("trainer", config, tmp_path / "trainer")

    comparison = compare_runs(tmp_path / "manual", tmp_path / "trainer")
    assert comparison["verdict"] == "diverged"
    first = comparison["first_divergence"]
    assert (first["step"], first["quantity"]) == (fault.step, fault.quantity)
    assert fault.cause in first["likely_cause"]
