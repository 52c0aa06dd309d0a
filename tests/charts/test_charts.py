"""The chart: a slide with the verdict on it, the same bytes for the same record, whatever the record holds."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.charts.charts import comparison_figure, draw_comparison
from benchmarks.charts.data import outline
from benchmarks.verdict.verdict import REPORTED_EVALUATION
from shared.config import RunConfig
from shared.recording.record import SCHEMA, RunRecord

ENVIRONMENT = {"torch": "2", "transformers": "5", "accelerate": "1", "python": "3", "device": "cpu", "threads": 2}


def record(losses: list[float | None], evaluations: int = 2, steps_per_epoch: int = 4, **dials: Any) -> RunRecord:
    """A record with these losses, and as many evaluations, one after each epoch."""
    config = RunConfig.build("tiny", **dials).model_dump()
    header = {"schema": SCHEMA, "loop": "manual", "config": config, "steps_per_epoch": steps_per_epoch}
    seconds = {"forward": 0.5, "backward": 0.5}
    log = [
        {"eval_loss": 0.6 / n, "eval_accuracy": 1 - 0.4 / n, "epoch": float(n), "step": n * steps_per_epoch}
        for n in range(1, evaluations + 1)
    ]
    return RunRecord(
        [
            {"kind": "header", **header, "environment": ENVIRONMENT},
            {"kind": "start", "parameters": 1_011_362},
            *({"kind": "step", "step": n, "loss": loss, "seconds": seconds} for n, loss in enumerate(losses, 1)),
            {"kind": "footer", "log_history": log},
        ],
        "test",
    )


def comparison(steps: int, divergence: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "verdict": "diverged" if divergence else "identical",
        "steps": steps,
        "first_divergence": divergence,
        "environment": ENVIRONMENT,
    }


LOSSES = [0.7, 0.69, 0.6, 0.5, 0.55, 0.4, 0.3, 0.35]
DIVERGENCE = {"step": 3, "quantity": "grad_norm", "manual": 1.0, "trainer": 2.0, "likely_cause": "the clip: too long"}


def svg_texts(path: Path) -> str:
    root = ElementTree.parse(path).getroot()
    return " ".join("".join(node.itertext()) for node in root.iter() if node.tag.endswith("}text"))


def test_the_picture_is_a_slide_and_the_svg_keeps_its_text(tmp_path: Path) -> None:
    png, svg, alt = draw_comparison(record(LOSSES), record(LOSSES), comparison(8), tmp_path)
    assert struct.unpack(">II", png.read_bytes()[16:24]) == (1920, 1080)
    texts = svg_texts(svg)
    for expected in (
        "Identical",
        "2 layers, random (1.0 M) on Rotten Tomatoes",
        "61 + 29 reviews",
        "seed 42",
        "slice seed 0",
    ):
        assert expected in texts
    assert "0.0 at all 8 steps: exactly equal" in texts
    assert "by hand" in texts and "Trainer" in texts
    words = alt.read_text(encoding="utf-8")
    assert alt.name == "comparison.alt.txt"
    assert "by hand against Trainer: 0.0 at all 8 steps" in words
    assert "from 0.7 at step 1 to 0.35 at step 8, lowest 0.3 at step 7" in words


def test_the_same_record_gives_the_same_svg(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw_comparison(record(LOSSES), record(LOSSES), comparison(8), tmp_path / name)
    assert (tmp_path / "one/comparison.svg").read_bytes() == (tmp_path / "two/comparison.svg").read_bytes()


def test_a_divergence_is_named_and_drawn(tmp_path: Path) -> None:
    others = [*LOSSES[:3], *(loss + 1e-6 * 10**n for n, loss in enumerate(LOSSES[3:]))]
    _, svg, alt = draw_comparison(record(others), record(LOSSES), comparison(8, DIVERGENCE), tmp_path)
    texts = svg_texts(svg)
    assert "Diverged at step 3: grad_norm" in texts
    assert "the clip: too long" in texts
    assert "exactly equal" not in texts
    assert "first difference: step 3, grad_norm" in alt.read_text(encoding="utf-8")


def test_both_curves_can_be_seen_although_they_coincide() -> None:
    figure = comparison_figure(record(LOSSES), record(LOSSES), comparison(8))
    below, above = figure.axes[0].lines[:2]
    assert list(below.get_ydata()) == list(above.get_ydata()) == LOSSES
    assert below.get_linewidth() > 3 * above.get_linewidth()
    assert below.get_linestyle() == "-" and above.get_linestyle() != "-"


def test_the_panels_show_what_the_records_say() -> None:
    figure = comparison_figure(record(LOSSES), record(LOSSES), comparison(8))
    _, difference, loss, accuracy, seconds = figure.axes
    assert list(difference.lines[0].get_ydata()) == [0.0] * 8
    for axes, name in zip((loss, accuracy), REPORTED_EVALUATION, strict=True):
        assert list(axes.lines[0].get_ydata()) == [line[name] for line in record(LOSSES).log_history]
    assert [bar.get_height() for bar in seconds.patches] == [4.0] * 4 and seconds.get_ylabel() == "seconds"


@pytest.mark.parametrize(
    ("manual", "trainer"),
    [
        (record(LOSSES, evaluations=0), record(LOSSES, evaluations=0)),
        (record([0.7], evaluations=1, steps_per_epoch=1), record([0.7], evaluations=1, steps_per_epoch=1)),
        (record([]), record([])),
        (record([0.7, math.nan, math.inf]), record([0.7, math.nan, 0.5])),
        (record([0.7, None, 0.5]), record([0.7, None, 0.5])),
        (record(LOSSES), record(LOSSES[:5], evaluations=1)),
        (record([0.5] * 6000, steps_per_epoch=3000), record([0.5] * 6000, steps_per_epoch=3000)),
        (record(LOSSES, model="/a/very/" + "long/" * 40 + "path"), record(LOSSES)),
    ],
    ids=["no evaluation", "one step", "no step", "nan", "none", "unequal length", "6000 steps", "long name"],
)
def test_odd_records_are_drawn_too(manual: RunRecord, trainer: RunRecord, tmp_path: Path) -> None:
    for found in (None, DIVERGENCE):
        for path in draw_comparison(manual, trainer, comparison(len(manual.steps), found), tmp_path):
            assert path.stat().st_size > (400 if path.suffix == ".txt" else 5000)


def test_a_long_line_is_drawn_as_its_outline_where_the_chart_is_narrow() -> None:
    steps, values = list(range(1, 6001)), [math.sin(step) for step in range(6000)]
    values[4321], values[5000], values[10] = 7.0, -7.0, math.nan
    kept, drawn = outline(steps, values, 500)
    assert len(kept) <= 1000 and kept == sorted(kept)
    # The extremes are where they are, and no value is another than it was.
    assert drawn[kept.index(4322)] == 7.0 and drawn[kept.index(5001)] == -7.0
    assert all(values[step - 1] == value for step, value in zip(kept, drawn, strict=True))
    assert outline(steps[:999], values[:999], 500) == (steps[:999], values[:999])
