"""`sameloop plot`: the record's own numbers, in every kind and style, said in words too, the same bytes again."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from conftest import whole_line
from matplotlib.figure import Figure

from benchmarks.charts import texts as chart_texts
from benchmarks.charts.charts import overview, single
from benchmarks.charts.data import Difference, Pair, Run, steps_that_fit
from benchmarks.charts.panels import spread
from benchmarks.charts.plot import FORMATS, KINDS, STYLE_NAMES
from benchmarks.charts.styles import STYLES
from benchmarks.cli import main
from benchmarks.gather import MOST_RUNS, find_pair, find_runs, gather, inline_svg_of, label
from benchmarks.plot import draw_picture, plot
from shared.config import RunConfig
from shared.files import digest_of_file, sha256
from shared.recording.record import SCHEMA, RunRecord

ENVIRONMENT = {"torch": "2", "transformers": "5", "accelerate": "1", "python": "3", "device": "cpu", "threads": 2}
LOSSES = [0.7, 0.69, 0.6, 0.5, 0.55, 0.4, 0.3, 0.35]


def lines(losses: Sequence[float | None], loop: str = "manual", per_epoch: int = 4, **dials: Any) -> list[dict]:
    """A record's lines with these losses: two reviews a step, the same ones, in turned order, in every epoch."""
    steps = []
    for n, loss in enumerate(losses, 1):
        place = (n - 1) % per_epoch
        place = place if n <= per_epoch else per_epoch - 1 - place
        steps.append(
            {
                "kind": "step",
                "step": n,
                "batch": [{"input_ids": f"batch {place}"}],
                "reviews": [[f"review {2 * place}", f"review {2 * place + 1}"]],
                "mode": ["train"],
                "rng": {"torch": str(n)},
                "forward_losses": [loss],
                "losses": [loss],
                "loss": loss,
                "grad_norm": 1 / n,
                "learning_rate": 1e-3 * (1 - (n - 1) / len(losses)),
                "samples": 2,
                "tokens": 60 + n,
                "padded_tokens": 80,
                "memory_mb": 500.0 + n,
                "seconds": {"data": 0.01, "forward": 0.2, "backward": 0.3, "optimizer": 0.05, "checkpoint": 9.0},
            }
        )
    log = [
        {"eval_loss": 0.6 / n, "eval_accuracy": 1 - 0.4 / n, "epoch": float(n), "step": n * per_epoch}
        for n in range(1, len(losses) // per_epoch + 1)
    ]
    config = RunConfig.build("tiny", **{"max_grad_norm": 1.0, **dials}).model_dump()
    header = {
        "schema": SCHEMA,
        "loop": loop,
        "config": config,
        "steps_per_epoch": per_epoch,
        "environment": ENVIRONMENT,
    }
    return [
        {"kind": "header", **header},
        {"kind": "start", "parameters": 1_011_362},
        *steps,
        {"kind": "footer", "log_history": log, "peak_memory_mb": 640.0},
    ]


def write(folder: Path, content: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.jsonl").write_text("".join(json.dumps(whole_line(line)) + "\n" for line in content))
    return folder


def comparison(folder: Path, ours: list[dict] | None = None, theirs: list[dict] | None = None) -> Path:
    """A folder as `sameloop compare` leaves it, with records only."""
    write(folder / "manual", lines(LOSSES) if ours is None else ours)
    write(folder / "trainer", lines(LOSSES, "trainer") if theirs is None else theirs)
    return folder


def diverged(step: int = 3) -> list[dict]:
    """By hand, with what an earlier step left in the gradients of this step, and other losses after it."""
    content = lines(LOSSES)
    for line in content:
        if line["kind"] == "step" and line["step"] == step:
            line["gradients"] = {"left": line["grad_norm"], "backward": [], "between": [], "scaled": []}
        if line["kind"] == "step" and line["step"] >= step:
            line["grad_norm"] *= 2
        if line["kind"] == "step" and line["step"] > step:
            line["loss"] += 0.001
            line["losses"] = line["forward_losses"] = [line["loss"]]
    return content


def chosen(*paths: Path) -> tuple[list[Run], Pair | None]:
    sources = [source for path in paths for source in find_runs(path)]
    sources.sort(key=lambda source: source.record.loop == "manual")
    runs = label(sources)
    return runs, find_pair(sources, runs)


def figure_of(kind: str, *paths: Path, style: str = "slide") -> Figure:
    look = STYLES[style].for_overview() if kind == "overview" else STYLES[style]
    runs, pair = chosen(*paths)
    with matplotlib.rc_context(look.settings()):
        figure = overview(runs, pair, look) if kind == "overview" else single(kind, runs, pair, look)
        figure.draw_without_rendering()
    return figure


def texts_of(svg: str) -> str:
    root = ElementTree.fromstring(svg)
    return " ".join("".join(node.itertext()) for node in root.iter() if node.tag.endswith("}text"))


def svg_of(kind: str, *paths: Path, style: str = "slide") -> str:
    return draw_picture(paths, kind, style, "svg").content.decode()


def ys(line: Any) -> list[float]:
    return [float(value) for value in line.get_ydata()]


# What is drawn -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [("losses", "loss"), ("memory", "memory_mb"), ("learning-rate", "learning_rate"), ("gradient-norm", "grad_norm")],
)
def test_lines_are_the_records_numbers_and_both_can_be_seen(kind: str, name: str, tmp_path: Path) -> None:
    run = comparison(tmp_path)
    below, above = figure_of(kind, run).axes[0].lines[:2]
    for line, loop in ((below, "trainer"), (above, "manual")):
        assert ys(line) == [step[name] for step in RunRecord.read(run / loop).steps]
        assert list(line.get_xdata()) == list(range(1, 9))
    assert below.get_linewidth() > 3 * above.get_linewidth()
    assert below.get_linestyle() == "-" != above.get_linestyle()


def test_accuracy_time_and_difference_are_the_records_numbers(tmp_path: Path) -> None:
    run = comparison(tmp_path, diverged())
    for line in figure_of("accuracy", run).axes[0].lines[:2]:
        assert ys(line) == [0.6, 0.8]
    bars = figure_of("time", run).axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([10, 10, 200, 200, 300, 300, 50, 50])
    difference = ys(figure_of("difference", run).axes[0].lines[0])
    assert difference == pytest.approx([0, 0, 0] + [0.001] * 5) and difference[:3] == [0, 0, 0]


def test_batches_show_each_review_at_its_first_place_and_the_padding(tmp_path: Path) -> None:
    upper, lower = figure_of("batches", comparison(tmp_path)).axes
    # Two reviews a step; the second epoch draws the four pairs the other way round.
    for dots in upper.lines[:2]:
        assert ys(dots) == [1, 2, 3, 4, 5, 6, 7, 8, 7, 8, 5, 6, 3, 4, 1, 2]
        assert list(dots.get_xdata()) == [step for step in range(1, 9) for _ in range(2)]
    useful, places = lower.patches[:2]
    assert list(useful.get_data().values) == [60 + n for n in range(1, 9)]
    assert list(places.get_data().values) == [80] * 8
    share = 1 - sum(60 + n for n in range(1, 9)) / 640
    assert f"{share:.1%} of all tokens are padding" in lower.get_title(loc="left")


def test_too_many_dots_are_cut_and_the_title_says_where() -> None:
    short, long = (RunRecord(lines([0.5] * count), "test") for count in (20, 40))
    assert steps_that_fit([short, long]) == 40
    assert steps_that_fit([short, long], most=61) == 30
    runs = [Run("by hand", long)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.charts.charts.steps_that_fit", lambda records: 30)
        figure = single("batches", runs, None, STYLES["slide"])
    assert "(steps 1 to 30)" in figure.texts[0].get_text()
    assert max(figure.axes[0].lines[0].get_xdata()) == 30


def test_other_reviews_are_marked_where_they_begin(tmp_path: Path) -> None:
    ours = lines(LOSSES)
    ours[6]["reviews"] = [["review 0", "another"]]
    run = comparison(tmp_path, ours)
    marks = [line for axes in figure_of("batches", run).axes for line in axes.lines if line.get_gid()]
    assert [list(mark.get_xdata()) for mark in marks] == [[5, 5]] * 2
    assert "drew other reviews, or in another order, from step 5 on" in draw_picture([run], "batches").alt
    assert "drew the same reviews in the same order" in draw_picture([comparison(tmp_path)], "batches").alt


def test_names_beside_lines_keep_apart_in_their_order() -> None:
    places = spread([0.5, 0.5, 0.1, 0.98, 0.97], 0.08)
    ordered = sorted(places)
    assert all(b - a >= 0.08 - 1e-12 for a, b in itertools.pairwise(ordered))
    assert ordered[0] >= 0 and ordered[-1] <= 1
    assert places[2] == min(places) and places[3] == max(places)


# Divergences ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("time", "batches", "overview")])
def test_the_first_difference_is_marked_and_named(kind: str, tmp_path: Path) -> None:
    axes = figure_of(kind, comparison(tmp_path, diverged())).axes[0]
    (mark,) = [line for line in axes.lines if line.get_gid() == "first-difference"]
    assert list(mark.get_xdata()) == [0.75 if kind == "accuracy" else 3] * 2
    assert "first difference: step 3, grad_norm" in [text.get_text() for text in axes.texts]


def test_a_diverged_overview_says_where_and_why(tmp_path: Path) -> None:
    drawn = draw_picture([comparison(tmp_path, diverged())], "overview", "dark", "svg")
    texts = texts_of(drawn.content.decode())
    assert "Diverged at step 3: grad_norm" in texts and "Identical" not in texts
    cause = chosen(tmp_path)[1].first.cause
    assert f"Likely cause: {cause.split()[0]}" in texts
    for said in (
        "first difference: step 3, grad_norm",
        f"Likely cause: {cause}.",
        "not 0.0 at 5 of 8 steps, first at step 4",
    ):
        assert said in drawn.alt
    equal = draw_picture([comparison(tmp_path)], "overview", "slide", "svg")
    assert "Identical" in texts_of(equal.content.decode()) and "0.0 at all 8 steps" in equal.alt


def test_different_dials_are_named_and_the_difference_after_them_is_marked(tmp_path: Path) -> None:
    write(tmp_path / "one", lines(LOSSES, seed=1))
    other = diverged()
    other[0]["config"]["seed"] = 2
    write(tmp_path / "two", other)
    svg = svg_of("losses", tmp_path / "one", tmp_path / "two")
    assert "different dials: seed 1 (by hand, one), 2 (by hand, two)" in texts_of(svg)
    assert "first difference: step 3, grad_norm" in texts_of(svg)


def test_a_page_of_the_users_beside_trainer_is_no_other_dial(tmp_path: Path) -> None:
    write(tmp_path / "manual", lines(LOSSES, loop="manual"))
    write(tmp_path / "trainer", lines(LOSSES, loop="trainer"))
    own = [json.loads(line) for line in (tmp_path / "manual" / "record.jsonl").read_text().splitlines()]
    own[0]["config"]["loop"] = "mine.py"
    write(tmp_path / "manual", own)
    assert "different dials" not in texts_of(svg_of("losses", tmp_path / "manual", tmp_path / "trainer"))
    write(tmp_path / "other", lines(LOSSES))
    assert "different dials: loop mine.py" in texts_of(svg_of("losses", tmp_path / "manual", tmp_path / "other"))


def test_weights_that_only_the_comparison_saw_differ(tmp_path: Path) -> None:
    run = comparison(tmp_path)
    first = {"step": 8, "quantity": "weights", "likely_cause": "the saving", "manual": "", "trainer": "", "rank": 0}
    whole = {"schema": 1, "verdict": "diverged", "steps": 8, "max_abs_diff": {}, "never_acted": [], "remarks": []}
    for loop in ("manual", "trainer"):
        (run / loop / "model.safetensors").write_bytes(loop.encode())
        whole[loop] = {
            **{f"{name}_seconds": None for name in ("train", "evaluation", "recorder")},
            **dict.fromkeys(("samples_per_second", "tokens_per_second", "peak_memory_mb")),
            **{name: [] for name in ("train_loss", "eval_accuracy", "eval_loss")},
            "weights_sha256": sha256(run / loop / "model.safetensors"),
            "record": digest_of_file(run / loop / "record.jsonl"),
        }
    whole |= {"config": {}, "environment": {}, "first_divergence": {**first, "also": []}}
    (run / "comparison.json").write_text(json.dumps(whole))
    assert chosen(run)[1].first == Difference(8, "weights", "the saving")
    (run / "manual/model.safetensors").write_bytes(b"another")
    assert chosen(run)[1].first is None


# The gradient norm, before and after the clip -------------------------------------------------------


def with_unclipped(content: list[dict], norms: Sequence[float | None], **dials: Any) -> list[dict]:
    content[0]["config"].update(dials)
    for line, norm in zip(content[2:-1], norms, strict=True):
        line["unclipped_norm"] = norm
    return content


NORMS = [3.0, 0.5, 2.0, 0.25, 0.2, 7.0, 0.1, 0.1]


def test_both_gradient_norms_are_drawn_and_the_limit_between_them(tmp_path: Path) -> None:
    run = comparison(tmp_path, *(with_unclipped(lines(LOSSES, loop), NORMS) for loop in ("manual", "trainer")))
    before, after = figure_of("gradient-norm", run).axes
    assert [ys(line) for line in before.lines[:2]] == [NORMS] * 2
    assert [ys(line) for line in after.lines[:2]] == [[1 / n for n in range(1, 9)]] * 2
    for axes, name in ((before, "before clipping"), (after, "after clipping")):
        assert axes.get_title(loc="left") == f"{name}; dotted: the limit, 1"
        assert any(ys(line) == [1, 1] for line in axes.lines[2:]) and axes.get_ylim()[0] == 0
    alt = draw_picture([run], "gradient-norm").alt
    assert "Gradient norm before clipping, after the last backward pass" in alt and "highest 7 at step 6" in alt
    assert "Gradient norm after clipping, as the optimizer sees it" in alt and "highest 1 at step 1" in alt
    assert "A dotted line at 1: max_grad_norm" in alt
    assert "Trainer and by hand alike: above the limit at 3 of 8 steps before clipping." in alt
    # A lone run's overview has the norm that says more.
    lone = figure_of("overview", run / "manual").axes[1]
    assert lone.get_title(loc="left") == "Gradient norm before clipping; dotted: the limit, 1"
    assert ys(lone.lines[0]) == NORMS


def test_without_a_limit_none_is_drawn(tmp_path: Path) -> None:
    run = write(tmp_path / "run", with_unclipped(lines(LOSSES), NORMS, max_grad_norm=0.0))
    before, _ = figure_of("gradient-norm", run).axes
    assert before.get_title(loc="left") == "before clipping" and not any(ys(line) == [0, 0] for line in before.lines)
    assert "limit" not in draw_picture([run], "gradient-norm").alt


@pytest.mark.parametrize("content", [lines(LOSSES), with_unclipped(lines(LOSSES), [None] * 8)], ids=["older", "fp16"])
def test_a_record_without_the_norm_before_the_clip_shows_what_it_has(content: list[dict], tmp_path: Path) -> None:
    run = comparison(tmp_path, content)
    (axes,) = figure_of("gradient-norm", run).axes
    assert axes.get_title(loc="left") == "after clipping; dotted: the limit, 1"
    alt = draw_picture([run], "gradient-norm").alt
    assert "before clipping" not in alt and "finite" not in alt


# The time of a step -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slower", "said"),
    [(1.0, "no difference that these 39 steps could tell"), (2.0, "by hand / Trainer: 2.00")],
)
def test_the_time_chart_states_a_ratio_only_where_there_is_one(slower: float, said: str, tmp_path: Path) -> None:
    ours, theirs = (lines([0.5] * 40, loop) for loop in ("manual", "trainer"))
    for line in ours[2:-1]:
        line["seconds"] = {phase: value * slower for phase, value in line["seconds"].items()}
    drawn = draw_picture([comparison(tmp_path, ours, theirs)], "time", "slide", "svg")
    assert said in drawn.alt and said in texts_of(drawn.content.decode())
    assert "a step takes 560 ms (median; middle half 560 to 560 ms)" in drawn.alt
    few = draw_picture([comparison(tmp_path / "few")], "time", "slide", "svg")
    assert "too few steps to tell" in few.alt and "too few steps to tell" in texts_of(few.content.decode())
    lone = draw_picture([tmp_path / "few" / "manual"], "time", "slide", "svg")
    assert "tell" not in lone.alt


# Many runs -----------------------------------------------------------------------------------------


def test_many_runs_each_have_a_name_and_a_look_of_their_own(tmp_path: Path) -> None:
    folders = [write(tmp_path / f"seed{n}", lines([loss + n / 10 for loss in LOSSES], seed=n)) for n in range(5)]
    runs, _ = chosen(*folders)
    assert [run.label for run in runs] == [f"by hand, seed{n}" for n in range(5)]
    figure = figure_of("losses", *folders)
    drawn = figure.axes[0].lines[:5]
    assert [ys(line)[0] for line in drawn] == [0.7 + n / 10 for n in range(5)]
    assert len({line.get_color() for line in drawn}) == 5
    assert sorted((line.get_linewidth() for line in drawn), reverse=True) == [line.get_linewidth() for line in drawn]
    assert {run.label for run in runs} <= {text.get_text() for text in figure.axes[0].texts}
    for kind in KINDS:
        ElementTree.fromstring(svg_of(kind, *folders))


def test_more_runs_than_there_is_room_for_names_get_a_legend(tmp_path: Path) -> None:
    folders = [write(tmp_path / f"seed{n}", lines(LOSSES, seed=n)) for n in range(MOST_RUNS)]
    legend = figure_of("losses", *folders).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"by hand, seed{n}" for n in range(MOST_RUNS)]


