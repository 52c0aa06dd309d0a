"""Starting SameLoop in a process of its own: the same one as this, whatever lies in the folder it is started in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Started with this, a process imports nothing from the folder it is started in (`python -P`, of which 3.10 has none
# yet), but everything from where the process that starts it has it from.
_BEGIN = """
import sys
root, module, name, program = sys.argv[1:5]
del sys.argv[1:5]
sys.path[:] = [entry for entry in sys.path if entry]
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
found = find_spec("shared")
if found is None or found.origin is None or Path(found.origin).resolve().parent.parent != Path(root):
    sys.path.insert(0, root)
"""
# A click command, or a function that takes the arguments and returns the exit status.
_COMMAND = """
from shared.command import run_command
sys.exit(run_command(getattr(import_module(module), name), program))
"""
_FUNCTION = "sys.exit(getattr(import_module(module), name)(sys.argv[1:]))"


def loop_argv(loop: str, *arguments: str) -> list[str]:
    """The command line that runs one loop: `sameloop manual` or `sameloop trainer`."""
    return _argv(_COMMAND, f"{loop}_loop.command", "command", f"sameloop {loop}", arguments)


def sameloop_argv(*arguments: str) -> list[str]:
    """The command line that runs `sameloop`."""
    return _argv(_COMMAND, "benchmarks.cli", "sameloop", "sameloop", arguments)


def function_argv(module: str, name: str, *arguments: str) -> list[str]:
    """The command line that calls a function of SameLoop's with the arguments; its result is the exit status."""
    return _argv(_FUNCTION, module, name, name, arguments)


def end_family(process: subprocess.Popen) -> None:
    """End a process that was started in a session of its own, and what it has started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _argv(end: str, module: str, name: str, program: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-c", _BEGIN + end, str(ROOT), module, name, program, *arguments]
