"""The processes of checks: one server for all of them, and a judge with its own limits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from benchmarks.check import check as checks
from benchmarks.check.check import check
from benchmarks.check.recording import LENGTHS
from benchmarks.check.rubric import FAILED, IDENTICAL
from benchmarks.check.runner import Outcome
from benchmarks.check.workshop import Workshop
from benchmarks.mistakes.mistake import MINIMAL


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with Workshop() as workshop:
        yield workshop


def test_a_judge_that_takes_too_long_is_one_line(workshop, monkeypatch) -> None:
    monkeypatch.setattr(checks, "JUDGE_SECONDS", 0.05)
    result = check(MINIMAL, workshop=workshop)
    assert result.verdict == FAILED and result.score == 0 and "not done in time" in result.why


def test_a_judge_that_takes_too_much_memory_is_one_line(workshop, monkeypatch, tmp_path: Path) -> None:
    """Each event is small enough, but all together take a gigabyte when they are read."""
    head = b'{"kind": "weights", "x": [%s0]}' % (b"[]," * 60_000)
    with (recording := tmp_path / "recording").open("wb") as file:
        for _ in range(250):
            file.write(LENGTHS.pack(len(head), 0) + head)
    monkeypatch.setattr(checks, "JUDGE_MB", 500)
    outcome = Outcome(recording, None, 0, "", 1.0, 1.0)._asdict()
    options = {"name": "a.py", "outcome": {**outcome, "recording": str(recording)}, "settings": {}, "points": None}
    result = checks.judge_in_process(workshop, {**options, "own": "a.py"}, tmp_path)
    assert result["verdict"] == FAILED and "MemoryError" in result["why"]


def test_a_judge_that_is_broken_is_no_fault_of_the_loop(workshop, monkeypatch) -> None:
    monkeypatch.setattr(checks, "LONGEST_RESULT", 10)
    with pytest.raises(checks.JudgeError):
        check(MINIMAL, workshop=workshop)


def test_two_at_a_time_have_one_server_and_another_if_it_ends(workshop) -> None:
    server = workshop._server
    with ThreadPoolExecutor(2) as workers:
        results = list(workers.map(lambda _: check(MINIMAL, workshop=workshop), range(2)))
    assert [result.verdict for result in results] == [IDENTICAL, IDENTICAL] and workshop._server is server
    psutil.Process(server._process.pid).kill()
    assert check(MINIMAL, workshop=workshop).verdict == IDENTICAL
    assert workshop._server is not server
