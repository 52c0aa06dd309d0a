"""docs/hostile.md: what hostile loops do to a machine that checks them, and whether it is said.

Each act of tests/loops/acts stands in a right loop, which goes on after it whatever has come of it and hides every
error: who wants to be caught by none would write it so. The loop lies among other submissions in a folder that has a
grader's files in it, beside a process that has nothing to do with the check. Afterwards everything is looked at from
outside: files, processes, limits, what is left, what was shown.
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
from benchmarks.proofs.measuring import write_table
from shared.progress import announce
from shared.starting.children import ROOT

ACTS = ROOT / "tests" / "loops" / "acts"
DOCUMENT = ROOT / "docs" / "hostile.md"
SECRET = "SECRET-4711"
# What comes after an act: nothing of it is shown, and the loop is as right as before.
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
# Where a loop leaves what outlives it, besides the arena.
LEFT = [*map(Path, ("/dev/shm", "/tmp"))]
BYSTANDER = "import time; time.sleep(3600)  # BYSTANDER"
BECOME_SUBREAPER = 36  # linux/prctl.h: who has lost its parent comes to this process
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# More memory than this no process of a check takes: 2,000 MB is a loop's limit, which is looked at every 50 ms.
MOST_MB = 2800
SECONDS = 60


class Seen(NamedTuple):
    """What was seen of one act.

    Attributes:
        name, what: of the act.
        verdict: of the check; a number is an exit status that is none of a check.
        effects: what it has done that it must not, in words.
        said: what the check says of it.
    """

    name: str
    what: str
    verdict: str
    effects: list[str]
    said: str

    @property
    def is_said(self) -> bool:
        """Whether it does not pass; one that does has had an error of its own making, and has hidden it."""
        return self.verdict not in GOOD


def acts() -> list[Path]:
    """The files of all acts."""
    return sorted(ACTS.glob("*.py"))


def loop_with(act: Path, **numbers: int) -> str:
    """A right loop that begins with an act; `numbers`: what the act knows, by its names."""
    known = "".join(f"{name} = {number}\n" for name, number in numbers.items())
    return f"{MINIMAL.read_text(encoding='utf-8')}\n\n{known}{act.read_text(encoding='utf-8')}{AFTERWARDS}"


@contextmanager
def arena(act: Path) -> Iterator[tuple[Path, psutil.Popen]]:
    """A folder as a grader has one, and a process of the same user that has nothing to do with it."""
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


def try_act(act: Path, root: Path = ROOT) -> Seen:
    """Check a loop that begins with an act, and look around afterwards.

    Args:
        act: its file.
        root: the SameLoop that checks it.
    """
    what = act.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1)
    listening, near = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
    with arena(act) as (folder, bystander), listening, near:
        listening.bind(("127.0.0.1", 0))
        near.bind(listening.getsockname())
        listening.listen()
        for each in (listening, near):
            each.setblocking(False)
        numbers = {"BYSTANDER": bystander.pid, "PORT": listening.getsockname()[1]}
        for path in (path for place in LEFT for path in place.glob("sameloop-arena*")):
            path.unlink()  # of a try that was broken off
        before, left = tree(folder), _left()
        result, signs = _check(act, folder / "submissions", numbers, root)
        effects = [*_alive(bystander), *signs]
        # Whoever waits for the check's end has it now.
        time.sleep(10 if "later" in act.stem else 0)
        effects += [f"left {name}" for name in sorted(_left() - left)]
        now = tree(folder)
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        effects += [f"changed {name}" for name in changed if Path(name).name != f"{act.stem}.py"]
        with suppress(BlockingIOError):
            listening.accept()[0].close()
            effects.append("connected")
        with suppress(BlockingIOError):
            near.recv(10)
            effects.append("sent")
    _clear(left)
    said = result.get("why") or ", ".join(each["item"] for each in result["rubric"] if each["status"] == "fail")
    return Seen(act.stem, what, result["verdict"], effects, said)


def _check(act: Path, folder: Path, numbers: dict[str, int], root: Path) -> tuple[dict[str, Any], list[str]]:
    """The result of `sameloop check`, and what was seen of the check itself that must not be."""
    file = folder / f"{act.stem}.py"
    with tempfile.TemporaryDirectory() as name:
        output, own = Path(name) / "result.json", Path(name) / "own"
        own.mkdir()
        secret = {"PYTHONPATH": str(root), "TMPDIR": str(own), "SAMELOOP_ARENA_SECRET": "1"}
        command = [sys.executable, "-m", "benchmarks", "check", str(file), "--time-limit", str(SECONDS)]
        command += ["--format", "json", "--output", str(output)]
        peak, lowered = 0.0, False
        with (Path(name) / "shown").open("w+b") as shown:
            streams = {"stdout": shown, "stderr": shown}
            process = psutil.Popen(command, env={**os.environ, **secret}, cwd=root, start_new_session=True, **streams)
            # It is read seconds later only, when Python has imported what it needs.
            file.write_text(loop_with(act, CHECKER=process.pid, **numbers), encoding="utf-8")
            limits = process.rlimit(resource.RLIMIT_NOFILE), process.nice()
            while process.poll() is None:
                time.sleep(0.1)
                with suppress(psutil.Error):
                    peak = max(peak, *(each.memory_info().rss / 1e6 for each in (process, *process.children(True))))
                    lowered |= (process.rlimit(resource.RLIMIT_NOFILE), process.nice()) != limits
            shown.seek(0)
            text = shown.read().decode("utf-8", "replace")
        signs = [f"left {path.name}" for path in own.glob("sameloop*")]
        if process.returncode in (0, 1) and output.is_file():
            result = json.loads(output.read_text(encoding="utf-8"))
        else:
            last = (text.strip().splitlines() or [""])[-1]
            result = {"verdict": f"status {process.returncode}", "why": last, "rubric": []}
        return result, [*signs, *_signs(result, text, lowered, peak)]


def _alive(bystander: psutil.Popen) -> Iterator[str]:
    """What has become of processes: the one that has nothing to do with it, and those that ought to have ended."""
    if bystander.poll() is not None:
        yield "ended another process"
    time.sleep(0.5)
    survivors = [each for each in psutil.Process().children(recursive=True) if each.pid != bystander.pid]
    count = sum(each.is_running() and not _is_zombie(each) for each in survivors)
    if count:
        yield f"{count} processes survive"


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # nobody has waited for it, and now it is gone
        return True


def _signs(result: dict[str, Any], shown: str, lowered: bool, peak: float) -> Iterator[str]:
    if result["verdict"].startswith("status") and result["verdict"] != "status 2":
        yield f"the check broke ({result['verdict']})"
    if lowered:
        yield "changed the check's limits"
    if peak > MOST_MB:
        yield f"a process of the check took {peak:.0f} MB"
    if SECRET in shown or SECRET in str(result.get("output")):
        yield "read what it must not"
    if CONTROL.search(shown) or CONTROL.search(str(result.get("output"))) or CONTROL.search(str(result.get("why"))):
        yield "control codes shown"


def tree(folder: Path) -> dict[str, Any]:
    """Everything in a folder with what it is, when it was changed, its names, its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        of_file = (status.st_nlink, status.st_mtime, path.read_bytes()) if is_file else ()
        attributes = tuple(os.listxattr(path, follow_symlinks=False))
        found[str(path.relative_to(folder))] = (status.st_mode, attributes, *of_file)
    return found


