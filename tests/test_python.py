"""`import sameloop`, the one name for notebooks and scripts, wherever they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sameloop

SHADOWS = ("csv", "datasets", "json", "queue", "random", "token", "torch", "types", "typing")
SCRIPT = """
import sameloop
record = sameloop.manual(preset="tiny", num_train_epochs=1, output_dir="out")
print("steps:", len(record.steps))
try:
    sameloop.manual(preset="tiny", dataset="missing.csv")
except sameloop.SameLoopError as error:
    print("refused:", error)
"""


def test_whatever_lies_in_the_current_folder(tmp_path: Path) -> None:
    """Files named like what Python, torch and SameLoop import; about 10 seconds."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the student\\'s {name}')")
    (tmp_path / "shared").mkdir()
    for name in ("__init__", "config"):
        (tmp_path / f"shared/{name}.py").write_text("raise SystemExit('the student\\'s shared')")
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": ""}
    command = [sys.executable, "-c", SCRIPT]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "steps: 8" in ran.stdout
    assert "refused: --dataset missing.csv: there is no such file or folder" in ran.stdout
    assert (tmp_path / "out/model.safetensors").is_file()


@pytest.mark.slow
def test_a_comparison_from_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Half a minute: the verdict is returned, and what was said is shown."""
    comparison = sameloop.compare(preset="tiny", num_train_epochs=1, output_dir=tmp_path / "out")
    assert (comparison["verdict"], comparison["steps"]) == ("identical", 8)
    assert "identical: all 8 steps" in capfd.readouterr().out


def test_a_package_of_that_name_that_was_imported_before_is_named(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/__init__.py").touch()
    command = [sys.executable, "-c", "import shared, sameloop"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "import sameloop first, or rename yours" in ran.stderr
