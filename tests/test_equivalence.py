"""The heart: both loops, compared in full, and the proof that the comparison would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from benchmarks.compare import launch
from benchmarks.faults import FAULTS, Fault, faulty_page
from benchmarks.parity import (
    SEARCH_SPACE,
    UNEVEN,
    Cell,
    all_pairs,
    cell_config,
    cells,
    compare_in_process,
    covering_configurations,
    is_possible,
    pairs_of,
    run_fault,
)
from benchmarks.verdict import compare_runs
from shared.config import RunConfig

QUANTITIES = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy", "weights")


def assert_identical(comparison: dict[str, Any]) -> None:
    assert comparison["first_divergence"] is None
    assert comparison["verdict"] == "identical"
    assert tuple(comparison["max_abs_diff"]) == QUANTITIES
    evaluated = bool(comparison["manual"]["eval_loss"])
    for name, difference in comparison["max_abs_diff"].items():
        assert difference == (0.0 if evaluated or not name.startswith("eval") else None), name


def name_of(cell: Cell) -> str:
    return " ".join(f"{name}={value}" for name, value in cell.dials.items()) or "preset"


IN_PROCESS = [cell for cell in cells() if cell.nproc_per_node == 1 and not cell.dials.get("torch_compile")]


@pytest.mark.parametrize("cell", [c for c in IN_PROCESS if c.expected == "identical"], ids=name_of)
def test_both_loops_are_identical_under_every_dial(cell: Cell, tmp_path: Path) -> None:
    assert_identical(compare_in_process(cell_config(cell), tmp_path))


@pytest.mark.parametrize("number", range(25))
def test_whole_configurations_are_identical(number: int, tmp_path: Path) -> None:
    """The first 25 of the search; `make parity-sweep` runs 300."""
    assert_identical(compare_in_process(SWEEP[number], tmp_path))


SWEEP = [config for config, _ in covering_configurations(25)]


def test_the_search_can_meet_every_pair_and_never_repeats_itself() -> None:
    pairs = all_pairs()
    met: set = set()
    found = list(covering_configurations(60))
    for config, _ in found:
        dials = {name: getattr(config, name) for name in SEARCH_SPACE}
        assert is_possible(dials)
        met |= pairs_of(dials)
    assert met <= pairs
    assert found[-1][1] == len(met) / len(pairs) > 0.85
    assert [config for config, _ in found[:25]] == SWEEP


def test_four_labels_need_no_other_change(tmp_path: Path) -> None:
    rows = [{"text": f"review number {i} " + "good " * (i % 7), "label": i % 4} for i in range(60)]
    path = tmp_path / "four.jsonl"
    datasets.Dataset.from_list(rows).to_json(path)
    config = RunConfig.build("tiny", dataset=str(path), train_size=40, eval_size=20)
    assert_identical(compare_in_process(config, tmp_path / "run"))
    assert '"3": "LABEL_3"' in (tmp_path / "run/manual/config.json").read_text()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_one_wrong_line_is_caught_and_named(fault: Fault) -> None:
    comparison = run_fault(fault)
    assert comparison["verdict"] == "diverged"
    first = comparison["first_divergence"]
    assert (first["step"], first["quantity"]) == (fault.step, fault.quantity)
    assert fault.cause in first["likely_cause"]


def test_a_fault_that_the_page_no_longer_has_is_reported() -> None:
    with pytest.raises(ValueError, match="holds this piece 0 times"):
        faulty_page(FAULTS["no_clip"]._replace(right="no such line"))


# Several processes --------------------------------------------------------------------------------

TWO_PROCESSES = {
    "fp32": {},
    "bf16": {"bf16": True},
    "accumulation": {"gradient_accumulation_steps": 4},
    "grouped": {"train_sampling_strategy": "group_by_length", "label_smoothing_factor": 0.1},
    "drop_last": {"dataloader_drop_last": True},
    "few_reviews": {"train_size": 5, "eval_size": 3},
    "upstream_fault": {"trainer_defaults": True},
}

WORKER = """
import importlib, json, sys
from pathlib import Path
import torch
from shared.config import RunConfig
from shared.run import run_loop
torch.distributed.init_process_group("gloo")
for name, dials in json.loads(sys.argv[1]).items():
    for loop in ("manual", "trainer"):
        train = importlib.import_module(f"{loop}_loop.train").train
        run_loop(loop, lambda: train, RunConfig.build("tiny", **dials), Path(sys.argv[2]) / name / loop)
"""


@pytest.fixture(scope="module")
def two_process_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of `TWO_PROCESSES` run by one pair of processes, one after the other."""
    import json

    folder = tmp_path_factory.mktemp("two")
    configurations = json.dumps({name: {**UNEVEN, **dials} for name, dials in TWO_PROCESSES.items()})
    assert launch([sys.executable, "-c", WORKER, configurations, str(folder)], nproc_per_node=2) == 0
    return folder


@pytest.mark.parametrize("name", [name for name in TWO_PROCESSES if name != "upstream_fault"])
def test_two_processes_are_identical(name: str, two_process_runs: Path) -> None:
    comparison = compare_runs(two_process_runs / name / "manual", two_process_runs / name / "trainer")
    assert_identical(comparison)
    assert comparison["environment"]["world_size"] == 2
    assert (two_process_runs / name / "manual/record-1.jsonl").is_file()


def test_torchrun_starts_the_manual_loop(tmp_path: Path) -> None:
    """The plain command of the README, against the Trainer loop under accelerate's launcher."""
    dials = ["--preset", "tiny", "--train-size", "29", "--eval-size", "19"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29511"]
    # accelerate starts several CPU processes only through MPI; its launcher for GPUs works without a GPU too.
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port"]
    for loop, launcher in (("manual", torchrun), ("trainer", [*accelerate, "29512"])):
        command = [*launcher, "-m", f"{loop}_loop", *dials, "--output-dir", str(tmp_path / loop)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert finished.returncode == 0, finished.stderr[-3000:]
    assert_identical(compare_runs(tmp_path / "manual", tmp_path / "trainer"))


# The upstream fault -------------------------------------------------------------------------------


def test_the_upstream_fault_is_still_there_and_is_shown(tmp_path: Path) -> None:
    """When this fails, huggingface/transformers#47688 is fixed: drop remedy, dial and docs/upstream-fault.md."""
    config = RunConfig.build("tiny", gradient_accumulation_steps=4, trainer_defaults=True)
    first = compare_in_process(config, tmp_path)["first_divergence"]
    assert (first["step"], first["quantity"]) == (1, "losses")
    assert first["trainer"] == [4 * loss for loss in first["manual"]]
    assert "Trainer's loss is 4 times too large" in first["likely_cause"]
    assert "huggingface/transformers#47688" in first["likely_cause"]


def test_with_two_processes_the_upstream_fault_doubles_the_loss(two_process_runs: Path) -> None:
    runs = two_process_runs / "upstream_fault"
    first = compare_runs(runs / "manual", runs / "trainer")["first_divergence"]
    assert (first["step"], first["quantity"]) == (1, "losses")
    assert first["trainer"] == [2 * loss for loss in first["manual"]]
