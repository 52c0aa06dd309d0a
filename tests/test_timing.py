"""What a step takes, and when two loops can be told apart by it: no ratio where these runs cannot tell one."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.judge.table import print_comparison
from benchmarks.judge.timing import FEWEST_STEPS, duration, range_text, spread_of, step_seconds, which_is_faster
from benchmarks.judge.verdict import compare_runs
from benchmarks.proofs import speed
from benchmarks.proofs.speed import conclusion, print_speed
from shared.config import RunConfig
from shared.record import SCHEMA, RunRecord


def record(seconds: Sequence[float], loop: str = "manual") -> RunRecord:
    """A record of steps that take so long; a checkpoint before each does not count."""
    header = {"kind": "header", "schema": SCHEMA, "loop": loop, "config": RunConfig.build("tiny").model_dump()}
    steps = [
        {"kind": "step", "step": n, "seconds": {"forward": each, "checkpoint": 9.0}}
        for n, each in enumerate(seconds, 1)
    ]
    return RunRecord([header, *steps], "test")


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
    said = which_is_faster(record(noisy(0.003 * factor)), record(noisy(0.003, seed=1)))
    stated, low, high = (float(each) for each in re.findall(r"\d+\.\d\d", said))
    assert stated == pytest.approx(factor, rel=0.1) and low < stated < high
    assert (low > 1) == (factor > 1) and "busier" in said and "sameloop speed" in said


def test_no_ratio_is_stated_of_noise_or_of_few_steps() -> None:
    same = [which_is_faster(record(noisy(0.003, seed=n)), record(noisy(0.003, seed=n + 50))) for n in range(20)]
    # The machine was busy for a while: the same work, up to ten times as long.
    busy = [value * (10 if 20 < place < 50 else 1) for place, value in enumerate(noisy(0.003))]
    for said in (*same, which_is_faster(record(busy), record(noisy(0.003, seed=1)))):
        assert "no difference that these 59 steps could tell" in said and not re.search(r"\d\.\d", said)
    few = [noisy(factor, FEWEST_STEPS) for factor in (1.0, 9.0)]
    assert "too few steps to tell" in which_is_faster(*map(record, few))
    assert "too few" not in which_is_faster(record([*few[0], 1.0]), record([*few[1], 9.0]))
    assert "too few steps to tell" in which_is_faster(record([]), record([]))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.00304, "3.04 ms"),
        (0.0254, "25.4 ms"),
        (0.25, "250 ms"),
        (0.9999, "1.00 s"),
        (118.2, "118 s"),
        (0.00001, "0.01 ms"),
    ],
)
def test_times_have_three_digits_and_their_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_range_names_its_unit_once() -> None:
    assert range_text(spread_of([0.002, 0.003, 0.004])) == "2.00 to 4.00 ms"
    assert range_text(spread_of([0.2, 0.3, 1.4])) == "200 ms to 1.40 s"


def test_the_table_of_costs_shows_medians_and_no_ratio(tiny_runs: dict[str, Path], tmp_path: Path) -> None:
    for loop, folder in tiny_runs.items():
        shutil.copytree(folder, tmp_path / loop)
    comparison = compare_runs(tmp_path / "manual", tmp_path / "trainer")
    console = Console(width=80, record=True)
    print_comparison(comparison, tmp_path, console)
    printed = console.export_text()
    for loop in ("manual", "trainer"):
        assert duration(step_seconds(RunRecord.read(tmp_path / loop)).median) in printed
    assert "too few steps to tell" in printed and "manual / trainer" not in printed


def test_speed_says_what_its_pairs_can_tell() -> None:
    assert "no difference that 3 pairs could tell (by hand / Trainer 0.97 to 1.65)" in conclusion([0.97, 1.65, 1.1])
    six = conclusion([1.1, 1.2, 1.1, 1.3, 1.1, 1.2])
    assert "Trainer was faster in 6 of 6 pairs, by hand / Trainer 1.15 (1.10 to 1.30)" in six and "chance" not in six
    assert "the loop by hand was faster" in conclusion([0.9] * 5) and "chance" in conclusion([0.9] * 5)


def test_speed_names_no_folder_that_is_gone(
    tiny_runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = Path("runs/tiny-speed/manual/record.jsonl")

    def run(loop: str, config: RunConfig, folder: Path, *options: object) -> None:
        assert config == RunConfig.build("tiny") and not folder.is_absolute()
        shutil.copytree(tiny_runs[loop], folder, dirs_exist_ok=True)

    monkeypatch.setattr(speed, "run_in_fresh_process", run)
    print_speed("tiny", 2)
    printed = capfd.readouterr().out
    assert "2 layers, random (1.0 M) on Rotten Tomatoes: 2 interleaved pairs" in printed and "/tmp" not in printed
    assert list(Path("runs").iterdir()) == []

    def fail(loop: str, config: RunConfig, folder: Path, *options: object) -> None:
        run(loop, config, folder)
        if loop == "trainer":
            raise KeyboardInterrupt

    monkeypatch.setattr(speed, "run_in_fresh_process", fail)
    with pytest.raises(KeyboardInterrupt):
        print_speed("tiny", 1)
    assert json.loads(kept.read_text().splitlines()[0])["loop"] == "manual"
