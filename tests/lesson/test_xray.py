"""The x-ray: both loops do the same things in the same order, and every line it names is really there."""

from __future__ import annotations

import ast
import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import LOOPS, run_in_process
from safetensors.torch import load_file
from torch.optim.optimizer import Optimizer
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer

from benchmarks.cli import main
from benchmarks.judge.phases import PHASES
from benchmarks.lesson.events import Event, Frame
from benchmarks.lesson.timeline import TRAINER_FILE
from benchmarks.lesson.trace import Tracer
from benchmarks.lesson.xray import (
    BY_HAND,
    UNSEEN,
    XRay,
    common_frames,
    paired,
    script_frame,
    shortened,
    stack_text,
    trace,
    xray,
)
from benchmarks.mistakes.mistake import edited
from benchmarks.pages.alignment import stretches
from shared.config import RunConfig
from shared.running.run import run_loop
from shared.running.script import package_script

# What the innermost line of `trainer.py` must say for each phase, in whatever release is installed: one of these.
TRAINER_SAYS = {
    "seed": "set_seed(",
    "device": ".to(|next(epoch_iterator)",
    "batch": "next(epoch_iterator)|DataLoader(",
    "collator": "next(epoch_iterator)",
    "shuffle": "next(epoch_iterator)",
    "optimizer": "optimizer_cls(|decay_parameters",
    "schedule": "get_scheduler(",
    "train mode": "model.train()",
    "forward": "model(**inputs)",
    "loss": "loss / ",
    "backward": ".backward(loss",
    "clip": "clip_grad_norm_(",
    "step": "optimizer.step()",
    "schedule step": "lr_scheduler.step()",
    "zero": "zero_grad()",
    "checkpoint": "save",
    "save": "save_pretrained(",
    "log": "self._tr_loss +=|self.log(",
    "evaluate": "self.evaluate(|model.eval()|enumerate(dataloader)|model(**inputs)|self.log(",
}


@pytest.fixture(scope="module")
def quick() -> XRay:
    """The x-ray of the quick preset: real weights, real reviews. Few of them, cut short: half the time."""
    return xray(RunConfig.build("quick", max_length=32, train_size=128, eval_size=64))


def test_both_loops_do_the_same_on_the_quick_preset(quick: XRay) -> None:
    assert quick.first_difference is None
    assert len(quick.pairs) > 80


def test_every_phase_has_its_line_in_both_loops(quick: XRay) -> None:
    phases = {pair.manual.phase for pair in quick.pairs} | {"determinism"}  # asked for in the next test
    assert phases | set(UNSEEN) == {phase.name for phase in PHASES}
    assert not phases & set(UNSEEN)


def test_the_line_by_hand_is_in_the_segment_of_its_phase(quick: XRay) -> None:
    phases = {
        number: stretch.phase
        for stretch in stretches(package_script("manual").source)
        for number in range(stretch.first, stretch.first + len(stretch.lines))
    }
    for pair in quick.pairs:
        frame = script_frame(pair.manual, quick.script)
        # Batches are cut, ordered and padded in the moment in which they are fetched: by the loader's line.
        expected = {"batch"} if pair.manual.phase in ("shuffle", "collator") else {pair.manual.phase}
        assert phases[frame.line] in expected, (pair.manual.what, frame)


def functions_of(file: str) -> dict[str, list[range]]:
    """The lines of every function of a source file, by its name, its decorators left out."""
    ranges: dict[str, list[range]] = {}
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            ranges.setdefault(node.name, []).append(range(node.lineno, node.end_lineno + 1))
    return ranges


