"""What charts of runs show: the record's own numbers, whatever they are, where runs part, and the same in words."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
import torch
from build import LOSSES, diverged, record_lines, record_of, texts_of, words_of, write_record, write_records
from safetensors.torch import save_file

from benchmarks.charts.charts import draw_comparison, runs_chart
from benchmarks.charts.data import Difference, Pair, Run, outline, steps_that_fit
from benchmarks.charts.panels import spread
from benchmarks.cli import main
from benchmarks.gather import MOST_RUNS, gather
from benchmarks.plot import RUN_KINDS, chart_of
from benchmarks.statistics import step_seconds
from benchmarks.verdict.verdict import compare_runs
from shared.files import write_json
from shared.recording.record import RunRecord


def chosen(*paths: Path) -> tuple[list[Run], Pair | None]:
    gathered = gather(paths)
    return gathered.runs, gathered.pair


def ys(line: Any) -> list[float]:
    return [float(value) for value in line.get_ydata()]


# What is drawn -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("overview", "loss"), ("losses", "loss"), ("memory", "memory_mb")),
        *(("learning-rate", "learning_rate"), ("gradient-norm", "grad_norm")),
    ],
)
def test_lines_are_the_records_numbers_and_both_can_be_seen(kind: str, name: str, tmp_path: Path) -> None:
    run = write_records(tmp_path)
    below, above = chart_of([run], kind).axes[0].lines[:2]
    for line, loop in ((below, "trainer"), (above, "manual")):
        assert ys(line) == [step[name] for step in RunRecord.read(run / loop).steps]
        assert list(line.get_xdata()) == list(range(1, 9))
    assert below.get_linewidth() > 3 * above.get_linewidth()
    assert below.get_linestyle() == "-" != above.get_linestyle()


def test_accuracy_time_and_difference_are_the_records_numbers(tmp_path: Path) -> None:
    run = write_records(tmp_path, diverged())
    for line in chart_of([run], "accuracy").axes[0].lines[:2]:
        assert ys(line) == [0.6, 0.8]
    bars = chart_of([run], "time").axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([10, 10, 200, 200, 300, 300, 50, 50])
    difference = ys(chart_of([run], "difference").axes[0].lines[0])
    assert difference == pytest.approx([0, 0, 0] + [0.001] * 5) and difference[:3] == [0, 0, 0]


def test_batches_show_each_review_at_its_first_place_and_the_padding(tmp_path: Path) -> None:
    upper, lower = chart_of([write_records(tmp_path)], "batches").axes
    # Two reviews a step; the second epoch draws the four pairs the other way round.
    for dots in upper.lines[:2]:
        assert ys(dots) == [1, 2, 3, 4, 5, 6, 7, 8, 7, 8, 5, 6, 3, 4, 1, 2]
        assert list(dots.get_xdata()) == [step for step in range(1, 9) for _ in range(2)]
    useful, places = lower.patches[:2]
    assert list(useful.get_data().values) == [60 + n for n in range(1, 9)]
    assert list(places.get_data().values) == [80] * 8
    share = 1 - sum(60 + n for n in range(1, 9)) / 640
    assert f"{share:.1%} of all tokens are padding" in lower.get_xlabel()


def test_too_many_dots_are_cut_and_the_title_says_where() -> None:
    short, long = (Run("by hand", record_of(*record_lines([0.5] * count))) for count in (20, 40))
    assert steps_that_fit([short, long]) == 40
    assert steps_that_fit([short, long], most=61) == 30
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.charts.charts.steps_that_fit", lambda runs: 30)
        figure = runs_chart("batches", [long], None, "slide")
    assert "(steps 1 to 30)" in figure.texts[0].get_text()
    assert max(figure.axes[0].lines[0].get_xdata()) == 30


def test_other_reviews_are_marked_where_they_begin(tmp_path: Path) -> None:
    ours = record_lines()
    ours[6]["reviews"] = [["review 0", "another"]]
    run = write_records(tmp_path, ours)
    marks = [line for axes in chart_of([run], "batches").axes for line in axes.lines if line.get_gid()]
    assert [list(mark.get_xdata()) for mark in marks] == [[5, 5]] * 2
    assert "drew different reviews, or in a different order, from step 5 on" in chart_of([run], "batches").alt
    assert "drew the same reviews in the same order" in chart_of([write_records(tmp_path)], "batches").alt


def test_names_beside_lines_keep_apart_in_their_order() -> None:
    places = spread([0.5, 0.5, 0.1, 0.98, 0.97], 0.08)
    ordered = sorted(places)
    assert all(b - a >= 0.08 - 1e-12 for a, b in itertools.pairwise(ordered))
    assert ordered[0] >= 0 and ordered[-1] <= 1
    assert places[2] == min(places) and places[3] == max(places)


# Divergences ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in RUN_KINDS if kind not in ("time", "batches", "overview")])
def test_the_first_difference_is_marked_and_named(kind: str, tmp_path: Path) -> None:
    axes = chart_of([write_records(tmp_path, diverged())], kind).axes[0]
    (mark,) = [line for line in axes.lines if line.get_gid() == "first-difference"]
    assert list(mark.get_xdata()) == [0.75 if kind == "accuracy" else 3] * 2
    assert "first difference: step 3, grad_norm" in [text.get_text() for text in axes.texts]


def test_a_diverged_overview_says_where_and_why(tmp_path: Path) -> None:
    drawn = chart_of([write_records(tmp_path, diverged())], "overview", "dark")
    texts = words_of(drawn)
    assert "Diverged at step 3: grad_norm" in texts and "Identical" not in texts
    cause = chosen(tmp_path)[1].first.cause
    assert f"Likely cause: {cause.split()[0]}" in texts
    for sentence in (
        "first difference: step 3, grad_norm",
        f"Likely cause: {cause}.",
        "not 0.0 at 5 of 8 steps, first at step 4",
    ):
        assert sentence in drawn.alt
    equal = chart_of([write_records(tmp_path)], "overview")
    assert "Identical" in words_of(equal) and "0.0 at all 8 steps" in equal.alt


def test_different_settings_are_named_and_the_difference_after_them_is_marked(tmp_path: Path) -> None:
    write_record(tmp_path / "one", record_lines(seed=1))
    other = diverged()
    other[0]["config"]["seed"] = 2
    write_record(tmp_path / "two", other)
    words = words_of(chart_of([tmp_path / "one", tmp_path / "two"], "losses"))
    assert "different settings: seed 1 (manual, one), 2 (manual, two)" in words
    assert "first difference: step 3, grad_norm" in words


def test_a_page_of_the_users_beside_trainer_is_no_other_setting(tmp_path: Path) -> None:
    own = record_lines()
    own[0]["config"]["loop"] = "mine.py"
    write_records(tmp_path, own)
    assert "different settings" not in words_of(chart_of([tmp_path / "manual", tmp_path / "trainer"], "losses"))
    write_record(tmp_path / "other", record_lines())
    assert "different settings: loop mine.py" in words_of(
        chart_of([tmp_path / "manual", tmp_path / "other"], "losses")
    )


def test_weights_that_only_the_comparison_saw_differ(tmp_path: Path) -> None:
    run = write_records(tmp_path)
    for loop, value in (("manual", 0.0), ("trainer", 1.0)):
        save_file({"weight": torch.tensor([value])}, run / loop / "model.safetensors")
    comparison = compare_runs(run / "manual", run / "trainer")
    write_json(run / "comparison.json", comparison)
    assert chosen(run)[1].first == Difference(8, "weights", comparison["first_divergence"]["likely_cause"])
    (run / "manual/model.safetensors").write_bytes(b"another")
    assert chosen(run)[1].first is None


# The gradient norm, before and after the clip -------------------------------------------------------


def with_unclipped(content: list[dict], norms: Sequence[float | None], **settings: Any) -> list[dict]:
    content[0]["config"].update(settings)
    for line, norm in zip(content[2:-1], norms, strict=True):
        line["unclipped_norm"] = norm
    return content


NORMS = [3.0, 0.5, 2.0, 0.25, 0.2, 7.0, 0.1, 0.1]


def test_both_gradient_norms_are_drawn_and_the_limit_between_them(tmp_path: Path) -> None:
    run = write_records(tmp_path, *(with_unclipped(record_lines(loop=loop), NORMS) for loop in ("manual", "trainer")))
    before, after = chart_of([run], "gradient-norm").axes
    assert [ys(line) for line in before.lines[:2]] == [NORMS] * 2
    assert [ys(line) for line in after.lines[:2]] == [[1 / n for n in range(1, 9)]] * 2
    for axes, name in ((before, "before clipping"), (after, "after clipping")):
        assert axes.get_title(loc="left") == f"{name}; dotted: the limit, 1"
        assert any(ys(line) == [1, 1] for line in axes.lines[2:]) and axes.get_ylim()[0] == 0
    alt = chart_of([run], "gradient-norm").alt
    assert "Gradient norm before clipping, after the last backward pass" in alt and "highest 7 at step 6" in alt
    assert "Gradient norm after clipping, as the optimizer sees it" in alt and "highest 1 at step 1" in alt
    assert "A dotted line at 1: max_grad_norm" in alt
    assert "Trainer and manual alike: above the limit at 3 of 8 steps before clipping." in alt
    # A lone run's overview has the norm that says more.
    lone = chart_of([run / "manual"], "overview").axes[1]
    assert lone.get_title(loc="left") == "Gradient norm before clipping; dotted: the limit, 1"
    assert ys(lone.lines[0]) == NORMS


def test_without_a_limit_none_is_drawn(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", with_unclipped(record_lines(), NORMS, max_grad_norm=0.0))
    before, _ = chart_of([run], "gradient-norm").axes
    assert before.get_title(loc="left") == "before clipping" and not any(ys(line) == [0, 0] for line in before.lines)
    assert "limit" not in chart_of([run], "gradient-norm").alt


@pytest.mark.parametrize(
    "content", [record_lines(), with_unclipped(record_lines(), [None] * 8)], ids=["older", "fp16"]
)
def test_a_record_without_the_norm_before_the_clip_shows_what_it_has(content: list[dict], tmp_path: Path) -> None:
    run = write_records(tmp_path, content)
    (axes,) = chart_of([run], "gradient-norm").axes
    assert axes.get_title(loc="left") == "after clipping; dotted: the limit, 1"
    alt = chart_of([run], "gradient-norm").alt
    assert "before clipping" not in alt and "finite" not in alt


# The time of a step -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slower", "note"),
    [(1.0, "no clear difference in 39 steps"), (2.0, "manual / Trainer: 2.00")],
)
def test_the_time_chart_states_a_ratio_only_where_there_is_one(slower: float, note: str, tmp_path: Path) -> None:
    ours, theirs = (record_lines([0.5] * 40, loop) for loop in ("manual", "trainer"))
    for line in ours[2:-1]:
        line["seconds"] = {phase: value * slower for phase, value in line["seconds"].items()}
    drawn = chart_of([write_records(tmp_path, ours, theirs)], "time")
    assert note in drawn.alt and note in words_of(drawn)
    assert note in words_of(chart_of([tmp_path / "manual", tmp_path / "trainer"]))
    assert "a step takes 560 ms (median; middle half 560 to 560 ms)" in drawn.alt
    few = chart_of([write_records(tmp_path / "few")], "time")
    assert "too few steps to tell" in few.alt and "too few steps to tell" in words_of(few)
    lone = chart_of([tmp_path / "few" / "manual"], "time")
    assert "tell" not in lone.alt


# Many runs -----------------------------------------------------------------------------------------


def test_many_runs_each_have_a_name_and_a_look_of_their_own(tmp_path: Path) -> None:
    folders = [
        write_record(tmp_path / f"seed{n}", record_lines([loss + n / 10 for loss in LOSSES], seed=n)) for n in range(5)
    ]
    runs, _ = chosen(*folders)
    assert [run.label for run in runs] == [f"manual, seed{n}" for n in range(5)]
    figure = chart_of(folders, "losses")
    drawn = figure.axes[0].lines[:5]
    assert [ys(line)[0] for line in drawn] == [0.7 + n / 10 for n in range(5)]
    assert len({line.get_color() for line in drawn}) == 5
    assert sorted((line.get_linewidth() for line in drawn), reverse=True) == [line.get_linewidth() for line in drawn]
    assert {run.label for run in runs} <= {text.get_text() for text in figure.axes[0].texts}
    for kind in RUN_KINDS:
        ElementTree.fromstring(chart_of(folders, kind).content("svg"))


def test_more_runs_than_there_is_room_for_names_get_a_legend(tmp_path: Path) -> None:
    folders = [write_record(tmp_path / f"seed{n}", record_lines(seed=n)) for n in range(MOST_RUNS)]
    legend = chart_of(folders, "losses").axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"manual, seed{n}" for n in range(MOST_RUNS)]


def test_what_is_said_of_many_runs_is_true_of_all_of_them(tmp_path: Path) -> None:
    equal, other = write_records(tmp_path / "a"), write_records(tmp_path / "b", diverged())
    drawn = chart_of([equal, other], "overview")
    sentence = (
        "4 runs, 2 different ones: Trainer, a = Trainer, b = manual, a; manual, b (diverges from the first at step 3"
    )
    assert sentence in drawn.alt and "4 runs, 2 different ones" in words_of(drawn)
    assert "is equal, difference 0.0" not in drawn.alt and "cause" not in drawn.alt
    for order in ([equal, other], [other, equal]):
        (mark,) = [line for line in chart_of(order, "losses").axes[0].lines if line.get_gid() == "first-difference"]
        assert list(mark.get_xdata()) == [3, 3]
    alike = chart_of([equal, write_records(tmp_path / "c")], "losses")
    assert "all 4 runs: every batch, loss, gradient norm and evaluation is equal, difference 0.0" in alike.alt
    seeds = [write_record(tmp_path / f"d{n}", record_lines([loss + n for loss in LOSSES], seed=n)) for n in range(3)]
    assert "3 runs, no two of them equal: manual, d0; manual, d1 (diverges" in chart_of(seeds, "losses").alt


def test_other_reviews_of_any_run_are_seen(tmp_path: Path) -> None:
    runs = [write_record(tmp_path / f"run{n}", record_lines()) for n in range(3)]
    assert "all 3 runs drew the same reviews" in chart_of(runs, "batches").alt
    content = record_lines()
    content[6]["reviews"] = [["review 0", "another"]]
    write_record(runs[2], content)
    assert (
        "all 3 runs drew different reviews, or in a different order, from step 5 on" in chart_of(runs, "batches").alt
    )


def test_more_runs_than_can_be_told_apart_are_refused(tmp_path: Path, capsys) -> None:
    runs = [str(write_record(tmp_path / f"run{n}", record_lines())) for n in range(MOST_RUNS + 1)]
    assert main(["plot", *runs]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "9 runs are too many for one chart: name at most 8" in error


def test_the_pair_is_chosen_among_runs_with_the_same_settings(tmp_path: Path) -> None:
    lone = write_record(tmp_path / "lone", record_lines(seed=1))
    run = write_records(tmp_path / "both")
    runs, pair = chosen(lone, run)
    assert (pair.run.label, pair.other.label) == ("manual, both", "Trainer")
    assert runs[0].label == "Trainer" and pair.first is None
    assert chosen(lone)[1] is None


def test_the_same_run_twice_is_told_apart_by_a_number(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", record_lines())
    assert [run.label for run in chosen(run, run / "record.jsonl")[0]] == ["manual, run (1)", "manual, run (2)"]


# Room ----------------------------------------------------------------------------------------------


def test_nothing_is_cut_off_and_no_text_lies_on_another(tmp_path: Path) -> None:
    folders = [
        write_records(
            tmp_path / name,
            *(with_unclipped(lines, NORMS) for lines in (diverged(step), record_lines(loop="trainer"))),
        )
        for name, step in (("a-run-with-a-long-name", 3), ("b", 6))
    ]
    for (count, style), kind in itertools.product(((1, "paper"), (2, "slide")), RUN_KINDS):
        figure = chart_of(folders[:count], kind, style)
        figure.lay_out()
        width, height = figure.get_size_inches() * figure.dpi
        boxes = []
        for text in figure.findobj(matplotlib.text.Text):
            if text.get_text().strip() and text.get_visible():
                box = text.get_window_extent()
                inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
                # Ticks outside the axis' limits are not drawn.
                if text in figure.texts or text in [label for axes in figure.axes for label in axes.texts]:
                    assert inside, (kind, style, text.get_text())
                    boxes.append((text.get_text(), box))
        for (text, box), (other_text, other_box) in itertools.combinations(boxes, 2):
            across = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            along = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert across < 2 or along < 2, (count, kind, style, text, other_text)


# The comparison's own picture -----------------------------------------------------------------------


def test_a_comparison_leaves_a_slide_and_its_words(tmp_path: Path) -> None:
    run = write_records(tmp_path / "run")
    records = [RunRecord.read(run / loop) for loop in ("manual", "trainer")]
    png, svg, alt = draw_comparison(*records, {"first_divergence": None}, tmp_path)
    assert struct.unpack(">II", png.read_bytes()[16:24]) == (1920, 1080)
    assert alt.name == "comparison.alt.txt" and alt.read_text(encoding="utf-8") == chart_of([run]).alt
    assert svg.read_bytes() == chart_of([run]).content("svg")
    first = {"step": 3, "quantity": "grad_norm", "likely_cause": "the clip: too long"}
    _, svg, alt = draw_comparison(*records, {"first_divergence": first}, tmp_path)
    assert {"Diverged at step 3: grad_norm", "Likely cause: the clip: too long"} <= set(texts_of(svg.read_bytes()))
    assert "first difference: step 3, grad_norm" in alt.read_text(encoding="utf-8")


def test_the_panels_show_what_the_records_say(tmp_path: Path) -> None:
    run = write_records(tmp_path)
    _, difference, loss, accuracy, seconds = chart_of([run]).axes
    assert ys(difference.lines[0]) == [0.0] * 8
    for axes, name in ((loss, "eval_loss"), (accuracy, "eval_accuracy")):
        assert ys(axes.lines[0]) == [line[name] for line in RunRecord.read(run / "manual").log_history]
    spread = step_seconds(RunRecord.read(run / "manual"))
    assert seconds.lines[0].get_xdata() == pytest.approx([1000 * spread.low, 1000 * spread.high])
    assert seconds.lines[1].get_xdata() == pytest.approx([1000 * spread.median])


# Odd records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "note"),
    [
        ([], "no step in this run"),
        ([0.7], "1 step, from 0.7"),
        ([math.nan, math.inf], "none of the 2 values is a finite number"),
        ([0.7, math.nan, math.inf, -math.inf, 0.5], "3 values are not finite numbers"),
    ],
    ids=["no step", "one step", "nothing finite", "gaps"],
)
def test_odd_losses_are_drawn_or_explained(losses: list, note: str, tmp_path: Path) -> None:
    run = write_records(tmp_path, record_lines(losses, per_epoch=9), record_lines(losses, "trainer", per_epoch=9))
    for kind in RUN_KINDS:
        drawn = chart_of([run], kind)
        ElementTree.fromstring(drawn.content("svg"))
        if kind in ("losses", "overview"):
            assert note in drawn.alt
        if kind == "accuracy":
            assert "no evaluation in this run" in words_of(drawn)
    alone = chart_of([run / "manual"], "overview")
    ElementTree.fromstring(alone.content("svg"))
    assert note in alone.alt
    # Wherever somebody says that they part.
    runs, pair = chosen(run)
    parted = runs_chart("overview", runs, pair._replace(first=Difference(3, "grad_norm", "the clip")), "slide")
    ElementTree.fromstring(parted.content("svg"))


def test_runs_of_unequal_length_and_unfinished_ones_are_drawn(tmp_path: Path) -> None:
    short = [line for line in record_lines() if line.get("step", 0) <= 5 and line["kind"] != "footer"]
    short.append({"kind": "evaluation", "step": 4, "loss": 0.6, "accuracy": 0.6})
    run = write_records(tmp_path, short)
    for kind in RUN_KINDS:
        drawn = chart_of([run], kind)
        assert "first difference: step 4, evaluation" in drawn.alt
    axes = chart_of([run], "accuracy").axes[0]
    assert ys(axes.lines[1]) == [0.6]


def test_a_long_line_is_drawn_as_its_outline_where_the_chart_is_narrow() -> None:
    steps, values = list(range(1, 6001)), [math.sin(step) for step in range(6000)]
    values[4321], values[5000], values[10] = 7.0, -7.0, math.nan
    chosen, drawn = outline(steps, values, 500)
    assert len(chosen) <= 1000 and chosen == sorted(chosen)
    # The extremes are where they are, and no value is another than it was.
    assert drawn[chosen.index(4322)] == 7.0 and drawn[chosen.index(5001)] == -7.0
    assert all(values[step - 1] == value for step, value in zip(chosen, drawn, strict=True))
    assert outline(steps[:999], values[:999], 500) == (steps[:999], values[:999])
