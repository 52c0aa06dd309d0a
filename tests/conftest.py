"""What the tests share: no network, and runs of both loops in this process."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

# Read by huggingface_hub and datasets when they are imported: before anything else.
os.environ["HF_HUB_OFFLINE"] = "1"
# The tiny model is no faster on two threads, and much slower when another program wants the second core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whatever the shell says: what the tests and all that they start import is compiled once.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False

# A shell starts what it runs in the background with Ctrl-C ignored, and every program started from there inherits
# that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from forks import ForkedPopen, starting_again
from once import reading_once

from shared.config import RunConfig
from shared.errors import Interrupted
from shared.files import write_json
from shared.running.folder import COMPARISON_FILE

LOOPS = ("manual", "trainer")
Trained = Callable[[str, RunConfig], Path]
QUANTITIES = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy", "weights")


def run_in_process(loop: str, config: RunConfig, folder: Path, **options: Any) -> Path:
    """Run one loop in this process, as `python -m` would, and return its folder.

    The page is imported once for all tests, unless `script` is another one.
    """
    from benchmarks.proofs.parity import imported_script
    from benchmarks.runs import run_here

    run_here(loop, options.pop("script", None) or imported_script(loop), config, folder, **options)
    return folder


@contextmanager
def stopping_after(loop: str, steps: int) -> Iterator[pytest.ExceptionInfo[Interrupted]]:
    """Ctrl-C comes in the step of this number of the run inside, which must end by it."""
    done = iter(range(1, 100))
    module = "manual_loop.train" if loop == "manual" else "trainer_loop.callbacks"
    requested = patch(f"{module}.stop_requested", lambda: signal.SIGINT if next(done) == steps else None)
    with requested, pytest.raises(Interrupted) as caught:
        yield caught


def ran(*command: str | Path, **where: Any) -> subprocess.CompletedProcess[str]:
    """A command that has come to its end, with what it said."""
    return subprocess.run([*command], capture_output=True, text=True, check=False, **where)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: the files with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def lines_said(captured: str) -> list[str]:
    """What was said besides naming what is being done."""
    return [line for line in captured.splitlines() if line.strip() and not line.startswith("·")]


@pytest.fixture
def refusal(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refusal("manual", "--seed", "x")`: the command ends with status 2, and says this one line."""
    from benchmarks.cli import main

    def line_of(*arguments: str) -> str:
        capfd.readouterr()
        assert main([*arguments]) == 2
        (line,) = lines_said(capfd.readouterr().err)
        assert line.startswith("sameloop: error: ")
        return line

    return line_of


# What is imported from here on is in use as long as the tests run: nothing of it is garbage, at the end neither.
gc.disable()
atexit.register(gc.freeze)


def pytest_collection_finish() -> None:
    """Spare the garbage collector the libraries' own objects: `Trainer` calls it in every run, a third of a second."""
    if "torch" in sys.modules:
        importlib.import_module("trainer_loop.train")
    gc.freeze()
    gc.enable()
    # A run makes half a million objects and leaves few: looked at more seldom, they are mostly gone.
    gc.set_threshold(50_000, 20, 20)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Once per file, as it is not done in each run: models lie in reference cycles."""
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def read_once() -> Iterator[None]:
    """Runs that read the same read it once."""
    with reading_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def forked() -> Iterator[None]:
    """What the tests start is forked where that makes no difference."""
    with patch("subprocess.Popen", ForkedPopen):
        yield


@pytest.fixture(scope="session", autouse=True)
def not_for_good() -> Iterator[None]:
    """Nobody waits for the disk: what a test writes need not outlast a power cut."""
    with patch("os.fsync", lambda descriptor: None):
        yield


@pytest.fixture
def started_again() -> Iterator[None]:
    """For a test of the start itself: what it starts is started by the system."""
    with starting_again():
        yield


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this worker's runs that many look at; `kept_run` makes them."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="session")
def trained(kept_runs: Path) -> Trained:
    """`trained("manual", config)` is the folder of a loop's run, made once in this worker; copy it to change it."""
    from benchmarks.proofs.parity import kept_run

    return lambda loop, config: kept_run(loop, config, kept_runs)


@pytest.fixture(scope="session")
def tiny_runs(trained: Trained) -> dict[str, Path]:
    """Both loops run once on the tiny preset, two epochs: `{"manual": folder, "trainer": folder}`."""
    return {loop: trained(loop, RunConfig.build("tiny", num_train_epochs=2)) for loop in LOOPS}


@pytest.fixture(scope="session")
def tiny_comparison(tiny_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison of `tiny_runs`, with its verdict and without its charts; copy it to change it."""
    return compared(tiny_runs, tmp_path_factory.mktemp("comparison") / "run")


def compared(runs: dict[str, Path], folder: Path) -> Path:
    """Make `folder` a comparison's of these runs: copies of them, and `comparison.json`."""
    from benchmarks.verdict.verdict import compare_runs

    for loop, path in runs.items():
        shutil.copytree(path, folder / loop)
    write_json(folder / COMPARISON_FILE, compare_runs(*(folder / loop for loop in LOOPS)))
    return folder


def assert_identical(comparison: dict[str, Any]) -> None:
    assert comparison["first_divergence"] is None
    assert comparison["verdict"] == "identical"
    assert tuple(comparison["max_abs_diff"]) == QUANTITIES
    evaluated = bool(comparison["manual"]["eval_loss"])
    for name, difference in comparison["max_abs_diff"].items():
        assert difference == (0.0 if evaluated or not name.startswith("eval") else None), name
