"""What mistakes cost, as a picture: a row per mistake, its accuracy against the right loop's, seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.styles import STYLES, Look, Style
from benchmarks.mistakes.catalogue import GALLERY
from benchmarks.mistakes.costs import Cost

TITLE = "What a mistake costs"
NOTE = (
    "Diamond: mean, dots: seeds; hollow: what the loop itself reports, where that is wrong. Grey marks: within "
    "seed-to-seed variation; grey band: how far one seed of the right loop lies from another (standard deviation)."
)


# What one mistake's chart shows: a field of `Run`, its factor, and its name.
PANELS = (
    ("accuracy", 100, "accuracy, %"),
    ("loss", 1, "evaluation loss"),
    ("seconds", 1, "seconds of training"),
    ("memory_mb", 1, "memory grown, MB"),
)


def costs_chart(costs: Sequence[Cost], job: str, style_name: str = "slide") -> Chart:
    """Draw what mistakes cost.

    Args:
        costs: in the order of the rows; a single one has a panel per quantity instead, a line per seed.
        job: what was trained on what, in words.
        style_name: a key of `STYLES`.
    """
    style, alt, seeds = STYLES[style_name], alt_text(costs, job), len(costs[0].right)
    if len(costs) > 1:
        style = style.scaled(0.7, 1.6, 1.0, 0.8)
        height = style.font / 72 * (2.3 * len(costs) + 14)
        line = f"{job}, {f'{seeds} seeds each' if seeds > 1 else 'one seed'}."
        with canvas(style, TITLE, alt, lines=[(line, style.soft)], footnote=NOTE, height=height) as chart:
            _draw_rows(chart.add_subplot(), costs, style)
        return chart
    title = f"What it costs: {GALLERY[costs[0].name].what}"
    line = f"{job}, {f'{seeds} seeds, a line each' if seeds > 1 else 'one seed'}; {costs[0].noticed()}."
    with canvas(style, title, alt, lines=[(line, style.soft)]) as chart:
        for axes, (quantity, factor, name) in zip(chart.subplots(1, len(PANELS)), PANELS, strict=True):
            _draw_seeds(axes, costs[0], quantity, factor, style)
            axes.set_title(name, fontsize=0.9 * style.font)
    return chart


def _draw_rows(axes: Axes, costs: Sequence[Cost], style: Style) -> None:
    """A row per mistake: each seed, the mean, and what the loop itself reports."""
    axes.grid(False, axis="y")
    axes.set_ylim(len(costs) - 0.4, -0.6)
    spread = 100 * _spread(costs)
    axes.axvspan(-spread, spread, color=style.grid, zorder=0, linewidth=0)
    axes.axvline(0, color=style.ink, linewidth=style.scale, zorder=1)
    for number, cost in enumerate(costs):
        dots = [100 * value for value in cost.difference("accuracy")]
        colour = style.wrong if cost.is_sure() else style.faint
        axes.plot(dots, [number] * len(dots), "o", color=colour, alpha=0.45, markersize=0.4 * style.font, zorder=2)
        axes.plot([100 * cost.accuracy], [number], "D", color=colour, markersize=0.6 * style.font, zorder=3)
        if abs(cost.overstated) > 0.002:
            reported = 100 * (cost.accuracy + cost.overstated)
            hollow: Look = {"mfc": "none", "color": style.exact, "markersize": 0.75 * style.font}
            axes.plot([reported], [number], "D", zorder=4, **hollow)
    axes.set_yticks(range(len(costs)), [GALLERY[cost.name].what for cost in costs])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("accuracy of the model, points more or less than the right loop's")


def _draw_seeds(axes: Axes, cost: Cost, quantity: str, factor: float, style: Style) -> None:
    """One quantity: a line per seed from the right loop to the mistake, and the means."""
    for right, wrong in zip(cost.right, cost.wrong, strict=True):
        values = [factor * getattr(right, quantity), factor * getattr(wrong, quantity)]
        axes.plot([0, 1], values, "o-", color=style.faint, linewidth=style.scale, markersize=0.35 * style.font)
    means = [factor * statistics.fmean(getattr(run, quantity) for run in runs) for runs in (cost.right, cost.wrong)]
    axes.plot([0, 1], means, color=style.ink, linewidth=2 * style.scale)
    axes.plot([0], means[:1], "D", color=style.exact, markersize=0.55 * style.font)
    axes.plot([1], means[1:], "D", color=style.wrong, markersize=0.55 * style.font)
    reported = statistics.fmean(getattr(run, f"reported_{quantity}", 0.0) for run in cost.wrong)
    if quantity in ("accuracy", "loss") and abs(factor * reported - means[1]) > 0.002 * abs(means[1]):
        at = (1, factor * reported)
        axes.plot([1], at[1:], "D", mfc="none", color=style.wrong, markersize=0.7 * style.font)
        above: Look = {"textcoords": "offset points", "ha": "center", "fontsize": 0.7 * style.font}
        axes.annotate("reported", at, (0, 0.6 * style.font), **above)
    axes.set_xlim(-0.35, 1.35)
    axes.set_xticks([0, 1], ["right", "mistake"])
    axes.tick_params(labelsize=0.8 * style.font)
    axes.margins(y=0.15)
    if quantity in ("seconds", "memory_mb"):  # From 0: small variations of the machine must not look like a cost.
        axes.set_ylim(0, 1.15 * factor * max(getattr(run, quantity) for run in (*cost.right, *cost.wrong)) or 1)


def _spread(costs: Sequence[Cost]) -> float:
    """The standard deviation of the right loop's accuracy over the seeds; 0 for a single one."""
    accuracies = [run.accuracy for run in costs[0].right]
    return statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0


def alt_text(costs: Sequence[Cost], job: str) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [f"{TITLE}. {job}. A row per mistake, most costly first: its model's accuracy against the right loop's."]
    lines += [f"{GALLERY[cost.name].what}: {100 * cost.accuracy:+.1f} points; {cost.noticed()}." for cost in costs]
    return "\n".join(lines) + "\n"
