"""Starting SameLoop in a process of its own: the same one as this, whatever lies in the folder it is started in."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Started with this, a process imports nothing from the folder it is started in (`python -P`, of which 3.10 has none
# yet), but everything from where the process that starts it has it from.
START = """
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
from shared.command import run_command
sys.exit(run_command(getattr(import_module(module), name), program))
"""


def loop_argv(loop: str, *arguments: str) -> list[str]:
    """The command line that runs one loop: `sameloop manual` or `sameloop trainer`."""
    return [sys.executable, "-c", START, str(ROOT), f"{loop}_loop.command", "command", f"sameloop {loop}", *arguments]


def sameloop_argv(*arguments: str) -> list[str]:
    """The command line that runs `sameloop`."""
    return [sys.executable, "-c", START, str(ROOT), "benchmarks.cli", "sameloop", "sameloop", *arguments]
