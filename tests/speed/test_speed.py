"""The lesson in speed: the same work with one change after the other, kept run by run, said in a table and a chart."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from build import header, record_of, steps_of
from conftest import run_in_process
from rich.console import Console

from benchmarks.cli import main
from benchmarks.proofs.speed import document
from benchmarks.speed import measure as speed
from benchmarks.speed.lesson import (
    CHANGES,
    LESSON,
    Figures,
    Lesson,
    Row,
    figures,
    lesson_config,
)
from benchmarks.speed.lesson_chart import alt_text, speed_chart
from benchmarks.speed.lesson_table import HEADINGS, print_lesson
from benchmarks.speed.measure import NotRunError, measure
from shared import hardware
from shared.config import RunConfig
from shared.errors import Interrupted, SameLoopError
from shared.recording.record import RunRecord
from shared.running.script import script_of

NAMES = [change.name for change in CHANGES]
GIVEN = {"preset": "tiny", "train_size": 24, "eval_size": 8, "max_length": 40}
# As many as there are without what cannot run (compiling: its obstacle is played) and without a second of the same.
RUNS = [name for name in NAMES if name not in ("compiled", "fast")]


def run_here(config: RunConfig, folder: Path) -> tuple[Figures, int]:
    """As `speed._run`, in this process, which spares seconds."""
    run = folder / "run"
    record = RunRecord.read(run_in_process("manual", config, run, script=script_of("manual", config)))
    shutil.rmtree(run)
    return figures(record), record.start["parameters"]


class Watched:
    """Runs as asked, here, and remembers which; after so many it is interrupted."""

    def __init__(self, run: Callable[..., tuple[Figures, int]], stop_after: int = 99) -> None:
        self.configs: list[RunConfig] = []
        self._run, self._stop_after = run, stop_after

    def __call__(self, config: RunConfig, folder: Path) -> tuple[Figures, int]:
        if len(self.configs) == self._stop_after:
            raise Interrupted("the lesson was interrupted", signal.SIGINT)
        self.configs.append(config)
        return self._run(config, folder)


def made_up(config: RunConfig, folder: Path) -> tuple[Figures, int]:
    """What a run might have given; the batch size shows which it was."""
    size = config.per_device_train_batch_size
    return Figures(2.0, 0.1, 80, 100, 40.0 * size, 500.0, 0.75), 1000


@pytest.fixture(scope="module", autouse=True)
def no_compiler() -> Iterator[None]:
    """To compile takes a minute: here nothing can."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        patch.setattr(hardware, "bf16", lambda use_cpu=False: hardware.Bf16(False, "no instruction for it"))
        yield


def rows_of(lesson: Lesson, length: int = 40) -> dict[str, Row]:
    return {row.name: row for row in lesson.at(length)}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lesson, list[RunConfig]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "_run", watched := Watched(run_here))
        config, lengths = lesson_config(GIVEN)
        return measure(config, lengths, 1, tmp_path_factory.mktemp("speed")), watched.configs


def test_each_row_is_the_plain_loop_with_one_change(measured: tuple[Lesson, list[RunConfig]]) -> None:
    lesson, configs = measured
    plain = configs[0]
    assert (plain.train_size, plain.eval_size, plain.max_length, plain.num_train_epochs) == (24, 8, 40, 1)
    changed = [plain.differences(config) for config in configs]
    assert changed == [
        {},  # the plain loop
        {},  # all padded: another page
        {"train_sampling_strategy": ("random", "group_by_length")},
        {"bf16": (False, True)},
        {"per_device_train_batch_size": (8, 16)},
        {"per_device_train_batch_size": (8, 32)},
        {"dataloader_num_workers": (0, 2)},
        {"freeze_body": (False, True)},
    ]
    assert [config.loop is not None for config in configs] == [name == "padded" for name in ["", *RUNS[:1], *RUNS[2:]]]
    assert list(rows_of(lesson)) == NAMES


def test_the_figures_are_those_of_the_records(measured: tuple[Lesson, list[RunConfig]]) -> None:
    rows = {name: row.runs[0] for name, row in rows_of(measured[0]).items() if row.runs}
    assert len({run.tokens for run in rows.values()}) == 1, "not the same work"
    assert rows["padded"].padded_tokens == 24 * 40
    assert rows["grouped"].padded_tokens <= rows["plain"].padded_tokens < rows["padded"].padded_tokens
    assert rows["plain"].padded_tokens <= rows["batch-4"].padded_tokens
    assert rows["workers"].accuracy == rows["plain"].accuracy and rows["fast"] == rows["grouped"]
    for run in rows.values():
        assert run.seconds > 0 and run.tokens_per_second > 0 and run.memory_mb > 0
        assert run.padding == 1 - run.tokens / run.padded_tokens


