"""What a step takes, and when two loops can be told apart by it: no ratio where these runs cannot tell one."""

from __future__ import annotations

import random
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from build import header, record_of, steps_of
from conftest import LOOPS
from rich.console import Console

from benchmarks.cli import main
from benchmarks.runs import read_comparison
from benchmarks.speed import lockstep as speed
from benchmarks.speed.lockstep import conclusion
from benchmarks.statistics import (
    FEWEST_STEPS,
    duration,
    range_text,
    ratio_of_parts,
    spread_of,
    step_seconds,
    which_is_faster,
)
from benchmarks.verdict.table import print_comparison
from shared.recording.record import RunRecord


def record(seconds: Sequence[float], loop: str = "manual") -> RunRecord:
    """A record of steps that take so long; a checkpoint before each does not count."""
    return record_of(header(loop), *steps_of({"seconds": {"forward": time, "checkpoint": 9.0}} for time in seconds))


def noisy(middle: float, count: int = 60, seed: int = 0) -> list[float]:
    dice = random.Random(seed)
    return [9.0, *(middle * dice.uniform(0.9, 1.1) for _ in range(count - 1))]


def test_the_spread_leaves_out_the_first_step_and_is_made_of_values_that_occur() -> None:
    spread = step_seconds(record([50.0, 1, 2, 3, 4, 5, 6, 7]))
    assert spread == (4, 2, 6)
    assert spread == spread_of([7, 1, 6, 2, 5, 3, 4])
    assert step_seconds(record([])) is None
    assert step_seconds(record([3.0])) == (3, 3, 3)


@pytest.mark.parametrize("factor", [0.5, 1.3, 4.0])
def test_a_ratio_is_stated_where_the_middle_halves_do_not_meet(factor: float) -> None:
    sentence = which_is_faster(record(noisy(0.003 * factor)), record(noisy(0.003, seed=1)))
    stated, low, high = (float(number) for number in re.findall(r"\d+\.\d\d", sentence))
    assert stated == pytest.approx(factor, rel=0.1) and low < stated < high
    assert (low > 1) == (factor > 1) and "busier" in sentence and "sameloop speed" in sentence


def test_no_ratio_is_stated_of_noise_or_of_few_steps() -> None:
    same = [which_is_faster(record(noisy(0.003, seed=n)), record(noisy(0.003, seed=n + 50))) for n in range(20)]
    # The machine was busy for a while: the same work, up to ten times as long.
    busy = [value * (10 if 20 < place < 50 else 1) for place, value in enumerate(noisy(0.003))]
    for sentence in (*same, which_is_faster(record(busy), record(noisy(0.003, seed=1)))):
        assert "no clear difference in 59 steps" in sentence and not re.search(r"\d\.\d", sentence)
    few = [noisy(factor, FEWEST_STEPS) for factor in (1.0, 9.0)]
    assert "too few steps to tell" in which_is_faster(*map(record, few))
    assert "too few" not in which_is_faster(record([*few[0], 1.0]), record([*few[1], 9.0]))
    assert "too few steps to tell" in which_is_faster(record([]), record([]))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00304, "3.04 ms"),
        (0.0254, "25.4 ms"),
        (0.25, "250 ms"),
        (0.9999, "1.00 s"),
        (118.2, "118 s"),
        (0.00001, "0.01 ms"),
    ],
)
def test_times_have_three_digits_and_their_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_range_names_its_unit_once() -> None:
    assert range_text(spread_of([0.002, 0.003, 0.004])) == "2.00 to 4.00 ms"
    assert range_text(spread_of([0.2, 0.3, 1.4])) == "200 ms to 1.40 s"


def test_the_table_of_costs_shows_medians_and_no_ratio(tiny_comparison: Path) -> None:
    console = Console(width=80, record=True)
    print_comparison(read_comparison(tiny_comparison), tiny_comparison, console)
    printed = console.export_text()
    for loop in LOOPS:
        assert duration(step_seconds(RunRecord.read(tiny_comparison / loop)).median) in printed
    assert "too few steps to tell" in printed and "manual / trainer" not in printed


def parts_drawn(seed: int, steps: int, factor: float, parts: int = 20) -> list[list[list[float]]]:
    """Of two loops that take turns on a busy machine, which slows down now a part of a step, now a whole one."""
    draws = np.random.default_rng(seed)
    work = np.exp(draws.normal(-5, 1, parts))
    drawn = []
    for slower in (factor, 1.0):
        busy = draws.exponential(0.1, (steps, 1)) * (draws.random((steps, 1)) < 0.1)
        pauses = 1 + draws.exponential(1.0, (steps, parts)) * (draws.random((steps, parts)) < 0.08)
        times = work * np.exp(draws.normal(0, 0.02, (steps, 1)) + busy + draws.normal(0, 0.05, (steps, parts)))
        drawn.append((slower * times * pauses).tolist())
    return drawn


def test_speed_finds_a_difference_of_5_percent_and_says_where_there_is_none() -> None:
    slower = conclusion(parts_drawn(1, 200, 1.05))
    assert "Trainer is faster" in slower and "200 pairs" in slower
    assert "the manual loop is faster" in conclusion(parts_drawn(1, 200, 0.95))
    same = conclusion(parts_drawn(1, 50, 1.0))
    assert re.search(r"cannot tell \((0\.9|1\.0)\d\d, 95 % interval 0\.9\d\d to 1\.0\d\d, 50 pairs of steps\)", same)
    assert re.search(r"a difference of more than \d\.\d% would have shown", same)


