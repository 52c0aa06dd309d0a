"""What surrounds a run does not decide in the settings' place: accelerate, launchers, Apple's GPU."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import LOOPS, run_in_process

from benchmarks.cli import main
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.files import flush_to_disk
from shared.running import surroundings
from shared.running.surroundings import settle


def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")


def test_on_apple_silicon_it_stays_on_the_cpu_and_says_why(monkeypatch, capfd) -> None:
    on_a_mac(monkeypatch)
    config = settle(RunConfig.build("tiny"))
    assert config.use_cpu and not config.use_mps
    assert "no two runs are equal bit for bit; --use-mps trains there nevertheless" in capfd.readouterr().err
    assert settle(config) == config and capfd.readouterr().err == ""  # what a loop's own process is given
    with_mps = settle(RunConfig.build("tiny", use_mps=True))
    assert not with_mps.use_cpu
    assert "may differ in the last bits" in capfd.readouterr().err
    with pytest.raises(SameLoopError, match="--use-mps and --full-determinism exclude each other"):
        RunConfig.build("tiny", use_mps=True, full_determinism=True)


def test_elsewhere_nothing_changes(monkeypatch) -> None:
    monkeypatch.setattr(surroundings, "is_apple_silicon", lambda: False)
    assert settle(RunConfig.build("tiny")) == RunConfig.build("tiny")
    with pytest.raises(SameLoopError, match="no Mac with Apple Silicon"):
        settle(RunConfig.build("tiny", use_mps=True))


@pytest.mark.parametrize("loop", LOOPS)
def test_apples_generator_is_in_every_checkpoint(loop: str, tmp_path: Path, monkeypatch) -> None:
    """No Mac is here: a generator stands in for Apple's, and is where the run left it after a resume in mid-epoch."""
    apples = torch.Generator()
    set_to: list[torch.Tensor] = []

    def get_state() -> torch.Tensor:
        torch.rand((), generator=apples)  # as dropout would, in every step
        return apples.get_state()

    monkeypatch.setattr(torch.mps, "get_rng_state", get_state)
    monkeypatch.setattr(torch.mps, "set_rng_state", set_to.append)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    config = RunConfig.build("tiny", use_cpu=True, save_strategy="steps", save_steps=3, save_total_limit=None)
    whole = run_in_process(loop, config, tmp_path / "run")
    (whole / "model.safetensors").unlink()
    file = "rng_state_0.pth" if loop == "manual" else "progress-0.pt"
    kept = torch.load(whole / "checkpoint-3" / file, weights_only=True)["now"]["mps"]
    set_to.clear()
    run_in_process(loop, config, whole, resume_from_checkpoint=str(whole / "checkpoint-3"))
    assert any(torch.equal(state, kept) for state in set_to)
    if loop == "trainer":  # the manual loop restores it twice: the epoch's first state for the batches, then this one
        assert torch.equal(set_to[-1], kept)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_USE_CPU", "true"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR"),
        ("ACCELERATE_USE_FSDP", "1"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"),
    ],
)
def test_accelerates_environment_is_refused_by_name(name: str, value: str, monkeypatch, refusal) -> None:
    monkeypatch.setenv(name, value)
    for command in ("manual", "compare", "eject", "xray"):
        assert f"the environment sets {name}={value.lower()}" in refusal(command, "--preset", "tiny")


def test_what_agrees_with_the_settings_or_asks_for_nothing_is_let_through(monkeypatch) -> None:
    for name in surroundings.ACCELERATE:
        monkeypatch.setenv(name, "no")
    settle(RunConfig.build("tiny"))  # as accelerate launch sets them by default
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    settle(RunConfig.build("tiny", bf16=True, gradient_accumulation_steps=3))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0, not a number from 1 on"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two, not a number"),
        ({"RANK": "1"}, "RANK=1 and WORLD_SIZE=nothing"),
        ({"RANK": "-1", "WORLD_SIZE": "1"}, "RANK=-1, not a number from 0 on"),
    ],
)
def test_half_a_launcher_is_refused(variables: dict[str, str], said: str, monkeypatch, capfd, tmp_path: Path) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for command in ("manual", "compare"):
        assert main([command, "--preset", "tiny", "--output-dir", str(tmp_path / "run")]) == 2
        error = capfd.readouterr().err
        assert said in error and error.count("sameloop:") == 1
    assert not (tmp_path / "run").exists()


def test_what_is_set_to_nothing_is_not_set(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "")
    monkeypatch.setenv("RANK", " ")
    run_in_process("manual", RunConfig.build("tiny", num_train_epochs=1), tmp_path / "run")


def test_a_comparison_under_torchrun_is_refused(monkeypatch, refusal) -> None:
    whole = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in whole.items():
        monkeypatch.setenv(name, value)
    assert "a comparison starts its processes by itself" in refusal("compare", "--preset", "tiny")


@pytest.mark.parametrize(("number", "refused"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_folder_that_refuses_fsync(number: int, refused: bool, tmp_path: Path, monkeypatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    if refused:
        with pytest.raises(OSError, match=os.strerror(number)):
            flush_to_disk(tmp_path)
    else:
        flush_to_disk(tmp_path)


def test_a_c_locale_and_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """About 6 seconds."""
    (tmp_path / "reviews.csv").write_text("text,label\n" + "schön 😀,1\nnicht schön,0\n" * 15, encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HF_HOME": "/proc/hf"}
    settings = ["--preset", "tiny", "--dataset", "reviews.csv", "--train-size", "12", "--eval-size", "8"]
    command = [sys.executable, "-m", "manual_loop", *settings, "--output-dir", "run"]
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