def test_every_line_of_trainer_is_the_installed_ones(quick: XRay) -> None:
    source = Path(TRAINER_FILE).read_text(encoding="utf-8").splitlines()
    functions = functions_of(TRAINER_FILE)
    phases = set()
    for pair in quick.pairs:
        frames = [frame for frame in pair.trainer.frames if frame.file == "trainer.py"]
        for frame in frames:
            assert source[frame.line - 1].strip() == frame.code
            assert any(frame.line in lines for lines in functions[frame.function]), frame
        if frames and pair.trainer.phase in TRAINER_SAYS:
            says = {frame.code for frame in frames[-2:]}
            expected = TRAINER_SAYS[pair.trainer.phase].split("|")
            assert any(text in code for code in says for text in expected), (pair.trainer.what, says)
            phases.add(pair.trainer.phase)
        assert frames or pair.trainer.phase in ("seed", "data", "model"), pair.trainer.what
    assert phases == set(TRAINER_SAYS)


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 4, "train_size": 20},
        {"bf16": True, "label_smoothing_factor": 0.1, "max_grad_norm": 0},
        {"train_sampling_strategy": "group_by_length", "optim": "adafactor", "lr_scheduler_type": "cosine"},
        {"lr_scheduler_type": "reduce_lr_on_plateau", "save_strategy": "epoch", "load_best_model_at_end": True},
        {"eval_strategy": "steps", "eval_steps": 1, "logging_strategy": "steps", "logging_steps": 1},
        {"full_determinism": True, "gradient_checkpointing": True, "eval_strategy": "no"},
        {"train_sampling_strategy": "sequential", "freeze_body": True, "optim": "sgd"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_both_loops_do_the_same_under_other_settings(settings: dict[str, Any]) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        result = xray(RunConfig.build("tiny", **settings))
    finally:
        torch.use_deterministic_algorithms(before)
    assert result.first_difference is None
    phases = [pair.manual.phase for pair in result.pairs]
    assert ("determinism" in phases) == settings.get("full_determinism", False)
    assert ("evaluate" in phases) == (settings.get("eval_strategy") != "no")
    assert ("checkpoint" in phases) == ("save_strategy" in settings)


@pytest.fixture(scope="module")
def tiny_trainer() -> list[Event]:
    """What `Trainer` does on the tiny preset."""
    return trace("trainer", package_script("trainer"), shortened(RunConfig.build("tiny"))).events


@pytest.mark.parametrize(
    ("right", "wrong", "phase"),
    [
        ("            optimizer.zero_grad()", "            pass", "zero"),
        ("            training_model.train()", "            pass", "train mode"),
        ("generator.manual_seed(data_seed + epoch)", "generator.manual_seed(data_seed)", "shuffle"),
        (
            "loss = loss / batches_of_step(number, train_loader, per_step)",
            "loss = loss / 2",
            "loss",
        ),
        ("    model.eval()\n", "    pass\n", "evaluate"),
        (
            "                scheduler.step()",
            "                scheduler.step(), scheduler.step()",
            "schedule step",
        ),
    ],
)
def test_another_sequence_is_noticed_and_named(right: str, wrong: str, phase: str, tiny_trainer: list[Event]) -> None:
    config = shortened(RunConfig.build("tiny"))
    script = package_script("manual").edited(right, wrong)
    ours = trace("manual", script, config).events
    theirs = tiny_trainer
    assert {event.step for event in ours} == {event.step for event in theirs} == {0, 1, 2, 3, 4}
    first = next(pair for pair in paired(ours, theirs) if not pair.equal)
    assert phase in {event.phase for event in first if event is not None}
    # What comes after it is held against its twin again, not against its neighbour.
    assert sum(pair.manual is None or pair.trainer is None for pair in paired(ours, theirs)) <= 12


def test_the_tracer_disturbs_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    owners = [
        torch,
        torch.Tensor,
        torch.nn.Module,
        torch.nn.utils,
        Optimizer,
        DataLoader,
        PreTrainedModel,
        Trainer,
        math,
    ]
    before = [dict(vars(owner)) for owner in owners]
    config = shortened(RunConfig.build("tiny"))
    for loop in LOOPS:
        module = importlib.import_module(f"{loop}_loop.train")
        script, names = package_script(loop, module), dict(vars(module))
        with Tracer(loop, script, module):
            run_loop(loop, script, config, tmp_path / "traced" / loop, record=False)
        assert vars(module) == names
        alone = run_in_process(loop, config, tmp_path / "alone" / loop, record=False)
        weights = load_file(alone / "model.safetensors")
        traced = load_file(tmp_path / "traced" / loop / "model.safetensors")
        assert all(torch.equal(weights[name], traced[name]) for name in weights)
    assert [dict(vars(owner)) for owner in owners] == before


def test_what_only_trainer_does_is_listed_with_its_time(quick: XRay) -> None:
    rows = quick.bookkeeping()
    step = {row["function"].split(".")[-1]: row for row in rows if row["part"] == "step"}
    # One look at the floating point operations, one call of the callbacks after the optimizer's step.
    for name in ("floating_point_ops", "on_optimizer_step"):
        assert step[name]["calls"] == 1
        assert 0 < step[name]["seconds"] < quick.traces["trainer"].seconds["step", 1, 1]
    # What an event happened in is no bookkeeping.
    assert not {"training_step", "compute_loss", "_clip_grad_norm", "step"} & set(step)
    assert quick.traces["manual"].calls == []
    assert quick.traces["trainer"].batches_ahead == 1 and quick.traces["manual"].batches_ahead == 0
    assert any("already is" in sentence for sentence in quick.traces["trainer"].repetitions)
    assert quick.traces["manual"].repetitions == {}


def test_what_is_said_to_be_done_by_hand_is_called_by_the_installed_trainer(quick: XRay) -> None:
    called = {call.function for call in quick.traces["trainer"].calls}
    source = Path(TRAINER_FILE).read_text(encoding="utf-8")
    for function in BY_HAND:
        assert function in called or function.split(".")[-1] in source, function


def test_stacks_are_short_and_true() -> None:
    frames = (Frame("a.py", 1, "f", ""), Frame("a.py", 2, "g", ""), Frame("b.py", 3, "h", ""))
    assert stack_text(frames) == "a.py:1 f > :2 g > b.py:3 h"
    assert stack_text(frames, frames[:1]) == "a.py:2 g > b.py:3 h"
    assert common_frames([frames, (*frames[:1], frames[2])]) == frames[:1]
    # A stack is never cut down to nothing.
    assert common_frames([frames, frames[:1]]) == ()


def test_the_command_prints_lines_stacks_and_the_verdict(capsys) -> None:
    assert main(["xray", "--preset", "tiny", "--save-strategy", "epoch"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and max(map(len, printed.splitlines())) <= 100
    flat = " ".join(printed.split())
    assert f"transformers {transformers.__version__}" in flat
    for title in ("Before the first epoch", "Step 1", "Evaluation after step 2", "Epoch 2 begins", "At the end"):
        assert title in flat
    assert "manual train.py:" in flat and "training_step > :" in flat
    # Markup in a line of code or in values stays text: `[...]` is no style of rich's.
    assert "DataLoader(train_dataset, batch_size," in flat
    assert "the same in the same order" in flat
    # Code knows its class from Python 3.11 on.
    assert ("Trainer.floating_point_ops" if sys.version_info >= (3, 11) else "floating_point_ops") in flat


def test_json_holds_every_event_of_any_step_of_the_whole_run(capsys) -> None:
    assert (
        main(["xray", "--preset", "tiny", "--step", "3", "--train-size", "32", "--num-train-epochs", "2", "--json"])
        == 0
    )
    content = json.loads(capsys.readouterr().out)
    assert content["equal"] and content["step"] == 3 and content["config"]["train_size"] == 32
    steps = {event["step"] for event in content["events"] if event["part"] == "step"}
    # Four steps to an epoch: it stops once the second epoch has begun.
    assert steps == {1, 2, 3, 4}
    assert content["events"][-1]["part"] == "epoch" and content["events"][-1]["epoch"] == 2
    assert all(event["manual"] and event["trainer"] for event in content["events"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--step", "99"], "this run has the steps 1 to 16"),
        (["--step", "1", "--dataloader-num-workers", "1"], "leave out --step"),
        (["--step", "0"], "--step"),
        (["--preset", "huge"], "tiny, small, quick"),
    ],
)
def test_what_cannot_be_x_rayed_is_one_line(arguments: list[str], says: str, capsys) -> None:
    preset = [] if "--preset" in arguments else ["--preset", "tiny"]
    assert main(["xray", *preset, *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert says in error[-1] and error[-1].startswith("sameloop: error")


def test_a_move_that_moves_nothing_is_no_difference() -> None:
    """A loop without `.to(device)` is right on a CPU; what it does otherwise is what differs first."""
    trainer = package_script("trainer")
    moves = (
        ("    model.to(device)\n", ""),
        ("            batch = batch.to(device)  # Device: the data goes to where the model is.\n", ""),
        ("        batch = batch.to(device)\n        loss, logits", "        loss, logits"),
    )
    script = edited(package_script("manual"), moves)
    config = shortened(RunConfig.build("tiny"))
    assert xray(config, scripts={"manual": script, "trainer": trainer}).first_difference is None
    late = edited(script, (("optimizer.zero_grad()", "optimizer.zero_grad(); model.train()"),))
    first = xray(config, scripts={"manual": late, "trainer": trainer}).first_difference
    assert first.manual.phase == "train mode"
