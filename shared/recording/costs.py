"""What a run costs: its time by phase, and its memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

# It is read in every step for the memory that the process has.
_THIS = psutil.Process()


class Clock:
    """Splits the loop's time into phases, and `own_seconds`, the recorder's; starts with the first forward pass."""

    def __init__(self) -> None:
        self.own_seconds = 0.0
        self._last: float | None = None
        self._phases: dict[str, float] = {}

    def mark(self, phase: str) -> None:
        """All time since the last mark belongs to `phase`."""
        now = time.perf_counter()
        if self._last is not None:
            self._phases[phase] = self._phases.get(phase, 0.0) + now - self._last
        self._last = now

    def skip(self, seconds: float) -> None:
        """Exclude these seconds, just spent, from every phase."""
        if self._last is not None:
            self._last += seconds

    def take(self) -> dict[str, float]:
        """The seconds by phase since the last call."""
        phases, self._phases = self._phases, {}
        return phases

    @contextmanager
    def own(self) -> Iterator[None]:
        """Time spent inside is the recorder's, not the loop's."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.own_seconds += spent
            self.skip(spent)


def memory_mb() -> float:
    """The memory in use now, in MB (10^6 bytes): the GPU's where one is used, else the process's resident set."""
    if torch.cuda.is_available() and (allocated := torch.cuda.memory_allocated()):
        return allocated / 1e6
    return _THIS.memory_info().rss / 1e6


def peak_memory_mb() -> float:
    """The most memory in use so far, in MB (10^6 bytes): the GPU's where one is used, else the process's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
