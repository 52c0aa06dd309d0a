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

TITLE = "What more training reviews cost, and what they bring"
# Half of a set with two classes is right by guessing.
CHANCE = 50


def size_chart(found: Size, style_name: str = "slide") -> Chart:
    """Draw the setting.

    Args:
        found: as `benchmarks.gotchas.size.find` returns it.
        style_name: a key of `STYLES`.
    """
    style, note = STYLES[style_name], footnote(found.environment)
    with canvas(style, TITLE, alt_text(found), lines=[(subtitle(found), style.soft)], footnote=note) as chart:
        left, right = chart.subplots(1, 2)
        _draw_accuracy(left, found, style)
        _draw_seconds(right, found, style)
    return chart


def _draw_accuracy(axes: Axes, found: Size, style: Style) -> None:
    """Mean, seeds, and the evaluation's own interval."""
    sizes = [point.size for point in found.points]
    means = [100 * point.accuracy for point in found.points]
    intervals = [found.interval(point) for point in found.points]
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
    for point in found.points:
        seeds = [100 * accuracy for accuracy in point.accuracies]
        axes.plot([point.size] * len(seeds), seeds, "o", color=style.wrong, markersize=0.3 * style.font, zorder=3)
    axes.plot(sizes, means, "D-", color=style.exact, linewidth=2 * style.scale, markersize=0.4 * style.font, zorder=2)
    axes.set_xscale("log")
    named = _apart(sizes)
    axes.set_xticks(named, [f"{size:,}" for size in named])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.06, y=0.12)
    _name(axes, "accuracy, %", "training reviews, logarithmic", style)


def _draw_seconds(axes: Axes, found: Size, style: Style) -> None:
    """Both axes from 0, so that a straight line is one."""
    sizes = [point.size for point in found.points]
    medians = [statistics.median(point.seconds) for point in found.points]
    for point in found.points:
        count = len(point.seconds)
        axes.plot([point.size] * count, point.seconds, "o", color=style.wrong, markersize=0.3 * style.font, zorder=3)
    look: Look = {"color": style.exact, "linewidth": 2 * style.scale, "markersize": 0.4 * style.font}
    axes.plot(sizes, medians, "D-", zorder=2, **look)
    axes.set_xlim(0, 1.06 * max(sizes))
    axes.set_ylim(0, 1.12 * max(max(point.seconds) for point in found.points))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.locator_params(axis="x", nbins=5)
    _name(axes, "seconds, evaluations included", "training reviews", style)


def _apart(sizes: Sequence[int]) -> list[int]:
    """The sizes whose numbers have room beside each other on a logarithmic axis; the largest is one of them."""
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


def subtitle(found: Size) -> str:
    """What was trained on what, how often, and what the marks are."""
    seeds = f"{found.seeds} seeds each" if found.seeds > 1 else "one seed each"
    epochs = f"{found.epochs} epoch{'' if found.epochs == 1 else 's'}"
    return (
        f"{found.job}, {epochs}, {seeds}; diamonds: mean accuracy, median seconds; "
        f"dots: seeds; band: the 95 % interval that {found.eval_size:,} evaluation reviews leave."
    )


def alt_text(found: Size) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [
        f"{TITLE}.",
        subtitle(found),
        "Left: accuracy in percent against the number of training reviews, logarithmic, with a dashed line at 50, "
        "which is guessing. Right: seconds of training with its evaluations, both axes from 0.",
    ]
    for point in found.points:
        low, high = found.interval(point)
        seeds = ", ".join(f"{accuracy:.1%}" for accuracy in point.accuracies)
        lines.append(
            f"{point.size:,} reviews: {statistics.median(point.seconds):.1f} seconds, accuracy {point.accuracy:.1%}, "
            f"interval {low:.1%} to {high:.1%}; seeds {seeds}."
        )
    return "\n".join(lines) + "\n"
