"""Loops that others could have written, through `--loop`: right ones are identical, wrong ones rightly explained.

Only the mistakes that look different in such a loop: a mask by position, a rate that the loop sets. The others are
edits of the two scripts, in test_edits.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Trained, run_in_process

from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.running.script import own_script

LOOPS = Path(__file__).parents[1] / "loops"
WHILE, CRITERION, CLASS = "while_with_iterator.py", "own_criterion.py", "class_with_methods.py"


class Loop(NamedTuple):
    """One loop: a file, what is replaced in it, and what the comparison must say about it."""

    file: str
    right: str = ""
    wrong: str = ""
    quantity: str | None = None
    cause: str = ""
    also: tuple[str, ...] = ()


ALL = {
    "own_signature": Loop("own_signature.py"),
    "class_with_methods": Loop(CLASS),
    "while_with_iterator": Loop(WHILE),
    "own_criterion": Loop(CRITERION),
    "named_arguments": Loop(WHILE, "model(**batch).loss", "model(labels=batch.pop('labels'), **batch).loss"),
    "course_style": Loop(
        "course_style.py",
        quantity="batch",
        cause="as shuffle=True does",
        also=(
            *("weight_decay 0.01 in your loop", "the clip: in your loop", "was not called after the evaluation"),
            "the mean of the 4 batches' means",
        ),
    ),
    "without_loader": Loop("without_loader.py", quantity="rng", cause="every iter(DataLoader) draws once"),
    "no_mask": Loop(
        CRITERION, "logits = model(ids, mask).logits", "logits = model(ids).logits", "batch", "the attention mask"
    ),
    "constant_rate": Loop(WHILE, " * ((total - step) / total)", "", "learning_rate", "learning rate did not change"),
}


@pytest.fixture(scope="module")
def trainer_run(trained: Trained) -> Path:
    return trained("trainer", RunConfig.build("tiny"))


def judged(loop: Loop, trainer_run: Path, folder: Path) -> dict[str, Any]:
    """The comparison of a loop with `Trainer`."""
    source = (LOOPS / loop.file).read_text(encoding="utf-8")
    assert source.count(loop.right) == 1 or not loop.right
    file = folder / loop.file
    file.write_text(source.replace(loop.right, loop.wrong) if loop.right else source, encoding="utf-8")
    config = RunConfig.build("tiny", loop=str(file))
    return compare_runs(run_in_process("manual", config, folder / "run", script=own_script(file)), trainer_run)


@pytest.mark.parametrize("name", ALL)
def test_a_loop_is_judged_as_it_must_be(name: str, trainer_run: Path, tmp_path: Path) -> None:
    loop = ALL[name]
    comparison = judged(loop, trainer_run, tmp_path)
    first = comparison["first_divergence"]
    if loop.quantity is None:
        assert first is None and comparison["verdict"] == "identical", first
        return
    assert first["quantity"].startswith(loop.quantity)
    assert loop.cause in first["likely_cause"]
    assert len(first["also"]) == len(loop.also), first["also"]
    assert all(any(text in finding for finding in first["also"]) for text in loop.also)


def test_what_a_loop_does_not_report_is_named_as_not_compared(trainer_run: Path, tmp_path: Path) -> None:
    comparison = judged(ALL["own_criterion"], trainer_run, tmp_path)
    remarks = " ".join(comparison["remarks"])
    for name in ("eval_loss", "eval_accuracy", "loss", "the model's own loss and its labels"):
        assert f"not compared: {name}" in remarks
    assert comparison["never_acted"] == []
