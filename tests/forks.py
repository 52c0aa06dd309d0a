"""What a test starts is forked from a process that has imported torch and transformers already, and starts in no time.

`subprocess.Popen` is replaced by `ForkedPopen` for as long as the tests run. It takes Python's command lines to the
fork server that the product has (`shared/running/forkserver.py`); whatever is not Python, or would see another process
than a new one, is started as ever. So a command in a test has its own environment, folder, streams, signals and exit
status, and the test is written as if it had been started.

A real start have, by `started_again` or because their environment decides while something is imported:

- what is imported when, and from where: test_cli.py (help, a path that leads nowhere, shadowing folders and
  packages, the first command), test_hardware.py, test_install.py, test_script.py, test_python.py;
- another home, locale or Hub cache: test_hub.py, test_surroundings.py, test_fetch.py;
- the walls of a check: test_check.py;
- the fork server itself, and a loop that is stopped as a child of this process: test_forkserver.py, test_speed.py;
- `make`, `torchrun`, a virtual environment's Python, a notebook's kernel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from unittest.mock import patch

import psutil

from shared.running.forkserver import LIBRARIES, Forked, ForkServer, can_fork
from shared.starting.children import PARENT

PYTHON = sys.executable
# What commands import when they run.
COMMANDS = (
    "benchmarks.cli",
    "benchmarks.compare",
    "benchmarks.verdict.verdict",
    "benchmarks.locate",
    "benchmarks.charts.charts",
    "benchmarks.lesson.report",
    "benchmarks.check.child",
    "benchmarks.check.watch",
    "benchmarks.speed.held",
    "manual_loop.train",
    "trainer_loop.train",
)
# Variables that are read when Python starts or a library is imported. With others than the server's: a real start.
READ_AT_THE_START = re.compile(
    r"(PYTHON|LC_|LANG|OMP_|MKL_|HF_|HUGGINGFACE|TRANSFORMERS|DATASETS|TORCH(?!INDUCTOR)|XDG_|HOME|MPL)"
)
# What is imported from where our command lines decide by themselves; and of hashes, which two processes must agree on,
# all that are forked from one have the same.
DECIDED_BY_US = ("PYTHONSAFEPATH", "PYTHONHASHSEED")
RUNS = {
    # Python puts the folder of a script, or the current one, where it looks first.
    "module": "import runpy, sys; sys.path.insert(0, ''); runpy.run_module(sys.argv.pop(1), None, '__main__', True)",
    "file": "import os, runpy, sys; sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[1]))); "
    "sys.argv.pop(0); runpy.run_path(sys.argv[0], None, '__main__')",
}


@cache
def server() -> ForkServer:
    """The one of this test worker. It ends with the worker, however that ends."""
    with starting_again(), patch.dict(os.environ, _environment_at_the_start, clear=True):
        server = ForkServer((*LIBRARIES, *COMMANDS))
    server.wait_until_ready()
    return server


class _Mode:
    is_forking = True


@contextmanager
def starting_again() -> Iterator[None]:
    """Inside, what is started is started by the system."""
    before, _Mode.is_forking = _Mode.is_forking, False
    try:
        yield
    finally:
        _Mode.is_forking = before


class ForkedPopen(subprocess.Popen):
    """`subprocess.Popen`, but that the process is forked where nobody could tell it from a new one."""

    _forked: Forked | None = None

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        *rest: Any,
    ) -> None:
        command = _as_code(args) if not (executable or preexec_fn) else None
        environment = dict(os.environ if env is None else env)
        if command is None or not _is_as_the_servers(environment):
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest)
            return
        # After startup information, flags and shell: both ends of each stream, -1 where it is inherited.
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[3:9]
        standard_files = {0: p2cread, 1: c2pwrite, 2: errwrite}
        files = {number: file if file != -1 else number for number, file in standard_files.items()}
        files |= {number: number for number in pass_fds}
        environment.pop(PARENT, None)  # it ends with the server, which ends with this process
        folder = os.getcwd() if cwd is None else os.path.abspath(os.fsdecode(cwd))  # noqa: PTH100, PTH109
        self._forked = server().start(command, environment, folder, files)
        self.pid, self._child_created = self._forked.pid, True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _internal_poll(self, *args: Any, **kwargs: Any) -> int | None:
        if self._forked is None:
            return super()._internal_poll(*args, **kwargs)
        self.returncode = self._forked.poll()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._forked is None:
            return super()._wait(timeout)
        try:
            self.returncode = self._forked.wait(timeout)
        except subprocess.TimeoutExpired:
            raise subprocess.TimeoutExpired(self.args, timeout) from None
        return self.returncode


def wait_for_end(processes: Iterable[psutil.Process], seconds: float = 60) -> None:
    """Wait for processes that are not this one's children.

    Raises:
        AssertionError: one runs after so many seconds still.
    """
    until = time.monotonic() + seconds
    for process in processes:
        # One that has ended is there until whoever has adopted it asks.
        with suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < until, f"{process} is left behind"
                time.sleep(0.02)


def _as_code(args: Any) -> list[str] | None:
    """A command line of this Python's as `python -c` with its arguments; None if it is none, or has other options."""
    if not can_fork() or not _Mode.is_forking or isinstance(args, (str, bytes)) or not list(args):
        return None
    python, *arguments = map(os.fsdecode, args)
    if python != PYTHON or not arguments:
        return None
    if arguments[0] == "-c":
        return [python, *arguments]
    if arguments[0] == "-m":
        return [python, "-c", RUNS["module"], *arguments[1:]]
    return None if arguments[0].startswith("-") else [python, "-c", RUNS["file"], *arguments]


def _is_as_the_servers(environment: Mapping[str, str]) -> bool:
    """Whether what is read at the start is as it was when the server was started."""
    ours, theirs = (
        {name: value for name, value in part.items() if READ_AT_THE_START.match(name) and name not in DECIDED_BY_US}
        for part in (environment, _environment_at_the_start)
    )
    return ours == theirs


_environment_at_the_start = dict(os.environ)
