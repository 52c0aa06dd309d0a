"""A process that is started before its turn imports what it needs, waits, and is left behind by nobody."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shared.children import loop_argv, sameloop_argv
from shared.config import RunConfig
from shared.early import VARIABLE, Early, wait_for_turn
from shared.errors import Interrupted
from shared.page import package_page
from shared.run import run_loop
from shared.surroundings import child_environment

# Says what it has imported by the time it may begin, and that it has begun.
WAITS = """
import sys
from shared import early
early.LIBRARIES = ("colorsys",)
assert "colorsys" not in sys.modules
assert early.wait_for_turn("manual") and "colorsys" in sys.modules
open(sys.argv[1], "w").close()
"""


def test_it_begins_when_it_is_told_to(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    early = Early([sys.executable, "-c", WAITS, str(begun)], child_environment())
    try:
        early.wait_until_ready()
        time.sleep(0.3)
        assert early.process.poll() is None and not begun.exists()
        early.begin()
        assert early.process.wait(20) == 0 and begun.exists()
    finally:
        early.end()


def test_one_that_has_failed_or_had_no_turn_keeps_nobody_waiting(tmp_path: Path) -> None:
    failed = Early([sys.executable, "-c", "import sys; sys.exit(3)"], child_environment())
    failed.wait_until_ready()
    failed.process.wait(20)
    failed.begin()
    failed.end()
    assert failed.process.returncode == 3
    waiting = Early([sys.executable, "-c", WAITS, str(tmp_path / "begun")], child_environment())
    waiting.end()
    assert waiting.process.returncode == -signal.SIGKILL


def test_a_loop_does_not_begin_when_whoever_has_started_it_is_gone(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            loop_argv("manual", "--preset", "tiny", "--output-dir", str(tmp_path / "run")),
            env={**child_environment(), VARIABLE: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
    ours.close()
    assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "run").exists()


def test_any_other_process_goes_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.early.LIBRARIES", ("no such module",))
    assert not wait_for_turn("trainer")


def test_it_is_known_whether_there_is_a_hub_before_the_libraries_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They read that when they are imported."""
    calls: list[str] = []

    def turn(loop: str) -> bool:
        calls.append(loop)
        raise Interrupted("", signal.SIGTERM)

    monkeypatch.setattr("shared.run.go_offline_if_unreachable", lambda config: calls.append(config.preset))
    monkeypatch.setattr("shared.run.wait_for_turn", turn)
    with pytest.raises(Interrupted):
        run_loop("manual", package_page("manual"), RunConfig.build("tiny"), tmp_path / "run")
    assert calls == ["tiny", "manual"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_is_stopped_leaves_no_process(number: int, tmp_path: Path) -> None:
    """While the first loop trains for long and the second waits; 10 seconds each."""
    run = tmp_path / "run"
    options = ("--preset", "tiny", "--num-train-epochs", "10000", "--output-dir", str(run))
    process = subprocess.Popen(
        sameloop_argv("compare", *options), env=child_environment(), stderr=subprocess.PIPE, text=True
    )
    started: list[psutil.Process] = []
    try:
        while process.poll() is None and not (run / "manual/record.jsonl").exists():
            time.sleep(0.1)
        started = psutil.Process(process.pid).children()
        assert len(started) == 2
        process.send_signal(number)
        if number == signal.SIGKILL:
            # The first goes on, as it always has; the second has nobody left to tell it to begin.
            started[0].kill()
        said = process.communicate(timeout=60)[1]
        assert psutil.wait_procs(started, 60)[1] == []
    finally:
        for each in started:
            if each.is_running():
                each.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert ("the same command goes on from there" in said) == (number == signal.SIGINT)
    assert not (run / "trainer").exists()
