"""Running a loop apart, with limits: what the judge has of it is its tape and what it printed."""

from __future__ import annotations

import json
import os
import site
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import psutil

from shared.sources.embedded import cache_folder
from shared.starting.children import function_argv
from shared.starting.launch import Family

# A right loop takes some 10 seconds and 600 MB, most of them for imports.
SECONDS, MEGABYTES = 120, 2000
# Of what a loop prints so much is kept of its beginning and of its end; who prints more than the most is stopped.
KEPT_OUTPUT, MOST_OUTPUT = 4000, 20_000_000
# Of the environment a loop sees these, and nothing that may be a secret.
SEEN = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "SYSTEMROOT")


class Outcome(NamedTuple):
    """How a loop's process ended.

    Attributes:
        tape: the file; it lies in a folder that is gone when `running` ends.
        stopped: why it was stopped, in words; None: it ended by itself.
        status: its exit status.
        output: what it printed, the middle left out.
        seconds: of its whole life, imports included.
        peak_mb: the most memory it had, in MB (10^6 bytes), with the processes it started.
    """

    tape: Path
    stopped: str | None
    status: int
    output: str
    seconds: float
    peak_mb: float


@contextmanager
def running(
    file: Path | None,
    dials: Mapping[str, Any],
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
) -> Iterator[Outcome]:
    """Run a loop in a process of its own, in an empty folder of its own; gives how it ended, and its tape meanwhile.

    Args:
        file: the loop's; None: the package's page by hand.
        dials: of the job, as `job_config` takes them.
        seconds, megabytes: more than this it may not have.
    """
    with tempfile.TemporaryDirectory(prefix="sameloop-check-", ignore_cleanup_errors=True) as folder:
        # Apart from each other: the loop knows of its own folder only.
        own = Path(folder) / "loop"
        own.mkdir()
        tape = Path(folder) / "tape"
        with tape.open("wb") as file_of_tape:
            given = {
                "file": None if file is None else str(file.resolve()),
                "dials": dict(dials),
                "tape": file_of_tape.fileno(),
                "memory_mb": megabytes,
            }
            outcome = _run(given, own, tape, file_of_tape.fileno(), seconds, megabytes)
        yield outcome


def _run(given: Mapping[str, Any], own: Path, tape: Path, number: int, seconds: float, megabytes: int) -> Outcome:
    seen = {name: os.environ[name] for name in SEEN if name in os.environ}
    environment = {
        **seen,
        "HOME": str(own),
        # Not from that home: packages, and the embedded assets, may have been installed for this user alone.
        "PYTHONUSERBASE": site.getuserbase(),
        "TMPDIR": str(own),
        "SAMELOOP_CACHE": str(cache_folder()),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "agg",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }
    started = time.monotonic()
    family: dict[int, psutil.Process] = {}
    peak, stopped = 0.0, None
    with Family() as started_here:
        process = started_here.start(
            function_argv("benchmarks.check.child", "main", json.dumps(given)),
            environment,
            cwd=own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[number],
        )
        output = _Output(process.stdout)
        try:
            while process.poll() is None and stopped is None:
                time.sleep(0.05)
                with suppress(psutil.Error):
                    loop = psutil.Process(process.pid)
                    family.update({each.pid: each for each in (loop, *loop.children(recursive=True))})
                now = sum(map(_memory_mb, family.values()))
                peak = max(peak, now)
                if time.monotonic() - started > seconds:
                    stopped = f"it was not done after {seconds:g} seconds"
                elif now > megabytes:
                    stopped = f"it took more than {megabytes} MB of memory"
                elif output.length > MOST_OUTPUT:
                    stopped = f"it printed more than {MOST_OUTPUT // 1_000_000} MB"
        finally:
            for each in reversed(family.values()):
                with suppress(psutil.Error):
                    each.kill()
    status = process.wait()
    output.join()
    return Outcome(tape, stopped, status, output.text(), time.monotonic() - started, peak)


def _memory_mb(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return process.memory_info().rss / 1e6
    return 0.0


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