def test_what_is_said_of_many_runs_is_true_of_all_of_them(tmp_path: Path) -> None:
    equal, other = comparison(tmp_path / "a"), comparison(tmp_path / "b", diverged())
    drawn = draw_picture([equal, other], "overview", "slide", "svg")
    said = "4 runs, 2 different ones: Trainer, a = Trainer, b = by hand, a; by hand, b (parts from the first at step 3"
    assert said in drawn.alt and "4 runs, 2 different ones" in texts_of(drawn.content.decode())
    assert "is equal, difference 0.0" not in drawn.alt and "cause" not in drawn.alt
    for order in ([equal, other], [other, equal]):
        (mark,) = [line for line in figure_of("losses", *order).axes[0].lines if line.get_gid() == "first-difference"]
        assert list(mark.get_xdata()) == [3, 3]
    alike = draw_picture([equal, comparison(tmp_path / "c")], "losses")
    assert "all 4 runs: every batch, loss, gradient norm and evaluation is equal, difference 0.0" in alike.alt
    seeds = [write(tmp_path / f"d{n}", lines([loss + n for loss in LOSSES], seed=n)) for n in range(3)]
    assert "3 runs, no two of them equal: by hand, d0; by hand, d1 (parts" in draw_picture(seeds, "losses").alt


