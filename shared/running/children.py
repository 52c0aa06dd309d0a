"""Starting SameLoop in a process of its own: the same one as this, whatever lies in the folder it is started in."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The process that is to end with this one; of the environment.
PARENT = "SAMELOOP_PARENT"
SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h

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
def is_ours(package):
    found = find_spec(package)
    return found and found.origin and Path(found.origin).resolve().parent.parent == Path(root)
if not all(map(is_ours, ("benchmarks", "manual_loop", "shared", "trainer_loop"))):
    sys.path.insert(0, root)
from shared.running.children import end_with_parent_if_told
end_with_parent_if_told()
"""
# A click command, or a function that takes the arguments and returns the exit status.
_COMMAND = """
from shared.running.command import run_command
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


def ending_with_parent(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a command line of SameLoop's ends when this process does, however that ends."""
    return {**environment, PARENT: str(os.getpid())}


def end_with_parent_if_told() -> None:
    """What `ending_with_parent` has asked of this process; what it starts in its turn is not asked."""
    if parent := os.environ.pop(PARENT, None):
        end_with_parent(int(parent))


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when the one that has started it ends; only Linux does that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)  # it has ended already


def end_family(process: subprocess.Popen) -> None:
    """End a process that was started in a session of its own, and what it has started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _argv(end: str, module: str, name: str, program: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-c", _BEGIN + end, str(ROOT), module, name, program, *arguments]
