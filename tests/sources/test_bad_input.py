"""What a user can get wrong: one line that says what and what to do, exit status 2, and nothing touched."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import lines_said, ran, tree
from once import read_reviews

from benchmarks.cli import main
from benchmarks.proofs.odd.inputs import Odd
from benchmarks.proofs.odd.running import ONE_LINE, try_input
from benchmarks.proofs.situations import TABLE
from shared import memory
from shared.running.run import _explained
from shared.sources import embedded


@pytest.mark.parametrize("odd", [odd for odd in TABLE if odd.status], ids=lambda odd: odd.description)
def test_one_line_and_nothing_touched(odd: Odd, tmp_path: Path, monkeypatch, capfd, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path.parent / "hf"))
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # as somebody at a terminal would answer
    before: dict[str, bytes | None] = {}

    def make(folder: Path) -> list[str]:
        options = odd.make(folder)
        before.update(tree(folder))
        return options

    outcome = try_input(odd._replace(make=make), tmp_path)
    assert outcome.kind == ONE_LINE, outcome
    assert len(outcome.line) < 500
    assert not capfd.readouterr().out
    # What a library logs would be another line.
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert tree(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path: Path, refusal) -> None:
    tmp_path.chmod(0o555)
    assert "cannot be written" in refusal("manual", "--preset", "tiny", "--output-dir", str(tmp_path / "run"))


def test_two_runs_at_once_in_one_folder(tmp_path: Path, refusal) -> None:
    with ExitStack() as stack:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for command in ("manual", "trainer", "compare"):
            line = refusal(command, "--preset", "tiny", "--output-dir", str(tmp_path))
            assert "another run is writing there; wait for its end" in line
    assert list(tmp_path.iterdir()) == []


def test_a_loop_that_a_killed_comparison_left_running(tmp_path: Path, refusal) -> None:
    (tmp_path / "run/manual").mkdir(parents=True)
    (tmp_path / "run/manual/record.jsonl").write_text("{")
    with ExitStack() as stack:
        descriptor = os.open(tmp_path / "run/manual", os.O_RDONLY)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        line = refusal("compare", "--preset", "tiny", "--output-dir", str(tmp_path / "run"))
        assert "run/manual: another run is writing there" in line
    assert (tmp_path / "run/manual/record.jsonl").read_text() == "{"


def test_a_run_writes_only_into_its_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for loop in ("manual", "trainer"):
        assert main([loop, "--preset", "tiny", "--save-strategy", "epoch", "--output-dir", f"runs/{loop}"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["manual", "trainer"]


def test_too_little_memory(tmp_path: Path, monkeypatch, refusal) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 200_000_000)
    line = refusal("trainer", "--preset", "quick", "--output-dir", str(tmp_path / "run"))
    assert "too little memory: 0.5 GB more are needed at least, 0.2 GB are free" in line
    assert list(tmp_path.iterdir()) == []


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_memory() > 1_000_000
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert memory.available_memory() == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() > 1_000_000


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path, monkeypatch, refusal) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("manual", "compare"):
        line = refusal(command, "--preset", "tiny", "--output-dir", os.fsdecode(b"x\xff"))
        assert "cannot read this name as text" in line
    assert not any(tmp_path.iterdir())


def test_missing_and_corrupt_assets_name_the_command(tmp_path: Path, monkeypatch, refusal) -> None:
    wrong = embedded.REVIEWS._replace(sha256="0" * 64)
    monkeypatch.setattr(embedded, "REVIEWS", wrong)
    monkeypatch.setattr(embedded, "load_reviews", read_reviews.__wrapped__)
    line = refusal("manual", "--preset", "tiny", "--slice-seed", "5", "--output-dir", str(tmp_path / "run"))
    assert "is not the published file" in line
    assert "sameloop fetch" in line


def test_debug_shows_where_and_the_line_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "manual_loop", "--preset", "tiny", "--train-size", "0", "--debug"]
    finished = ran(*command, cwd=tmp_path)
    assert finished.returncode == 2
    assert "Traceback" in finished.stderr
    assert finished.stderr.splitlines()[-1].startswith("sameloop: error: --train-size 0")


def test_a_mistake_of_ours_is_one_line_too(monkeypatch, capfd) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("shared.running.command.default_output_dir", lambda *_: broken(""))
    assert main(["manual", "--preset", "tiny"]) == 70
    (line,) = lines_said(capfd.readouterr().err)
    assert "this should not happen (ZeroDivisionError: oh); please report what --debug shows" in line


def test_a_review_is_text_whatever_it_says(tmp_path: Path) -> None:
    """Markup for the terminal or for a page goes through as it is."""
    nasty = [
        {"text": f"[bold]{number}[/] <script>alert(1)</script> \x1b[2J", "label": number % 2} for number in range(24)
    ]
    (tmp_path / "nasty.jsonl").write_text("\n".join(map(json.dumps, nasty)))
    options = ["--dataset", str(tmp_path / "nasty.jsonl"), "--train-size", "12", "--eval-size", "8"]
    assert main(["manual", "--preset", "tiny", *options, "--output-dir", str(tmp_path / "run")]) == 0
    assert "<script>" not in (tmp_path / "run/record.jsonl").read_text()


@pytest.mark.parametrize(
    "error",
    [
        Exception("No space left on device (os error 28)"),  # as tokenizers says it
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
    ],
)
def test_a_full_disk_is_said_as_that_whoever_says_it(error: Exception) -> None:
    assert "make room there, then start again" in str(_explained(error, Path("nowhere")))