def test_other_reviews_of_any_run_are_seen(tmp_path: Path) -> None:
    runs = [write(tmp_path / f"run{n}", lines(LOSSES)) for n in range(3)]
    assert "all 3 runs drew the same reviews" in draw_picture(runs, "batches").alt
    content = lines(LOSSES)
    content[6]["reviews"] = [["review 0", "another"]]
    write(runs[2], content)
    assert "all 3 runs drew other reviews, or in another order, from step 5 on" in draw_picture(runs, "batches").alt


def test_more_runs_than_can_be_told_apart_are_refused(tmp_path: Path, capsys) -> None:
    runs = [str(write(tmp_path / f"run{n}", lines(LOSSES))) for n in range(MOST_RUNS + 1)]
    assert main(["plot", *runs]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "9 runs in one chart: 8 can be told apart" in error


def test_the_pair_is_chosen_among_runs_with_the_same_dials(tmp_path: Path) -> None:
    lone = write(tmp_path / "lone", lines(LOSSES, seed=1))
    run = comparison(tmp_path / "both")
    runs, pair = chosen(lone, run)
    assert (pair.one.label, pair.other.label) == ("by hand, both", "Trainer")
    assert runs[0].label == "Trainer" and pair.first is None
    assert chosen(lone)[1] is None


def test_the_same_run_twice_is_told_apart_by_a_number(tmp_path: Path) -> None:
    run = write(tmp_path / "run", lines(LOSSES))
    assert [each.label for each in chosen(run, run / "record.jsonl")[0]] == ["by hand, run (1)", "by hand, run (2)"]


# Files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "style"), itertools.product(KINDS, STYLE_NAMES))
def test_the_same_record_gives_the_same_svg_with_its_text_as_text(kind: str, style: str, tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    first = plot([run], kind, style, output=tmp_path / "first.svg").read_bytes()
    if style == "slide":
        assert plot([run], kind, style, output=tmp_path / "another name.svg").read_bytes() == first
    svg = first.decode()
    assert chart_texts.title_of(kind, *chosen(run)).split()[0] in texts_of(svg)
    assert "2 layers, random (1.0 M) on Rotten Tomatoes" in texts_of(svg) and "seed 42" in texts_of(svg)
    alt = (tmp_path / "first.alt.txt").read_text(encoding="utf-8")
    root = ElementTree.fromstring(svg)
    namespace = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{namespace}desc").text == alt.strip()
    assert root.find(f"{namespace}title").text == chart_texts.title_of(kind, *chosen(run))
    # Nothing but what the record says: no date, no path.
    assert not re.search(r"20\d\d-\d\d-\d\d", svg) and str(tmp_path) not in svg + alt


def test_each_format_is_what_it_says_and_has_its_size(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    png = draw_picture([run], "losses", "slide", "png").content
    assert struct.unpack(">II", png[16:24]) == (1920, 1080)
    assert png == draw_picture([run], "losses", "slide", "png").content
    pdf = draw_picture([run], "losses", "paper", "pdf").content
    assert pdf.startswith(b"%PDF-") and b"CreationDate" not in pdf
    assert pdf == draw_picture([run], "losses", "paper", "pdf").content


def test_nothing_is_cut_off_and_no_text_lies_on_another(tmp_path: Path) -> None:
    folders = [
        comparison(
            tmp_path / name, *(with_unclipped(each, NORMS) for each in (diverged(step), lines(LOSSES, "trainer")))
        )
        for name, step in (("a-run-with-a-long-name", 3), ("b", 6))
    ]
    for (count, style), kind in itertools.product(((1, "paper"), (2, "slide")), KINDS):
        figure = figure_of(kind, *folders[:count], style=style)
        width, height = figure.get_size_inches() * figure.dpi
        boxes = []
        for text in figure.findobj(matplotlib.text.Text):
            if text.get_text().strip() and text.get_visible():
                box = text.get_window_extent()
                inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
                # Ticks outside the axis' limits are not drawn.
                if text in figure.texts or text in [each for axes in figure.axes for each in axes.texts]:
                    assert inside, (kind, style, text.get_text())
                    boxes.append((text.get_text(), box))
        for (one, box), (other, other_box) in itertools.combinations(boxes, 2):
            across = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            along = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert across < 2 or along < 2, (count, kind, style, one, other)


def test_ink_stands_out_from_every_ground() -> None:
    def luminance(colour: str) -> float:
        parts = matplotlib.colors.to_rgb(colour)
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for style in STYLES.values():
        for colour, least in ((style.ink, 15), (style.soft, 7), (style.exact, 4.5), (style.wrong, 4.5)):
            bright, dark = sorted((luminance(colour), luminance(style.ground)), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) > least, colour


def test_an_svg_for_a_page_brings_ids_of_its_own_and_no_fixed_size(tmp_path: Path) -> None:
    run = comparison(tmp_path)
    light, dark = (inline_svg_of(gather([run]), "overview", style) for style in ("slide", "dark"))
    for svg, style in ((light, "slide"), (dark, "dark")):
        root = ElementTree.fromstring(svg)
        assert svg.startswith("<svg ") and "width" not in root.attrib and "viewBox" in root.attrib
        ids = set(re.findall(r'\bid="([^"]*)"', svg))
        assert ids and all(each.startswith(f"overview-{style}-") for each in ids)
        assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', svg)) <= ids
    assert STYLES["dark"].ground.lower() in dark and "0.0 at all 8 steps" in light


def test_a_long_run_is_drawn_in_time_and_its_svg_stays_small(tmp_path: Path) -> None:
    losses = [0.7 - 0.0001 * n + 0.05 * math.sin(n * n) for n in range(6000)]
    run = comparison(tmp_path, lines(losses, per_epoch=3000), lines(losses, "trainer", per_epoch=3000))
    started = time.process_time()
    assert len(draw_picture([run], "overview", "slide", "svg").content) < 600_000
    assert time.process_time() - started < 10
    # More dots than an SVG should hold as elements go in as a picture.
    assert len(draw_picture([run], "batches", "slide", "svg").content) < 1_500_000


# Odd records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([], "no step in this run"),
        ([0.7], "1 step, from 0.7"),
        ([math.nan, math.inf], "none of the 2 values is a finite number"),
        ([0.7, math.nan, math.inf, -math.inf, 0.5], "3 values are not finite numbers"),
    ],
    ids=["no step", "one step", "nothing finite", "gaps"],
)
def test_odd_losses_are_drawn_or_explained(losses: list, said: str, tmp_path: Path) -> None:
    run = comparison(tmp_path, lines(losses, per_epoch=9), lines(losses, "trainer", per_epoch=9))
    for kind in KINDS:
        drawn = draw_picture([run], kind, "slide", "svg")
        ElementTree.fromstring(drawn.content)
        if kind in ("losses", "overview"):
            assert said in drawn.alt
        if kind == "accuracy":
            assert "no evaluation in this run" in texts_of(drawn.content.decode())
    alone = draw_picture([run / "manual"], "overview", "slide", "svg")
    ElementTree.fromstring(alone.content)
    assert said in alone.alt


def test_runs_of_unequal_length_and_unfinished_ones_are_drawn(tmp_path: Path) -> None:
    short = [line for line in lines(LOSSES) if line.get("step", 0) <= 5 and line["kind"] != "footer"]
    short.append({"kind": "evaluation", "step": 4, "loss": 0.6, "accuracy": 0.6})
    run = comparison(tmp_path, short)
    for kind in KINDS:
        drawn = draw_picture([run], kind, "slide", "svg")
        assert "first difference: step 4, evaluation" in drawn.alt
    axes = figure_of("accuracy", run).axes[0]
    assert ys(axes.lines[1]) == [0.6]


# The command ---------------------------------------------------------------------------------------


def test_the_command_draws_a_real_pair_beside_its_record(tiny_runs, tmp_path: Path, capsys) -> None:
    for loop, folder in tiny_runs.items():
        (tmp_path / loop).mkdir()
        shutil.copy(folder / "record.jsonl", tmp_path / loop)
    assert main(["plot", str(tmp_path), "--format", "svg"]) == 0
    path = tmp_path / "overview-slide.svg"
    assert capsys.readouterr().out.strip() == str(path)
    record = RunRecord.read(tmp_path / "manual")
    assert "Identical: Trainer is the loop written by hand" in texts_of(path.read_text(encoding="utf-8"))
    alt = path.with_suffix(".alt.txt").read_text(encoding="utf-8")
    assert f"to {record.steps[-1]['loss']:.4g} at step {len(record.steps)}" in alt
    assert f"after epoch 2 {record.log_history[-1]['eval_accuracy']:.1%}" in alt
    for kind in KINDS:
        assert main(["plot", str(tmp_path), "--kind", kind, "--output", str(tmp_path / f"{kind}.svg")]) == 0
        assert "difference 0.0" in (tmp_path / f"{kind}.alt.txt").read_text(encoding="utf-8")


def without(name: str) -> list[dict]:
    return [{key: value for key, value in line.items() if key != name} for line in lines(LOSSES)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: there is no such folder or record"),
        (["empty"], "it holds neither a record.jsonl nor a comparison's two runs"),
        (["other.txt"], "is not JSON"),
        (["run", "--kind", "difference"], "a difference takes two runs"),
        (["old-memory", "--kind", "memory"], "says nothing of `memory_mb`"),
        (["run", "--output", "picture.jpg"], "end the name in .png, .svg or .pdf"),
        (["run", "--output", "run/record.jsonl"], "end the name in .png, .svg or .pdf"),
        (["run", "--output", "picture.png", "--format", "svg"], "the name says png, --format says svg"),
        (["run", "--output", "missing/picture.svg"], "cannot write missing/picture.svg: No such file"),
        (["run", "--output", "folder.svg"], "cannot write folder.svg: Is a directory"),
        (["run", "--kind", "pie"], "'pie' is not one of"),
        (["run", "--style", "neon"], "'neon' is not one of"),
        ([], "Missing argument"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("run"), lines(LOSSES))
    write(Path("old-memory"), without("memory_mb"))
    Path("empty").mkdir()
    Path("folder.svg").mkdir()
    Path("other.txt").write_text("my thesis\nchapter one\n")
    before = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    assert main(["plot", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error
    assert {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")} == before


def test_a_picture_is_replaced_and_its_suffix_decides_the_format(tmp_path: Path) -> None:
    run = write(tmp_path / "run", lines(LOSSES))
    target = tmp_path / "picture.SVG"
    target.write_text("an older one")
    assert main(["plot", str(run / "record.jsonl"), "--kind", "losses", "--output", str(target)]) == 0
    assert "<svg" in target.read_text(encoding="utf-8")
    assert main(["plot", str(run / "record.jsonl"), "--kind", "losses", "--format", "pdf", "--style", "paper"]) == 0
    assert {path.name for path in run.iterdir()} == {"record.jsonl", "losses-paper.pdf", "losses-paper.alt.txt"}
    assert set(FORMATS) == {"png", "svg", "pdf"}
