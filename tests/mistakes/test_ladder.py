"""The ladder: every edit applies in every order, no fix moves the first difference back, the last script is exact."""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packaging.version import Version

from benchmarks.cli import main
from benchmarks.mistakes import ladder as ladder_module
from benchmarks.mistakes.ladder import LADDER, LADDER_STEPS, MINIMAL, START, Ladder, Row, order_from, script_without
from benchmarks.mistakes.ladder_chart import alt_text
from shared.errors import SameLoopError


@pytest.fixture(scope="module")
def ladder_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """One `sameloop ladder --preset tiny` in this process: its folder, its exit status and what it printed."""
    folder = tmp_path_factory.mktemp("ladder") / "tiny-ladder"
    return folder, *_ladder(folder)


def _ladder(folder: Path, *options: str) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setenv("COLUMNS", "100")
        status = main(["ladder", "--preset", "tiny", "--output-dir", str(folder), *options])
    return status, printed.getvalue()


def _rows(folder: Path) -> list[Row]:
    return [Row(**row) for row in json.loads((folder / "ladder.json").read_text())["rows"]]


# The edits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accelerate", [False, True])
def test_any_fixes_can_be_left_out_in_any_order(accelerate: bool) -> None:
    for count in range(len(LADDER_STEPS) + 1):
        for steps in itertools.combinations(LADDER_STEPS, count):
            script = script_without(steps, accelerate)
            assert script.source == script_without(steps[::-1], accelerate).source
            ast.parse(script.source)


def test_the_start_is_the_loop_that_courses_teach() -> None:
    source = script_without(LADDER_STEPS).source
    assert "AdamW(model.parameters(), lr)\n" in source
    assert "shuffle=True" in source and "RandomSampler" not in source and "Generator" not in source
    assert "seed" not in source and "clip" not in source
    assert source.count("model.train()") == 1
    assert source.index("model.train()") < source.index("for epoch in")


def test_no_fix_is_left_out_and_each_changes_the_script() -> None:
    assert script_without(()).source == MINIMAL.read_text()
    for name in LADDER_STEPS:
        assert script_without([name]).source != MINIMAL.read_text()


