"""Starting SameLoop in a process of its own: this very package, whatever lies in the folder where it is started."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The variable with the number of the process with which the started one is to end.
PARENT = "SAMELOOP_PARENT"
# Variables that a launcher such as torchrun sets for the processes that it starts.
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h

# Started with this, a process imports nothing from the folder it is started in (`python -P`, which 3.10 lacks), but
# everything from the same places as the process that starts it.
_BEGIN = """
import sys
root, module, name, program = sys.argv[1:5]
del sys.argv[1:5]
sys.path[:] = [entry for entry in sys.path if entry]
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
def is_ours(package):
    spec = find_spec(package)
    return spec and spec.origin and Path(spec.origin).resolve().parent.parent == Path(root)
if not all(map(is_ours, ("benchmarks", "manual_loop", "shared", "trainer_loop"))):
    sys.path.insert(0, root)
from shared.starting.children import end_with_parent_if_requested
end_with_parent_if_requested()
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


def child_environment() -> dict[str, str]:
    """The environment for a process of its own: this one's, without the variables that a launcher has set.

    From Python 3.11 on, what that process starts in its turn imports nothing from the current folder either.
    """
    own = {name: value for name, value in os.environ.items() if name not in LAUNCHER}
    return {**own, "PYTHONSAFEPATH": "1"}


def ending_with_parent(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a command line of SameLoop's ends when this process does, however that ends."""
    return {**environment, PARENT: str(os.getpid())}


def end_with_parent_if_requested() -> None:
    """Do what `ending_with_parent` requests of this process; the processes that it starts get no such request."""
    if parent := os.environ.pop(PARENT, None):
        end_with_parent(int(parent))


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when the one that has started it ends; only Linux does that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)  # it has ended already


def _argv(end: str, module: str, name: str, program: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-c", _BEGIN + end, str(ROOT), module, name, program, *arguments]
