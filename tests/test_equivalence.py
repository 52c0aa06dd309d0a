"""The heart: both loops, compared in full. That the comparison would notice is proved in verdict/test_edits.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import assert_identical

from benchmarks.proofs.parity import Cell, cell_config, cells, compare_in_process
from shared.config import RunConfig
from shared.sources import embedded


def name_of(cell: Cell) -> str:
    return " ".join(f"{name}={value}" for name, value in cell.settings.items()) or "preset"


# By what they come to: a setting at its default is the preset.
IN_PROCESS = {
    cell_config(cell).model_dump_json(): cell
    for cell in reversed(cells())
    if cell.nproc_per_node == 1 and not cell.settings.get("torch_compile")
}
IDENTICAL = [cell for cell in reversed(IN_PROCESS.values()) if cell.expected == "identical"]


# Fewer reviews than in the table: five batches, the last one short, are two groups of four, and three of two.
FEW = {"train_size": 37, "eval_size": 11}


@pytest.mark.parametrize("cell", IDENTICAL, ids=name_of)
def test_both_loops_are_identical_under_every_setting(cell: Cell, tmp_path: Path) -> None:
    assert_identical(compare_in_process(cell_config(cell).model_copy(update=FEW), tmp_path))


# A file of one's own: semicolons, three words for labels, in columns of other names.
WORDS = ("fair", "good", "bad")
OWN_TRIED = 6


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reviews = embedded.load_reviews("embedded-rotten-tomatoes")["text"][:120]
    path = tmp_path_factory.mktemp("own") / "my reviews.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerows([("No", "Review", "Sentiment")])
        table.writerows((n, text, WORDS[n % 3]) for n, text in enumerate(reviews))
    return path


def own_config(cell: Cell, own_file: Path) -> RunConfig:
    return cell_config(cell).model_copy(update={**FEW, "dataset": str(own_file)})


@pytest.mark.parametrize("cell", IDENTICAL[:: len(IDENTICAL) // OWN_TRIED], ids=name_of)
def test_ones_own_file_with_three_classes(cell: Cell, own_file: Path, tmp_path: Path) -> None:
    assert_identical(compare_in_process(own_config(cell, own_file), tmp_path))
    saved = json.loads((tmp_path / "manual/config.json").read_text())
    assert saved["id2label"] == {"0": "bad", "1": "fair", "2": "good"}


@pytest.mark.slow
@pytest.mark.parametrize("cell", IDENTICAL, ids=name_of)
def test_ones_own_file_under_every_setting(cell: Cell, own_file: Path, tmp_path: Path) -> None:
    """All of them about two minutes."""
    assert_identical(compare_in_process(own_config(cell, own_file), tmp_path))


# The upstream fault -------------------------------------------------------------------------------


def test_the_upstream_fault_is_still_there_and_is_shown(tmp_path: Path) -> None:
    """When this fails, huggingface/transformers#47688 is fixed: drop remedy, setting and docs/upstream-fault.md."""
    config = RunConfig.build("tiny", gradient_accumulation_steps=4, trainer_defaults=True)
    first = compare_in_process(config, tmp_path)["first_divergence"]
    assert (first["step"], first["quantity"]) == (1, "losses")
    assert first["trainer"] == [4 * loss for loss in first["manual"]]
    assert "Trainer's loss is 4 times too large" in first["likely_cause"]
    assert "huggingface/transformers#47688" in first["likely_cause"]
