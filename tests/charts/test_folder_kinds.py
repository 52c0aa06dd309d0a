"""`sameloop plot` of a folder: every kind in every style and format, or one line why not."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import pytest
from build import ENVIRONMENT, texts_of
from damage import damaged
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.charts.canvas import Chart
from benchmarks.charts.styles import STYLE_NAMES
from benchmarks.cli import main
from benchmarks.gotchas.command import write_size
from benchmarks.gotchas.size import Point, Size
from benchmarks.lesson.quality import ClassScore, Quality, measure
from benchmarks.lesson.quality_chart import confusion_chart
from benchmarks.mistakes.catalogue import GALLERY
from benchmarks.mistakes.costs import GALLERY_KEPT, Cost, Run
from benchmarks.mistakes.ladder import LADDER, LADDER_FILE, Ladder, Row
from benchmarks.mistakes.show import write_gallery
from benchmarks.pages import costs as script
from benchmarks.pages.costs import SettingCost
from benchmarks.pages.costs_chart import settings_chart
from benchmarks.plot import FOLDER_KINDS, FORMATS, chart_of
from benchmarks.speed.lesson import CHANGES, LESSON, Figures, Lesson
from benchmarks.speed.lesson import Row as SpeedRow
from shared.config import RunConfig
from shared.recording.record import RunRecord

BEGINS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def a_ladder() -> Ladder:
    rows = [
        Row("course's loop", "AdamW and shuffle=True.", [], 3, "batch", "the order", 16, [0.5, 0.6]),
        Row(
            "shuffle", "Trainer's order has a generator of its own.", ["- a", "+ b"], None, None, None, 16, [0.5, 0.6]
        ),
    ]
    return Ladder("2 layers on Rotten Tomatoes", 8, rows, {}, ENVIRONMENT)


def costs(*names: str) -> list[Cost]:
    return [
        Cost(name, [Run(0.6, 0.5, 0.6, 0.5, 1.0, 2.0)] * 2, [Run(0.7, 0.6, 0.5, 0.6, 1.5, 2.0)] * 2) for name in names
    ]


def a_lesson_in_speed() -> Lesson:
    """Two lengths, two rounds; one change could not run, the last is the fastest."""
    rows = []
    for length in (128, 512):
        for number, change in enumerate(CHANGES):
            paces = [] if change.name == "compiled" else [90.0 + 40 * number, 110.0 + 40 * number]
            runs = [Figures(9.5, 0.2, 5000, 9000, pace, 1234.0, 0.8) for pace in paces]
            remark = "" if runs else "not here: --torch-compile needs a C++ compiler, and there is no g++"
            rows.append(SpeedRow(change.name, length, "", runs, remark))
    environment = {**ENVIRONMENT, "processor": "A Processor with a Long Name @ 2.50GHz", "cores": 2}
    return Lesson("MiniLM-L6 (22.7 M) on IMDB", RunConfig.build("quick").model_dump(), rows, environment)


CHECK = {"item": "forward", "step": 1, "cause": "a cause", "student": "1", "right": "0"}


@pytest.fixture(scope="module")
def folders(tiny_comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By kind, a folder that has what it takes."""
    base = tmp_path_factory.mktemp("folders")
    (base / "ladder").mkdir()
    LADDER.write(base / "ladder", a_ladder())
    names = ("no_mask", "no_eval_mode", "no_clip")
    write_gallery(base / "break", costs(*names), "tiny", dict.fromkeys(names, CHECK))
    points = [Point(64, [1.0, 1.1], [0.5, 0.6]), Point(128, [2.0, 2.1], [0.6, 0.7])]
    write_size(Size("2 layers on Rotten Tomatoes", points, 4, 1000, {}, ENVIRONMENT), base / "size")
    (base / "speed").mkdir()
    LESSON.write(base / "speed", a_lesson_in_speed())
    own = {kind: base / kind for kind in ("ladder", "break", "size", "speed")}
    return {**own, "confusion": tiny_comparison, "dials": tiny_comparison}


# Costs as `dial_costs` gives them, which tests/pages/test_costs.py sees to: to fold a page takes a second.
COSTS = [
    SettingCost("eval_strategy", "epoch", "no", {}, ["a"] * 7, ["b"]),
    SettingCost("bf16", True, False, {}, ["a"], []),
]


@pytest.fixture(scope="module")
def charts(folders: dict[str, Path]) -> Callable[[str, str], Chart]:
    """By kind and style the chart of `folders`, each drawn once."""
    config = RunRecord.read(folders["dials"] / "manual").config

    @cache
    def drawn(kind: str, style: str = "slide") -> Chart:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                script, "setting_costs", lambda *args: COSTS if args == (config, 1) else pytest.fail(str(args))
            )
            return chart_of([folders[kind]], kind, style)

    return drawn


