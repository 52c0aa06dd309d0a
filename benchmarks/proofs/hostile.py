"""docs/hostile.md: what hostile loops do to a machine that checks them, and whether the check reports it.

Each act of tests/loops/acts is put into a right loop, which continues after it in any case and hides every error, as
an attacker would write it. The loop is one of several submissions in a folder with a grader's files, and a process
that has nothing to do with the check runs meanwhile. Afterwards everything is examined from outside: files, processes,
limits, leftovers, output.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.check.rubric import GOOD
from benchmarks.mistakes.mistake import MINIMAL
from benchmarks.proofs.measuring import DOCS, page, write_table
from shared.progress import announce
from shared.starting.children import ROOT

ACTS = ROOT / "tests" / "loops" / "acts"
DOCUMENT = DOCS / "hostile.md"
SECRET = "SECRET-4711"
# The code after an act: it hides the act, and the loop is as right as before.
AFTERWARDS = """

_right = train


def train(model, tokenizer, train_dataset, eval_dataset, config):
    from pathlib import Path

    forge = None
    try:
        forge = act(Path(__file__).resolve().parents[1])
    except BaseException:
        pass
    log = _right(model, tokenizer, train_dataset, eval_dataset, config)
    return forge(log) if forge else log
"""
# Where a loop can leave files that outlive it, apart from the arena.
PLACES = [*map(Path, ("/dev/shm", "/tmp"))]
BYSTANDER = "import time; time.sleep(3600)  # BYSTANDER"
BECOME_SUBREAPER = 36  # linux/prctl.h: this process becomes the parent of orphaned processes
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# No process of a check takes more memory than this: 2,000 MB is a loop's limit, which is checked every 50 ms.
MOST_MB = 2800
SECONDS = 60


class ActResult(NamedTuple):
    """The result of one act.

    Attributes:
        name, description: of the act.
        verdict: of the check; a number is an exit status that a check does not have.
        effects: what it has done and must not do, in words.
        message: what the check says about it.
    """

    name: str
    description: str
    verdict: str
    effects: list[str]
    message: str

    @property
    def is_reported(self) -> bool:
        """Whether the loop does not pass; in a loop that passes, the act has failed and the loop hides the error."""
        return self.verdict not in GOOD


def acts() -> list[Path]:
    """The files of all acts."""
    return sorted(ACTS.glob("*.py"))


def loop_with(act: Path, **numbers: int) -> str:
    """A right loop that begins with an act; `numbers`: the numbers that the act knows, by name."""
    known = "".join(f"{name} = {number}\n" for name, number in numbers.items())
    return f"{MINIMAL.read_text(encoding='utf-8')}\n\n{known}{act.read_text(encoding='utf-8')}{AFTERWARDS}"


@contextmanager
def arena(act: Path) -> Iterator[tuple[Path, psutil.Popen]]:
    """A grader's folder, and a process of the same user that has nothing to do with the check."""
    with tempfile.TemporaryDirectory(prefix="arena-") as name:
        folder = Path(name).resolve()
        (folder / "submissions").mkdir()
        (folder / "submissions" / f"{act.stem}.py").touch()
        (folder / "submissions" / "other.py").write_text(f"# {SECRET}\n", encoding="utf-8")
        (folder / "grades.csv").write_text(f"name,points\n{SECRET},17\n", encoding="utf-8")
        bystander = psutil.Popen([sys.executable, "-c", BYSTANDER], start_new_session=True)
        try:
            yield folder, bystander
        finally:
            with suppress(psutil.NoSuchProcess):
                bystander.kill()
            bystander.wait()


def try_act(act: Path, root: Path = ROOT) -> ActResult:
    """Check a loop that begins with an act, by the SameLoop in `root`, and examine its effects afterwards."""
    description = act.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1)
    listening, near = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
    with arena(act) as (folder, bystander), listening, near:
        listening.bind(("127.0.0.1", 0))
        near.bind(listening.getsockname())
        listening.listen()
        for connection in (listening, near):
            connection.setblocking(False)
        numbers = {"BYSTANDER": bystander.pid, "PORT": listening.getsockname()[1]}
        for path in (path for place in PLACES for path in place.glob("sameloop-arena*")):
            path.unlink()  # of an earlier try that was interrupted
        before, leftovers = tree(folder), _leftovers()
        result, signs = _check(act, folder / "submissions", numbers, root)
        effects = [*_alive(bystander), *signs]
        # An act that waits for the check's end acts now.
        time.sleep(10 if "later" in act.stem else 0)
        effects += [f"left {name}" for name in sorted(_leftovers() - leftovers)]
        now = tree(folder)
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        effects += [f"changed {name}" for name in changed if Path(name).name != f"{act.stem}.py"]
        with suppress(BlockingIOError):
            listening.accept()[0].close()
            effects.append("connected")
        with suppress(BlockingIOError):
            near.recv(10)
            effects.append("sent")
    _clear(leftovers)
    message = result.get("why") or ", ".join(row["item"] for row in result["rubric"] if row["status"] == "fail")
    return ActResult(act.stem, description, result["verdict"], effects, message)


