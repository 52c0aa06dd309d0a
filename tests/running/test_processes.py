"""Several processes: both loops sharded, gathered, and identical."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import assert_identical

from benchmarks.verdict.verdict import compare_runs
from shared.starting.launch import launch

# Two epochs of a full step and one that is not.
FEW = {"num_train_epochs": 2, "train_size": 29, "eval_size": 19}
TWO_PROCESSES = {
    "fp32": {},
    "bf16": {"bf16": True},
    "accumulation": {"gradient_accumulation_steps": 4},
    "grouped": {"train_sampling_strategy": "group_by_length", "label_smoothing_factor": 0.1},
    "drop_last": {"dataloader_drop_last": True},
    "few_reviews": {"train_size": 5, "eval_size": 3},
    "upstream_fault": {"trainer_defaults": True},
}

WORKER = """
import importlib, json, sys
from pathlib import Path
import torch
from shared.config import RunConfig
from shared.running.script import package_script
from shared.running.run import run_loop
torch.distributed.init_process_group("gloo")
for name, settings in json.loads(sys.argv[1]).items():
    for loop in ("manual", "trainer"):
        script = package_script(loop, importlib.import_module(f"{loop}_loop.train"))
        run_loop(loop, script, RunConfig.build("tiny", **settings), Path(sys.argv[2]) / name / loop)
"""


@pytest.fixture(scope="module")
def two_process_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of `TWO_PROCESSES` run by one pair of processes, one after the other."""
    folder = tmp_path_factory.mktemp("two")
    configurations = json.dumps({name: {**FEW, **settings} for name, settings in TWO_PROCESSES.items()})
    assert launch([sys.executable, "-c", WORKER, configurations, str(folder)], nproc_per_node=2) == 0
    return folder


@pytest.mark.parametrize("name", [name for name in TWO_PROCESSES if name != "upstream_fault"])
def test_two_processes_are_identical(name: str, two_process_runs: Path) -> None:
    comparison = compare_runs(two_process_runs / name / "manual", two_process_runs / name / "trainer")
    assert_identical(comparison)
    assert comparison["environment"]["world_size"] == 2
    assert (two_process_runs / name / "manual/record-1.jsonl").is_file()


@pytest.mark.slow
def test_torchrun_starts_the_manual_loop(tmp_path: Path) -> None:
    """The plain command of docs/gpu.md, against the Trainer loop under accelerate's launcher: half a minute."""
    settings = ["--preset", "tiny", "--train-size", "29", "--eval-size", "19"]
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [str(server.getsockname()[1]) for server in (first, second)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", ports[0]]
    # accelerate starts several CPU processes only through MPI; its launcher for GPUs works without a GPU too.
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port"]
    for loop, launcher in (("manual", torchrun), ("trainer", [*accelerate, ports[1]])):
        command = [*launcher, "-m", f"{loop}_loop", *settings, "--output-dir", str(tmp_path / loop)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert finished.returncode == 0, finished.stderr[-3000:]
    assert_identical(compare_runs(tmp_path / "manual", tmp_path / "trainer"))


def test_with_two_processes_the_upstream_fault_doubles_the_loss(two_process_runs: Path) -> None:
    runs = two_process_runs / "upstream_fault"
    first = compare_runs(runs / "manual", runs / "trainer")["first_divergence"]
    assert (first["step"], first["quantity"]) == (1, "losses")
    assert first["trainer"] == [2 * loss for loss in first["manual"]]


# One that is gone ---------------------------------------------------------------------------------


def started(folder: Path, *settings: str) -> list[subprocess.Popen]:
    """Two processes of the manual loop, started as a launcher does and left to themselves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "manual_loop", "--preset", "tiny", *settings, "--output-dir", str(folder)]
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for rank in range(2)
    ]


def ended(processes: list[subprocess.Popen]) -> tuple[list[int], list[str]]:
    """The exit statuses, and the lines that were said last; a process that does not end fails the test."""
    errors = [process.communicate(timeout=100)[1] for process in processes]
    messages = [line for error in errors for line in error.splitlines() if line.startswith("sameloop:")]
    assert not any("Traceback" in error for error in errors)
    return [process.returncode for process in processes], messages


def test_if_the_first_is_refused_the_second_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("three years of work")
    statuses, messages = ended(started(tmp_path))
    assert statuses == [2, 2]
    assert len(messages) == 1 and "not a SameLoop run" in messages[0]


def test_if_one_is_killed_the_other_ends_with_one_line(tmp_path: Path) -> None:
    processes = started(tmp_path / "run", "--train-size", "6000")
    record = tmp_path / "run/record.jsonl"
    while not record.is_file() or record.read_text().count("\n") < 10:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    processes[1].kill()
    statuses, lines = ended(processes)
    assert statuses == [2, -9]
    assert len(lines) == 1 and "another process of this run has ended early; to continue, start again" in lines[0]


@pytest.mark.slow
def test_torchrun_starts_anew_and_does_not_hang(tmp_path: Path) -> None:
    """Half a minute: one of two is killed, both are started again, and the message names how to resume."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    settings = ["--preset", "tiny", "--train-size", "6000", "--save-strategy", "steps", "--save-steps", "5"]
    command += ["-m", "manual_loop", *settings, "--output-dir", str(tmp_path / "run")]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/checkpoint-5").is_dir():
        assert launcher.poll() is None
        time.sleep(0.05)
    psutil.Process(launcher.pid).children()[1].kill()
    error = launcher.communicate(timeout=200)[1]
    assert launcher.returncode != 0
    assert "it holds this run, cut off; resume with --resume-from-checkpoint last" in error
    assert "this should not happen" not in error


def test_a_signal_that_comes_while_a_process_is_started_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Interrupting(subprocess.Popen):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupting)
    assert launch([sys.executable, "-c", "import time; time.sleep(30)"], nproc_per_node=1) == 128 + signal.SIGINT
    assert started[0].returncode != 0, "it ran to its end"
