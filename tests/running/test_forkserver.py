"""A fork server: what it starts is as fresh as any process, ends as one, and nobody is left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from forks import wait_for_end

from benchmarks.runs import ready_to_fork, run_in_fresh_process
from shared.config import RunConfig
from shared.errors import Interrupted, SameLoopError
from shared.running.folder import WEIGHTS_FILE
from shared.running.forkserver import ForkServer, can_fork
from shared.starting.children import child_environment, sameloop_argv

pytestmark = pytest.mark.skipif(not can_fork(), reason="a process that has imported torch is not forked here")

# What a command line finds: what is imported, its arguments, its session, and a child of its own.
FINDS = """
import os, subprocess, sys
assert "colorsys" in sys.modules and sys.argv == ["-c", "one", "zwei, drei"], sys.argv
assert os.getsid(0) == os.getpid() and __name__ == "__main__"
assert subprocess.run(["true"]).returncode == 0
sys.exit(3)
"""
WAITS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


@pytest.fixture
def server(started_again: None) -> Iterator[ForkServer]:
    server = ForkServer(("colorsys",))
    server.wait_until_ready()
    yield server
    server.end()


def command(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def test_a_command_line_runs_as_if_python_had_been_started(server: ForkServer) -> None:
    for _ in range(2):
        assert server.start(command(FINDS, "one", "zwei, drei")).wait(20) == 3


def test_several_run_at_once_and_each_ends_by_itself(server: ForkServer, tmp_path: Path) -> None:
    processes = [server.start(command(WAITS, str(tmp_path / str(number)))) for number in range(3)]
    for number in range(3):
        wait_for(tmp_path / str(number))
    assert server.start(command("raise SystemExit(4)")).wait(20) == 4
    assert [process.poll() for process in processes] == [None] * 3
    processes[1].send_signal(signal.SIGTERM)
    assert processes[1].wait(20) == -signal.SIGTERM and processes[0].poll() is None
    for process in processes:
        process.send_signal(signal.SIGKILL)
    assert {process.wait(20) for process in processes} == {-signal.SIGTERM, -signal.SIGKILL}


def test_each_has_its_own_environment_folder_and_streams(server: ForkServer, tmp_path: Path) -> None:
    says = command("import os, sys; print(os.environ['NAME'], os.getcwd(), sys.stdin.read(), sys.stdout.isatty())")
    (tmp_path / "in").write_text("read")
    (tmp_path / "away").mkdir()
    with (tmp_path / "in").open() as stdin, (tmp_path / "out").open("w") as printed:
        files = {0: stdin.fileno(), 1: printed.fileno(), 2: printed.fileno()}
        environment = {**os.environ, "NAME": "of this one"}
        assert server.start(says, environment, str(tmp_path / "away"), files).wait(20) == 0
    assert (tmp_path / "out").read_text() == f"of this one {tmp_path / 'away'} read False\n"
    # Numbers that are taken are not mixed up: each file is where it is to be.
    reads = "import os, sys; sys.exit(0 if [os.read(number, 9) for number in (5, 4)] == [b'four', b'five'] else 1)"
    for name in ("four", "five"):
        (tmp_path / name).write_text(name)
    with (tmp_path / "four").open() as four, (tmp_path / "five").open() as five:
        crossed = {5: four.fileno(), 4: five.fileno()}
        assert server.start(command(reads), files=crossed).wait(20) == 0


def test_an_argument_may_have_any_bytes(server: ForkServer) -> None:
    odd = os.fsdecode(b"x\xff \n\xc3")
    says = "import os, sys; sys.exit(0 if os.fsencode(sys.argv[1]) == b'x\\xff \\n\\xc3' else 1)"
    assert server.start(command(says, odd)).wait(20) == 0


def test_ctrl_c_is_for_what_it_starts_and_not_for_the_server(
    server: ForkServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server._process.send_signal(signal.SIGINT)
    catches = "import pathlib, sys, time\ntry:\n    pathlib.Path(sys.argv[1]).touch(); time.sleep(60)\n"
    process = server.start(command(f"{catches}except KeyboardInterrupt: sys.exit(5)", str(tmp_path / "begun")))
    wait_for(tmp_path / "begun")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 5
    assert capfd.readouterr().err == ""
    # Nor is one lost that comes at once.
    at_once = server.start(command(WAITS, str(tmp_path / "again")))
    at_once.send_signal(signal.SIGINT)
    assert at_once.wait(20) != 0


# Started where the end of children is ignored, as some supervisors leave it.
IGNORES = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from shared.running.forkserver import ForkServer
server = ForkServer(("colorsys",))
server.wait_until_ready()
sys.exit(0 if server.start([sys.executable, "-c", "raise SystemExit(3)"]).wait(20) == 3 else 1)
"""


def test_exit_statuses_are_known_where_the_end_of_children_is_ignored() -> None:
    assert subprocess.run([sys.executable, "-c", IGNORES], check=False).returncode == 0


def test_its_end_is_noticed_whatever_its_client_does(server: ForkServer) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(SameLoopError, match="has ended"), server.noticed_if_it_ends():
        server._process.terminate()
        time.sleep(60)
    assert signal.getsignal(signal.SIGCHLD) == before