def test_what_cannot_run_says_why_and_what_has_no_hardware_is_marked(
    measured: tuple[Lesson, list[RunConfig]],
) -> None:
    rows = rows_of(measured[0])
    assert rows["compiled"].runs == [] and rows["compiled"].remark.startswith("not here: --torch-compile needs a C++")
    assert rows["bf16"].runs and rows["bf16"].remark == "without hardware for it (no instruction for it)"
    assert rows["fast"].settings == "--train-sampling-strategy group_by_length"
    assert rows["fast"].remark == "the same run as grouped by length"
    assert {name: row.remark for name, row in rows.items() if name in ("plain", "padded", "frozen")} == {
        **dict.fromkeys(("plain", "padded", "frozen"), "")
    }


def a_record(seconds: list[float], padded: list[int], accuracy: float = 0.75) -> RunRecord:
    steps = steps_of(
        {"seconds": {"forward": time, "checkpoint": 9.0}, "tokens": count // 2, "padded_tokens": count}
        for time, count in zip(seconds, padded, strict=True)
    )
    totals = {"tokens": sum(padded) // 2, "padded_tokens": sum(padded), "train_seconds": sum(seconds)}
    footer = {"kind": "footer", "peak_memory_mb": 321.0, **totals}
    evaluations = [{"kind": "evaluation", "accuracy": 0.1}, {"kind": "evaluation", "accuracy": accuracy}]
    return record_of(header(), *steps, *evaluations, footer)


def test_compiling_is_told_apart_from_the_steps_after_it() -> None:
    # A second for 100 tokens; the first two steps compile, for 20 and 30 seconds; the third is a long one.
    result = figures(a_record([21, 31, 2, 1, 1, 4], [100, 100, 200, 100, 100, 400]))
    assert result.first_seconds == pytest.approx(50)
    assert result.tokens_per_second == pytest.approx(50)
    assert (result.seconds, result.padding, result.memory_mb, result.accuracy) == (60, 0.5, 321, 0.75)
    # Where there are not so many steps, all but the first count; where there is one, it does.
    assert figures(a_record([9, 1], [100, 100])).tokens_per_second == pytest.approx(50)
    assert figures(a_record([2], [100])).tokens_per_second == pytest.approx(25)


# Kept, and gone on with ---------------------------------------------------------------------------


def measured_with(
    watched: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch, repeats: int = 1, **settings: Any
) -> Lesson:
    monkeypatch.setattr(speed, "_run", watched)
    return measure(*lesson_config({**GIVEN, **settings}), repeats, folder)


def test_it_goes_on_where_it_was_cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        measured_with(first := Watched(made_up, stop_after=3), tmp_path, monkeypatch)
    whole = measured_with(second := Watched(made_up), tmp_path, monkeypatch)
    assert len(first.configs) == 3 and len(second.configs) == len(RUNS) - 3
    assert measured_with(third := Watched(made_up), tmp_path, monkeypatch) == whole
    assert third.configs == []


def test_a_run_is_made_again_where_what_it_depends_on_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured_with(Watched(made_up), tmp_path, monkeypatch)
    again = []
    for settings in ({"seed": 7}, {"train_size": 23}):
        measured_with(watched := Watched(made_up), tmp_path, monkeypatch, **settings)
        again.append(len(watched.configs))
    with monkeypatch.context() as patch:
        patch.setattr(hardware, "processor_name", lambda: "another")
        measured_with(watched := Watched(made_up), tmp_path, patch)
    assert [*again, len(watched.configs)] == [len(RUNS)] * 3
    # What is damaged is as good as not there.
    for path in list((tmp_path / "kept").iterdir())[:2]:
        path.write_text("{")
    counts = []
    for _ in range(2):
        measured_with(watched := Watched(made_up), tmp_path, monkeypatch)
        counts.append(len(watched.configs))
    assert counts[0] <= 2 and counts[1] == 0


def test_rounds_are_interleaved_and_give_medians_and_ranges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paces = iter([100.0, 200.0, 400.0])

    def run(config: RunConfig, folder: Path) -> tuple[Figures, int]:
        result, parameters = made_up(config, folder)
        if config.train_sampling_strategy == "group_by_length":
            result = replace(result, tokens_per_second=next(paces))
        return result, parameters

    lesson = measured_with(watched := Watched(run), tmp_path, monkeypatch, repeats=3)
    assert watched.configs == 3 * watched.configs[: len(RUNS)]
    row = rows_of(lesson)["grouped"]
    # The plain loop's pace is 320.
    assert lesson.times(row) == (200 / 320, 100 / 320, 400 / 320)
    printed = text_of(lesson)
    assert "0.62× (0.31 to 1.25)" in " ".join(printed.split()) or "0.62×" in printed
    assert "medians of 3 rounds" in " ".join(printed.split())


def test_a_change_that_fails_has_its_reason_and_the_plain_loop_ends_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(config: RunConfig, folder: Path) -> tuple[Figures, int]:
        if config.freeze_body or config.seed == 1:
            raise NotRunError("no memory")
        return made_up(config, folder)

    frozen = rows_of(measured_with(Watched(run), tmp_path, monkeypatch))["frozen"]
    assert frozen.runs == [] and frozen.remark == "did not run: no memory"
    with pytest.raises(SameLoopError, match="no memory"):
        measured_with(Watched(run), tmp_path, monkeypatch, seed=1)


def test_both_lengths_are_run_unless_one_is_asked_for() -> None:
    config, lengths = lesson_config({"preset": "tiny", "seed": "4"})
    assert lengths == (128, 512) and config.seed == 4 and config.num_train_epochs == 1
    config, lengths = lesson_config({"preset": "tiny", "max_length": "30", "num_train_epochs": "3"})
    assert lengths == (30,) and config.num_train_epochs == 3
    with pytest.raises(SameLoopError, match=r"--loop my\.py: the lesson changes SameLoop's own loop"):
        lesson_config({"loop": "my.py"})


# In a process of its own --------------------------------------------------------------------------


def test_a_run_in_a_process_of_its_own_leaves_its_figures_alone(tmp_path: Path) -> None:
    config, _ = lesson_config(GIVEN)
    result, _ = speed._run(config, tmp_path)
    assert result.padded_tokens >= result.tokens > 100
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_that_fails_has_said_last_is_the_reason(tmp_path: Path) -> None:
    config, _ = lesson_config({**GIVEN, "dataset": str(tmp_path / "none.csv")})
    with pytest.raises(NotRunError, match=r"^--dataset .*none.csv"):
        speed._run(config, tmp_path)


@pytest.mark.usefixtures("started_again")
def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    def interrupt() -> None:
        while not (children := set(psutil.Process().children()) - before):
            time.sleep(0.05)
        started.extend(children)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    # An earlier test's loaders may have left this process Python's resource tracker.
    before = set(psutil.Process().children())
    started: list[psutil.Process] = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    config, _ = lesson_config({**GIVEN, "num_train_epochs": 10_000})
    with pytest.raises(Interrupted, match="the same command continues"):
        speed._run(config, tmp_path)
    thread.join()
    assert started and not any(process.is_running() for process in started)


# Shown --------------------------------------------------------------------------------------------


def a_lesson(rounds: int = 2) -> Lesson:
    """Two lengths, as the quick preset might give them."""
    rows = []
    for length in (128, 512):
        for number, change in enumerate(CHANGES):
            runs = [
                Figures(100.5 + turn, 1.5, 5000, 9000, 400 * (0.3 + number / (3 + turn)), 1234.0, 0.8)
                for turn in range(rounds)
            ]
            cannot = change.name == "compiled"
            remark = "not here: --torch-compile needs a C++ compiler" if cannot else ""
            settings = "--train-sampling-strategy group_by_length" if change.name == "fast" else ""
            rows.append(Row(change.name, length, settings, [] if cannot else runs, remark))
    versions = {"torch": "2.13.0", "transformers": "5.24.0", "python": "3.11.7", "device": "cpu", "threads": 2}
    environment = {**versions, "accelerate": "1.15.0", "processor": "A Processor @ 2.50GHz", "cores": 2}
    return Lesson("MiniLM-L6 (22.7 M) on IMDB", RunConfig.build("quick").model_dump(), rows, environment)


def text_of(lesson: Lesson, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_lesson(lesson, console)
    return console.export_text()


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_table_fits_into_a_terminal(rounds: int) -> None:
    printed = text_of(a_lesson(rounds))
    assert max(map(len, printed.splitlines())) <= 80 and "…" not in printed
    words = " ".join(printed.split())
    for change in CHANGES:
        assert change.label in words
    assert "torch.compile: not here: --torch-compile needs a C++ compiler" in words
    assert "preset fast here: --train-sampling-strategy group_by_length" in words
    assert "A Processor @ 2.50GHz, 2 cores, 2 threads; torch 2.13.0" in words
    assert ("one round:" in words) == (rounds == 1)
    if rounds == 1:
        # Every row on a line of its own, with the interval that 205 of 256 leave.
        assert len(re.findall(r"80\.0 \(75 to 84\)", printed)) == 2 * (len(CHANGES) - 1)


def test_the_page_has_every_row_and_why() -> None:
    lesson = a_lesson()
    text = document(lesson)
    for length in (128, 512):
        assert f"## At {length} tokens" in text
    for change in CHANGES:
        assert text.count(f"| {change.label} | ") == 2 and change.why in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") == len(HEADINGS) + 1
    assert "speed.png" in text and "/work" not in text and not re.search(r"20\d\d-\d\d", text)


def test_what_is_kept_can_be_read_again_and_damage_is_one_line(tmp_path: Path, capsys) -> None:
    lesson = a_lesson()
    LESSON.write(tmp_path, lesson)
    assert LESSON.read(tmp_path) == lesson == LESSON.read(tmp_path / "speed.json")
    whole = json.loads((tmp_path / "speed.json").read_text())
    for damage in ({}, {**whole, "schema": 99}, {**whole, "rows": []}, {**whole, "rows": [{"name": 1}]}):
        (tmp_path / "speed.json").write_text(json.dumps(damage))
        assert main(["plot", str(tmp_path), "--kind", "speed"]) == 2
        message = capsys.readouterr().err
        assert "is damaged, or of another version" in message and message.count("\n") == 1


def test_the_chart_in_words_has_every_number() -> None:
    lesson = a_lesson(1)
    text = alt_text(lesson)
    rows = rows_of(lesson, 512)
    assert "At 512 tokens, torch.compile: not here: --torch-compile needs a C++ compiler." in text
    times, accuracy = lesson.times(rows["fast"]), lesson.accuracy(rows["fast"])
    assert times is not None and accuracy is not None
    assert f"At 512 tokens, preset fast: {times.median:.2f} times, accuracy 80.0%, interval 74.7%" in text
    times = (twice := a_lesson(2)).times(rows_of(twice, 512)["fast"])
    assert times is not None and times.low < times.median < times.high
    sentence = f"At 512 tokens, preset fast: {times.median:.2f} times ({times.low:.2f} to {times.high:.2f}), accuracy"
    assert sentence in alt_text(twice)
    slower = [replace(row, runs=[replace(run, tokens_per_second=1.0) for run in row.runs]) for row in lesson.rows]
    assert alt_text(replace(lesson, rows=slower)) != text


def test_bars_and_points_stand_where_the_numbers_are() -> None:
    lesson = a_lesson()
    chart = speed_chart(lesson)
    bars, dots = chart.axes
    lengths = [patch.get_width() for patch in bars.patches]
    expected = [times.median for row in lesson.rows if (times := lesson.times(row))]
    assert lengths == pytest.approx(expected) and len(set(lengths)) == len(CHANGES) - 1
    points = [line.get_xdata()[0] for line in dots.lines if line.get_marker() == "D"]
    assert points == pytest.approx([80.0] * len(expected))
    labels = [text.get_text() for text in bars.texts]
    assert labels.count("not here") == 2 and labels.count("1.00×") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "2"], "--repeats is for --lesson"),
        (["--lesson", "--steps", "20"], "--steps is for the two loops in lock-step"),
        (["--lesson", "--loop", "README.md"], "--loop README.md: the lesson changes SameLoop's own loop"),
        (["--lesson", "--train-size", "none"], "--train-size"),
    ],
)
def test_wrong_input_is_one_line(options: list[str], message: str, capsys) -> None:
    assert main(["speed", "--preset", "tiny", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_command_leaves_the_lesson_and_its_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "_run", Watched(made_up))
    assert main(["speed", "--lesson", "--preset", "tiny", "--max-length", "16"]) == 0
    folder = tmp_path / "runs" / "tiny-speed-lesson"
    assert {"speed.json", "speed.png", "speed.alt.txt", "kept"} <= {path.name for path in folder.iterdir()}
    assert (folder / "speed.alt.txt").read_text() == alt_text(LESSON.read(folder))
    assert "at 16 tokens" in capsys.readouterr().out
