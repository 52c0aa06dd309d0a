"""The two shortest loops: equal to each other, and to the full loops."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
import torch
from conftest import LOOPS, run_in_process
from packaging.version import Version
from safetensors.torch import load_file

from benchmarks.proofs.parity import UNEVEN
from shared.config import RunConfig
from shared.data import Data, load_data
from shared.model import load_model, load_tokenizer
from shared.recording.record import RunRecord

PLAIN = RunConfig.build("tiny", **UNEVEN, max_grad_norm=1.0, logging_strategy="no")
PAGES = {loop: Path(f"{loop}_loop/minimal.py") for loop in LOOPS}


def train_minimal(loop: str, config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Train as a notebook would; the trained model's tensors and the evaluations."""
    tokenizer = load_tokenizer(config)
    data: Data = load_data(config, tokenizer)
    torch.manual_seed(config.seed)
    model = load_model(config, data.labels)
    script = importlib.import_module(f"{loop}_loop.minimal")
    # `Trainer` makes its default folder where it runs.
    monkeypatch.chdir(folder)
    evaluations = script.train(model, tokenizer, data.train_dataset, data.eval_dataset, config)
    return model.state_dict(), evaluations


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.8"),
    reason="with a torch before 2.8 `Trainer` takes by default an AdamW that rounds otherwise, the unfused one",
)
def test_both_end_with_the_weights_and_evaluations_of_the_pages_of_all_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PLAIN.train_size % PLAIN.per_device_train_batch_size and PLAIN.eval_size % PLAIN.per_device_eval_batch_size
    with monkeypatch.context() as patch:
        runs = {loop: train_minimal(loop, PLAIN, tmp_path, patch) for loop in LOOPS}
    assert_equal(runs["manual"][0], runs["trainer"][0])
    # `Trainer`'s lines say more: how long the evaluation took, for example.
    evaluations = [
        {name: line[name] for name in ours} for ours, line in zip(*(run[1] for run in runs.values()), strict=True)
    ]
    assert runs["manual"][1] == evaluations
    assert len(runs["manual"][1]) == PLAIN.num_train_epochs
    for loop in LOOPS:
        folder = run_in_process(loop, PLAIN, tmp_path / loop)
        assert_equal(runs[loop][0], load_file(folder / "model.safetensors"))
        evaluations = [line for line in RunRecord.read(folder).log_history if "eval_loss" in line]
        assert runs["manual"][1] == [{name: line[name] for name in runs["manual"][1][0]} for line in evaluations]


@pytest.mark.parametrize("script", PAGES.values(), ids=PAGES)
def test_it_fits_on_a_slide_and_can_be_pasted_anywhere(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert len(lines) <= 48 and max(map(len, lines)) <= 88
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(script.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= {"numpy", "torch", "transformers"}


def test_trainer_is_given_nothing_that_it_does_by_itself() -> None:
    """Every argument of the call is one that the config sets, or differs from `TrainingArguments`' default."""
    from transformers import TrainingArguments

    defaults = TrainingArguments()
    tree = ast.parse(PAGES["trainer"].read_text())
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TrainingArguments"
    )
    fixed = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    assert fixed == {"eval_strategy": "epoch", "save_strategy": "no"}
    assert not {name for name, value in fixed.items() if value == getattr(defaults, name)}
