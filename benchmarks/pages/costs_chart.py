"""What the dials of a run cost by hand, as a picture: a bar per dial, as long as the lines that go without it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from benchmarks.charts.charts import Chart
from benchmarks.charts.plot import Drawing
from benchmarks.charts.styles import Style
from benchmarks.charts.texts import shorten
from benchmarks.pages.costs import DialCost
from benchmarks.pages.diff import count

TITLE = "What each dial costs by hand"
LONGEST_NAME, LONGEST_JOB = 42, 90
# Of a row's height, how much the bar takes.
BAR = 0.58


def drawing_of(costs: Sequence[DialCost], job: str) -> Drawing:
    """The picture of a run's dials; `job`: what was trained on what, in words."""
    return Drawing(lambda look: dials_figure(costs, job, look), TITLE, alt_text(costs, job))


def dials_figure(costs: Sequence[DialCost], job: str, style: Style) -> Chart:
    """The figure; matplotlib must have been told the style's settings."""
    # Rows of a height at which the letters fit, and a picture that is as high as they need.
    width, height = style.size[0], max(style.size[1], style.font / 72 * (2.1 * len(costs) + 12))
    figure = Chart(figsize=(width, height))
    lines = 72 * height / style.font
    figure.text(0.03, 1 - 0.9 / lines, TITLE, fontsize=1.45 * style.font, weight="bold", va="top")
    said = "Lines of the manual page that go when a dial is switched off; some go with either of two."
    said = f"{shorten(job, LONGEST_JOB)}.\n{said}"
    figure.text(0.03, 1 - 3.0 / lines, said, fontsize=0.75 * style.font, color=style.soft, va="top", linespacing=1.3)
    if not costs:
        figure.text(0.5, 0.5, "no dial of this run costs a line", ha="center", color=style.soft)
        return figure
    names = [shorten(cost.shown, LONGEST_NAME) for cost in costs]
    edge = (0.62 * max(map(len, names)) * 0.85 + 2) * style.font / 72 / width
    bottom, top = 3.6 / lines, 1 - 6.2 / lines
    axes = figure.add_axes((edge, bottom, 0.97 - edge, top - bottom))
    axes.grid(False, axis="y")
    axes.set_ylim(len(costs) - 0.4, -0.6)
    # Beside the longest bar there must be room for the longest words.
    words = 0.8 * 0.62 * max(len(_lines(cost)) for cost in costs) * style.font / (72 * width * (0.97 - edge))
    axes.set_xlim(0, max(len(cost.more) for cost in costs) / (0.97 - words))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=style.ticks))
    axes.set_xlabel("lines of code")
    axes.spines["left"].set_visible(False)
    axes.set_yticks(range(len(costs)), names)
    axes.tick_params(axis="y", length=0, labelsize=0.85 * style.font, pad=0.4 * style.font)
    for row, cost in enumerate(costs):
        axes.barh(row, len(cost.more), BAR, color=style.exact, zorder=2)
        place = {"textcoords": "offset points", "va": "center", "fontsize": 0.8 * style.font, "zorder": 3}
        axes.annotate(_lines(cost), (len(cost.more), row), (0.5 * style.font, 0), **place)
    return figure


def _lines(cost: DialCost) -> str:
    """`7 lines, 2 others come`."""
    others = {0: "", 1: ", 1 other comes"}.get(len(cost.less), f", {len(cost.less)} others come")
    return f"{count(cost.more)}{others}"


def alt_text(costs: Sequence[DialCost], job: str) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [f"{TITLE}. {job}. A bar per dial: the lines of code of the manual page that go when it is switched off."]
    lines += [f"{cost.shown} (off: {cost.without}): {_lines(cost)}." for cost in costs]
    return "\n".join(lines if costs else [*lines, "No dial of this run costs a line."]) + "\n"
