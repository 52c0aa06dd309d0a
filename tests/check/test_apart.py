"""The processes of checks: one server for all of them, and a judge that has limits of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from benchmarks.check import apart
from benchmarks.check.bounds import beyond
from benchmarks.check.check import check
from benchmarks.check.recording import LENGTHS
from benchmarks.check.rubric import FAILED, IDENTICAL
from benchmarks.check.runner import Outcome
from benchmarks.check.workshop import Workshop
from benchmarks.mistakes.mistake import MINIMAL


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with Workshop() as made:
        yield made


def test_a_judge_that_takes_too_long_is_one_line(workshop, monkeypatch) -> None:
    monkeypatch.setattr(apart, "JUDGE_SECONDS", 0.05)
    result = check(MINIMAL, workshop=workshop)
    assert result.verdict == FAILED and result.score == 0 and "not done in time" in result.why


def test_a_judge_that_takes_too_much_memory_is_one_line(workshop, monkeypatch, tmp_path: Path) -> None:
    """The events are small enough; read, all together are a gigabyte."""
    head = b'{"kind": "weights", "x": [%s0]}' % (b"[]," * 60_000)
    with (tmp_path / "tape").open("wb") as file:
        for _ in range(250):
            file.write(LENGTHS.pack(len(head), 0) + head)
    assert beyond(tmp_path / "tape") is None
    monkeypatch.setattr(apart, "JUDGE_MB", 500)
    outcome = Outcome(tmp_path / "tape", None, 0, "", 1.0, 1.0)._asdict()
    given = {
        "name": "a.py",
        "outcome": {**outcome, "recording": str(tmp_path / "tape")},
        "settings": {},
        "points": None,
    }
    found = apart.judged_apart(workshop, {**given, "own": None}, tmp_path)
    assert found["verdict"] == FAILED and "MemoryError" in found["why"]


def test_a_judge_that_is_broken_is_no_fault_of_the_loop(workshop, monkeypatch) -> None:
    monkeypatch.setattr(apart, "LONGEST_RESULT", 10)
    with pytest.raises(apart.JudgeBroken):
        check(MINIMAL, workshop=workshop)


def test_two_at_a_time_have_one_server_and_another_if_it_ends(workshop) -> None:
    server = workshop._server
    with ThreadPoolExecutor(2) as workers:
        found = list(workers.map(lambda _: check(MINIMAL, workshop=workshop), range(2)))
    assert [each.verdict for each in found] == [IDENTICAL, IDENTICAL] and workshop._server is server
    psutil.Process(server._process.pid).kill()
    assert check(MINIMAL, workshop=workshop).verdict == IDENTICAL
    assert workshop._server is not server