def _left() -> set[str]:
    """What lies about that an act can leave: files, and shared memory of the kernel's."""
    files = {str(path) for folder in LEFT for path in folder.glob("sameloop-arena*")}
    with suppress(OSError):
        segments = Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()[1:]
        files |= {f"segment {line.split()[1]}" for line in segments}
    return files


def _clear(left: set[str]) -> None:
    """Take away what an act has left behind."""
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            each.kill()
            each.wait(5)
    for name in _left() - left:
        if name.startswith("segment "):
            subprocess.run(["ipcrm", "-m", name.partition(" ")[2]], check=False)
        elif not Path(name).is_dir():
            Path(name).unlink()


def write_document(seen: Sequence[Seen]) -> None:
    """Write docs/hostile.md, and each act to docs/data/hostile.csv."""
    rows = [(each.name, each.what, ", ".join(each.effects) or "none", each.verdict, _cell(each.said)) for each in seen]
    write_table("hostile", ("act", "what it does", "effect", "verdict", "what the check says"), rows)
    lines = [
        "# What hostile loops can do",
        "",
        f"**{sum(not each.effects for each in seen)} of {len(seen)} hostile acts have no effect. "
        f"{sum(each.is_said for each in seen)} do not pass, and the check says why**: "
        "[data/hostile.csv](data/hostile.csv). The others pass as the right loops that they otherwise are: the kernel "
        "has refused the act, or the act has changed only the loop's own folder and memory, which are deleted.",
        "",
        "Measured by `make hostile-table`. Each [act](../tests/loops/acts) stands at the beginning of a right loop, "
        "which hides every error and goes on. What protects from it: [SECURITY.md](../SECURITY.md).",
    ]
    DOCUMENT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    announce(f"written: {DOCUMENT.relative_to(ROOT)}")


def _cell(text: str) -> str:
    return re.sub(r"arena-\w+", "arena", CONTROL.sub("?", text)).replace("\n", " ")[:160]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the acts that are named, or all, and write the page of all."""
    if os.getpid() != 1:
        # What a wall does not hold must reach no process but those of this proof: they are in a world of their own.
        apart = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--mount-proc", "--ipc", "--kill-child"]
        here = [sys.executable, "-m", "benchmarks.proofs.hostile", *(sys.argv[1:] if arguments is None else arguments)]
        return subprocess.run([*apart, *here], check=False).returncode
    parser = argparse.ArgumentParser(prog="make hostile-table", description=main.__doc__)
    parser.add_argument("acts", nargs="*", help="names of acts; without any, all, and docs/hostile.md is written")
    parser.add_argument("--root", type=Path, default=ROOT, help="another version's folder: nothing is written")
    given = parser.parse_args(arguments)
    seen = []
    for act in acts():
        if not given.acts or act.stem in given.acts:
            started = time.monotonic()
            each = try_act(act, given.root.resolve())
            seen.append(each)
            mark = "FAILS" if each.effects else "holds" if each.is_said else "unsaid"
            line = f"{mark} {each.name}: {each.verdict}; {each.effects}; {each.said}"
            announce(f"{line[:300]} ({time.monotonic() - started:.0f} s)")
    harmless, said = (sum(marks) for marks in zip(*((not each.effects, each.is_said) for each in seen), strict=True))
    announce(f"of {len(seen)} acts {harmless} have no effect, and {said} are said")
    if not given.acts and given.root == ROOT:
        write_document(seen)
    return 1 if any(each.effects for each in seen) else 0


if __name__ == "__main__":
    sys.exit(main())
