"""The kernel's walls around a checked loop, in each combination: acts that must have no effect.

The acts run here without Python's hook, which would refuse most of them before the kernel is asked.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from benchmarks.check.check import check
from benchmarks.check.recording import LENGTHS, MOST_EVENTS, RecordingError, TooLargeError, read_recording
from benchmarks.check.rubric import IDENTICAL
from benchmarks.check.walls import WORLD_MB, Walls, available, begin, enter, readable
from benchmarks.mistakes.mistake import MINIMAL
from benchmarks.proofs.hostile import BECOME_SUBREAPER, SECRET, acts, arena, tree
from shared.starting.children import ROOT, sameloop_argv

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")
ALL = Walls("", "", "")
NO_WORLD = Walls("not here", "", "")
# Those that need no training around them, nor what takes seconds to import.
APART = re.compile(r"import torch|safetensors|transformers|return lambda|return forge|fd/\{number\}|pyarrow|disk_full")
PLAIN = [act for act in acts() if not APART.search(act.read_text(encoding="utf-8")) and act.stem != "disk_full"]
# What Landlock and seccomp leave to namespaces: shared memory, which loaders need, is the machine's then.
OF_NAMESPACES = ("shm_left_full", "shm_by_torch")


@contextmanager
def walled(walls: Walls, code: str, **names: object) -> Iterator[tuple[int, str]]:
    """Run code behind walls; yield the wait status and the output when its process has ended."""
    with tempfile.TemporaryDirectory() as folder:
        root, own = Path(folder).resolve() / "root", Path(folder).resolve() / "loop"
        root.mkdir()
        own.mkdir()
        with tempfile.TemporaryFile("w+") as printed:
            pid = os.fork()
            if pid == 0:
                status = 70
                try:
                    os.setsid()
                    os.dup2(printed.fileno(), 1)
                    os.chdir(own)
                    enter(walls, begin(walls), root, own, readable(()))
                    with suppress(Exception):
                        exec(code, {"print": lambda *values: os.write(1, f"{values}\n".encode()), **names})
                    status = 0
                finally:
                    os._exit(status)
            status = os.waitpid(pid, 0)[1]
            printed.seek(0)
            yield status, printed.read()


@pytest.mark.parametrize("walls", [ALL, NO_WORLD], ids=["all walls", "no namespaces"])
@pytest.mark.parametrize("act", PLAIN, ids=lambda act: act.stem)
def test_an_act_comes_to_nothing(act: Path, walls: Walls) -> None:
    if walls.namespaces and act.stem in OF_NAMESPACES:
        pytest.skip("held by namespaces alone")
    if available_here() != ALL:
        pytest.skip(str(available_here().missing()))
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1)
    listening = socket.create_server(("127.0.0.1", 0))
    with arena(act) as (folder, bystander), arena(act) as (_, checker), listening:
        listening.setblocking(False)
        before, niceness, here = tree(folder), checker.nice(), psutil.Process().children(recursive=True)
        numbers = {"BYSTANDER": bystander.pid, "CHECKER": checker.pid, "PORT": listening.getsockname()[1]}
        code = act.read_text(encoding="utf-8") + "\nact(arena)\n"
        with walled(walls, code, arena=folder, **numbers) as (status, printed):
            assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGSYS)
        assert tree(folder) == before and SECRET not in printed
        assert bystander.is_running() and checker.is_running() and checker.poll() is bystander.poll() is None
        assert checker.nice() == niceness and checker.rlimit(psutil.RLIMIT_NOFILE)[0] > 9
        with pytest.raises(BlockingIOError):
            listening.accept()
        remaining = [child for child in psutil.Process().children(recursive=True) if child not in here]
        assert remaining == []
    assert not list(Path("/dev/shm").glob("sameloop-arena*")) and not list(Path("/tmp").glob("sameloop-arena-left*"))


_AVAILABLE: list[Walls] = []


def available_here() -> Walls:
    """The walls of this machine, tried once; in a separate process, because this one may have threads."""
    if not _AVAILABLE:
        _AVAILABLE.append(available())
    return _AVAILABLE[0]


@pytest.mark.parametrize("walls", [ALL, NO_WORLD], ids=["all walls", "no namespaces"])
def test_what_a_training_needs_is_there(walls: Walls) -> None:
    if available_here() != ALL:
        pytest.skip(str(available_here().missing()))
    code = """
import json, multiprocessing, os, shutil, socket, sqlite3, tempfile
with open("own.txt", "w") as file:
    file.write("own")
