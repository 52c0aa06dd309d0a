"""The size setting as a picture: accuracy and seconds against the number of training reviews."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.styles import STYLES, Look, Style
from benchmarks.charts.texts import footnote
from benchmarks.gotchas.size import Size
from benchmarks.judge.finding import counted

TITLE = "What more training reviews cost, and what they bring"
# Guessing is right for half of a balanced set with two classes.
CHANCE = 50


def size_chart(curve: Size, style_name: str = "slide") -> Chart:
    """Draw time and accuracy against the number of reviews; `style_name`: a key of `STYLES`."""
    style, note = STYLES[style_name], footnote(curve.environment)
    with canvas(style, TITLE, alt_text(curve), lines=[(subtitle(curve), style.soft)], footnote=note) as chart:
        left, right = chart.subplots(1, 2)
        _draw_accuracy(left, curve, style)
        _draw_seconds(right, curve, style)
    return chart


def _draw_accuracy(axes: Axes, curve: Size, style: Style) -> None:
    """Mean, seeds, and the evaluation's interval."""
    sizes = [point.size for point in curve.points]
    means = [100 * point.accuracy for point in curve.points]
    intervals = [curve.interval(point) for point in curve.points]
    axes.fill_between(
        sizes,
        [100 * low for low, _ in intervals],
        [100 * high for _, high in intervals],
        color=style.exact,
        alpha=0.18,
        linewidth=0,
    )
    axes.axhline(CHANCE, color=style.faint, linewidth=style.scale, linestyle=(0, (4, 3)))
    at: Look = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "ha": "right",
        "va": "bottom",
    }
    axes.annotate("guessing", (1, CHANCE), (0, 0.2 * style.font), fontsize=0.75 * style.font, color=style.soft, **at)
    for point in curve.points:
        seeds = [100 * accuracy for accuracy in point.accuracies]
        axes.plot([point.size] * len(seeds), seeds, "o", color=style.wrong, markersize=0.3 * style.font, zorder=3)
    axes.plot(sizes, means, "D-", color=style.exact, linewidth=2 * style.scale, markersize=0.4 * style.font, zorder=2)
    axes.set_xscale("log")
    named = _apart(sizes)
    axes.set_xticks(named, [f"{size:,}" for size in named])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.06, y=0.12)
    _name(axes, "accuracy, %", "training reviews, logarithmic", style)


def _draw_seconds(axes: Axes, curve: Size, style: Style) -> None:
    """Both axes from 0, so that a straight line is one."""
    sizes = [point.size for point in curve.points]
    medians = [statistics.median(point.seconds) for point in curve.points]
    for point in curve.points:
        count = len(point.seconds)
        axes.plot([point.size] * count, point.seconds, "o", color=style.wrong, markersize=0.3 * style.font, zorder=3)
    look: Look = {"color": style.exact, "linewidth": 2 * style.scale, "markersize": 0.4 * style.font}
    axes.plot(sizes, medians, "D-", zorder=2, **look)
    axes.set_xlim(0, 1.06 * max(sizes))
    axes.set_ylim(0, 1.12 * max(max(point.seconds) for point in curve.points))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.locator_params(axis="x", nbins=5)
    _name(axes, "seconds, evaluations included", "training reviews", style)


def _apart(sizes: Sequence[int]) -> list[int]:
    """The sizes whose labels fit next to each other on a logarithmic axis; the largest is one of them."""
    room = math.log(sizes[-1] / sizes[0]) / 8
    named = [sizes[-1]]
    for size in reversed(sizes[:-1]):
        if math.log(named[-1] / size) >= room:
            named.append(size)
    return named


def _name(axes: Axes, title: str, x: str, style: Style) -> None:
    axes.set_title(title, fontsize=style.font)
    axes.set_xlabel(x, fontsize=0.85 * style.font)
    axes.tick_params(labelsize=0.85 * style.font)


def subtitle(curve: Size) -> str:
    """The model and the data, the number of trainings, and what the marks are."""
    seeds = f"{curve.seeds} seeds each" if curve.seeds > 1 else "one seed each"
    return (
        f"{curve.job}, {counted(curve.epochs, 'epoch')}, {seeds}; diamonds: mean accuracy, median seconds; "
        f"dots: seeds; band: the 95 % interval that {curve.eval_size:,} evaluation reviews leave."
    )


def alt_text(curve: Size) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [
        f"{TITLE}.",
        subtitle(curve),
        "Left: accuracy in percent against the number of training reviews, logarithmic, with a dashed line at 50, "
        "which is guessing. Right: seconds of training with its evaluations, both axes from 0.",
    ]
    for point in curve.points:
        low, high = curve.interval(point)
        seeds = ", ".join(f"{accuracy:.1%}" for accuracy in point.accuracies)
        lines.append(
            f"{point.size:,} reviews: {statistics.median(point.seconds):.1f} seconds, accuracy {point.accuracy:.1%}, "
            f"interval {low:.1%} to {high:.1%}; seeds {seeds}."
        )
    return "\n".join(lines) + "\n"