def test_what_is_not_seeded_differs(capfd: pytest.CaptureFixture[str]) -> None:
    server = ForkServer(("numpy.random",))
    try:
        server.wait_until_ready()
        draw = command("import numpy, random; print(numpy.random.rand(), random.random())")
        assert [server.start(draw).wait(20) for _ in range(3)] == [0, 0, 0]
    finally:
        server.end()
    drawn = capfd.readouterr().out.split()
    assert len(set(drawn)) == len(drawn) == 6


def test_it_ends_as_any_process(server: ForkServer, tmp_path: Path) -> None:
    process = server.start(command(WAITS, str(tmp_path / "begun")))
    wait_for(tmp_path / "begun")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == process.poll() == -signal.SIGTERM
    process.send_signal(signal.SIGKILL)  # nobody's business any more
    # A pipe that breaks in what was forked is that one's error, and not the end of a conversation.
    assert server.start(command("raise BrokenPipeError")).wait(20) == 1
    assert server.start(command("pass")).wait(20) == 0


def test_what_its_server_leaves_behind_is_ended(server: ForkServer, tmp_path: Path) -> None:
    process = server.start(command(WAITS, str(tmp_path / "begun")))
    wait_for(tmp_path / "begun")
    forked = psutil.Process(process.pid)
    server._process.kill()
    assert process.wait(20) == -signal.SIGKILL
    wait_for_end([forked])
    with pytest.raises(SameLoopError, match=r"the process that starts the loops has ended \(exit status -9\)"):
        server.start(command("pass"))


def test_a_library_that_is_broken_is_left_to_who_needs_it(capfd: pytest.CaptureFixture[str]) -> None:
    server = ForkServer(("no such module", "colorsys"))
    try:
        server.wait_until_ready()
        assert server.start(command("pass")).wait(20) == 0
    finally:
        server.end()
    assert capfd.readouterr().err == ""


def test_a_system_without_another_process_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = (
        "import errno, os\ndef fork(): raise OSError(errno.EAGAIN, 'Resource temporarily unavailable')\nos.fork = fork"
    )
    (tmp_path / "no_more_processes.py").write_text(refuses)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = ForkServer(("no_more_processes",))
    try:
        server.wait_until_ready()
        for _ in range(2):
            with pytest.raises(
                SameLoopError, match="no process can be started: Resource temporarily unavailable; end"
            ):
                server.start(command("pass"))
    finally:
        server.end()


def test_a_loop_in_a_fork_is_the_loop(tmp_path: Path, tiny_runs: dict[str, Path]) -> None:
    config = RunConfig.build("tiny", num_train_epochs=2)
    imported = []
    with ready_to_fork(1, lambda: imported.append(gc.isenabled())) as server:
        assert server is not None and imported == [False] and gc.isenabled()
        for loop, run in tiny_runs.items():
            run_in_fresh_process(loop, config, tmp_path / loop, server=server)
            assert (tmp_path / loop / WEIGHTS_FILE).read_bytes() == (run / WEIGHTS_FILE).read_bytes()


def test_several_processes_of_a_loop_are_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    for nproc_per_node in (0, 2):
        with ready_to_fork(nproc_per_node) as server:
            assert server is None
    monkeypatch.setattr("benchmarks.runs.can_fork", lambda: False)
    with ready_to_fork(1) as server:
        assert server is None


def test_nothing_is_forked_where_a_gpu_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shared.running.forkserver.DRIVERS", (str(tmp_path),))
    assert not can_fork()


@pytest.mark.parametrize("command", ["compare", "locate"])
def test_it_is_known_whether_there_is_a_hub_before_the_libraries_are_imported(
    command: str, tmp_path: Path, tiny_comparison: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They read that when they are imported."""
    from benchmarks import compare as compare_module
    from benchmarks import locate as locate_module

    calls: list[str] = []

    def started(*arguments: object) -> None:
        calls.append("started")
        raise Interrupted("", signal.SIGTERM)

    for module in (compare_module, locate_module):
        monkeypatch.setattr(module, "go_offline_if_unreachable", lambda config: calls.append(config.preset))
    monkeypatch.setattr("benchmarks.runs.ForkServer", started)
    diverged = {"first_divergence": {"step": 1, "rank": 0}, "environment": {"world_size": 1}}
    monkeypatch.setattr(locate_module, "read_comparison", lambda folder: diverged)
    with pytest.raises(Interrupted):
        if command == "compare":
            compare_module.compare(RunConfig.build("tiny"), tmp_path / "run")
        else:
            locate_module.locate(tiny_comparison)
    assert calls == ["tiny", "started"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_is_stopped_leaves_no_process(number: int, tmp_path: Path) -> None:
    """While the first loop trains for long; 10 seconds each."""
    run = tmp_path / "run"
    options = ("--preset", "tiny", "--num-train-epochs", "10000", "--output-dir", str(run))
    process = subprocess.Popen(
        sameloop_argv("compare", *options), env=child_environment(), stderr=subprocess.PIPE, text=True
    )
    started: list[psutil.Process] = []
    try:
        while process.poll() is None and not (run / "manual/record.jsonl").exists():
            time.sleep(0.1)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) == 2
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
        wait_for_end(started)
    finally:
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert ("the same command continues it" in errors) == (number == signal.SIGINT)
    assert not (run / "trainer").exists()
