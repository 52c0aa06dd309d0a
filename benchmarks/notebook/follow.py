"""Running a command of SameLoop's in a process of its own, with a bar that moves as its record grows."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from shared.errors import SameLoopError
from shared.starting.children import sameloop_argv
from shared.starting.launch import Family, ending

# How often the records are looked at, and how often a bar is drawn again though nothing has moved.
SECONDS = 0.2
SECONDS_TO_DRAW = 1.0
# How long a process may take to end after a Ctrl-C, with a checkpoint.
SECONDS_TO_END = 20
STEPS = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps [{elapsed}{postfix}]"
COUNTED = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
NOT_COUNTED = "{desc} [{elapsed}{postfix}]"
ANNOUNCED, NOTE = "· ", "· note: "


class Watched(NamedTuple):
    """A bar.

    Attributes:
        name: what it is called.
        steps: how many there will be; 0: as many as the process says, `3 of 7`.
        record: the `record.jsonl` whose steps it counts.
    """

    name: str
    steps: int = 0
    record: Path | None = None


class Said(NamedTuple):
    """What a process has printed: on stdout, and on both together."""

    stdout: str
    text: str


def run(
    arguments: Sequence[str], watched: Sequence[Watched] = (), answers: Sequence[int] = (0,), verbose: bool = False
) -> Said:
    """Run `sameloop` with these arguments.

    Args:
        arguments: of the command line.
        watched: the bars, one after the other.
        answers: the exit statuses of a command that has done what it should.
        verbose: print what the process prints as it comes, in place of the bars.

    Raises:
        SameLoopError: another exit status; its text is the line that the process ended with.
    """
    family = Family(ask=signal.SIGINT, seconds=SECONDS_TO_END)
    process = family.start(
        sameloop_argv(*arguments),
        os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    lines: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
    streams = (("stdout", process.stdout), ("stderr", process.stderr))
    for name, stream in streams:
        threading.Thread(target=_read, args=(name, stream, lines), daemon=True).start()
    found: list[tuple[str, str]] = []
    bars = _Bars([] if verbose else watched)
    try:
        open_streams = len(streams)
        while open_streams:
            try:
                line = lines.get(timeout=SECONDS)
            except queue.Empty:
                line = ("", "")
            if line is None:
                open_streams -= 1
            elif line[1]:
                found.append(line)
                said = line[1] if line[0] == "stderr" else ""
                if verbose or said.startswith(NOTE):
                    bars.print(line[1])
                if said.startswith(ANNOUNCED):
                    bars.say(said.removeprefix(ANNOUNCED).strip())
            bars.look()
        process.wait()
    finally:
        family.end()
        bars.close(whole=process.returncode in answers)
    everything = Said("".join(text for name, text in found if name == "stdout"), "".join(text for _, text in found))
    if process.returncode not in answers:
        raise SameLoopError(_last_line(everything.text) or f"the process ended with {ending(process.returncode)}")
    return everything


def _read(name: str, stream: IO[str], lines: queue.SimpleQueue[tuple[str, str] | None]) -> None:
    with stream:
        for line in stream:
            lines.put((name, line))
    lines.put(None)


def _last_line(text: str) -> str:
    """What the command line says when it ends with an error; if it does not come to that, the last line there is."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("sameloop: ")]
    return (said or lines or [""])[-1].removeprefix("sameloop: ").removeprefix("error: ")


def in_notebook() -> bool:
    """Whether a notebook runs this, and no terminal."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config


class _Bars:
    """Bars that follow each other, each as its process has come."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._waiting = list(watched)
        self._bar: Any = None
        self._follower: _Follower | None = None
        self._since = time.time_ns()
        self._drawn = 0.0
        self._next()

    def _next(self) -> None:
        """Close the bar that there is, and begin the next, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = self._follower = None
        if not self._waiting:
            return
        name, steps, record = self._waiting.pop(0)
        with warnings.catch_warnings():
            # Without ipywidgets tqdm warns, and draws its bar in letters.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
        shape = STEPS if record else NOT_COUNTED
        # A notebook shows stderr on red.
        where = sys.stdout if in_notebook() else sys.stderr
        self._bar = tqdm(total=steps or None, desc=name, bar_format=shape, file=where)
        self._follower = _Follower(record, self._since) if record else None

    def say(self, doing: str) -> None:
        """Show what is being done now; what says `3 of 7` moves a bar that follows no record."""
        if self._bar is None:
            return
        counted = re.search(r"\b(\d+) of (\d+)\b", doing)
        if counted and self._follower is None:
            if self._bar.total != int(counted[2]):
                began, self._bar.bar_format = self._bar.start_t, COUNTED
                # Only so does a widget learn of it, too; but the time goes on.
                self._bar.reset(int(counted[2]))
                self._bar.start_t = began
            self._bar.n = int(counted[1])
        elif counted and self._follower and self._follower.step == 0:
            # A loop begins: what both have imported before is not its time.
            self._bar.start_t = time.time()
        self._bar.set_postfix_str(doing)

    def look(self, whole: bool = False) -> None:
        """Move the bar to where its record is; `whole`: the process has ended well, and so has every record."""
        if self._bar is None:
            return
        if self._follower is not None:
            moved = self._follower.look(whole)
            if moved:
                self._bar.set_postfix_str(self._follower.said, refresh=False)
                self._bar.update(self._follower.step - self._bar.n)
            if self._follower.is_done and self._waiting:
                self._bar.refresh()
                self._next()
                self.look(whole)
                return
        if time.monotonic() - self._drawn > SECONDS_TO_DRAW:
            self._bar.refresh()
            self._drawn = time.monotonic()

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(line, end="")
        else:
            self._bar.write(line.rstrip("\n"))

    def close(self, whole: bool) -> None:
        """Bring the bars to where they end; `whole`: the process has ended well."""
        if whole:
            self.look(whole)
            if self._bar is not None and self._follower is None:
                self._bar.n = self._bar.total or 0
                self._bar.set_postfix_str("", refresh=False)
            elif self._bar is not None and self._follower is not None:
                self._bar.set_postfix_str(self._follower.said, refresh=False)
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
            self._bar = None


class _Follower:
    """Reads what a record has more than before; each of its lines is flushed as it is written.

    Attributes:
        step: the last one that is there.
        said: its loss.
        is_done: whether the run has come to its end.
    """

    def __init__(self, path: Path, since: int) -> None:
        self.step, self.said, self.is_done = 0, "", False
        self._path, self._since = path, since
        self._file: int | None = None
        self._offset = 0

    def look(self, whole: bool = False) -> bool:
        """Whether there are more steps; a record that was there before the process began counts when it is `whole`."""
        try:
            found = self._path.stat()
            if found.st_mtime_ns < self._since and not whole:
                return False
            if found.st_ino != self._file or found.st_size < self._offset:
                self._file, self._offset, self.step, self.is_done = found.st_ino, 0, 0, False
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return False  # not begun, or set aside this moment for the run that takes its place
        new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        before = self.step
        for text in new.splitlines():
            line = json.loads(text)
            if line["kind"] == "step":
                self.step = line["step"]
                self.said = "" if line["loss"] is None else f"loss {line['loss']:.4f}"
            self.is_done = self.is_done or line["kind"] == "footer"
        return self.step != before
