"""The autograder's zip in its environment: a separate folder, no network, and no namespaces, as in most containers."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.check.autograder import Settings, autograder
from benchmarks.mistakes.mistake import MINIMAL
from shared.starting.children import ROOT

RIGHT = MINIMAL.read_text(encoding="utf-8")
ZERO = "            optimizer.zero_grad()  # backward() adds to what is there\n"
HOSTILE = (ROOT / "tests" / "loops" / "hostile" / "08_writes_outside.py").read_text(encoding="utf-8")
NOTEBOOK = json.dumps(
    {"cells": [{"cell_type": "code", "source": "!pip install torch"}, {"cell_type": "code", "source": RIGHT}]}
)
ENDLESS = RIGHT.replace("    evaluations = []\n", "    evaluations = []\n    while True:\n        pass\n")
# A container: its processes, no network, and in it no further namespaces.
CONTAINER = ("unshare", "--user", "--map-current-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
WITHIN = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux"
        or subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode != 0,
        reason="no namespaces to make a container of",
    ),
]


@pytest.fixture(scope="module")
def grader(tmp_path_factory) -> Path:
    """The zip, unpacked, with an environment whose SameLoop is the zip's."""
    root = tmp_path_factory.mktemp("autograder")
    (root / "hw.zip").write_bytes(autograder(Settings({}, None, 30.0, 2000)))
    with zipfile.ZipFile(root / "hw.zip") as archive:
        archive.extractall(root / "source")
    binary = root / "venv" / "bin" / "python"
    binary.parent.mkdir(parents=True)
    # Instead of -I, for the installed SameLoop is this checkout: the zip's own.
    binary.write_text(f'#!/bin/sh\nshift\nexec env PYTHONPATH="{root}/source/sameloop" "{sys.executable}" "$@"\n')
    binary.chmod(0o755)
    return root


@pytest.mark.parametrize(
    ("name", "content", "score", "message"),
    [
        ("my loop.py", RIGHT, 15, "identical"),
        ("loop.py", RIGHT.replace(ZERO, ""), 14, "zero"),
        ("loop.ipynb", NOTEBOOK, 15, "identical"),
        ("notes.txt", "no loop", 0, "no Python file"),
        ("loop.py", HOSTILE, 0, "tried to write to"),
        ("loop.py", ENDLESS, 0, "not done after 30 seconds"),
    ],
    ids=["right", "wrong", "notebook", "empty", "hostile", "endless"],
)
def test_a_submission_is_graded_in_a_container(name, content, score, message, grader: Path) -> None:
    """10 seconds each, the endless one 40."""
    submission = grader / "submission"
    submission.mkdir()
    try:
        (submission / name).write_text(content, encoding="utf-8")
        command = [*CONTAINER, "sh", "-c", WITHIN, "sh", "bash", str(grader / "source" / "run_autograder")]
        environment = {"AUTOGRADER_ROOT": str(grader), "PATH": "/usr/bin:/bin", "HOME": str(grader)}
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=grader)
    finally:
        for file in submission.iterdir():
            file.unlink()
        submission.rmdir()
    results = json.loads((grader / "results" / "results.json").read_text(encoding="utf-8"))
    assert results["score"] == score and message in json.dumps(results), (results, finished.stderr)
    if name.endswith(".py"):
        assert "not available here: namespaces" in finished.stderr
