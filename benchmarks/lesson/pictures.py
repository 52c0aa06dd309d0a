"""The report's pictures: the comparison's charts and the ladder in the page's own colours, and the small charts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.charts.styles import STYLES, Style
from benchmarks.gather import gather
from benchmarks.lesson.whatif import WhatIf
from benchmarks.mistakes.ladder import Ladder
from benchmarks.mistakes.ladder_chart import ladder_chart
from shared.errors import SameLoopError
from shared.progress import announce

CHARTS = {
    "losses": "Training loss",
    "difference": "Difference of the two losses",
    "accuracy": "Validation accuracy",
    "gradient-norm": "Gradient norm",
    "learning-rate": "Learning rate",
    "time": "Time of a step",
    "memory": "Memory",
    "batches": "Which examples each batch held",
}


def charts(output_dir: Path) -> dict[str, Markup]:
    """The comparison's charts as SVG elements that take their colours from the page; those that can be drawn."""
    gathered, drawn = gather([output_dir]), {}
    record = gathered.runs[0].record
    # Charts that some jobs do not have.
    left_out = {
        "accuracy": "eval_accuracy" not in record.metric_names,
        "batches": not any(batch for line in record.steps for batch in line["reviews"]),
    }
    for kind in CHARTS:
        if left_out.get(kind):
            continue
        try:
            drawn[kind] = _themed(gathered.chart(kind, "page").inline_svg(f"{kind}-page"))
        except SameLoopError as error:  # an older record lacks what this chart shows
            announce(f"no chart of {kind}: {error}")
    return drawn


def drawn_ladder(ladder: Ladder) -> Markup:
    """The ladder; with the font size of a slide, because it holds sentences."""
    return _themed(ladder_chart(ladder).inline_svg("ladder"), STYLES["slide"])


def _themed(svg: str, style: Style = STYLES["page"]) -> Markup:
    """An SVG whose colours are the page's own, light or dark."""
    variables = {
        style.ground: "surface",
        style.ink: "ink",
        style.soft: "soft",
        style.faint: "chart-faint",
        style.grid: "chart-grid",
        style.exact: "exact",
        style.wrong: "wrong",
    }
    # matplotlib's own rule for the whole document; the page's style sheet has it for its charts alone.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    for colour, name in variables.items():
        svg = re.sub(f"{colour}(?![0-9a-f])", f"var(--{name})", svg, flags=re.IGNORECASE)
    return Markup(svg)


# The loop without a line ----------------------------------------------------------------------------

# How large the small charts of the losses are, in units of their own.
WIDTH, HEIGHT = 320, 90
# How many steps are averaged for a point of such a chart: single steps are too noisy to compare.
SMOOTHED = 8


def small_chart(what_if: WhatIf) -> dict[str, Any] | None:
    """The losses with a line and without it, as the points of two polylines; None if there was no run without it."""
    curves = [smooth(run.loss) for run in (what_if.whole, what_if.seen)]
    values = [value for curve in curves for value in curve if math.isfinite(value)]
    if not all(curves) or not values:
        return None
    low, high = min(values), max(values)
    longest = max(map(len, curves)) - 1 or 1

    def points(curve: Sequence[float]) -> str:
        return " ".join(
            f"{WIDTH * number / longest:.1f},{HEIGHT * (high - value) / ((high - low) or 1):.1f}"
            for number, value in enumerate(curve)
            if math.isfinite(value)
        )

    return {"with": points(curves[0]), "without": points(curves[1]), "low": low, "high": high}


def smooth(values: Sequence[float]) -> list[float]:
    """The means of every `SMOOTHED` values that follow each other."""
    count = min(len(values), max(1, len(values) - SMOOTHED + 1))
    return [sum(values[start : start + SMOOTHED]) / len(values[start : start + SMOOTHED]) for start in range(count)]
