"""Run a SameLoop command in a process of its own, with a progress bar that follows its record."""

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

# How often the records are read, and how often a bar is redrawn even if nothing has changed.
SECONDS = 0.2
SECONDS_TO_DRAW = 1.0
# How long a process may take to end after a Ctrl-C, with a checkpoint.
SECONDS_TO_END = 20
STEPS = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps [{elapsed}{postfix}]"
COUNTED = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
NOT_COUNTED = "{desc} [{elapsed}{postfix}]"
ANNOUNCED, NOTE = "· ", "· note: "


class Bar(NamedTuple):
    """A progress bar.

    Attributes:
        name: its label.
        steps: how many there will be; 0: as many as the process announces, `3 of 7`.
        record: the `record.jsonl` whose steps it counts.
    """

    name: str
    steps: int = 0
    record: Path | None = None


class Output(NamedTuple):
    """What a process has printed: on stdout, and on stdout and stderr together."""

    stdout: str
    text: str


def run(
    arguments: Sequence[str], bar_specs: Sequence[Bar] = (), answers: Sequence[int] = (0,), verbose: bool = False
) -> Output:
    """Run `sameloop` with these arguments.

    Args:
        arguments: of the command line.
        bar_specs: the bars, one after the other.
        answers: the exit statuses of a command that has succeeded.
        verbose: print what the process prints as it comes, instead of the bars.

    Raises:
        SameLoopError: another exit status; the message is the last line that the process printed.
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
        threading.Thread(target=_read_lines, args=(name, stream, lines), daemon=True).start()
    texts: list[tuple[str, str]] = []
    bars = _Bars([] if verbose else bar_specs)
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
                texts.append(line)
                message = line[1] if line[0] == "stderr" else ""
                if verbose or message.startswith(NOTE):
                    bars.print(line[1])
                if message.startswith(ANNOUNCED):
                    bars.show_task(message.removeprefix(ANNOUNCED).strip())
            bars.update()
        process.wait()
    finally:
        family.end()
        bars.close(whole=process.returncode in answers)
    output = Output("".join(text for name, text in texts if name == "stdout"), "".join(text for _, text in texts))
    if process.returncode not in answers:
        raise SameLoopError(_last_line(output.text) or f"the process ended with {ending(process.returncode)}")
    return output


def _read_lines(name: str, stream: IO[str], lines: queue.SimpleQueue[tuple[str, str] | None]) -> None:
    with stream:
        for line in stream:
            lines.put((name, line))
    lines.put(None)


def _last_line(text: str) -> str:
    """The error message that the command line ends with; without one, the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("sameloop: ")]
    return (errors or lines or [""])[-1].removeprefix("sameloop: ").removeprefix("error: ")


def in_notebook() -> bool:
    """Whether this runs in a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config


class _Bars:
    """Bars one after the other, each for one part of the process."""

    def __init__(self, bars: Sequence[Bar]) -> None:
        self._waiting = list(bars)
        self._bar: Any = None
        self._follower: _Follower | None = None
        self._since = time.time_ns()
        self._drawn = 0.0
        self._next()

    def _next(self) -> None:
        """Close the current bar, and begin the next, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = self._follower = None
        if not self._waiting:
            return
        name, steps, record = self._waiting.pop(0)
        with warnings.catch_warnings():
            # Without ipywidgets tqdm warns, and draws its bar as text.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
        shape = STEPS if record else NOT_COUNTED
        # A notebook shows stderr on red.
        where = sys.stdout if in_notebook() else sys.stderr
        self._bar = tqdm(total=steps or None, desc=name, bar_format=shape, file=where)
        self._follower = _Follower(record, self._since) if record else None

    def show_task(self, task: str) -> None:
        """Show what the process is doing now; a text with `3 of 7` moves a bar that follows no record."""
        if self._bar is None:
            return
        counted = re.search(r"\b(\d+) of (\d+)\b", task)
        if counted and self._follower is None:
            if self._bar.total != int(counted[2]):
                began, self._bar.bar_format = self._bar.start_t, COUNTED
                # Only a reset updates a widget, too; but the time goes on.
                self._bar.reset(int(counted[2]))
                self._bar.start_t = began
            self._bar.n = int(counted[1])
        elif counted and self._follower and self._follower.step == 0:
            # A loop begins: the imports before it do not count as its time.
            self._bar.start_t = time.time()
        self._bar.set_postfix_str(task)

    def update(self, whole: bool = False) -> None:
        """Move the bar to where its record is; `whole`: the process has succeeded, so every record is complete."""
        if self._bar is None:
            return
        if self._follower is not None:
            moved = self._follower.update(whole)
            if moved:
                self._bar.set_postfix_str(self._follower.loss_text, refresh=False)
                self._bar.update(self._follower.step - self._bar.n)
            if self._follower.is_done and self._waiting:
                self._bar.refresh()
                self._next()
                self.update(whole)
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
        """Move the bars to their ends; `whole`: the process has succeeded."""
        if self._bar is None:
            return
        if whole:
            self.update(whole)
            if self._follower is None:
                self._bar.n = self._bar.total or 0
            self._bar.set_postfix_str(self._follower.loss_text if self._follower else "", refresh=False)
        self._bar.refresh()
        self._bar.close()
        self._bar = None


class _Follower:
    """Reads the new lines of a record; each line is flushed as it is written.

    Attributes:
        step: the last step in the record.
        loss_text: its loss, as text.
        is_done: whether the run has ended.
    """

    def __init__(self, path: Path, since: int) -> None:
        self.step, self.loss_text, self.is_done = 0, "", False
        self._path, self._since = path, since
        self._file: int | None = None
        self._offset = 0

    def update(self, whole: bool = False) -> bool:
        """Whether there are new steps; a record that is older than the process counts only when it is `whole`."""
        try:
            status = self._path.stat()
            if status.st_mtime_ns < self._since and not whole:
                return False
            if status.st_ino != self._file or status.st_size < self._offset:
                self._file, self._offset, self.step, self.is_done = status.st_ino, 0, 0, False
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return False  # not begun, or just moved away for the run that replaces it
        new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        before = self.step
        for text in new.splitlines():
            line = json.loads(text)
            if line["kind"] == "step":
                self.step = line["step"]
                self.loss_text = "" if line["loss"] is None else f"loss {line['loss']:.4f}"
            self.is_done = self.is_done or line["kind"] == "footer"
        return self.step != before
