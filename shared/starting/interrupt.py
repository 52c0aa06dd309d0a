"""Stopping at the right moment: a request to stop is followed after the step, with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from shared.errors import Interrupted
from shared.progress import announce

# Ctrl-C, the system's request to end, and a terminal that was closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Requests:
    """The requests that this process has received."""

    signal_number: int | None = None
    # Whether the training has come to where it can stop with a checkpoint.
    under_way = False


@contextmanager
def stopping_after_the_step() -> Iterator[None]:
    """Inside, the first Ctrl-C, SIGTERM or SIGHUP during the training only sets what `stop_requested` returns.

    Before the first step is done, and on the second signal, the program stops at once.

    Raises:
        Interrupted: it stops at once.
    """
    main_process = os.getpid()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if os.getpid() != main_process:
            # A loader's worker has inherited this handler. Ctrl-C is the main process's business.
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if _Requests.signal_number is not None or not _Requests.under_way:
            raise Interrupted("stopped at once, without a checkpoint of this step", number)
        _Requests.signal_number = number
        announce("stopping after this step, with a checkpoint to resume from (again to stop at once)")

    _Requests.signal_number, _Requests.under_way = None, False
    with handling(on_signal):
        yield


@contextmanager
def handling(on_signal: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside, `on_signal` gets the signals; those that are ignored, as `nohup` sets it, stay ignored."""
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_main_thread() -> bool:
    """Whether this is the thread in which Python handles signals."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def signals_wait() -> Iterator[None]:
    """Inside, signals are held back until the end: for starting a process that must not be lost."""
    came: list[int] = []
    if not in_main_thread():
        yield
        return
    with handling(lambda number, frame: came.append(number)):
        yield
    for number in came:
        signal.raise_signal(number)


def stop_requested() -> int | None:
    """The signal that requested this run to stop, the same one in all of its processes; None if there was none."""
    import torch

    _Requests.under_way = True
    signal_number = _Requests.signal_number or 0
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # The signal may have reached one process a step earlier than another: they must agree.
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        everybody = torch.tensor(signal_number, device=device)
        torch.distributed.all_reduce(everybody, torch.distributed.ReduceOp.MAX)
        signal_number = int(everybody)
    return signal_number or None


def stop_after_checkpoint(signal_number: int | None, step: int, max_steps: int) -> None:
    """End the run if that was requested: the checkpoint of `step` is on the disk.

    Raises:
        Interrupted: unless `signal_number`, as `stop_requested` gave it, is None.
    """
    if signal_number is None:
        return
    raise Interrupted(
        f"stopped after step {step} of {max_steps}; the same command with --resume-from-checkpoint last continues "
        "from there",
        signal_number,
    )
