"""A command that runs apart: bars that move as its record grows, what it says, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.notebook import follow
from benchmarks.notebook.follow import Bar, _Follower
from sameloop import SameLoopError


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a few lines of Python in the place of the command that `follow.run` starts."""

    def run_instead(text: str) -> None:
        monkeypatch.setattr(follow, "sameloop_argv", lambda *arguments: [sys.executable, "-c", text, *arguments])

    return run_instead


RECORD = """
import json, sys, time
time.sleep(0.5)
file = open(sys.argv[1], "w")
for line in [{"kind": "header"}, *({"kind": "step", "step": n, "loss": 1 / n} for n in (1, 2, 3)), {"kind": "footer"}]:
    print("· step by step", file=sys.stderr)
    print(line)
    file.write(json.dumps(line) + "\\n")
    file.flush()
    time.sleep(0.3)
"""


def test_a_bar_follows_the_record(tmp_path: Path, child, capfd: pytest.CaptureFixture[str]) -> None:
    """Two seconds."""
    record = tmp_path / "record.jsonl"
    record.write_text('{"kind": "step", "step": 9, "loss": 1}\n')
    os.utime(record, (0, 0))
    child(RECORD)
    output = follow.run([str(record)], [Bar("by hand", 3, record)])
    drawn = re.split("[\r\n]", capfd.readouterr().err)
    counts = [int(match[1]) for line in drawn if (match := re.search(r"(\d+)/. steps", line))]
    assert counts == sorted(counts) and {0, 1, 3} <= set(counts) <= {0, 1, 2, 3}
    assert any("step by step" in line for line in drawn)
    assert [line for line in drawn if line.strip()][-1].endswith("loss 0.3333]")
    assert output.stdout.count("kind") == 5 and "step by step" in output.text


def test_a_bar_counts_the_seconds_from_where_its_loop_begins(tmp_path: Path) -> None:
    """And not from where the next one's is announced."""
    record = tmp_path / "record.jsonl"
    bars = follow._Bars([Bar("by hand", 3, record)])
    bars._bar.start_t = 0.0
    bars.show_task("importing torch and transformers")
    assert bars._bar.start_t == 0
    bars.show_task("1 of 2: the manual loop")
    assert bars._bar.start_t > 0
    record.write_text('{"kind": "step", "step": 1, "loss": 1}\n')
    bars.update()
    bars._bar.start_t = 0.0
    bars.show_task("2 of 2: the trainer loop")
    assert bars._bar.start_t == 0
    bars.close(whole=False)


def test_without_a_record_what_is_counted_moves_the_bar(child, capfd: pytest.CaptureFixture[str]) -> None:
    child("import sys\nprint('· step 3 of 7: clip', file=sys.stderr)\nprint('done')")
    assert follow.run([], [Bar("ladder")]).stdout == "done\n"
    drawn = capfd.readouterr().err
    assert "3/7" in drawn and "step 3 of 7: clip" in drawn and drawn.rstrip().endswith("7/7 [00:00]")


def test_verbose_prints_all_and_draws_nothing(child, capfd: pytest.CaptureFixture[str]) -> None:
    child("import sys\nprint('· loading', file=sys.stderr)\nprint('epoch 1')")
    follow.run([], [Bar("by hand", 3)], verbose=True)
    printed = capfd.readouterr()
    assert sorted(printed.out.splitlines()) == ["epoch 1", "· loading"] and printed.err == ""


def test_a_note_is_printed_above_the_bar(child, capfd: pytest.CaptureFixture[str]) -> None:
    child("import sys\nprint('· note: no padding token', file=sys.stderr)\nprint('· note: not this')")
    follow.run([], [Bar("by hand", 3)])
    printed = capfd.readouterr()
    assert "· note: no padding token" in printed.out + printed.err
    assert "not this" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import sys\nprint('sameloop: error: no such setting', file=sys.stderr)\nprint('x')\nsys.exit(2)",
            "no such setting",
        ),
        ("import sys\nprint('the last line')\nsys.exit(70)", "the last line"),
        ("import sys\nsys.exit(3)", "the process ended with exit status 3"),
    ],
)
def test_a_process_that_fails_is_an_error_in_one_line(text: str, message: str, child) -> None:
    child(text)
    with pytest.raises(SameLoopError) as raised:
        follow.run([])
    assert str(raised.value) == message


def test_ctrl_c_reaches_the_process_once_and_goes_on_here(tmp_path: Path, child) -> None:
    file = tmp_path / "heard"
    child(
        "import os, pathlib, time\n"
        f"file = pathlib.Path({str(file)!r})\n"
        "try:\n    file.write_text('ready')\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.3)\n"
        "    file.write_text('heard, alone' if os.getpgrp() == os.getpid() else 'heard, with others')\n"
    )

    def once_it_is_ready(number: int, frame: Any) -> None:
        if not file.exists() or file.read_text() != "ready":
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, once_it_is_ready)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        with pytest.raises(KeyboardInterrupt):
            follow.run([])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # In a group of its own: what a notebook sends to all of its group does not reach it a second time.
    assert file.read_text() == "heard, alone"


def test_half_a_line_waits_and_a_new_record_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    follower = _Follower(path, time.time_ns() - 10**9)
    assert not follower.update()
    step = '{"kind": "step", "step": %d, "loss": null}\n'
    path.write_text(step % 1 + (step % 2)[:9])
    assert follower.update() and (follower.step, follower.loss_text) == (1, "")
    path.write_text(step % 1 + step % 2 + '{"kind": "footer"}\n')
    assert follower.update() and follower.step == 2 and follower.is_done
    other = tmp_path / "other"
    other.write_text(step % 1)
    other.replace(path)
    assert follower.update() and follower.step == 1 and not follower.is_done