@pytest.mark.parametrize("kind", FOLDER_KINDS)
def test_every_style_and_format_is_drawn(kind: str, charts: Callable[..., Chart]) -> None:
    for style, file_format in [*((style, "svg") for style in STYLE_NAMES), *(("paper", name) for name in FORMATS)]:
        content = (chart := charts(kind, style)).content(file_format)
        assert content.startswith(BEGINS[file_format]), (style, file_format)
        if file_format == "svg":
            assert chart.content("svg") == content
            assert f"<title>{chart.title.split(',')[0]}".encode() in content.replace(b"&apos;", b"'")
            assert b"<desc>" in content


@pytest.mark.parametrize("kind", FOLDER_KINDS)
def test_no_word_is_cut_off(kind: str, charts: Callable[..., Chart]) -> None:
    for style in STYLE_NAMES:
        assert_nothing_is_cut_off(charts(kind, style))


def test_long_names_and_many_settings_are_not_cut_off_either() -> None:
    long = [SettingCost("train_sampling_strategy", "group_by_length", "random", {}, ["a"] * 36, ["b"] * 12)] * 16
    job = "a-model-of-a-name-that-is-very-long-indeed (22.7 M) on a-dataset-of-a-name-that-is-very-long-indeed"
    for style in STYLE_NAMES:
        assert_nothing_is_cut_off(settings_chart(long, job, style))


def assert_nothing_is_cut_off(chart: Chart) -> None:
    chart.lay_out()
    with matplotlib.rc_context(chart.look.settings()):
        chart.draw_without_rendering()
    width, height = chart.bbox.size
    for text in words(chart):
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text.get_text()


def words(figure: Chart) -> list[matplotlib.text.Text]:
    """All that is written, but for the numbers on axes: of these, matplotlib holds some that it does not draw."""
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels()]
        # None where another panel has them.
        assert len(axes.get_yticklabels()) in (0, len(axes.get_yticks()))
    return [text for text in texts if text.get_text()]


def test_what_is_kept_is_read_back(folders: dict[str, Path]) -> None:
    assert LADDER.read(folders["ladder"]) == a_ladder()
    gallery = GALLERY_KEPT.read(folders["break"])
    assert gallery.mistakes == costs("no_mask", "no_eval_mode", "no_clip")
    assert gallery.job == "2 layers, random on Rotten Tomatoes, 2,000 reviews"


def test_the_pictures_say_what_the_folders_hold(charts: Callable[..., Chart], tiny_comparison: Path) -> None:
    written = {kind: texts_of(charts(kind).content("svg")) for kind in ("ladder", "break", "confusion", "dials")}
    assert {"step 3, batch", "identical: all 16 steps, every evaluation, every weight"} <= set(written["ladder"])
    for name in ("no_mask", "no_eval_mode", "no_clip"):
        assert GALLERY[name].what in written["break"] and GALLERY[name].what in charts("break").alt
    quality = measure(tiny_comparison)
    numbers = [f"{count:,}" for row in quality.loops["manual"].confusion for count in row]
    assert [text for text in written["confusion"] if re.fullmatch("[0-9,]+", text)] == numbers
    assert f"{quality.loops['manual'].rate.sentence()}." in written["confusion"]
    assert {"--eval-strategy epoch", "7 lines, 1 other comes"} <= set(written["dials"])
    assert "--eval-strategy epoch (off: no): 7 lines, 1 other comes." in charts("dials").alt


def test_one_mistake_has_a_chart_of_its_own(tmp_path: Path) -> None:
    write_gallery(tmp_path / "one", costs("no_clip"), "tiny", {"no_clip": CHECK})
    title = f"What it costs: {GALLERY['no_clip'].what}"
    assert title in texts_of(chart_of([tmp_path / "one"], "break").content("svg"))


