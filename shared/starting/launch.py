"""Starting SameLoop's own processes: each in its own session, signals passed on to it, its exit status collected.

A process is a command line of `shared.starting.children`, started by the system or by a fork server.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from types import FrameType
from typing import Any, Protocol

from shared.errors import Interrupted, SameLoopError
from shared.starting.children import child_environment, ending_with_parent
from shared.starting.interrupt import SIGNALS, handling, signals_wait

# How long a process may take to end after the request.
SECONDS_TO_END = 10.0


class Process(Protocol):
    """What `subprocess.Popen` and what a fork server has started have in common."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


class Family:
    """Processes that end with this block at the latest, and what they have started with them.

    Each has a session of its own, so that a Ctrl-C in the terminal reaches it once, from here.

    Args:
        ask: the signal that is sent first to one that still runs then; None: it is killed at once.
        seconds: how long it may take to end after that signal.
    """

    def __init__(self, ask: int | None = None, seconds: float = SECONDS_TO_END) -> None:
        self.members: list[Process] = []
        self._ask, self._seconds = ask, seconds

    def __enter__(self) -> Family:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def start(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen:
        """Start a command line; no signal that comes meanwhile is lost, nor is the process.

        Args:
            environment: None: as this process's, without the variables that a launcher has set.
            options: as `subprocess.Popen` takes it.
        """
        environment = child_environment() if environment is None else environment
        with signals_wait():
            process = subprocess.Popen(command, env=environment, start_new_session=True, **options)
            self.members.append(process)
        return process

    @contextmanager
    def passing_signals_on(self) -> Iterator[list[int]]:
        """Pass Ctrl-C and SIGTERM on to all that run; gives the list of those that came."""
        received: list[int] = []

        def on_signal(number: int, frame: FrameType | None) -> None:
            received.append(number)
            self._send(number)

        with handling(on_signal):
            yield received

    def _send(self, number: int) -> None:
        for process in self.members:
            if process.poll() is None:
                process.send_signal(number)

    def end(self) -> None:
        """End all that still run."""
        if self._ask is not None:
            self._send(self._ask)
        for process in self.members:
            if self._ask is not None:
                # It may wait inside torch for one that is gone, where no signal is handled.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self._seconds)
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def output_of(command: Sequence[str]) -> str:
    """What a command line prints on stdout, however it ends."""
    with Family() as family:
        return family.start(command, stdout=subprocess.PIPE, text=True).communicate()[0]


def launch(
    command: Sequence[str], nproc_per_node: int = 1, fork: Callable[[Sequence[str]], Process] | None = None
) -> int:
    """Run a command as `torchrun` would, but without its own log lines.

    Args:
        nproc_per_node: how many processes run it.
        fork: starts the one process, in the system's place.

    Returns:
        0, or the first non-zero exit status; the other processes are then ended.
    """
    family = Family(ask=signal.SIGTERM)
    with family.passing_signals_on() as received, family:
        for environment in _environments(nproc_per_node):
            if fork is None:
                family.start(command, environment)
            else:
                with signals_wait():
                    family.members.append(fork(command))
        while any(process.poll() is None for process in family.members):
            time.sleep(0.05)
            # The others wait in vain for one that has failed.
            if not received and any(process.returncode for process in family.members):
                break
    # Ended from here, or by a signal before it could handle it.
    ended = (0, -signal.SIGTERM, *(-number for number in received))
    failed = next((status for process in family.members if (status := process.wait()) not in ended), 0)
    # A stop was requested, but the loop was done by then: what comes after it must not begin.
    return failed or (128 + received[0] if received else 0)


def _environments(nproc_per_node: int) -> list[dict[str, str]]:
    """One for each process, which ends with this one; for several with their meeting point, as `torchrun` sets it."""
    own = ending_with_parent(child_environment())
    if nproc_per_node == 1:
        return [own]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    world = {"WORLD_SIZE": str(nproc_per_node), "LOCAL_WORLD_SIZE": str(nproc_per_node)}
    meeting_point = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        {**own, **world, **meeting_point, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(nproc_per_node)
    ]


def check_end(returncode: int, description: str, cut_off: str) -> None:
    """Pass on how a process has ended, if not well.

    Args:
        returncode: its exit status, or the number of the signal that ended it, negative.
        description: what ran, for the message.
        cut_off: the message if it was asked to stop.

    Raises:
        SameLoopError: it did not finish; without a text if it has printed the reason itself.
        Interrupted: it was asked to stop.
    """
    if returncode == SameLoopError.exit_status:
        raise SameLoopError
    if returncode in (128 + number for number in SIGNALS):
        raise Interrupted(cut_off, returncode - 128)
    if returncode:
        raise SameLoopError(f"{description} did not finish ({ending(returncode)})")


def ending(returncode: int) -> str:
    """How a process has ended: `exit status 3`, `signal 9`."""
    return f"exit status {returncode}" if returncode >= 0 else f"signal {-returncode}"


def pool(processes: int) -> ProcessPoolExecutor:
    """Workers that are spawned, not forked: what this process has imported and computed is not in them."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_settle_worker)


def _settle_worker() -> None:
    """The first call in a worker, which trains: one thread, and no messages."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.set_verbosity_error()
