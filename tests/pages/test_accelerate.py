"""The third way: scripts with `accelerate` end with the weights of the other two loops, and are no longer."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import run_in_process
from ruff.__main__ import find_ruff_bin  # here in every release
from safetensors.torch import load_file

from benchmarks.check.check import check_script
from benchmarks.cli import main
from benchmarks.pages.costs import is_in_the_loop
from benchmarks.pages.eject import beyond_accelerate, eject
from benchmarks.proofs.accelerate import (
    COURSE,
    DOCUMENT,
    TWO_PROCESSES,
    changed_lines,
    same_weights,
    with_two_processes,
)
from benchmarks.proofs.documents import PLAIN, examples
from benchmarks.proofs.parity import UNEVEN, covering_configurations, ejected_difference
from benchmarks.runs import run_in_fresh_process
from shared.config import RunConfig
from shared.running.script import own_script

FEW: tuple[dict[str, Any], ...] = (
    {},
    {"bf16": True},
    {"gradient_accumulation_steps": 4},
    {"gradient_accumulation_steps": 4, "bf16": True, "logging_strategy": "steps"},
    {"train_sampling_strategy": "group_by_length", "max_steps": 7},
    {"label_smoothing_factor": 0.1, "weight_decay": 0.01, "use_cpu": True, "data_seed": 3},
)


@cache
def drawn() -> list[RunConfig]:
    """The first 20 of the search; without loaders' own processes, which take longer than the runs."""
    configurations = (config for config, _ in covering_configurations(20))
    return [config.model_copy(update={"dataloader_num_workers": 0}) for config in configurations]


@pytest.mark.parametrize("number", range(20))
def test_three_loops_end_with_one_set_of_weights(number: int, tmp_path: Path) -> None:
    config, script = drawn()[number], tmp_path / "my_loop.py"
    script.write_text(eject(config, "accelerate"))
    own = config.model_copy(update={"loop": str(script)})
    runs = (
        run_in_process("manual", config, tmp_path / "manual", record=False),
        run_in_process("trainer", config, tmp_path / "trainer", record=False),
        run_in_process("manual", own, tmp_path / "accelerate", record=False, script=own_script(script)),
    )
    first, *others = (load_file(run / "model.safetensors") for run in runs)
    for other in others:
        assert other.keys() == first.keys()
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "settings",
    [
        # 45 reviews make 6 batches: the last step of an epoch has two.
        {"gradient_accumulation_steps": 4, "bf16": True, "logging_strategy": "steps", "logging_steps": 1},
        {"num_train_epochs": 1.3, "eval_strategy": "steps", "eval_steps": 1, "gradient_accumulation_steps": 4},
    ],
)
def test_every_loss_norm_and_evaluation_is_trainers(settings: dict[str, Any], tmp_path: Path) -> None:
    config = RunConfig.build("tiny", **{**UNEVEN, **PLAIN, **settings})
    assert ejected_difference(config, tmp_path, loop="accelerate") == ""


@cache
def ejected(loop: str, number: int) -> str:
    """The script of one of `FEW`."""
    return eject(RunConfig.build("quick", **{**PLAIN, **FEW[number]}), loop)


@pytest.mark.parametrize("number", range(len(FEW)))
def test_it_is_no_longer_than_the_loop_by_hand(number: int) -> None:
    by_hand, script = (lines_of(ejected(loop, number)) for loop in ("manual", "accelerate"))
    assert len(script) <= len(by_hand) and max(map(len, script)) <= 88


def lines_of(source: str) -> list[str]:
    """A script's lines, without its docstring."""
    return source.split('"""', 2)[2].splitlines()


@pytest.mark.slow
def test_under_every_setting_it_is_no_longer_and_passes_ruff() -> None:
    """A minute: every setting of the loop with each of its other values. None is passed over in silence."""
    plain = {loop: lines_of(ejected(loop, 0)) for loop in ("manual", "accelerate")}
    supported = 0
    for name in filter(is_in_the_loop, RunConfig.model_fields):
        for settings in examples(name):
            config = RunConfig.build("quick", **{**PLAIN, **settings})
            if beyond_accelerate(config):
                continue
            by_hand, source = (eject(config, loop) for loop in ("manual", "accelerate"))
            assert len(lines_of(source)) <= len(lines_of(by_hand)), settings
            assert max(map(len, source.splitlines())) <= 88, settings
            assert (lines_of(source) == plain["accelerate"]) == (lines_of(by_hand) == plain["manual"]), settings
            command = [find_ruff_bin(), "check", "--isolated", "--stdin-filename", "my_loop.py", "-"]
            checked = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, (settings, checked.stdout)
            supported += 1
    assert supported > 30


