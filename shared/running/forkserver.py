"""A fork server: a process that imports once what takes seconds, and forks the processes that need it.

A forked process has imported everything and has computed nothing: it is as fresh as one that was just started.

Python has such a server, `multiprocessing`'s `forkserver`. It imports from the current folder, where a `torch.py` may
lie, and it runs the main module of its client again in each process: neither is acceptable here.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

from shared.errors import SameLoopError
from shared.hardware import DRIVERS
from shared.running.imports import without_collector
from shared.starting.children import child_environment, end_with_parent, ending_with_parent, function_argv
from shared.starting.interrupt import in_main_thread
from shared.starting.launch import Family

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
    "shared.recording.recorder",
)
# As many open files can be handed over at once; Linux takes 253 (SCM_MAX_FD in net/scm.h).
MOST_FILES = 100
# Python's exit status where its output cannot be written at the end.
FLUSH_FAILED = 120


def can_fork() -> bool:
    """Whether a process that has imported torch may be forked here.

    Not on macOS, whose own libraries do not allow it; nor where a GPU is: once a process has asked its driver
    anything, no fork of it can, and whether none of the libraries asks while it is imported was not tried on one.
    """
    return sys.platform == "linux" and not any(Path(driver).exists() for driver in DRIVERS)


class ForkServer:
    """Starts `python -c` command lines by forking, each in a session of its own.

    The server ends when this process does, however that ends, and what it has started ends with it.

    Args:
        libraries: what to import.
        environment: of the server; None: as this process's. What is in it can be read in all that is forked.
    """

    def __init__(self, libraries: Sequence[str] = LIBRARIES, environment: Mapping[str, str] | None = None) -> None:
        # In a socket of this type, messages arrive whole, one by one.
        self._line, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self._family = Family()
            self._process = self._family.start(
                function_argv("shared.running.forkserver", "serve", str(theirs.fileno()), *libraries),
                ending_with_parent(child_environment() if environment is None else environment),
                pass_fds=[theirs.fileno()],
            )

    def wait_until_ready(self) -> None:
        """Wait until it has imported the libraries; a SameLoopError if it has ended instead."""
        ready = b""
        with suppress(ConnectionError):
            ready = self._line.recv(100)
        if not ready:
            raise self._has_ended()

    @contextmanager
    def noticed_if_it_ends(self) -> Iterator[None]:
        """Inside, the server's end is noticed at once, by a SameLoopError, even while the main thread is busy."""

        def on_child(number: int, frame: FrameType | None) -> None:
            if self._process.poll() is not None:
                raise self._has_ended()

        if not in_main_thread():
            yield
            return
        before = signal.signal(signal.SIGCHLD, on_child)
        try:
            yield
        except Exception:
            # Raised in the middle of an import, it may come out as another error.
            if self._process.poll() is not None:
                raise self._has_ended() from None
            raise
        finally:
            signal.signal(signal.SIGCHLD, before)

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: str | None = None,
        files: Mapping[int, int] | None = None,
    ) -> Forked:
        """Start a command line: Python, `-c`, the code and its arguments.

        Args:
            command: the command line.
            environment: None: the server's own, which is this process's when the server was started.
            folder: to start it in; None: as the environment.
            files: open files that it is to have, by the numbers that they have there, and their numbers here.

        Raises:
            SameLoopError: the server has ended, or the system gives it no process.
        """
        files = files or {}
        request = {
            "command": list(command[2:]),
            "environment": None if environment is None else dict(environment),
            "folder": folder,
            "files": list(files),
        }
        line, theirs = socket.socketpair()
        with theirs, suppress(ConnectionError):
            socket.send_fds(self._line, [b"start"], [theirs.fileno(), *files.values()])
        process = Forked(line)
        reply = process.next_answer()
        if reply is None:
            raise self._has_ended()
        if not reply.isdigit():
            raise SameLoopError(f"no process can be started: {reply}; end other programs, and try again")
        process.pid = int(reply)
        with suppress(ConnectionError):
            # Names of files may not be UTF-8: JSON escapes such characters.
            line.sendall(json.dumps(request).encode() + b"\n")
        return process

    def end(self) -> None:
        """End the server; what it has started ends, too."""
        self._line.close()
        self._family.end()

    def _has_ended(self) -> SameLoopError:
        return SameLoopError(f"the process that starts the loops has ended (exit status {self._process.wait()})")