shutil.copy2("own.txt", "copy.txt")
os.link("own.txt", "link.txt")
os.rename("copy.txt", "moved.txt")
sqlite3.connect(":memory:").execute("create table a (b)")
socket.socketpair()
context = multiprocessing.get_context("fork")
queue = context.Queue()
worker = context.Process(target=queue.put, args=(4711,))
worker.start()
print(queue.get(timeout=20), sorted(os.listdir()), open("/proc/self/stat").read()[:0], len(os.urandom(3)))
worker.join()
"""
    with walled(walls, code) as (status, printed):
        assert status == 0 and "4711" in printed and "['link.txt', 'moved.txt', 'own.txt']" in printed


@pytest.mark.parametrize(
    ("code", "number"), [("import os\nos._exit(7)", 7), ("import os\nos.kill(os.getpid(), 15)", -15)]
)
@pytest.mark.parametrize("walls", [ALL, NO_WORLD], ids=["all walls", "no namespaces"])
def test_the_exit_status_comes_through(walls: Walls, code: str, number: int) -> None:
    if available_here() != ALL:
        pytest.skip(str(available_here().missing()))
    with walled(walls, code) as (status, _):
        assert os.waitstatus_to_exitcode(status) == number


def test_a_world_is_as_large_as_it_may_be_and_not_larger() -> None:
    if available_here() != ALL:
        pytest.skip(str(available_here().missing()))
    code = """
written, file = 0, open("full", "wb", 0)
try:
    while True:
        written += file.write(bytes(10**6))
except OSError as error:
    print(error.errno, written)
"""
    with walled(ALL, code) as (_, printed):
        number, written = map(int, re.findall(r"\d+", printed))
        assert number == 28 and 0.9 * WORLD_MB < written / 1e6 <= 1.1 * WORLD_MB


def test_what_is_missing_is_one_line() -> None:
    assert ALL.missing() is None
    assert "namespaces (not here)" in NO_WORLD.missing() and "the others" in NO_WORLD.missing()
    assert "audit hook alone" in Walls().missing()


def read(recording: Path) -> str:
    """What its reader says of it, nothing if it reads to the end."""
    try:
        list(read_recording(recording))
    except (RecordingError, TooLargeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([(b'{"kind": "step"}', b"12345678")], ""),
        (
            [(b'{"kind": "clip", "limit": %s}' % (b"1" * 400), b"")],
            "larger than that of any training: a number of 400 digits",
        ),
        ([(b'{"kind": "%s"}' % (b"x" * 1_000_000), b"")], "TooLargeError: "),
        ([(b'{"kind": "%s"}' % (b"x" * 190_000), b"")] * 300, "characters and more"),
        ([(b"[" * 200_000, b"")], "RecordingError"),
        ([(b'{"kind": "a"}', b"")] * (MOST_EVENTS + 1), "events"),
    ],
    ids=["right", "digits", "text", "texts", "deep", "many"],
)
def test_what_is_beyond_any_bound_is_not_read(frames, message: str, tmp_path: Path) -> None:
    with (tmp_path / "recording").open("wb") as file:
        for head, body in frames:
            file.write(LENGTHS.pack(len(head), len(body)) + head + body)
    said = read(tmp_path / "recording")
    assert message in said if message else not said


def test_a_hole_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    head = b'{"kind": "weights"}'
    with (tmp_path / "recording").open("wb") as file:
        file.write(LENGTHS.pack(len(head), 3_000_000_000) + head)
        file.truncate(3_100_000_000)
    assert "3000 MB" in read(tmp_path / "recording")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_stopped_leaves_nobody(number: int, tmp_path: Path) -> None:
    file = tmp_path / "endless.py"
    file.write_text(
        "import time\n\n\ndef train(model, tokenizer, train_dataset, eval_dataset, config):\n    time.sleep(99)\n"
    )
    check = psutil.Popen(sameloop_argv("check", str(file)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family: list[psutil.Process] = []
    depth = 5 if not available_here().namespaces else 4  # check, server, who waits, number 1, the loop
    while len(family) < depth:
        assert check.poll() is None
        time.sleep(0.1)
        family = [check, *check.children(recursive=True)]
    check.send_signal(number)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


@pytest.mark.slow
def test_a_right_loop_with_workers_is_right(tmp_path: Path) -> None:
    """They talk to each other by sockets that are files, and by shared memory."""
    sampler = "sampler=sampler, collate_fn=collator"
    text = MINIMAL.read_text(encoding="utf-8")
    assert text.count(sampler) == 1
    (tmp_path / "loop.py").write_text(text.replace(sampler, f"{sampler}, num_workers=2"), encoding="utf-8")
    assert check(tmp_path / "loop.py").verdict == IDENTICAL


@pytest.mark.slow
@pytest.mark.parametrize("act", acts(), ids=lambda act: act.stem)
def test_an_act_in_a_whole_check_comes_to_nothing(act: Path) -> None:
    """72 of them, 8 seconds each, in a world of processes of their own."""
    command = [sys.executable, "-m", "benchmarks.proofs.hostile", act.stem]
    finished = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert finished.returncode == 0