@pytest.mark.parametrize("number", range(len(FEW)))
def test_what_accelerate_does_is_not_done_by_hand(number: int) -> None:
    source, settings = ejected("accelerate", number), FEW[number]
    tree = ast.parse(source)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    called = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "attr")}
    assert not {"config", "device", "rank", "DistributedDataParallel"} & names
    assert not {"autocast", "to"} & called and "manual_seed" not in source.partition("class ")[0]
    assert {"prepare", "backward", "clip_grad_norm_", "gather_for_metrics"} <= called
    assert ("accumulate" in called) == (settings.get("gradient_accumulation_steps", 1) > 1)
    assert ('mixed_precision="bf16"' in source) == settings.get("bf16", False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--torch-compile"], "--torch-compile: not with --accelerate"),
        (["--fp16"], "--fp16: not with --accelerate"),
        (["--load-best-model-at-end"], "--load-best-model-at-end: not with --accelerate"),
        (["--save-strategy", "epoch"], "saves the model once"),
        (["--gradient-accumulation-steps", "3"], "take 2, 4, 8 or another power of two"),
        (["--nproc-per-node", "2"], "--nproc-per-node: a script with accelerate runs in any number of processes"),
        (["--trainer"], "--trainer and --accelerate are two scripts"),
        (["my_script.py"], "--accelerate"),
    ],
)
def test_what_it_does_not_support_is_said_in_one_line(arguments: list[str], said: str, refusal: Any) -> None:
    assert said in refusal("eject", "--accelerate", *arguments)


def test_the_xray_shows_what_accelerate_does(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    script = tmp_path / "my_loop.py"
    script.write_text(eject(RunConfig.build("tiny", **PLAIN), "accelerate"))
    main(["xray", "--preset", "tiny", "--loop", str(script)])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    backward = next(number for number, line in enumerate(lines) if "accelerator.backward(loss)" in line)
    assert re.fullmatch(r"> accelerate/accelerator\.py:\d+ backward", lines[backward + 1])


# The document -------------------------------------------------------------------------------------


def test_the_document_has_the_lines_of_the_scripts() -> None:
    lines, lengths = changed_lines()
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "```diff\n{}\n```".format("\n".join(lines)) in text, "run `make accelerate-table`"
    assert "{}, {} and {} lines".format(*lengths) in text
    assert all(name in text for name in TWO_PROCESSES)


def test_the_courses_two_loops_are_one(tmp_path: Path) -> None:
    assert same_weights(tmp_path)
    assert check_script(own_script(COURSE)).failures == ["train mode", "clip", "optimizer"]


@pytest.mark.slow
def test_what_goes_wrong_with_two_processes_is_seen(tmp_path: Path) -> None:
    """Half a minute: four runs of two processes."""
    right, apart, prepared = (outcome for _, outcome in with_two_processes(tmp_path))
    assert right.startswith("**identical**") and not apart.startswith("**identical**")
    assert prepared.startswith("step 2: learning_rate, -")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bf16": True, "gradient_accumulation_steps": 4},
        {"train_sampling_strategy": "group_by_length", "gradient_accumulation_steps": 2, "dataloader_drop_last": True},
        {"train_size": 5, "eval_size": 3},
    ],
)
def test_two_processes_end_with_the_weights_of_the_other_two_loops(settings: dict[str, Any], tmp_path: Path) -> None:
    """Half a minute each: three loops in two processes each, the script alone, as a user starts it."""
    config = RunConfig.build("tiny", **{**UNEVEN, **PLAIN, **settings})
    (tmp_path / "my_loop.py").write_text(eject(config, "accelerate"))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "my_loop.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    for loop in ("manual", "trainer"):
        run_in_fresh_process(loop, config, tmp_path / loop, 2)
    weights, *others = (load_file(tmp_path / name / "model.safetensors") for name in ("my_loop", "manual", "trainer"))
    for other in others:
        assert all(torch.equal(weights[name], other[name]) for name in weights)


@pytest.mark.slow
def test_accelerate_launch_runs_it(tmp_path: Path) -> None:
    """A quarter of a minute. On one thread, as the launcher would have it: python must be given as many."""
    config = RunConfig.build("tiny", **UNEVEN, gradient_accumulation_steps=4, **PLAIN)
    (tmp_path / "my_loop.py").write_text(eject(config, "accelerate"))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "my_loop.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    expected = load_file(run_in_process("trainer", config, tmp_path / "trainer") / "model.safetensors")
    weights = load_file(tmp_path / "my_loop" / "model.safetensors")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
