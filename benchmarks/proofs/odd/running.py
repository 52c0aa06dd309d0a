"""How an input is tried: `sameloop manual` with it, in this process or in one of its own, and what came of that."""

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
    """What came of it: `handled`, `one line`, or what went wrong; and the line that was said."""

    what: str
    line: str


class Ran(NamedTuple):
    """A run: its exit status, what it and the libraries said on stderr, line by line, and what they printed."""

    status: int
    said: list[str]
    printed: str


def run(arguments: Sequence[str], loop: str = "manual") -> Ran:
    """A loop's command in this process, on the tiny preset."""
    printed = io.StringIO()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", buffering=1) as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)  # for what writes there by itself: a library's log
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
                status = main([loop, *SMALL, *arguments])
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        said.seek(0)
        return Ran(status, said.read().splitlines(), printed.getvalue())


@contextlib.contextmanager
def prepared(odd: Odd, folder: Path) -> Iterator[list[str]]:
    """Make an input in a folder and give its options; inside, the environment and what cannot be had are its own."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, odd.environment))
        if odd.raising is not None:
            where, name, error = odd.raising
            stack.enter_context(mock.patch.object(where, name, side_effect=error))
        yield odd.make(folder)


def tried(odd: Odd, folder: Path) -> Outcome:
    """Make an input in an empty folder, run the loop there, and say what came of it."""
    with prepared(odd, folder) as options:
        # The input may name another output folder.
        arguments = ["--output-dir", str(folder / "run"), *options]
        ran = _run_alone(arguments, folder) if odd.alone else run(arguments)
    return outcome(ran._replace(said=[line.replace(str(folder), "") for line in ran.said]), odd.pieces)


def _run_alone(arguments: Sequence[str], folder: Path) -> Ran:
    ran = subprocess.run(loop_argv("manual", *SMALL, *arguments), cwd=folder, capture_output=True, check=False)
    said, printed = (stream.decode("utf-8", "replace") for stream in (ran.stderr, ran.stdout))
    return Ran(ran.returncode, said.splitlines(), printed)


def outcome(ran: Ran, wanted: Sequence[str]) -> Outcome:
    """What came of a run: a line of its own is what is neither progress nor a log of the loop.

    Args:
        ran: the run.
        wanted: what must have been said; the line with the first of these is shown.
    """
    status, said, printed = ran
    errors = [line for line in said if line.startswith("sameloop: ")]
    others = [line for line in said if line.strip() and not line.startswith(("·", "sameloop: "))]
    if status == 0 and not errors:
        what, searched = HANDLED, said
        line = next((line for line in said if wanted and wanted[0] in line), "")
    elif status == 2 and len(errors) == 1 and not others and not printed:
        what, searched = ONE_LINE, errors
        line = errors[0].removeprefix("sameloop: error: ")
    else:
        line = " / ".join([*errors, *others])
        what, searched = f"status {status}, {len(errors)} lines", [line]
    missing = [part for part in wanted if not any(part in line for line in searched)]
    if missing:
        what = f"{what}, without saying `{missing[0]}`"
    return Outcome(what, line.removeprefix("· "))