class Forked:
    """A process that a fork server has started, with what `subprocess.Popen` has."""

    pid: int

    def __init__(self, line: socket.socket) -> None:
        self._line, self._text = line, line.makefile("r", encoding="utf-8")
        self.returncode: int | None = None

    def next_answer(self) -> str | None:
        """The server's next line about it; None if the server is gone."""
        try:
            return self._text.readline().rstrip("\n") or None
        except ConnectionError:
            return None

    def poll(self) -> int | None:
        """Its exit status, or the number of the signal that ended it, negative; None while it runs."""
        return self._wait_for_end(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it runs after `timeout` seconds still.
        """
        status = self._wait_for_end(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("a loop", timeout or 0.0)
        return status

    def _wait_for_end(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._line], [], [], seconds)[0]:
            status = self.next_answer()
            self._text.close()
            self._line.close()
            if status is not None:
                self.returncode = int(status)
            else:
                # The server is gone, and so is what it has started; what that has started is ended here.
                self.returncode = -signal.SIGKILL
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


# In the server ------------------------------------------------------------------------------------


def serve(arguments: Sequence[str]) -> int:
    """Run as a fork server; `arguments`: the number of the socket to its client, and the libraries."""
    number, *libraries = arguments
    server = _Server(int(number))
    # A library that cannot be imported: the process that needs it reports the error.
    with suppress(Exception), without_collector():
        for name in libraries:
            importlib.import_module(name)
    # The collector no longer searches these objects, so forked processes do not copy them.
    gc.freeze()
    if (request := server.wait_for_work()) is not None:
        _become(request)
        code, *sys.argv[1:] = request["command"]
        _end(_run(code))
    return 0


class _Server:
    """Forks on request, which comes on the socket of this number, and reports how each process ended."""

    def __init__(self, number: int) -> None:
        self._line = socket.socket(fileno=number)
        self._lines: dict[int, socket.socket] = {}
        # Ctrl-C is for the client, and for what is forked: there it is as it was here.
        self._on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait_for_work(self) -> dict[str, Any] | None:
        """In every forked process: its request. In the server: None, when its client is gone."""
        # The process that started this one may ignore the end of its children, and that is inherited.
        signal.signal(signal.SIGCHLD, self._on_child)
        with suppress(ConnectionError):
            self._line.send(b"ready")
            while numbers := socket.recv_fds(self._line, 100, MOST_FILES)[1]:
                line, *files = numbers
                if (request := self._fork(socket.socket(fileno=line), files)) is not None:
                    return request
                for file in files:
                    os.close(file)
        return None

    def _fork(self, line: socket.socket, files: Sequence[int]) -> dict[str, Any] | None:
        server = os.getpid()
        # A process that ends at once must be known by then, and one that is interrupted at once must notice it.
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGINT})
        with warnings.catch_warnings(), suppress(ConnectionError):
            # Python 3.12 warns of threads. Those here, of numpy and pyarrow, have nothing to do and hold no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                pid = os.fork()
            except OSError as error:
                with line:
                    line.sendall(f"{error.strerror}\n".encode())
            else:
                if pid == 0:
                    end_with_parent(server)
                    os.setsid()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, self._on_interrupt)
                    line.sendall(f"{os.getpid()}\n".encode())
                else:
                    self._lines[pid] = line
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        return None if os.getpid() == server else self._read(line, files)

    def _read(self, line: socket.socket, files: Sequence[int]) -> dict[str, Any]:
        """In a process that was forked: the request, its files in their places, and nothing open of the server's."""
        with line, line.makefile("r", encoding="utf-8") as text:
            request = json.loads(text.readline())
        for open_line in (self._line, *self._lines.values()):
            open_line.close()
        # First to free numbers: a file may have the number that another one is to get.
        free = 1 + max(request["files"], default=0)
        aside = [fcntl.fcntl(number, fcntl.F_DUPFD, free) for number in files]
        for number in files:
            os.close(number)
        for number, target in zip(aside, request["files"], strict=True):
            os.dup2(number, target)
            os.close(number)
        return request

    def _on_child(self, number: int, frame: FrameType | None) -> None:
        with suppress(ChildProcessError):
            while self._lines and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with suppress(ConnectionError), self._lines.pop(ended[0]) as line:
                    line.sendall(f"{os.waitstatus_to_exitcode(ended[1])}\n".encode())


def _become(request: Mapping[str, Any]) -> None:
    """Become the process that the request describes."""
    if (environment := request["environment"]) is not None:
        os.environ.clear()
        os.environ.update(environment)
    if request["folder"] is not None:
        os.chdir(request["folder"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if number in request["files"]:
            # How much of a stream is buffered depends on whether it is a terminal's, which is checked when it is made.
            before = getattr(sys, f"__{name}__")
            kind = {"encoding": before and before.encoding, "errors": before and before.errors}
            mode = "w" if number else "r"
            stream = open(number, mode, 1 if number == 2 else -1, closefd=False, **kind)  # noqa: SIM115 - it stays open
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    if numpy := sys.modules.get("numpy"):
        # Without a seed every process must have another state; Python does that for its own generator by itself.
        numpy.random.seed()


def _run(code: str) -> int:
    """Run a program as Python's main module; its exit status."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    try:
        exec(compile(code, "<string>", "exec"), main.__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """End as Python does, but without destroying every object: that would copy all memory that this process shares
    with the server, which takes 0.4 seconds."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = status or FLUSH_FAILED
    os._exit(status)