def test_parts_tell_more_than_whole_steps_and_are_weighed_by_their_time() -> None:
    widths = np.zeros(2)
    for seed in range(8):
        drawn = parts_drawn(seed, 50, 1.0, parts=100)
        for which, parts in enumerate((drawn, [[[sum(step)] for step in loop] for loop in drawn])):
            ratio = ratio_of_parts(*parts)
            widths[which] += ratio.high - ratio.low
    assert widths[0] < 0.8 * widths[1]
    # The one part takes three times as long as the other, and a tenth longer by hand than through Trainer.
    exact = ratio_of_parts([[3.3, 1.0]] * 20, [[3.0, 1.0]] * 20)
    assert exact.median == pytest.approx(1.1**0.75) and exact.low == exact.high
    # A log line in every tenth step is no part of an ordinary one.
    lines = [[3.0, 9.0 if step % 10 == 0 else 1.0] for step in range(20)]
    assert ratio_of_parts(lines, [[3.0, 1.0]] * 20).median == pytest.approx(1)


def test_loops_with_other_parts_are_compared_by_whole_steps() -> None:
    ratio = ratio_of_parts([[1.0, 1.0]] * 20, [[1.0, 0.5, 0.1]] * 20)
    assert ratio.median == pytest.approx(2 / 1.6)


@pytest.mark.parametrize("steps", [FEWEST_STEPS, 50])
@pytest.mark.parametrize("parts", [1, 20])
def test_pure_noise_is_called_a_difference_in_5_percent_at_most(
    steps: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.statistics.RESAMPLES", 200)
    alarms = sum("cannot tell" not in conclusion(parts_drawn(seed, steps, 1.0, parts)) for seed in range(200))
    # At 5 %, of 200 more than 20 come once in a thousand times; none at all would be no test of anything.
    assert 0 < alarms <= 20


def test_two_loops_take_turns_on_the_same_batches_and_the_figures_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    turns: list[str] = []
    go, wait, run = speed._Runner.go, speed._Runner.wait_for_step, speed._run_in_lock_step
    results: list[tuple] = []
    monkeypatch.setattr(speed._Runner, "go", lambda runner: (turns.append(f"go {runner._loop}"), go(runner)))
    monkeypatch.setattr(
        speed._Runner, "wait_for_step", lambda runner: (wait(runner), turns.append(f"done {runner._loop}"))
    )
    monkeypatch.setattr(speed, "_run_in_lock_step", lambda *args: (results.append(run(*args)), results[0])[1])
    monkeypatch.chdir(tmp_path)
    assert main(["speed", "--preset", "tiny", "--bf16", "--steps", "20"]) == 0
    ((records, starts, parts),) = results
    assert starts.keys() == records.keys() and all(seconds > 0 for seconds in starts.values())
    manual, trainer = records.values()
    assert len(manual.steps) == 21 and not manual.evaluations
    assert [line["batch"] for line in manual.steps] == [line["batch"] for line in trainer.steps]
    assert manual.steps[0]["autocast"] == ["bfloat16"]
    # Every step but the first, in the same parts, which together are the step.
    assert [len(loop) for loop in parts] == [20, 20]
    assert len({len(step) for loop in parts for step in loop}) == 1
    assert len(parts[0][0]) > 2 * 12 and min(part for loop in parts for step in loop for part in step) > 0
    for record, loop in zip((manual, trainer), parts, strict=True):
        # The recorder's own clock runs from the forward pass on, and what it calls its own is a little less. A busy
        # machine takes a step's time from the one or from the other; of most steps it takes none.
        pairs = zip(loop, record.steps[1:], strict=True)
        assert median(sum(step) / sum(line["seconds"].values()) for step, line in pairs) >= 0.9
    assert turns[:2] == ["done manual", "done trainer"]
    pair = ["go manual", "done manual", "go trainer", "done trainer"]
    assert turns[2:-2] == 10 * (pair + pair[2:] + pair[:2])
    printed = capsys.readouterr().out
    assert "manual" in printed and "trainer" in printed and "recorder's share" in printed
    assert "Time of a step" in printed and "pairs of steps" in " ".join(printed.split())
    assert "to first step" in printed and printed.rstrip().endswith(": identical.")
    assert list((tmp_path / "runs").iterdir()) == []


def test_speed_says_what_a_loop_that_fails_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["speed", "--preset", "tiny", "--steps", "20", "--learning-rate", "1e30"]) == 2
    printed, messages = capfd.readouterr()
    assert printed == "" and "the training loss is" in messages and "Traceback" not in messages


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_speed_is_stopped_and_leaves_no_process(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    started: list[subprocess.Popen] = []

    class Known(subprocess.Popen):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    go = speed._Runner.go
    # Asked to stop in the middle of the measurement, of which nobody sees the end.
    monkeypatch.setattr(speed._Runner, "go", lambda runner: (go(runner), signal.raise_signal(number)))
    monkeypatch.setattr(subprocess, "Popen", Known)
    monkeypatch.chdir(tmp_path)
    assert main(["speed", "--preset", "tiny", "--steps", "10000"]) == 128 + number
    messages = capfd.readouterr().err
    assert "the measurement was interrupted" in messages and "Traceback" not in messages
    loops = [process for process in started if "run_in_turn" in process.args]
    assert len(loops) == 2 and all(process.poll() is not None for process in loops)
