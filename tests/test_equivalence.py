"""The heart: both loops, compared in full, and the proof that the comparison would notice."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
from conftest import assert_identical

from benchmarks.proofs.faults import FAULTS, Fault, faulty_page
from benchmarks.proofs.parity import (
    Cell,
    cell_config,
    cells,
    compare_in_process,
    run_fault,
)
from shared.config import RunConfig


def name_of(cell: Cell) -> str:
    return " ".join(f"{name}={value}" for name, value in cell.dials.items()) or "preset"


IN_PROCESS = [cell for cell in cells() if cell.nproc_per_node == 1 and not cell.dials.get("torch_compile")]


@pytest.mark.parametrize("cell", [c for c in IN_PROCESS if c.expected == "identical"], ids=name_of)
def test_both_loops_are_identical_under_every_dial(cell: Cell, tmp_path: Path) -> None:
    assert_identical(compare_in_process(cell_config(cell), tmp_path))


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


# The upstream fault -------------------------------------------------------------------------------


def test_the_upstream_fault_is_still_there_and_is_shown(tmp_path: Path) -> None:
    """When this fails, huggingface/transformers#47688 is fixed: drop remedy, dial and docs/upstream-fault.md."""
    config = RunConfig.build("tiny", gradient_accumulation_steps=4, trainer_defaults=True)
    first = compare_in_process(config, tmp_path)["first_divergence"]
    assert (first["step"], first["quantity"]) == (1, "losses")
    assert first["trainer"] == [4 * loss for loss in first["manual"]]
    assert "Trainer's loss is 4 times too large" in first["likely_cause"]
    assert "huggingface/transformers#47688" in first["likely_cause"]
