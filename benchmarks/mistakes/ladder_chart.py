"""The ladder as a picture: a row per fix, a bar as long as the two loops are equal."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.styles import STYLES, Look, Style
from benchmarks.charts.texts import footnote
from benchmarks.mistakes.ladder import Ladder, Row

TITLE = "From the course's loop to Trainer, one fix at a time"
IN_POINTS: Look = {"textcoords": "offset points"}
# The bar's share of a row's height; the row's sentence stands below the bar.
BAR = 0.46
# From this share of the axis on, a bar's text stands to the left of its end.
WIDE = 0.6


def ladder_chart(ladder: Ladder, style_name: str = "slide") -> Chart:
    """Draw a ladder; `style_name`: a key of `STYLES`."""
    style, note = STYLES[style_name], footnote(ladder.environment) if ladder.environment else ""
    with canvas(style, TITLE, alt_text(ladder), lines=[(subtitle(ladder), style.soft)], footnote=note) as chart:
        axes = chart.add_subplot()
        axes.set_xlim(0, ladder.rows[0].steps)
        axes.set_ylim(len(ladder.rows) - 0.35, -0.45)
        axes.grid(False)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=style.ticks))
        axes.set_xlabel("optimizer steps that are equal, bit for bit")
        axes.set_yticks(range(len(ladder.rows)), [_name(row, n) for n, row in enumerate(ladder.rows)])
        axes.tick_params(axis="y", length=0, pad=0.4 * style.font)
        for label in axes.get_yticklabels():
            label.set_fontweight("bold")
        for step in range(ladder.steps_per_epoch, ladder.rows[0].steps, ladder.steps_per_epoch):
            axes.axvline(step, color=style.faint, linewidth=style.scale, linestyle=(0, (4, 3)), zorder=0)
            look: Look = {"ha": "center", "va": "bottom", "color": style.soft, "fontsize": 0.7 * style.font}
            axes.annotate("evaluation", (step, 1), (0, 2), xycoords=("data", "axes fraction"), **IN_POINTS, **look)
        for number, row in enumerate(ladder.rows):
            _draw_row(axes, row, number, style)
    return chart


def _draw_row(axes: Axes, row: Row, number: int, style: Style) -> None:
    """A row's bar, what differs first at its end, and the sentence below."""
    end, steps = row.equal_steps, row.steps
    axes.barh(number, steps, BAR, color=style.grid, zorder=1)
    axes.barh(number, end, BAR, color=style.exact, alpha=1.0 if row.is_exact else 0.5, zorder=2)
    beyond = end <= WIDE * steps
    look: Look = {"va": "center", "weight": "bold", "fontsize": 0.85 * style.font, "zorder": 4, **IN_POINTS}
    if row.is_exact:
        text = f"identical: all {steps} steps, every evaluation, every weight"
        axes.annotate(text, (steps, number), (-0.5 * style.font, 0), ha="right", color=style.ground, **look)
    else:
        ends: Look = {
            "color": style.wrong,
            "linewidth": 4 * style.scale,
            "solid_capstyle": "butt",
            "clip_on": False,
        }
        axes.plot([end, end], [number - BAR / 2, number + BAR / 2], zorder=3, **ends)
        offset = (0.5 if beyond else -0.5) * style.font
        side = "left" if beyond else "right"
        axes.annotate(row.where, (end, number), (offset, 0), ha=side, color=style.wrong, **look)
    # With a background: the line of an evaluation must not go through the words.
    box = {"facecolor": style.ground, "edgecolor": "none", "pad": 1}
    below: Look = {"va": "top", "color": style.soft, "fontsize": 0.68 * style.font, "zorder": 1, "bbox": box}
    axes.text(0, number + BAR / 2 + 0.06, row.why, **below)


def _name(row: Row, number: int) -> str:
    return f"+ {row.name}" if number else row.name


def subtitle(ladder: Ladder) -> str:
    """What was trained on what, for how long, and what a row is."""
    bars = "a row per version of the loop; its bar ends at the first difference from Trainer"
    return f"{ladder.job}, {ladder.rows[0].steps} steps: {bars}"


def alt_text(ladder: Ladder) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [
        f"{TITLE}.",
        f"{ladder.job}, {ladder.rows[0].steps} optimizer steps, an evaluation after every {ladder.steps_per_epoch}.",
        "A row for the loop as courses teach it and one for each fix, each with a bar from the first step to the "
        "first difference from Trainer.",
    ]
    for number, row in enumerate(ladder.rows):
        if row.is_exact:
            where = f"identical in all {row.steps} steps, every evaluation and every weight"
        else:
            where = f"first difference at {row.where}"
        lines.append(f"{_name(row, number)}: {where}. {row.why}")
    return "\n".join(lines) + "\n"
