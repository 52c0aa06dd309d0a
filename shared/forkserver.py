"""A fork server: a process that imports once what takes seconds, and of which those that need it are forked.

What is forked has imported everything and has computed nothing: it is as fresh as a process that was started anew.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from shared.children import end_family, function_argv
from shared.errors import SameLoopError
from shared.hardware import DRIVERS
from shared.surroundings import child_environment

# What both loops import, the embedded model's own code with it.
LIBRARIES = (
    "torch",
    "datasets",
    "transformers.trainer",
    "transformers.data",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.distilbert.modeling_distilbert",
    "transformers.models.distilbert.tokenization_distilbert",
    "shared.model",
    "shared.recorder",
)
# Bytes of a message, at most: a command line with a path in each of its options is far below.
LONGEST = 200_000


def can_fork() -> bool:
    """Whether a process that has imported torch may be forked here.

    Not on macOS, whose own libraries do not allow it; nor where a GPU is: once a process has asked its driver
    anything, no fork of it can, and whether none of the libraries asks while it is imported was not tried on one.
    """
    return sys.platform == "linux" and not any(Path(driver).exists() for driver in DRIVERS)


class ForkServer:
    """Starts `python -c` command lines by forking, one after the other, each in a session of its own.

    They have this process's output, and its environment and folder as they are when the server is started.

    Args:
        libraries: what to import.
    """

    def __init__(self, libraries: Sequence[str] = LIBRARIES) -> None:
        # Of this kind what is sent arrives whole, and one by one.
        self._line, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                function_argv("shared.forkserver", "serve", str(theirs.fileno()), *libraries),
                env=child_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it has imported the libraries.

        Raises:
            SameLoopError: it has ended instead.
        """
        self._heard()

    def start(self, command: Sequence[str]) -> Forked:
        """Start a command line: Python, `-c`, the code and its arguments. The one before must have ended.

        Raises:
            SameLoopError: the server has ended, or the system gives it no process.
        """
        with suppress(ConnectionError):
            self._line.send("\0".join(command[2:]).encode())
        said = self._heard()
        if not said.isdigit():
            raise SameLoopError(f"no process can be started: {said.decode()}; end what else runs, and try again")
        return Forked(int(said), self._line)

    def end(self) -> None:
        """End the server; what it has started goes on."""
        self._line.close()
        end_family(self._process)

    def _heard(self) -> bytes:
        said = _received(self._line)
        if not said:
            raise SameLoopError(f"the process that starts the loops has ended (exit status {self._process.wait()})")
        return said


class Forked:
    """A process that a fork server has started, with what `subprocess.Popen` has."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid, self._line = pid, line
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or the number of the signal that ended it, negative; None while it runs."""
        if self.returncode is None and select.select([self._line], [], [], 0)[0]:
            # The server says it; if the server is gone, so is what it has started.
            if said := _received(self._line):
                self.returncode = int(said)
            else:
                self.returncode = -signal.SIGKILL
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it runs after `timeout` seconds still.
        """
        if self.returncode is None and not select.select([self._line], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a loop", timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def import_all(names: Iterable[str]) -> None:
    """Import modules, without the garbage collector's search among a million objects that are all in use."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        if was_on:
            gc.enable()


def serve(arguments: Sequence[str]) -> int:
    """Be a fork server.

    Args:
        arguments: the number of the socket to its client, and the libraries.
    """
    number, *libraries = arguments
    # A library that cannot be imported: whoever needs it finds that out, and says it.
    with suppress(Exception):
        import_all(libraries)
    # Not searched through any more, and so not copied, in those that are forked.
    gc.freeze()
    with socket.socket(fileno=int(number)) as line:
        command = _to_run(line)
    if command is None:
        return 0
    os.setsid()
    if numpy := sys.modules.get("numpy"):
        # Whoever forgets to seed it finds another state in every process; Python sees to its own by itself.
        numpy.random.seed()
    code, *sys.argv[1:] = command
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    return 0


def _to_run(line: socket.socket) -> list[str] | None:
    """In every process that is forked: what it is to run. In the server: None, when its client is gone."""
    with suppress(ConnectionError):
        line.send(b"ready")
        while request := line.recv(LONGEST):
            with warnings.catch_warnings():
                # Python 3.12 warns of threads. Those here, of numpy and pyarrow, have nothing to do and hold no lock.
                warnings.simplefilter("ignore", DeprecationWarning)
                try:
                    pid = os.fork()
                except OSError as error:
                    line.send(error.strerror.encode())
                    continue
            if pid == 0:
                return request.decode().split("\0")
            line.send(str(pid).encode())
            line.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    return None


def _received(line: socket.socket) -> bytes:
    """What the other side has sent; nothing if it is gone."""
    try:
        return line.recv(LONGEST)
    except ConnectionError:
        return b""
