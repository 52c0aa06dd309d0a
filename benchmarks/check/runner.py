"""Running a loop apart, with limits: what the judge has of it is its recording and what it printed."""

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
from benchmarks.check.workshop import Workshop, use_workshop
from shared.starting.launch import Family

# A right loop takes some 2 seconds and 600 MB, most of them for what is imported.
SECONDS, MEGABYTES = 120, 2000
# Of what a loop prints so much is kept of its beginning and of its end; who prints more than the most is stopped.
KEPT_OUTPUT, MOST_OUTPUT = 4000, 20_000_000
# It is looked at every so many seconds, which takes 20 ms; its folder, every so many times.
PAUSE, SELDOM = 0.2, 4


class Outcome(NamedTuple):
    """How a loop's process ended.

    Attributes:
        recording: the file; it lies in a folder that is gone when `running` ends.
        stopped: why it was stopped, in words; None: it ended by itself.
        status: its exit status.
        output: what it printed, the middle left out.
        seconds: of its whole life, imports included where it has not been forked.
        peak_mb: the most memory it had, in MB (10^6 bytes), with the processes it started.
    """

    recording: Path
    stopped: str | None
    status: int
    output: str
    seconds: float
    peak_mb: float


@contextmanager
def running(
    file: Path | None,
    settings: Mapping[str, Any],
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    workshop: Workshop | None = None,
) -> Iterator[Outcome]:
    """Run a loop in a process of its own, in an empty folder of its own; gives how it ended, and its recording
    meanwhile.

    Args:
        file: the loop's; None: the package's manual loop.
        settings: of the job, as `job_config` takes them.
        seconds, megabytes: more than this it may not have.
        workshop: starts the process; None: one for this loop.
    """
    with (
        use_workshop(workshop) as workshop,
        tempfile.TemporaryDirectory(prefix="sameloop-check-", ignore_cleanup_errors=True) as folder,
    ):
        # Apart from each other: the loop knows of its own folder only.
        own_folder, root, recording = (Path(folder).resolve() / name for name in ("loop", "root", "recording"))
        own_folder.mkdir()
        root.mkdir()
        with recording.open("wb") as recording_file:
            options = {
                "file": None if file is None else str(file.resolve()),
                "settings": dict(settings),
                "memory_mb": megabytes,
                "walls": list(workshop.walls),
                "root": str(root),
            }
            outcome = _run(workshop, options, own_folder, recording, recording_file.fileno(), seconds, megabytes)
        yield outcome


def _run(
    workshop: Workshop,
    options: Mapping[str, Any],
    own_folder: Path,
    recording: Path,
    number: int,
    seconds: float,
    megabytes: int,
) -> Outcome:
    # Of the processes that are started these many, one below the other, are not the loop's.
    above = 0 if not sys.platform.startswith("linux") else 1 if workshop.walls.namespaces else 2
    processes: dict[int, psutil.Process] = {}
    peak, stopped, polls = 0.0, None, 0
    reading, writing = os.pipe()
    output = _Output(os.fdopen(reading, "rb"))
    with Family() as family:
        try:
            process = workshop.start(family, ("benchmarks.check.child", "main"), options, own_folder, writing, number)
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
        stopped = "it asked the system for what no training needs (nodes, mounts, other processes), and was ended"
    output.join()
    return Outcome(recording, stopped, status, output.text(), time.monotonic() - started, peak)


def _descendants(process: psutil.Process, above: int) -> list[psutil.Process]:
    """A process and all that it has started, but for the first `above` levels."""
    level = [process]
    for _ in range(above):
        level = [child for parent in level for child in parent.children()]
    return [*level, *(child for parent in level for child in parent.children(recursive=True))]


def _memory_mb(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return process.memory_info().rss / 1e6
    return 0.0


def _is_full(folder: Path) -> bool:
    """Whether a loop's folder holds more than it may; in a world of its own the kernel sees to that."""
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
    """Reads what a process prints, as fast as it comes, and keeps its two ends."""

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
        # A process that the loop has hidden may hold the stream open: its words are not waited for.
        self._thread.join(2)

    def text(self) -> str:
        left_out = self.length - len(self._begin) - len(self._end)
        middle = f"\n[{left_out} characters left out]\n".encode() if left_out > 0 else b""
        return (self._begin + middle + self._end).decode("utf-8", "replace")
