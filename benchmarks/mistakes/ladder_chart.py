"""The ladder as a picture: a row per rung, a bar as far as the two loops go together."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.charts.charts import Chart
from benchmarks.charts.plot import Drawing, save_picture
from benchmarks.charts.styles import Style
from benchmarks.charts.texts import footnote
from benchmarks.mistakes.ladder import Ladder, Row

TITLE = "From the course's loop to Trainer, one repair at a time"
IN_POINTS = {"textcoords": "offset points"}
# Of a row's height, how much the bar takes; its sentence stands below.
BAR = 0.46
# From this share of the axis on, what a bar says stands to the left of its end.
WIDE = 0.6


def draw_ladder(ladder: Ladder, path: Path, style: str = "slide") -> Path:
    """Draw a ladder into a file, and write its alt text into `<name>.alt.txt` beside it.

    Args:
        ladder: as `climb` returns it.
        path: ends in .png, .svg or .pdf; a picture there is replaced.
        style: a key of `STYLES`.

    Returns:
        The path.
    """
    return save_picture(drawing_of(ladder), path, style)


def drawing_of(ladder: Ladder) -> Drawing:
    """The picture of a ladder."""
    return Drawing(lambda look: ladder_figure(ladder, look), TITLE, alt_text(ladder))


def ladder_figure(ladder: Ladder, style: Style) -> Chart:
    """The figure; matplotlib must have been told the style's settings."""
    figure = Chart(figsize=style.size)
    left = 0.03
    figure.text(left, 0.965, TITLE, fontsize=1.45 * style.font, weight="bold", va="top")
    figure.text(left, 0.885, subtitle(ladder), fontsize=0.8 * style.font, color=style.soft, va="top")
    if ladder.environment:
        text = footnote(ladder.environment)
        figure.text(left, 0.02, text, fontsize=0.6 * style.font, color=style.soft, va="bottom")
    # Room for the longest name, and for the axis' own name above the footnote, whatever the letters' size.
    width, height = (72 * inches / style.font for inches in style.size)
    edge, bottom = 10.7 / width, 4.7 / height
    axes = figure.add_axes((edge, bottom, 0.97 - edge, 0.825 - bottom))
    axes.set_xlim(0, ladder.rows[0].steps)
    axes.set_ylim(len(ladder.rows) - 0.35, -0.45)
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=style.ticks))
    axes.set_xlabel("optimizer steps that are equal, bit for bit")
    axes.set_yticks(range(len(ladder.rows)), [_name(row, n) for n, row in enumerate(ladder.rows)])
    axes.tick_params(axis="y", length=0, pad=0.4 * style.font)
    for label in axes.get_yticklabels():
        label.set_weight("bold")
    for step in range(ladder.steps_per_epoch, ladder.rows[0].steps, ladder.steps_per_epoch):
        axes.axvline(step, color=style.faint, linewidth=style.scale, linestyle=(0, (4, 3)), zorder=0)
        shown = {"ha": "center", "va": "bottom", "color": style.soft, "fontsize": 0.7 * style.font}
        axes.annotate("evaluation", (step, 1), (0, 2), xycoords=("data", "axes fraction"), **IN_POINTS, **shown)
    for number, row in enumerate(ladder.rows):
        _draw_row(axes, row, number, style)
    return figure


def _draw_row(axes: Axes, row: Row, number: int, style: Style) -> None:
    """A row's bar, what differs first at its end, and the sentence below."""
    end, steps = row.equal_steps, row.steps
    axes.barh(number, steps, BAR, color=style.grid, zorder=1)
    axes.barh(number, end, BAR, color=style.exact, alpha=1.0 if row.is_exact else 0.5, zorder=2)
    beyond = end <= WIDE * steps
    shown = {"va": "center", "weight": "bold", "fontsize": 0.85 * style.font, "zorder": 4, **IN_POINTS}
    if row.is_exact:
        text = f"identical: all {steps} steps, every evaluation, every weight"
        axes.annotate(text, (steps, number), (-0.5 * style.font, 0), ha="right", color=style.ground, **shown)
    else:
        ends = {"color": style.wrong, "linewidth": 4 * style.scale, "solid_capstyle": "butt", "clip_on": False}
        axes.plot([end, end], [number - BAR / 2, number + BAR / 2], zorder=3, **ends)
        offset = (0.5 if beyond else -0.5) * style.font
        side = "left" if beyond else "right"
        axes.annotate(row.where, (end, number), (offset, 0), ha=side, color=style.wrong, **shown)
    # On the ground's own colour: the line of an evaluation must not go through the words.
    box = {"facecolor": style.ground, "edgecolor": "none", "pad": 1}
    below = {"va": "top", "color": style.soft, "fontsize": 0.68 * style.font, "zorder": 1, "bbox": box}
    axes.text(0, number + BAR / 2 + 0.06, row.why, **below)


def _name(row: Row, number: int) -> str:
    return f"+ {row.name}" if number else row.name


def subtitle(ladder: Ladder) -> str:
    """What was trained on what, for how long, and what a row is."""
    return f"{ladder.job}, {ladder.rows[0].steps} steps. A row is a page; its bar ends at the first difference."


def alt_text(ladder: Ladder) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [
        f"{TITLE}.",
        f"{ladder.job}, {ladder.rows[0].steps} optimizer steps, an evaluation after every {ladder.steps_per_epoch}.",
        "A row for the loop as courses teach it and one for each repair, each with a bar from the first step to the "
        "first difference from Trainer.",
    ]
    for number, row in enumerate(ladder.rows):
        if row.is_exact:
            where = f"identical in all {row.steps} steps, every evaluation and every weight"
        else:
            where = f"first difference at {row.where}"
        lines.append(f"{_name(row, number)}: {where}. {row.why}")
    return "\n".join(lines) + "\n"