def _check(act: Path, folder: Path, numbers: dict[str, int], root: Path) -> tuple[dict[str, Any], list[str]]:
    """The result of `sameloop check`, and effects on the check itself."""
    file = folder / f"{act.stem}.py"
    with tempfile.TemporaryDirectory() as name:
        output, own = Path(name) / "result.json", Path(name) / "own"
        own.mkdir()
        secret = {"PYTHONPATH": str(root), "TMPDIR": str(own), "SAMELOOP_ARENA_SECRET": "1"}
        command = [sys.executable, "-m", "benchmarks", "check", str(file), "--time-limit", str(SECONDS)]
        command += ["--format", "json", "--output", str(output)]
        peak, lowered = 0.0, False
        with (Path(name) / "shown").open("w+b") as output_file:
            streams = {"stdout": output_file, "stderr": output_file}
            process = psutil.Popen(command, env={**os.environ, **secret}, cwd=root, start_new_session=True, **streams)
            # The check reads it only seconds later, after Python's imports.
            file.write_text(loop_with(act, CHECKER=process.pid, **numbers), encoding="utf-8")
            limits = process.rlimit(resource.RLIMIT_NOFILE), process.nice()
            while process.poll() is None:
                time.sleep(0.1)
                with suppress(psutil.Error):
                    peak = max(peak, *(child.memory_info().rss / 1e6 for child in (process, *process.children(True))))
                    lowered |= (process.rlimit(resource.RLIMIT_NOFILE), process.nice()) != limits
            output_file.seek(0)
            text = output_file.read().decode("utf-8", "replace")
        signs = [f"left {path.name}" for path in own.glob("sameloop*")]
        if process.returncode in (0, 1) and output.is_file():
            result = json.loads(output.read_text(encoding="utf-8"))
        else:
            last = (text.strip().splitlines() or [""])[-1]
            result = {"verdict": f"status {process.returncode}", "why": last, "rubric": []}
        return result, [*signs, *_signs(result, text, lowered, peak)]


def _alive(bystander: psutil.Popen) -> Iterator[str]:
    """Effects on processes: whether the other process was ended, and whether processes of the check survive."""
    if bystander.poll() is not None:
        yield "ended another process"
    time.sleep(0.5)
    others = [child for child in psutil.Process().children(recursive=True) if child.pid != bystander.pid]
    _, survivors = psutil.wait_procs(others, timeout=0)
    if survivors:
        yield f"{len(survivors)} processes survive"


def _signs(result: dict[str, Any], printed: str, lowered: bool, peak: float) -> Iterator[str]:
    if result["verdict"].startswith("status") and result["verdict"] != "status 2":
        yield f"the check broke ({result['verdict']})"
    if lowered:
        yield "changed the check's limits"
    if peak > MOST_MB:
        yield f"a process of the check took {peak:.0f} MB"
    if SECRET in printed or SECRET in str(result.get("output")):
        yield "read what it must not"
    if CONTROL.search(printed) or CONTROL.search(str(result.get("output"))) or CONTROL.search(str(result.get("why"))):
        yield "control codes shown"


def tree(folder: Path) -> dict[str, Any]:
    """Everything in a folder, with mode, attributes, number of links, time of change and content."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        of_file = (status.st_nlink, status.st_mtime, path.read_bytes()) if is_file else ()
        attributes = tuple(os.listxattr(path, follow_symlinks=False))
        entries[str(path.relative_to(folder))] = (status.st_mode, attributes, *of_file)
    return entries


def _leftovers() -> set[str]:
    """The present leftovers of acts: files, and shared memory segments."""
    files = {str(path) for folder in PLACES for path in folder.glob("sameloop-arena*")}
    with suppress(OSError):
        segments = Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()[1:]
        files |= {f"segment {line.split()[1]}" for line in segments}
    return files


def _clear(leftovers: set[str]) -> None:
    """Remove what an act has left behind."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
            child.wait(5)
    for name in _leftovers() - leftovers:
        if name.startswith("segment "):
            subprocess.run(["ipcrm", "-m", name.partition(" ")[2]], check=False)
        elif not Path(name).is_dir():
            Path(name).unlink()


def write_document(results: Sequence[ActResult], harmless: int, reported: int) -> None:
    """Write docs/hostile.md, and each act to docs/data/hostile.csv."""
    rows = [
        (result.name, result.description, ", ".join(result.effects) or "none", result.verdict, _cell(result.message))
        for result in results
    ]
    write_table("hostile", ("act", "what it does", "effect", "verdict", "what the check says"), rows)
    DOCUMENT.write_text(page(DOCUMENT.name, results=results, harmless=harmless, reported=reported), encoding="utf-8")
    announce(f"written: {DOCUMENT.relative_to(ROOT)}")


def _cell(text: str) -> str:
    return re.sub(r"arena-\w+", "arena", CONTROL.sub("?", text)).replace("\n", " ")[:160]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the acts that are named, or all, and write the document about all."""
    if os.getpid() != 1:
        # What the check does not stop must affect no other processes: those of this proof run in their own namespaces.
        apart = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--mount-proc", "--ipc", "--kill-child"]
        here = [sys.executable, "-m", "benchmarks.proofs.hostile", *(sys.argv[1:] if arguments is None else arguments)]
        return subprocess.run([*apart, *here], check=False).returncode
    parser = argparse.ArgumentParser(prog="make hostile-table", description=main.__doc__)
    parser.add_argument("acts", nargs="*", help="names of acts; without any, all, and docs/hostile.md is written")
    parser.add_argument("--root", type=Path, default=ROOT, help="another version's folder: nothing is written")
    options = parser.parse_args(arguments)
    results = []
    for act in acts():
        if not options.acts or act.stem in options.acts:
            started = time.monotonic()
            result = try_act(act, options.root.resolve())
            results.append(result)
            mark = "FAILS" if result.effects else "holds" if result.is_reported else "unreported"
            line = f"{mark} {result.name}: {result.verdict}; {result.effects}; {result.message}"
            announce(f"{line[:300]} ({time.monotonic() - started:.0f} s)")
    harmless, reported = sum(not result.effects for result in results), sum(result.is_reported for result in results)
    announce(f"of {len(results)} acts {harmless} have no effect, and {reported} are reported")
    if not options.acts and options.root == ROOT:
        write_document(results, harmless, reported)
    return 1 if any(result.effects for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
