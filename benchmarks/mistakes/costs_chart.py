"""What mistakes cost, as a picture: a row per mistake, its accuracy against the right loop's, seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts.charts import Chart
from benchmarks.charts.plot import Drawing, save_picture
from benchmarks.charts.styles import Style
from benchmarks.mistakes.catalogue import MISTAKES
from benchmarks.mistakes.costs import Cost

TITLE = "What a mistake costs"
# Inches of a row, and of what stands above and below the rows.
ROW, HEAD, FOOT = 0.44, 1.55, 1.35


def draw_gallery(costs: Sequence[Cost], job: str, path: Path, style: str = "slide") -> Path:
    """Draw the costs into a file, dearest first, and write its alt text into `<name>.alt.txt` beside it.

    Args:
        costs: in the order of the rows; one alone has a panel per quantity instead, a line per seed.
        job: what was trained on what, in words.
        path: ends in .png, .svg or .pdf.
        style: a key of `STYLES`.

    Returns:
        The path.
    """
    return save_picture(drawing_of(costs, job), path, style)


def drawing_of(costs: Sequence[Cost], job: str) -> Drawing:
    """The chart of several mistakes, or of one; arguments as `draw_gallery`."""
    if len(costs) == 1:
        return Drawing(lambda look: cost_figure(costs[0], job, look), TITLE, alt_text(costs, job))
    return Drawing(lambda look: gallery_figure(costs, job, look), TITLE, alt_text(costs, job))


def gallery_figure(costs: Sequence[Cost], job: str, style: Style) -> Chart:
    """The figure; matplotlib must have been told the style's settings."""
    font, seeds = 0.7 * style.font, len(costs[0].right)
    scale = font / 14
    width, height = style.size[0], scale * (ROW * len(costs) + HEAD + FOOT)
    figure = Chart(figsize=(width, height))
    figure.text(0.02, 1 - 0.25 * scale / height, TITLE, fontsize=1.6 * font, weight="bold", va="top")
    several = f"{seeds} seeds each" if seeds > 1 else "one seed"
    figure.text(0.02, 1 - 0.75 * scale / height, f"{job}, {several}.", fontsize=font, color=style.soft, va="top")
    bottom, top = FOOT * scale / height, 1 - HEAD * scale / height
    axes = figure.add_axes((0.5, bottom, 0.47, top - bottom))
    axes.grid(False, axis="y")
    axes.set_ylim(len(costs) - 0.4, -0.6)
    spread = 100 * _spread(costs)
    axes.axvspan(-spread, spread, color=style.grid, zorder=0, linewidth=0)
    axes.axvline(0, color=style.ink, linewidth=style.scale, zorder=1)
    names = []
    for number, cost in enumerate(costs):
        each = [100 * value for value in cost.difference("accuracy")]
        colour = style.wrong if cost.is_sure() else style.faint
        axes.plot(each, [number] * len(each), "o", color=colour, alpha=0.45, markersize=0.4 * font, zorder=2)
        axes.plot([100 * cost.accuracy], [number], "D", color=colour, markersize=0.6 * font, zorder=3)
        if abs(cost.overstated) > 0.002:
            reported = 100 * (cost.accuracy + cost.overstated)
            axes.plot([reported], [number], "D", mfc="none", color=style.exact, markersize=0.75 * font, zorder=4)
        names.append(MISTAKES[cost.name].what)
    axes.set_yticks(range(len(costs)), names)
    axes.tick_params(axis="y", length=0, labelsize=0.92 * font)
    axes.tick_params(axis="x", labelsize=0.92 * font)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("accuracy of the model, points more or less than the right loop's", fontsize=font)
    note = (
        "Diamond: mean, dots: seeds; hollow: what the loop itself reports, where that is not so. Grey marks: within "
        "what the seeds do by chance;\ngrey band: how far one seed of the right loop lies from another (standard "
        "deviation)."
    )
    figure.text(0.02, 0.15 * scale / height, note, fontsize=0.8 * font, color=style.soft, va="bottom")
    return figure


# What one mistake's chart shows: a field of `Run`, its factor, and its name.
PANELS = (
    ("accuracy", 100, "accuracy, %"),
    ("loss", 1, "evaluation loss"),
    ("seconds", 1, "seconds of training"),
    ("memory_mb", 1, "memory grown, MB"),
)


def cost_figure(cost: Cost, job: str, style: Style) -> Chart:
    """The figure of one mistake; matplotlib must have been told the style's settings."""
    font = style.font
    figure = Chart(figsize=style.size)
    title = f"What it costs: {MISTAKES[cost.name].what}"
    figure.text(0.03, 0.965, title, fontsize=1.3 * font, weight="bold", va="top", wrap=True)
    seeds = f"{len(cost.right)} seeds, a line each" if len(cost.right) > 1 else "one seed"
    figure.text(
        0.03, 0.88, f"{job}, {seeds}; {cost.noticed()}.", fontsize=0.8 * font, color=style.soft, va="top", wrap=True
    )
    for number, (quantity, factor, name) in enumerate(PANELS):
        axes = figure.add_axes((0.065 + 0.24 * number, 0.12, 0.165, 0.6))
        for right, wrong in zip(cost.right, cost.wrong, strict=True):
            values = [factor * getattr(right, quantity), factor * getattr(wrong, quantity)]
            axes.plot([0, 1], values, "o-", color=style.faint, linewidth=style.scale, markersize=0.35 * font)
        means = [
            factor * statistics.fmean(getattr(run, quantity) for run in runs) for runs in (cost.right, cost.wrong)
        ]
        axes.plot([0, 1], means, color=style.ink, linewidth=2 * style.scale)
        axes.plot([0], means[:1], "D", color=style.exact, markersize=0.55 * font)
        axes.plot([1], means[1:], "D", color=style.wrong, markersize=0.55 * font)
        reported = statistics.fmean(getattr(run, f"reported_{quantity}", 0.0) for run in cost.wrong)
        if quantity in ("accuracy", "loss") and abs(factor * reported - means[1]) > 0.002 * abs(means[1]):
            axes.plot([1], [factor * reported], "D", mfc="none", color=style.wrong, markersize=0.7 * font)
            axes.annotate(
                "reported",
                (1, factor * reported),
                (0, 0.6 * font),
                textcoords="offset points",
                ha="center",
                fontsize=0.7 * font,
            )
        axes.set_xlim(-0.35, 1.35)
        axes.set_xticks([0, 1], ["right", "mistake"])
        axes.set_title(name, fontsize=0.9 * font)
        axes.tick_params(labelsize=0.8 * font)
        axes.margins(y=0.15)
        if quantity in ("seconds", "memory_mb"):  # From 0: a machine's whims must not look like a cost.
            axes.set_ylim(0, 1.15 * factor * max(getattr(run, quantity) for run in (*cost.right, *cost.wrong)) or 1)
    return figure


def _spread(costs: Sequence[Cost]) -> float:
    """The standard deviation of the right loop's accuracy over the seeds; 0 for a single one."""
    accuracies = [run.accuracy for run in costs[0].right]
    return statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0


def alt_text(costs: Sequence[Cost], job: str) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [f"{TITLE}. {job}. A row per mistake, dearest first: its model's accuracy against the right loop's."]
    lines += [f"{MISTAKES[cost.name].what}: {100 * cost.accuracy:+.1f} points; {cost.noticed()}." for cost in costs]
    return "\n".join(lines) + "\n"
