"""Try an input: run `sameloop manual` with it, in this process or in one of its own, and judge the outcome."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from benchmarks.cli import main
from benchmarks.proofs.odd.inputs import Odd
from shared.starting.children import loop_argv

HANDLED, ONE_LINE = "handled", "one line"
EXPECTED = {0: HANDLED, 2: ONE_LINE}
SMALL = ("--preset", "tiny", "--num-train-epochs", "1", "--train-size", "12", "--eval-size", "8")


class Outcome(NamedTuple):
    """The outcome: its kind, `handled`, `one line`, or what went wrong; and the line that was printed."""

    kind: str
    line: str


class FinishedRun(NamedTuple):
    """A run: its exit status, the lines that it and the libraries wrote to stderr, and what they printed."""

    status: int
    messages: list[str]
    printed: str


def run(arguments: Sequence[str], loop: str = "manual") -> FinishedRun:
    """Run a loop's command in this process, with the tiny preset."""
    printed = io.StringIO()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", buffering=1) as stderr_file:
        stderr = os.dup(2)
        os.dup2(stderr_file.fileno(), 2)  # for what writes to the file descriptor directly: a library's log
        try:
            with contextlib.redirect_stderr(stderr_file), contextlib.redirect_stdout(printed):
                status = main([loop, *SMALL, *arguments])
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        stderr_file.seek(0)
        return FinishedRun(status, stderr_file.read().splitlines(), printed.getvalue())


@contextlib.contextmanager
def prepared(odd: Odd, folder: Path) -> Iterator[list[str]]:
    """Make an input in a folder and yield its options, with its environment variables and its error in effect."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, odd.environment))
        if odd.raising is not None:
            owner, name, error = odd.raising
            stack.enter_context(mock.patch.object(owner, name, side_effect=error))
        yield odd.make(folder)


def try_input(odd: Odd, folder: Path) -> Outcome:
    """Make an input in an empty folder, run the loop there, and return the outcome."""
    with prepared(odd, folder) as options:
        # The input may name another output folder.
        arguments = ["--output-dir", str(folder / "run"), *options]
        ran = _run_alone(arguments, folder) if odd.alone else run(arguments)
    return outcome(ran._replace(messages=[line.replace(str(folder), "") for line in ran.messages]), odd.pieces)


def _run_alone(arguments: Sequence[str], folder: Path) -> FinishedRun:
    ran = subprocess.run(loop_argv("manual", *SMALL, *arguments), cwd=folder, capture_output=True, check=False)
    messages, printed = (stream.decode("utf-8", "replace") for stream in (ran.stderr, ran.stdout))
    return FinishedRun(ran.returncode, messages.splitlines(), printed)


def outcome(ran: FinishedRun, expected: Sequence[str]) -> Outcome:
    """The outcome of a run; lines that are neither progress nor errors of SameLoop count against it.

    Of the pieces of the expected message, the line with the first is returned.
    """
    status, messages, printed = ran
    errors = [line for line in messages if line.startswith("sameloop: ")]
    others = [line for line in messages if line.strip() and not line.startswith(("·", "sameloop: "))]
    if status == 0 and not errors:
        kind, searched = HANDLED, messages
        line = next((line for line in messages if expected and expected[0] in line), "")
    elif status == 2 and len(errors) == 1 and not others and not printed:
        kind, searched = ONE_LINE, errors
        line = errors[0].removeprefix("sameloop: error: ")
    else:
        line = " / ".join([*errors, *others])
        kind, searched = f"status {status}, {len(errors)} lines", [line]
    missing = [part for part in expected if not any(part in line for line in searched)]
    if missing:
        kind = f"{kind}, without saying `{missing[0]}`"
    return Outcome(kind, line.removeprefix("· "))
