"""`sameloop plot`: every kind, style and format, the same bytes for the same record, one line for a mistake."""

from __future__ import annotations

import itertools
import math
import re
import shutil
import struct
import time
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from build import record_lines, words_of, write_record, write_records

from benchmarks.charts import texts
from benchmarks.charts.styles import STYLE_NAMES, STYLES
from benchmarks.cli import main
from benchmarks.gather import gather
from benchmarks.plot import FORMATS, RUN_KINDS, chart_of, plot
from shared.recording.record import RunRecord

# Files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "style"), itertools.product(RUN_KINDS, STYLE_NAMES))
def test_the_same_record_gives_the_same_svg_with_its_text_as_text(kind: str, style: str, tmp_path: Path) -> None:
    run = write_records(tmp_path / "run")
    first = plot([run], kind, style, output=tmp_path / "first.svg").read_bytes()
    if style == "slide":
        assert plot([run], kind, style, output=tmp_path / "another name.svg").read_bytes() == first
    svg, words, gathered = first.decode(), words_of(first), gather([run])
    title = texts.title_of(kind, gathered.runs, gathered.pair)
    assert title.split()[0] in words and "2 layers, random (1.0 M) on Rotten Tomatoes" in words and "seed 42" in words
    alt = (tmp_path / "first.alt.txt").read_text(encoding="utf-8")
    root = ElementTree.fromstring(svg)
    namespace = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{namespace}desc").text == alt.strip()
    assert root.find(f"{namespace}title").text == title
    # Nothing but what the record says: no date, no path.
    assert not re.search(r"20\d\d-\d\d-\d\d", svg) and str(tmp_path) not in svg + alt


def test_each_format_is_what_it_says_and_has_its_size(tmp_path: Path) -> None:
    run = write_records(tmp_path / "run")
    png = chart_of([run], "losses").content("png")
    assert struct.unpack(">II", png[16:24]) == (1920, 1080)
    assert png == chart_of([run], "losses").content("png")
    pdf = chart_of([run], "losses", "paper").content("pdf")
    assert pdf.startswith(b"%PDF-") and b"CreationDate" not in pdf
    assert pdf == chart_of([run], "losses", "paper").content("pdf")


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
    run = write_records(tmp_path)
    light, dark = (chart_of([run], style=style).inline_svg(f"overview-{style}") for style in ("slide", "dark"))
    for svg, style in ((light, "slide"), (dark, "dark")):
        root = ElementTree.fromstring(svg)
        assert svg.startswith("<svg ") and "width" not in root.attrib and "viewBox" in root.attrib
        ids = set(re.findall(r'\bid="([^"]*)"', svg))
        assert ids and all(id_.startswith(f"overview-{style}-") for id_ in ids)
        assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', svg)) <= ids
    assert STYLES["dark"].ground.lower() in dark and "0.0 at all 8 steps" in light


def test_a_long_run_is_drawn_in_time_and_its_svg_stays_small(tmp_path: Path) -> None:
    losses = [0.7 - 0.0001 * n + 0.05 * math.sin(n * n) for n in range(6000)]
    run = write_records(
        tmp_path, record_lines(losses, per_epoch=3000), record_lines(losses, "trainer", per_epoch=3000)
    )
    started = time.process_time()
    assert len(chart_of([run], "overview").content("svg")) < 600_000
    assert time.process_time() - started < 10
    # More dots than an SVG should hold as elements go in as a picture.
    assert len(chart_of([run], "batches").content("svg")) < 1_500_000


# The command ---------------------------------------------------------------------------------------


def test_the_command_draws_a_real_pair_beside_its_record(tiny_runs, tmp_path: Path, capsys) -> None:
    for loop, folder in tiny_runs.items():
        (tmp_path / loop).mkdir()
        shutil.copy(folder / "record.jsonl", tmp_path / loop)
    assert main(["plot", str(tmp_path), "--format", "svg"]) == 0
    path = tmp_path / "overview-slide.svg"
    assert capsys.readouterr().out.strip() == str(path)
    record = RunRecord.read(tmp_path / "manual")
    assert "Identical: Trainer and the manual loop are equal" in words_of(path.read_bytes())
    alt = path.with_suffix(".alt.txt").read_text(encoding="utf-8")
    assert f"to {record.steps[-1]['loss']:.4g} at step {len(record.steps)}" in alt
    assert f"after epoch 2 {record.log_history[-1]['eval_accuracy']:.1%}" in alt
    for kind in RUN_KINDS:
        assert main(["plot", str(tmp_path), "--kind", kind, "--output", str(tmp_path / f"{kind}.svg")]) == 0
        assert "difference 0.0" in (tmp_path / f"{kind}.alt.txt").read_text(encoding="utf-8")


def without(name: str) -> list[dict]:
    return [{key: value for key, value in line.items() if key != name} for line in record_lines()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: there is no such folder or record"),
        (["empty"], "it holds neither a record.jsonl nor a comparison's two runs"),
        (["other.txt"], "is not JSON"),
        (["run", "--kind", "difference"], "a difference takes two runs"),
        (["old-memory", "--kind", "memory"], "has no `memory_mb`"),
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
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    write_record(Path("run"), record_lines())
    write_record(Path("old-memory"), without("memory_mb"))
    Path("empty").mkdir()
    Path("folder.svg").mkdir()
    Path("other.txt").write_text("my thesis\nchapter one\n")
    before = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    assert main(["plot", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")} == before


def test_a_picture_is_replaced_and_its_suffix_decides_the_format(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", record_lines())
    target = tmp_path / "picture.SVG"
    target.write_text("an older one")
    assert main(["plot", str(run / "record.jsonl"), "--kind", "losses", "--output", str(target)]) == 0
    assert "<svg" in target.read_text(encoding="utf-8")
    assert main(["plot", str(run / "record.jsonl"), "--kind", "losses", "--format", "pdf", "--style", "paper"]) == 0
    assert {path.name for path in run.iterdir()} == {"record.jsonl", "losses-paper.pdf", "losses-paper.alt.txt"}
    assert set(FORMATS) == {"png", "svg", "pdf"}