def test_bars_are_as_long_as_the_lines() -> None:
    (axes,) = settings_chart(COSTS, "a job").axes
    assert [bar.get_width() for bar in axes.patches] == [7, 1]
    assert [text.get_text() for text in axes.texts] == ["7 lines, 1 other comes", "1 line"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["--eval-strategy epoch", "--bf16"]
    none = settings_chart([], "a job")
    assert "No setting of this run costs a line." in none.alt
    assert "no setting of this run costs a line" in texts_of(none.content("svg"))


def test_two_models_and_many_classes_stand_side_by_side(tiny_comparison: Path) -> None:
    quality = measure(tiny_comparison)
    names = [f"a class with a long name, {number}" for number in range(9)]
    answers = replace(
        quality.loops["manual"],
        confusion=[[number * 10 + other for other in range(9)] for number in range(9)],
        classes=[ClassScore(name, 1, 1.0, 1.0, 1.0) for name in names],
    )
    two = Quality({}, "float32", dict.fromkeys(("manual", "trainer"), answers), 20, 3, [])
    for style in STYLE_NAMES:
        figure = confusion_chart(two, style)
        figure.lay_out()
        assert [axes.get_title() for axes in figure.axes] == ["manual: predicted class", "Trainer: predicted class"]
        for axes in figure.axes:
            labels = [text.get_text() for text in axes.texts]
            assert labels == [str(count) for row in answers.confusion for count in row]
            boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
            assert all(box.x1 < next_box.x0 for box, next_box in itertools.pairwise(boxes)), style
    assert (
        "Of 36 examples of class a class with a long name, 0, the model predicts: 0 a class"
        in confusion_chart(two).alt
    )


# Files and errors --------------------------------------------------------------------------------------


def test_the_command_writes_picture_and_text(folders: dict[str, Path], tmp_path: Path, capsys) -> None:
    output = tmp_path / "bars.svg"
    assert main(["plot", str(folders["break"]), "--kind", "break", "--output", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    assert (
        output.read_bytes().startswith(b"<?xml") and "What a mistake costs" in (tmp_path / "bars.alt.txt").read_text()
    )
    shutil.copytree(folders["ladder"], tmp_path / "ladder")
    assert main(["plot", str(tmp_path / "ladder"), "--kind", "ladder", "--style", "dark"]) == 0
    assert (tmp_path / "ladder" / "ladder-dark.png").exists() and (
        tmp_path / "ladder" / "ladder-dark.alt.txt"
    ).exists()


LACKS = {
    "ladder": "holds no ladder.json: run `sameloop ladder` first",
    "break": "holds no gallery.json: run `sameloop break --all` first",
    "confusion": "holds no comparison.json: run `sameloop compare` first",
    "size": "holds no size.json: run `sameloop gotcha size` first",
    "speed": "holds no speed.json: run `sameloop speed --lesson` first",
    "dials": "it holds neither a record.jsonl nor a comparison's two runs",
}


@pytest.mark.parametrize("kind", FOLDER_KINDS)
def test_what_a_folder_lacks_is_one_line(kind: str, tmp_path: Path, capsys) -> None:
    for paths, message in (
        ([tmp_path], LACKS[kind]),
        ([tmp_path, tmp_path], f"--kind {kind} draws one folder, not 2: name one"),
        ([tmp_path / "none"], "there is no such folder"),
    ):
        assert main(["plot", *map(str, paths), "--kind", kind]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


FILES = {"ladder": LADDER_FILE, "break": "gallery.json", "size": "size.json", "speed": "speed.json"}


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_happens_to_a_kept_file_is_a_chart_or_one_line(
    kind: str, data: st.DataObject, folders: dict[str, Path]
) -> None:
    whole, stderr = (folders[kind] / FILES[kind]).read_bytes(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(stderr):
        (Path(folder) / FILES[kind]).write_bytes(data.draw(damaged(whole)))
        with contextlib.redirect_stdout(io.StringIO()):
            status = main(["plot", folder, "--kind", kind, "--format", "svg"])
    assert status in (0, 2), stderr.getvalue()
    assert bool(status) == ("is damaged, or of another version" in stderr.getvalue()), stderr.getvalue()
    assert stderr.getvalue().count("\n") == bool(status)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *((kind, {"schema": 99}) for kind in FILES),
        *((kind, {rows: []}) for kind, rows in (("ladder", "rows"), ("break", "mistakes"), ("speed", "rows"))),
        ("break", {"mistakes": [{"name": "gone", "right": [], "wrong": []}]}),
        ("break", {"mistakes": [{"name": "no_clip", "right": [], "wrong": []}]}),
        ("break", {"config": {"train_size": -3}}),
        ("speed", {"rows": [{"name": 1}]}),
    ],
)
def test_what_is_json_and_no_such_file_is_damage_too(
    kind: str, change: dict, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content = json.loads((folders[kind] / FILES[kind]).read_text())
    (tmp_path / FILES[kind]).write_text(json.dumps({**content, **change}))
    assert main(["plot", str(tmp_path), "--kind", kind]) == 2
    error = capsys.readouterr().err
    assert "is damaged, or of another version" in error and error.count("\n") == 1


def test_settings_are_those_of_a_run_alone_too(tiny_runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        script, "setting_costs", lambda config, world_size: COSTS[1:] if config.preset == "tiny" else []
    )
    assert "--bf16 (off: no): 1 line." in chart_of([tiny_runs["trainer"]], "dials").alt
