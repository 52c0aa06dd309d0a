"""Models that people bring: handled, or one line before any time is spent and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import LOOPS, assert_identical

from benchmarks.proofs.odd.inputs import Odd
from benchmarks.proofs.odd.models import MODELS, half
from benchmarks.proofs.odd.running import prepared, run
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.model import load_model, load_tokenizer

LABELS = ["bad", "fair", "good"]


@pytest.mark.parametrize("odd", [odd for odd in MODELS if not odd.status], ids=lambda odd: odd.description)
def test_both_loops_train_it_alike(odd: Odd, tmp_path: Path) -> None:
    with prepared(odd, tmp_path) as options:
        ran = {loop: run([*options, "--eval-size", "9", "--output-dir", str(tmp_path / loop)], loop) for loop in LOOPS}
    assert [run.status for run in ran.values()] == [0, 0]
    assert_identical(compare_runs(*(tmp_path / loop for loop in LOOPS)))
    assert all(part in "\n".join(ran["manual"].messages) for part in odd.pieces)
    kept = json.loads((tmp_path / "manual/config.json").read_text())
    assert kept["id2label"] == {"0": "neg", "1": "pos"} and kept["problem_type"] == "single_label_classification"


def test_weights_in_16_bits_are_trained_in_32(tmp_path: Path) -> None:
    config = RunConfig.build("tiny", model=str(half(tmp_path)))
    assert {parameter.dtype for parameter in load_model(config, LABELS).parameters()} == {torch.float32}


def test_names_of_classes_are_saved_with_the_model(tmp_path: Path) -> None:
    config = RunConfig.build("tiny")
    load_model(config, LABELS).save_pretrained(tmp_path)
    load_tokenizer(config).save_pretrained(tmp_path)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["id2label"] == dict(zip("012", LABELS, strict=True))
    assert kept["label2id"] == {name: number for number, name in enumerate(LABELS)}
