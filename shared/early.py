"""Starting a process before its turn: it imports what takes seconds, then waits until it is told to begin."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from shared.children import end_family
from shared.errors import Interrupted

# The number of the socket where a process that was started early says that it is ready, and hears that it may begin.
VARIABLE = "SAMELOOP_TURN"
# What takes seconds to import: what both loops need, and what `Trainer` needs besides.
LIBRARIES = ("torch", "datasets", "transformers.modeling_utils", "transformers.data", "shared.recorder")


class Early:
    """A process that was started before its turn, in a session of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                command,
                env={**environment, VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it has imported what it needs, or has ended."""
        self._line.recv(1)

    def begin(self) -> None:
        """Tell it to begin; one that has ended needs to be told no more."""
        with self._line, suppress(BrokenPipeError):
            self._line.send(b".")

    def end(self) -> None:
        """End it, if it still runs."""
        self._line.close()
        end_family(self.process)


def wait_for_turn(loop: str) -> bool:
    """In a process that was started before its turn: import what `loop` needs, and wait until it may begin.

    As whatever imports these libraries, it comes after `use_one_device` and `go_offline_if_unreachable`.

    Returns:
        Whether this is such a process; any other goes on at once.

    Raises:
        Interrupted: the process that has started it is gone.
    """
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return False
    gc.disable()  # a tenth of the time is its search among a million objects that are all in use
    for name in (*LIBRARIES, *(("transformers.trainer",) if loop == "trainer" else ())):
        importlib.import_module(name)
    gc.enable()
    with socket.socket(fileno=int(number)) as line:
        with suppress(BrokenPipeError):
            line.send(b".")
        if not line.recv(1):
            raise Interrupted("", signal.SIGTERM)
    return True
