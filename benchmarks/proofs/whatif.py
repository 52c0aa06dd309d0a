"""Measuring what happens without a line: `make whatif`, for every phase of the manual loop.

The page is specialized for the settings of a preset, each phase's line is taken out of it or replaced by what people
write instead, and the page is run and held against the whole one.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from concurrent.futures import as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.judge.phases import PHASES
from benchmarks.lesson.whatif import FILE, IN_A_STEP, MEASURED, Measured, Seen, WhatIf
from benchmarks.mistakes.catalogue import LADDER_STEPS, QUESTIONS
from benchmarks.mistakes.ladder import LADDER_FILE, ladder_config, write_ladder
from benchmarks.mistakes.mistake import differing_lines, edited
from benchmarks.pages.fold import folded_source
from benchmarks.runs import run_text_here
from shared.config import RunConfig, job_name
from shared.errors import SameLoopError
from shared.files import digest_of_file
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.folder import WEIGHTS_FILE
from shared.running.script import LoopScript, own_script, package_script
from shared.starting.launch import pool, settle_worker

PRESET = "small"


def measured_config(settings: Mapping[str, Any], preset: str = PRESET) -> RunConfig:
    """The settings of such a run: the preset's, without checkpoints on the way."""
    return RunConfig.build(preset, **{"save_strategy": "no", **settings})


def scripts_of_question(phase: str, preset: str = PRESET) -> tuple[LoopScript, LoopScript]:
    """The page specialized for the settings of a phase's question, and the same without the line.

    Raises:
        ValueError: the page no longer holds one of the pieces exactly once.
    """
    question = QUESTIONS[phase]
    folded = folded_source(package_script("manual"), measured_config(question.settings, preset))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.py"
        file.write_text(folded, encoding="utf-8")
        whole = own_script(file)
        return whole, edited(whole, question.pieces)


def measure(preset: str = PRESET, processes: int = 2) -> Measured:
    """Run the page whole and without each line.

    Args:
        processes: how many runs at once.

    Raises:
        ValueError: the page no longer holds what a question replaces.
    """
    questions = {phase.name: QUESTIONS[phase.name] for phase in PHASES if phase.name in QUESTIONS}
    scripts = {phase: scripts_of_question(phase, preset) for phase in questions}
    # Questions under the same settings are held against the same run of the whole page.
    firsts = {scripts[phase][0].source: phase for phase in reversed(questions)}
    with (
        tempfile.TemporaryDirectory() as work,
        pool(processes, settle_worker) as workers,
    ):
        folders = {source: Path(work) / f"whole-{number}" / "run" for number, source in enumerate(firsts)}
        wholes = {
            source: workers.submit(
                run_script, scripts[phase][0], dict(questions[phase].settings), preset, folders[source]
            )
            for source, phase in firsts.items()
        }
        others = {
            phase: workers.submit(
                run_script, scripts[phase][1], dict(question.settings), preset, Path(work) / phase / "run"
            )
            for phase, question in questions.items()
        }
        for number, future in enumerate(as_completed([*wholes.values(), *others.values()]), start=1):
            future.result()
            announce(f"{number} of {len(wholes) + len(others)} runs")
        what_ifs = {
            phase: held_against(
                phase,
                scripts[phase],
                (wholes[source := scripts[phase][0].source].result(), folders[source]),
                (others[phase].result(), Path(work) / phase / "run"),
            )
            for phase in questions
        }
        record = RunRecord.read(folders[next(iter(firsts))])
    return Measured(
        job_name(record.config, record.start.get("parameters")),
        record.config.eval_size,
        what_ifs,
        record.header["environment"],
    )


def run_script(script: LoopScript, settings: Mapping[str, Any], preset: str, folder: Path) -> Seen:
    """Run one page, in this process, and leave its record and its model in a folder."""
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            run_text_here(script.source, folder.parent / "page.py", measured_config(settings, preset), folder)
    except SameLoopError as error:
        return Seen(error=str(error).replace(f"{folder.parent}/", ""))
    record = RunRecord.read(folder)
    return Seen(
        [_mean(line["forward_losses"]) for line in record.steps],
        [line["accuracy"] for line in record.evaluations],
        [line["loss"] for line in record.evaluations],
        record.footer["padded_tokens"],
    )


def changed(whole: LoopScript, wrong: LoopScript) -> list[str]:
    """What was changed in a page, a line each, beginning with `-` or `+`."""
    return [f"{sign} {line.strip()}" for sign, line in differing_lines(whole, wrong) if line.strip()]


def held_against(
    phase: str, scripts: tuple[LoopScript, LoopScript], whole: tuple[Seen, Path], wrong: tuple[Seen, Path]
) -> WhatIf:
    """What differs first between two runs, each with its folder."""
    nothing: tuple[str, int | None, list[float | None]] = ("nothing", None, [])
    (quantity, step, values), same = nothing, False
    if wrong[0].error is None:
        quantity, step, values = first_seen(*(RunRecord.read(folder) for _, folder in (whole, wrong))) or nothing
        same = len({digest_of_file(folder / WEIGHTS_FILE) for _, folder in (whole, wrong)}) == 1
    asked, size = QUESTIONS[phase], RunRecord.read(whole[1]).config.eval_size
    without = phase, asked.without, asked.asked, changed(*scripts)
    return WhatIf(*without, whole[0], wrong[0], quantity, step, values, same, size)


def first_seen(right: RunRecord, wrong: RunRecord) -> tuple[str, int, list[float | None]] | None:
    """The first difference that can be seen without looking into a step: quantity, step and both values."""
    for ours, theirs in zip_longest(right.steps, wrong.steps):
        if ours is None or theirs is None:
            return "number of steps", (ours or theirs)["step"], [len(right.steps), len(wrong.steps)]
        for key, name in IN_A_STEP.items():
            if ours[key] != theirs[key]:
                return name, ours["step"], [_mean(line[key]) for line in (ours, theirs)]
        pair = [next((each for each in run.evaluations if each["step"] == ours["step"]), {}) for run in (right, wrong)]
        values = [each.get("loss") for each in pair]
        if values[0] != values[1]:
            return "evaluation", ours["step"], values
    return None


def _mean(value: Any) -> float:
    return statistics.fmean(value) if isinstance(value, list) else value


def write_measured(found: Measured, file: Path = FILE) -> None:
    """Keep what `measure` found, a line for each phase."""
    content = asdict(found)
    lines = [f"{json.dumps(phase)}: {json.dumps(each)}" for phase, each in content.pop("what_ifs").items()]
    head = json.dumps(content).removesuffix("}")
    file.write_text(f'{head}, "what_ifs": {{\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


def main() -> None:
    """Measure, climb the ladder, and keep what was found beside the lesson."""
    write_measured(measure())
    announce(f"written: {FILE.name}")
    with tempfile.TemporaryDirectory() as folder:
        write_ladder(ladder_config(PRESET), tuple(LADDER_STEPS), Path(folder) / "ladder")
        shutil.copy(Path(folder) / "ladder" / LADDER_FILE, MEASURED)
    announce(f"written: {LADDER_FILE}")


if __name__ == "__main__":
    main()
