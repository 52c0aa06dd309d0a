"""What tests start is forked, and nobody could tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from forks import ForkedPopen, wait_for_end

from shared.running.forkserver import can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="a process that has imported torch is not forked here")

SAYS = (
    "import os, sys; print(sys.argv[1:], os.getcwd(), sys.stdin.read()); print('aside', file=sys.stderr); sys.exit(3)"
)


def is_forked(process: subprocess.Popen) -> bool:
    return isinstance(process, ForkedPopen) and process._forked is not None


def test_a_command_of_pythons_is_forked_and_is_what_it_would_be(tmp_path: Path) -> None:
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", SAYS, "a b", "ü"], cwd=tmp_path, **options)
    assert is_forked(process)
    assert process.communicate("given", timeout=60) == (f"['a b', 'ü'] {tmp_path} given\n", "aside\n")
    assert process.wait() == process.returncode == 3
    (tmp_path / "script.py").write_text("import beside, sys; print(__name__, sys.argv, beside.NAME)")
    (tmp_path / "beside.py").write_text("NAME = 'found'")
    for arguments in (["script.py", "one"], ["-m", "script", "one"]):
        ran = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert ran.stdout.startswith("__main__ [") and ran.stdout.endswith("script.py', 'one'] found\n")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], check=False, timeout=0.1)


def test_whatever_could_tell_is_started_by_the_system(started_again: None) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    assert not is_forked(process) and process.wait() == 0


@pytest.mark.parametrize("options", [{"env": {**os.environ, "HF_HOME": "/nowhere"}}, {"executable": sys.executable}])
def test_so_is_what_would_begin_otherwise(options: dict) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"], **options)
    assert not is_forked(process) and process.wait() == 0


# A test worker: starts something that takes long, and says what.
WORKER = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import forks
forks.LIBRARIES = forks.COMMANDS = ("colorsys",)
process = forks.ForkedPopen([sys.executable, "-c", "import time; time.sleep(600)"])
print(process.pid, forks.server()._process.pid, flush=True)
time.sleep(600)
"""


def test_nobody_is_left_when_a_worker_is_killed(started_again: None) -> None:
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parents[1])]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    started = [psutil.Process(int(pid)) for pid in worker.stdout.readline().split()]
    assert len(started) == 2
    worker.kill()
    worker.wait()
    wait_for_end(started)
