"""Ctrl-C and other signals: a run stops after its step, with a checkpoint, and can go on as if never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import LOOPS, Trained, run_in_process, stopping_after

from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.errors import Interrupted
from shared.files import digest_of_file
from shared.recording.record import RunRecord
from shared.running import checkpoints
from shared.running.checkpoints import in_order, problem_with
from shared.starting import interrupt

# Three epochs of 8 steps, the last batch short.
SETTINGS = {"train_size": 61, "eval_size": 19, "num_train_epochs": 3}


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_leaves_a_checkpoint_and_the_run_goes_on(loop: str, trained: Trained, tmp_path: Path) -> None:
    """Interrupted twice, in mid-epoch and at an epoch's end, although no checkpoints were asked for."""
    config = RunConfig.build("tiny", **SETTINGS, train_sampling_strategy="group_by_length")
    assert config.save_strategy == "no"
    whole = trained(loop, config)
    resume = {}
    for steps in (5, 3):
        with stopping_after(loop, steps) as caught:
            run_in_process(loop, config, tmp_path / "run", **resume)
        assert "--resume-from-checkpoint last continues" in str(caught.value)
        assert caught.value.exit_status == 130
        resume = {"resume_from_checkpoint": "last"}
    assert [path.name for path in in_order(tmp_path / "run")] == ["checkpoint-8"]
    run_in_process(loop, config, tmp_path / "run", **resume)
    assert compare_runs(whole, tmp_path / "run")["first_divergence"] is None
    assert [line["step"] for line in RunRecord.read(tmp_path / "run").resumes] == [5, 8]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_at_the_best_step_changes_nothing(loop: str, trained: Trained, tmp_path: Path) -> None:
    """The best evaluation has no checkpoint, so the weights of another are loaded: also after a stop right there."""
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "learning_rate": 0.003}
    for seed in range(3, 9):  # which step is the best depends on the dice, and on how torch rounds
        best["seed"] = seed
        config = RunConfig.build(
            "tiny", **SETTINGS, **best, save_strategy="steps", save_steps=5, save_total_limit=None
        )
        whole = trained(loop, config)
        state = checkpoints.read_state(in_order(whole)[-1])
        best_step = state["best_global_step"]
        if best_step % 5 and state["best_model_checkpoint"]:
            break
    assert best_step % 5
    loaded = Path(state["best_model_checkpoint"]).name
    assert loaded != f"checkpoint-{best_step}"
    weights = (whole / "model.safetensors", whole / loaded / "model.safetensors")
    assert len(set(map(digest_of_file, weights))) == 1
    with stopping_after(loop, best_step):
        run_in_process(loop, config, tmp_path / "run")
    assert in_order(tmp_path / "run")[-1].name == f"checkpoint-{best_step}"
    run_in_process(loop, config, tmp_path / "run", resume_from_checkpoint="last")
    assert compare_runs(whole, tmp_path / "run")["first_divergence"] is None


@pytest.mark.parametrize(
    ("loop", "number", "status"), [("manual", signal.SIGINT, 130), ("trainer", signal.SIGTERM, 143)]
)
def test_a_real_signal(loop: str, number: int, status: int, tmp_path: Path) -> None:
    """About 6 seconds each: the process gets the signal in the middle of its training."""
    command = [sys.executable, "-m", f"{loop}_loop", "--preset", "tiny", "--train-size", "6000"]
    process = subprocess.Popen(
        [*command, "--output-dir", str(tmp_path / "run")], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    record = tmp_path / "run/record.jsonl"
    while not record.is_file() or record.read_text().count("\n") < 10:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    error = process.communicate()[1]
    assert process.returncode == 128 + number
    assert error.count("sameloop: stopped after step") == 1
    assert "Traceback" not in error
    (checkpoint,) = in_order(tmp_path / "run")
    assert problem_with(checkpoint) is None
    assert checkpoints.step_of(checkpoint) == len(RunRecord.read(tmp_path / "run").steps)


def test_before_the_first_step_a_signal_stops_at_once() -> None:
    with pytest.raises(Interrupted) as caught, interrupt.stopping_after_the_step():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_status == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_second_signal_stops_at_once() -> None:
    with pytest.raises(Interrupted, match="at once"), interrupt.stopping_after_the_step():
        assert interrupt.stop_requested() is None
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.stop_requested() == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_what_is_ignored_stays_ignored() -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.stopping_after_the_step():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
