"""Measure what happens without a line: `make whatif`, for every phase of the manual loop.

The loop is specialized for the settings of a preset, each phase's line is removed or replaced by what people write
instead, and the loop is run and compared with the complete one.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Mapping
from concurrent.futures import as_completed
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.judge.phases import PHASES
from benchmarks.lesson.whatif import FILE, IN_A_STEP, MEASURED, Measured, RunResult, WhatIf
from benchmarks.mistakes.catalogue import LADDER_STEPS, QUESTIONS
from benchmarks.mistakes.ladder import LADDER_FILE, ladder_config, write_ladder
from benchmarks.mistakes.mistake import differing_lines, edited
from benchmarks.pages.fold import folded_source
from benchmarks.proofs.measuring import quietly, write_by_line
from benchmarks.runs import run_text_here
from shared.config import RunConfig, job_name
from shared.errors import SameLoopError
from shared.files import digest_of_file
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.folder import WEIGHTS_FILE
from shared.running.script import LoopScript, own_script, package_script
from shared.starting.launch import pool

PRESET = "small"


def measured_config(settings: Mapping[str, Any], preset: str = PRESET) -> RunConfig:
    """The settings of such a run: the preset's, without checkpoints during the training."""
    return RunConfig.build(preset, **{"save_strategy": "no", **settings})


def scripts_of_question(phase: str, preset: str = PRESET) -> tuple[LoopScript, LoopScript]:
    """The loop specialized for the settings of a phase's question, and the same without the line.

    Raises:
        ValueError: the loop no longer contains one of the pieces exactly once.
    """
    question = QUESTIONS[phase]
    specialized = folded_source(package_script("manual"), measured_config(question.settings, preset))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.py"
        file.write_text(specialized, encoding="utf-8")
        whole = own_script(file)
        return whole, edited(whole, question.pieces)


def measure() -> Measured:
    """Run the complete loop, and the loop without each line, two runs at once.

    Raises:
        ValueError: the loop no longer contains what a question replaces.
    """
    scripts = {phase.name: scripts_of_question(phase.name) for phase in PHASES if phase.name in QUESTIONS}
    # By their texts: questions with the same settings are compared with the same run of the complete loop.
    runs = {script.source: (script, QUESTIONS[phase].settings) for phase, pair in scripts.items() for script in pair}
    with tempfile.TemporaryDirectory() as work, pool(2) as workers:
        folders = {source: Path(work, str(number), "run") for number, source in enumerate(runs)}
        results = {
            source: workers.submit(run_script, script, dict(settings), PRESET, folders[source])
            for source, (script, settings) in runs.items()
        }
        for number, future in enumerate(as_completed(results.values()), start=1):
            future.result()
            announce(f"{number} of {len(results)} runs")
        what_ifs = {
            phase: what_if_of(phase, pair, *((results[each.source].result(), folders[each.source]) for each in pair))
            for phase, pair in scripts.items()
        }
        record = RunRecord.read(next(iter(folders.values())))
    return Measured(
        job_name(record.config, record.start.get("parameters")),
        record.config.eval_size,
        what_ifs,
        record.header["environment"],
    )


def run_script(script: LoopScript, settings: Mapping[str, Any], preset: str, folder: Path) -> RunResult:
    """Run one loop in this process, and write its record and its model into a folder."""
    try:
        quietly(run_text_here, script.source, folder.parent / "page.py", measured_config(settings, preset), folder)
    except SameLoopError as error:
        return RunResult(error=str(error).replace(f"{folder.parent}/", ""))
    record = RunRecord.read(folder)
    return RunResult(
        [_mean(line["forward_losses"]) for line in record.steps],
        [line["accuracy"] for line in record.evaluations],
        [line["loss"] for line in record.evaluations],
        record.footer["padded_tokens"],
    )


def changed(whole: LoopScript, wrong: LoopScript) -> list[str]:
    """The changed lines of a loop, each beginning with `-` or `+`."""
    return [f"{sign} {line.strip()}" for sign, line in differing_lines(whole, wrong) if line.strip()]


def what_if_of(
    phase: str, scripts: tuple[LoopScript, LoopScript], whole: tuple[RunResult, Path], wrong: tuple[RunResult, Path]
) -> WhatIf:
    """The first difference between two runs, each with its folder."""
    nothing: tuple[str, int | None, list[float | None]] = ("nothing", None, [])
    (quantity, step, values), same = nothing, False
    if wrong[0].error is None:
        quantity, step, values = first_seen(*(RunRecord.read(folder) for _, folder in (whole, wrong))) or nothing
        same = len({digest_of_file(folder / WEIGHTS_FILE) for _, folder in (whole, wrong)}) == 1
    question, size = QUESTIONS[phase], RunRecord.read(whole[1]).config.eval_size
    without = phase, question.without, question.asked, changed(*scripts)
    return WhatIf(*without, whole[0], wrong[0], quantity, step, values, same, size)


def first_seen(right: RunRecord, wrong: RunRecord) -> tuple[str, int, list[float | None]] | None:
    """The first difference that shows without looking inside a step: quantity, step and both values."""
    for ours, theirs in zip_longest(right.steps, wrong.steps):
        if ours is None or theirs is None:
            return "number of steps", (ours or theirs)["step"], [len(right.steps), len(wrong.steps)]
        for key, name in IN_A_STEP.items():
            if ours[key] != theirs[key]:
                return name, ours["step"], [_mean(line[key]) for line in (ours, theirs)]
        pair = [next((line for line in run.evaluations if line["step"] == ours["step"]), {}) for run in (right, wrong)]
        values = [line.get("loss") for line in pair]
        if values[0] != values[1]:
            return "evaluation", ours["step"], values
    return None


def _mean(value: Any) -> float:
    return statistics.fmean(value) if isinstance(value, list) else value


def main() -> None:
    """Measure, run the ladder, and keep the results next to the lesson."""
    write_by_line(FILE, asdict(measure()), "what_ifs")
    announce(f"written: {FILE.name}")
    with tempfile.TemporaryDirectory() as folder:
        write_ladder(ladder_config(PRESET), tuple(LADDER_STEPS), Path(folder) / "ladder")
        shutil.copy(Path(folder) / "ladder" / LADDER_FILE, MEASURED)
    announce(f"written: {LADDER_FILE}")


if __name__ == "__main__":
    main()