@pytest.mark.parametrize("name", LADDER_STEPS)
def test_an_edit_that_no_longer_applies_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each piece: as if the script had another word there."""
    pieces = LADDER_STEPS[name].pieces
    for number, (right, wrong) in enumerate(pieces):
        changed = (*pieces[:number], (right.replace("e", "E", 1), wrong), *pieces[number + 1 :])
        monkeypatch.setitem(LADDER_STEPS, name, replace(LADDER_STEPS[name], pieces=changed))
        with pytest.raises(ValueError, match="0 times, not once"):
            script_without([name])


def test_an_edit_that_fits_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LADDER_STEPS, "clip", replace(LADDER_STEPS["clip"], pieces=(("model", "network"),)))
    with pytest.raises(ValueError, match="not once"):
        script_without(["clip"])


# The order ----------------------------------------------------------------------------------------


def test_fixes_that_the_order_leaves_out_come_last() -> None:
    assert order_from(None) == tuple(LADDER_STEPS)
    assert order_from("mean, train-mode") == (
        *("mean", "train_mode"),
        *(name for name in LADDER_STEPS if name not in ("mean", "train_mode")),
    )


@pytest.mark.parametrize(
    ("order", "message"), [("mean,warmup", "there is no step 'warmup'"), ("clip,clip", "clip is named 2 times")]
)
def test_a_wrong_order_is_one_line(order: str, message: str, tmp_path: Path, capfd) -> None:
    with pytest.raises(SameLoopError, match=message):
        order_from(order)
    assert main(["ladder", "--preset", "tiny", "--order", order, "--output-dir", str(tmp_path / "run")]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


# The runs -----------------------------------------------------------------------------------------


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.13"),
    reason="in which step `tiny` first needs its clip depends on how torch rounds: with 2.6 as late as the evaluation",
)
def test_every_fix_moves_the_first_difference_to_the_right_until_it_is_gone(ladder_run) -> None:
    folder, status, _ = ladder_run
    rows = _rows(folder)
    assert status == 0
    assert [row.name for row in rows] == [START, *LADDER_STEPS]
    ends = [row.equal_steps for row in rows]
    assert ends == sorted(ends) and len(set(ends)) == len(ends), [row.where for row in rows]
    assert rows[-1].is_exact and not any(row.is_exact for row in rows[:-1])
    comparison = json.loads((folder / "comparison.json").read_text())
    assert comparison["verdict"] == "identical" and comparison["max_abs_diff"]["weights"] == 0.0


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.13"),
    reason="in which step `tiny` first needs its clip depends on how torch rounds: with 2.6 as late as the evaluation",
)
def test_what_differs_first_is_what_the_next_fix_changes(ladder_run) -> None:
    folder, _, _ = ladder_run
    rows = _rows(folder)
    for row, fixed in itertools.pairwise(rows):
        assert LADDER_STEPS[fixed.name].compared.code == row.code, fixed.name
        assert fixed.diff


def test_it_prints_a_bar_per_row_and_writes_scripts_and_picture(ladder_run) -> None:
    folder, _, printed = ladder_run
    lines = printed.splitlines()
    bars = [next(line for line in lines if f" {name} " in line and "│" in line).count("█") for name in LADDER_STEPS]
    assert bars == sorted(bars) and bars[-1] > 20
    assert "identical with all 7 fixes" in printed
    assert "{'eval_loss'" not in printed
    assert [path.name.partition("-")[0] for path in sorted((folder / "pages").iterdir())] == list("01234567")
    assert (folder / "pages" / "7-train_mode.py").read_text() == MINIMAL.read_text()
    assert (folder / "ladder.png").stat().st_size > 20_000
    alt = (folder / "ladder.alt.txt").read_text()
    for row in _rows(folder):
        assert row.name in alt and (row.is_exact or row.where in alt)


def test_the_report_of_its_folder_shows_the_ladder(ladder_run) -> None:
    from benchmarks.lesson.report import write_report

    folder, *_ = ladder_run
    script = write_report(folder).read_text(encoding="utf-8")
    section = script[script.index('<section id="ladder"') : script.index('<section id="costs"')]
    for row in LADDER.read(folder).rows:
        assert row.is_exact or row.where in section


def test_it_goes_in_another_order(tmp_path: Path) -> None:
    order = "train_mode,mean,clip,fused,weight_decay,seed,shuffle"
    status, _ = _ladder(tmp_path / "run", "--order", order, "--train-size", "9", "--eval-size", "9")
    rows = _rows(tmp_path / "run")
    assert status == 0
    # The order of the reviews is last: until then it is the first to differ.
    assert {row.where for row in rows[:-1]} == {"step 1, batch"}
    assert rows[-1].is_exact and ",".join(row.name for row in rows[1:]) == order


def test_it_goes_from_the_courses_loop_with_accelerate_to_trainer_too(tmp_path: Path) -> None:
    status, _ = _ladder(tmp_path / "run", "--accelerate")
    rows = _rows(tmp_path / "run")
    assert status == 0 and rows[-1].is_exact
    assert [row.where for row in rows[:2]] == ["step 1, batch", "step 1, rng"]
    # In which step the others differ first depends on how torch rounds.
    ends = [row.equal_steps for row in rows]
    assert ends == sorted(ends)
    scripts = [script.read_text() for script in sorted((tmp_path / "run" / "pages").iterdir())]
    assert all("accelerator.backward(loss)" in script and "loss.backward()" not in script for script in scripts)
    assert "use_seedable_sampler" not in scripts[0] and "clip" not in scripts[0] and "clip" in scripts[-1]


def test_other_files_are_left_alone(tmp_path: Path, capfd) -> None:
    (tmp_path / "thesis.tex").write_text("three years of work")
    assert main(["ladder", "--preset", "tiny", "--output-dir", str(tmp_path)]) == 2
    assert "not a SameLoop run" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_last_script_that_differs_is_named(capsys: pytest.CaptureFixture) -> None:
    from rich.console import Console

    row = Row("mean", "Why.", ["- a", "+ b"], 3, "eval_loss", "the mean", 4, [0.5])
    ladder = Ladder("a job", 2, [row, row], {}, {})
    ladder_module.print_ladder(ladder, Console(highlight=False, width=100))
    assert "diverged with every fix: step 3, eval_loss\nthe mean" in capsys.readouterr().out
    assert "identical" not in alt_text(ladder)
