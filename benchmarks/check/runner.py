"""Run a loop in its own process, with limits; the judge gets its recording and its output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import psutil

from benchmarks.check.walls import WORLD_FILES, WORLD_MB
from benchmarks.check.workshop import Workshop
from shared.starting.launch import Family

# A right loop takes about 2 seconds and 600 MB, mostly for the imports.
SECONDS, MEGABYTES = 120, 2000
# The characters kept of the beginning and of the end of a loop's output, and the most that it may print.
KEPT_OUTPUT, MOST_OUTPUT = 4000, 20_000_000
# The seconds between two looks at its process, each of which takes 20 ms; every `SELDOM`th also at its folder.
PAUSE, SELDOM = 0.2, 4


class Outcome(NamedTuple):
    """How a loop's process ended.

    Attributes:
        recording: the file; its folder is deleted when `running` ends.
        stopped: why it was stopped, in words; None if it ended by itself.
        status: its exit status.
        output: what it printed, without the middle if it is long.
        seconds: its duration, imports included if it was not forked.
        peak_mb: its peak memory with the processes that it started, in MB (10^6 bytes).
    """

    recording: Path
    stopped: str | None
    status: int
    output: str
    seconds: float
    peak_mb: float


@contextmanager
def running(
    workshop: Workshop, file: Path, settings: Mapping[str, Any], seconds: float, megabytes: int
) -> Iterator[Outcome]:
    """Run a loop in a new process, in an empty folder; yields how it ended. Its recording exists inside the `with`.

    Args:
        workshop: starts the process.
        file: the loop's.
        settings: of the job, as `job_config` takes them.
        seconds, megabytes: its limits.
    """
    with tempfile.TemporaryDirectory(prefix="sameloop-check-", ignore_cleanup_errors=True) as folder:
        # Separate from each other: the loop knows only its own folder.
        own_folder, root, recording = (Path(folder).resolve() / name for name in ("loop", "root", "recording"))
        own_folder.mkdir()
        root.mkdir()
        with recording.open("wb") as recording_file:
            options = {
                "file": str(file.resolve()),
                "settings": dict(settings),
                "memory_mb": megabytes,
                "walls": list(workshop.walls),
                "root": str(root),
            }
            outcome = _run(workshop, options, own_folder, recording_file, seconds)
        yield outcome


def _run(
    workshop: Workshop, options: Mapping[str, Any], own_folder: Path, recording: BinaryIO, seconds: float
) -> Outcome:
    megabytes = options["memory_mb"]
    # This number of processes, each one the child of the one before, do not belong to the loop.
    above = 0 if not sys.platform.startswith("linux") else 1 if workshop.walls.namespaces else 2
    processes: dict[int, psutil.Process] = {}
    peak, stopped, polls = 0.0, None, 0
    reading, writing = os.pipe()
    output = _Output(os.fdopen(reading, "rb"))
    with Family() as family:
        try:
            function = ("benchmarks.check.child", "main")
            process = workshop.start(family, function, options, own_folder, writing, recording.fileno())
        finally:
            os.close(writing)
        started = time.monotonic()
        try:
            while process.poll() is None and stopped is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PAUSE)
                polls += 1
                with suppress(psutil.Error):
                    processes.update({child.pid: child for child in _descendants(psutil.Process(process.pid), above)})
                now = sum(map(_memory_mb, processes.values()))
                peak = max(peak, now)
                if time.monotonic() - started > seconds:
                    stopped = f"it was not done after {seconds:g} seconds"
                elif now > megabytes:
                    stopped = f"it took more than {megabytes} MB of memory"
                elif output.length > MOST_OUTPUT:
                    stopped = f"it printed more than {MOST_OUTPUT // 1_000_000} MB"
                elif polls % SELDOM == 0 and _is_full(own_folder):
                    stopped = f"it wrote more than {WORLD_MB} MB, or {WORLD_FILES} files"
        finally:
            for child in reversed(processes.values()):
                with suppress(psutil.Error):
                    child.kill()
    status = process.wait()
    if stopped is None and status == -signal.SIGSYS:
        stopped = "it made a system call that no training needs (nodes, mounts, other processes), and was ended"
    output.join()
    return Outcome(Path(recording.name), stopped, status, output.text(), time.monotonic() - started, peak)


def _descendants(process: psutil.Process, above: int) -> list[psutil.Process]:
    """A process and all of its descendants, without the first `above` levels."""
    level = [process]
    for _ in range(above):
        level = [child for parent in level for child in parent.children()]
    return [*level, *(child for parent in level for child in parent.children(recursive=True))]


def _memory_mb(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return process.memory_info().rss / 1e6
    return 0.0


def _is_full(folder: Path) -> bool:
    """Whether a loop's folder holds more than it may; inside namespaces the kernel enforces that."""
    size = count = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += (Path(parent) / name).lstat().st_size
        count += 1 + len(names)
        if count > WORLD_FILES or size > WORLD_MB * 1e6:
            return True
    return False


class _Output:
    """Reads the output of a process as fast as it comes, and keeps its beginning and its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self.length = 0
        self._begin, self._end = b"", b""
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: BinaryIO) -> None:
        with stream:
            while chunk := stream.read1(65536):
                self.length += len(chunk)
                room = KEPT_OUTPUT - len(self._begin)
                self._begin += chunk[:room]
                self._end = (self._end + chunk[max(0, room) :])[-KEPT_OUTPUT:]

    def join(self) -> None:
        # A process that the loop has hidden may hold the stream open: this does not wait for its output.
        self._thread.join(2)

    def text(self) -> str:
        left_out = self.length - len(self._begin) - len(self._end)
        middle = f"\n[{left_out} characters left out]\n".encode() if left_out > 0 else b""
        return (self._begin + middle + self._end).decode("utf-8", "replace")
