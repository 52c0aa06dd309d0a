"""Models that people bring: handled, or one line before any time is spent and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import assert_identical

from benchmarks.cli import main
from benchmarks.proofs.odd_models import (
    broken_tokenizer,
    config_that_is,
    custom_code,
    edited,
    few_words,
    gpt2,
    half,
    head_for,
    no_end_either,
    roberta,
)
from benchmarks.proofs.parity import compare_in_process
from shared.config import RunConfig
from shared.model import load_model, load_tokenizer

LABELS = ["bad", "fair", "good"]

HANDLED: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "no padding token": (gpt2, {}, "has no padding token: its end token takes its place"),
    "weights in 16 bits": (half, {}, ""),
    "a head for five classes": (head_for(5), {}, "is for another number of classes than 2: it gets a fresh one"),
    "a head for a number": (head_for(1, problem_type="regression"), {}, "it gets a fresh one"),
    "a head for several labels at once": (head_for(2, problem_type="multi_label_classification"), {}, ""),
    "RoBERTa, to its last position": (roberta, {"max_length": 32}, ""),
}


@pytest.mark.parametrize(("make", "dials", "said"), HANDLED.values(), ids=HANDLED)
def test_handled(make: Callable[[Path], Path], dials: dict, said: str, tmp_path: Path, capfd) -> None:
    config = RunConfig.build("tiny", model=str(make(tmp_path)), train_size=12, eval_size=9, num_train_epochs=1)
    config = config.model_copy(update=dials)
    assert_identical(compare_in_process(config, tmp_path / "run"))
    assert said in capfd.readouterr().err
    kept = json.loads((tmp_path / "run/manual/config.json").read_text())
    assert kept["id2label"] == {"0": "neg", "1": "pos"} and kept["problem_type"] == "single_label_classification"


def test_weights_in_16_bits_are_trained_in_32(tmp_path: Path) -> None:
    config = RunConfig.build("tiny", model=str(half(tmp_path)))
    assert {parameter.dtype for parameter in load_model(config, LABELS).parameters()} == {torch.float32}


REFUSED: dict[str, tuple[Callable[[Path], Path], list[str], tuple[str, ...]]] = {
    "a configuration that is a list": (config_that_is("[1, 2]"), [], ("no readable config.json",)),
    "a configuration that is a word": (config_that_is('"distilbert"'), [], ("no readable config.json",)),
    "a configuration cut short": (config_that_is('{"model_type": "dist'), [], ("no readable config.json",)),
    "an empty configuration": (config_that_is("{}"), [], ("cannot be loaded",)),
    "an unknown kind": (edited(model_type="frobnicator"), [], ("cannot be loaded", "frobnicator")),
    "an unknown activation": (edited(activation="swooosh"), [], ("cannot be loaded", "swooosh")),
    "heads that do not divide": (edited(n_heads=5), [], ("cannot be loaded", "5")),
    "no heads": (edited(n_heads=0), [], ("cannot be loaded",)),
    "a word for a number": (edited(dim="wide"), [], ("cannot be loaded",)),
    "another shape than the weights": (edited(dim=64), [], ("weights are not those of a DistilBert",)),
    "more layers than weights": (edited(n_layers=9), [], ("weights are not those of a DistilBert", "missing")),
    "quantized": (
        edited(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}),
        [],
        ("cannot be loaded",),
    ),
    "attention that is not installed": (
        edited(_attn_implementation="flash_attention_2"),
        [],
        ("cannot be loaded", "FlashAttention2"),
    ),
    "an unknown type of numbers": (edited(dtype="float13"), [], ("--model",)),
    "more words than its embedding": (few_words, [], ("its tokenizer has 30522 tokens, its embedding 1000",)),
    "RoBERTa, one too many": (roberta, ["--max-length", "33"], ("--max-length 33", "takes 32 tokens at most")),
    "RoBERTa's number of positions": (roberta, ["--max-length", "34"], ("takes 32 tokens at most",)),
    "neither padding nor end token": (no_end_either, [], ("neither a padding token nor an end token",)),
    "code of its own": (custom_code, [], ("cannot be loaded",)),
    "a tokenizer cut short": (broken_tokenizer, [], ("cannot be loaded",)),
}


@pytest.mark.parametrize(("make", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_refused(
    make: Callable[[Path], Path], options: list[str], said: tuple[str, ...], tmp_path: Path, capfd, monkeypatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # as somebody at a terminal would answer
    command = ["manual", "--preset", "tiny", "--model", str(make(tmp_path)), "--output-dir", str(tmp_path / "run")]
    capfd.readouterr()
    assert main([*command, *options]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.strip() and not line.startswith("·")]
    assert all(part in line for part in said), line
    assert len(line) < 600
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "it-ran").exists()


def test_names_of_classes_are_saved_with_the_model(tmp_path: Path) -> None:
    config = RunConfig.build("tiny")
    load_model(config, LABELS).save_pretrained(tmp_path)
    load_tokenizer(config).save_pretrained(tmp_path)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["id2label"] == dict(zip("012", LABELS, strict=True))
    assert kept["label2id"] == {name: number for number, name in enumerate(LABELS)}
