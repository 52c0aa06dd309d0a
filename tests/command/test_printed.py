"""What every command prints is kept in __snapshots__, so that a refactoring shows what it changes.

After a change that is meant, read the difference that `pytest tests/command/test_printed.py --snapshot-update` makes.
The outputs of the proofs (parity, gallery, check, situations, crash, versions) are kept as docs/*.md.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ran
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from benchmarks.check.check import check_script
from benchmarks.check.formats import print_result
from benchmarks.proofs.checks import COURSE
from shared.running.script import own_script

CONSTRAINTS = (Path(__file__).resolve().parents[2] / "constraints.txt").read_text()
# Their own words or layout are on the pages.
PRINTING = ("click", "libcst", "rich", "ruff", "torch", "transformers")

pinned = pytest.mark.skipif(
    any(f"{name}=={version(name).partition('+')[0]}" not in re.split(r"[;\s]+", CONSTRAINTS) for name in PRINTING),
    reason="a release other than that of constraints.txt is installed",
)
pytestmark = pinned

COMMANDS = (
    *("autograder", "break", "check", "compare", "diff", "doctor", "eject", "exercise", "fetch", "gotcha", "ladder"),
    *("locate", "manual", "plot", "report", "speed", "start", "trainer", "xray"),
)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    assert printed(tmp_path, *command.split(), "--help") == snapshot


@pytest.mark.parametrize(
    "arguments",
    [
        "break",
        "diff --preset tiny",
        "diff --phase clip",
        "diff --argument gradient_accumulation_steps=4",
        "eject",
        "eject --preset tiny --save-strategy epoch --bf16",
        "eject --trainer --lr-scheduler-type cosine --warmup-steps 10",
        "exercise no_clip",
        "gotcha",
        "gotcha mapping",
        "start loop.py",
        "compare --preset tiny --learning-rate fast",
        "compare --preset tiny --bf16 --fp16",
        "locate none",
    ],
)
def test_command(arguments: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    assert printed(tmp_path, *arguments.split()) == snapshot


@pytest.mark.parametrize("arguments", ["locate run", "plot run", "diff run --phase step"])
def test_command_of_a_run(arguments: str, tiny_comparison: Path, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    shutil.copytree(tiny_comparison, tmp_path / "run")
    assert printed(tmp_path, *arguments.split()) == snapshot


def test_a_result_of_check(snapshot: SnapshotAssertion) -> None:
    printed = io.StringIO()
    print_result(check_script(own_script(COURSE)), Console(file=printed, width=119, highlight=False))
    assert masked(printed.getvalue()) == snapshot


def printed(folder: Path, *arguments: str) -> str:
    """What `sameloop ARGUMENTS` prints in this folder."""
    command, environment = [sys.executable, "-m", "benchmarks", *arguments], os.environ | {"COLUMNS": "119"}
    return masked_output(ran(*command, cwd=folder, env=environment), folder)


def masked_output(finished: subprocess.CompletedProcess[str], folder: Path) -> str:
    """What a command has printed, with its status, without what another machine or hour would change."""
    # Of what is said on the way, errors only: what is read again depends on what is remembered.
    errors = "\n".join(line for line in finished.stderr.splitlines() if not line.startswith("· "))
    text = f"{finished.stdout}\n{errors}\nexit status {finished.returncode}\n"
    return masked(text.replace(str(folder), "FOLDER"))


def masked(text: str) -> str:
    """A text without the numbers that are measured, the lines of progress bars, and the widths of columns."""
    lines = [line.split("\r")[-1].rstrip() for line in text.splitlines()]
    kept = [line for line in lines if not re.search(r"\d+%\||it/s", line)]
    numbered = re.sub(r"\d+\.\d+(e[-+]?\d+)?|\b\d{3,}\b|\d+(?= (ms|MB|seconds|s)\b)", "#", "\n".join(kept))
    # How wide a column is depends on its numbers.
    return re.sub(r"(?<=\S) {2,}|─{2,}|━{2,}", lambda run: run[0][:2], numbered)
