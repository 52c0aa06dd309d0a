"""docs/accelerate.md: what changes between the manual loop, the loop with accelerate and `Trainer`.

`make accelerate-table` writes it. The lines are those of the scripts that `eject` writes for `quick`; the rest is
measured on `tiny`, in this process, except what needs two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import accelerate

from benchmarks.check.check import check_script
from benchmarks.judge.phases import PHASES
from benchmarks.lesson.timeline import ACCELERATE
from benchmarks.lesson.xray import script_frame, shortened, trace
from benchmarks.mistakes.ladder import LADDER_STEPS, ladder_config, write_ladder
from benchmarks.mistakes.mistake import Pieces, edited
from benchmarks.pages.alignment import by_phase
from benchmarks.pages.eject import eject
from benchmarks.proofs.checks import COURSE as COURSE_BY_HAND
from benchmarks.proofs.checks import LOOPS
from benchmarks.proofs.measuring import DOCS, page, quietly, where, write_table
from benchmarks.runs import run_here, run_in_fresh_process
from benchmarks.verdict.verdict import compare_runs, compare_weights
from shared.config import RunConfig
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.folder import WEIGHTS_FILE
from shared.running.script import own_script
from shared.starting.children import ROOT

DOCUMENT = DOCS / "accelerate.md"
COURSE = LOOPS / "course_accelerate.py"
# The changes of the ejected script, for two processes.
TWO_PROCESSES: dict[str, Pieces] = {
    "no `PartialState(cpu=...)`": (
        ("    PartialState(cpu=not torch.accelerator.is_available())  # Device: GPU or CPU.\n", ""),
    ),
    "`scheduler = accelerator.prepare(scheduler)`": (
        ("    total_loss = ", "    scheduler = accelerator.prepare(scheduler)\n    total_loss = "),
    ),
}
# What the document leaves out of the scripts.
UNSHOWN = ("page", "imports", "function", "log", "checkpoint", "save")
TINY = RunConfig.build("tiny", num_train_epochs=2, train_size=45, save_strategy="no")


def changed_lines() -> tuple[list[str], list[int]]:
    """The differences of the manual script and the one with accelerate, by phase; and the lengths of all three."""
    config = RunConfig.build("quick", save_strategy="no")
    scripts = [eject(config, loop) for loop in ("manual", "accelerate", "trainer")]
    lines = []
    for phase in (phase for phase in PHASES if phase.name not in UNSHOWN):
        for sign, script, other in (("-", *scripts[:2]), ("+", *scripts[1::-1])):
            there = _code(other.splitlines())
            lines += [
                sign + line
                for stretch in by_phase(script)[phase.name]
                for line in _code(stretch.lines)
                if line not in there and "print(" not in line
            ]
    return lines, [len(script.splitlines()) for script in scripts]


def _code(lines: Sequence[str]) -> list[str]:
    codes = (line.partition("  # ")[0].rstrip() for line in lines)
    return [line for line in codes if line.strip() and not line.strip().startswith("#")]


def inside(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """The script's lines that call accelerate: the line, what happens, accelerate's line, and its place."""
    script = folder / "my_loop.py"
    script.write_text(eject(TINY, "accelerate"), encoding="utf-8")
    tracing = trace("manual", own_script(script), shortened(TINY.model_copy(update={"loop": str(script)})))
    visited = set()
    for event in tracing.events:
        frames = [frame for frame in event.frames if frame.file.startswith(ACCELERATE.name)]
        line = script_frame(event, script.name)
        if frames and line and frames[-1] not in visited:
            visited.add(frames[-1])
            place = f"{frames[-1].file.partition('/')[2]}:{frames[-1].line}"
            yield line.code.partition("  # ")[0], event.what, frames[-1].code, place


def with_two_processes(folder: Path) -> Iterator[tuple[str, str]]:
    """Changes of the ejected script, and where two processes then diverge from `Trainer`."""
    quietly(run_in_fresh_process, "trainer", TINY, folder / "trainer", 2)
    source = eject(TINY, "accelerate")
    for number, (name, pieces) in enumerate({"none": (), **TWO_PROCESSES}.items()):
        script = folder / f"loop_{number}.py"
        script.write_text(source, encoding="utf-8")
        script.write_text(edited(own_script(script), pieces).source, encoding="utf-8")
        own = TINY.model_copy(update={"loop": str(script)})
        quietly(run_in_fresh_process, "manual", own, folder / f"manual_{number}", 2)
        rate = RunRecord.read(folder / f"manual_{number}").steps[-1]["learning_rate"]
        first = where(compare_runs(folder / f"manual_{number}", folder / "trainer")) or "**identical**"
        yield name, f"{first}, {rate:.2g}"


def same_weights(folder: Path) -> bool:
    """Whether the course's loops, without and with accelerate, end with the same weights."""
    for file in (COURSE, COURSE_BY_HAND):
        quietly(run_here, "manual", own_script(file), TINY.model_copy(update={"loop": str(file)}), folder / file.stem)
    ours, theirs = (folder / file.stem / WEIGHTS_FILE for file in (COURSE, COURSE_BY_HAND))
    return not compare_weights(ours, theirs).differing


def document(folder: Path) -> str:
    """docs/accelerate.md, measured."""
    lines, lengths = changed_lines()
    course, by_hand = (check_script(own_script(file)).failures for file in (COURSE, COURSE_BY_HAND))
    announce("the course's loop, one fix after the other")
    ladder = write_ladder(ladder_config("tiny"), tuple(LADDER_STEPS), folder / "ladder", accelerate=True)
    fixes = [(f"`{row.name}`" if row.name in LADDER_STEPS else "none", row.where) for row in ladder.rows]
    announce("two processes")
    two = list(with_two_processes(folder))
    write_table("accelerate", ("line of the script", "what happens", "line of accelerate", "where"), inside(folder))
    return page(
        DOCUMENT.name,
        lengths=lengths,
        diff=lines,
        version=accelerate.__version__,
        same_weights=same_weights(folder),
        failures=course,
        like_by_hand=course == by_hand,
        fixes=fixes,
        two=two,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        DOCUMENT.write_text(document(Path(work)), encoding="utf-8")
    announce(f"written: {DOCUMENT.relative_to(ROOT)}")
