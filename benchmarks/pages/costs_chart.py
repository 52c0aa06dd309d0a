"""How many lines of the manual loop each setting of a run needs, as a picture: a bar per setting."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.panels import say_nothing_to_show
from benchmarks.charts.styles import STYLES, Look
from benchmarks.charts.texts import shorten
from benchmarks.pages.costs import SettingCost
from benchmarks.pages.diff import count

TITLE = "What each setting costs in the manual loop"
LONGEST_NAME, LONGEST_JOB = 42, 90
# The bar's share of a row's height.
BAR = 0.58


def settings_chart(costs: Sequence[SettingCost], job: str, style_name: str = "slide") -> Chart:
    """Draw what the settings of a run cost; `job`: what was trained on what; `style_name`: a key of `STYLES`."""
    style = STYLES[style_name]
    subtitle = "Lines of the manual loop that go away without a setting; some belong to two settings."
    lines = [(f"{shorten(job, LONGEST_JOB)}.", style.soft), (subtitle, style.soft)]
    # Rows of a height at which the letters fit, and a picture that is as high as they need.
    height = max(style.size[1], style.font / 72 * (2.1 * len(costs) + 12))
    with canvas(style, TITLE, alt_text(costs, job), lines=lines, height=height) as chart:
        axes = chart.add_subplot()
        if not costs:
            say_nothing_to_show(axes, "no setting of this run costs a line", style)
            axes.set_frame_on(False)
            return chart
        axes.grid(False, axis="y")
        axes.set_ylim(len(costs) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=style.ticks))
        axes.set_xlabel("lines of code")
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(len(costs)), [shorten(cost.as_option, LONGEST_NAME) for cost in costs])
        axes.tick_params(axis="y", length=0, labelsize=0.85 * style.font, pad=0.4 * style.font)
        for row, cost in enumerate(costs):
            axes.barh(row, len(cost.more), BAR, color=style.exact, zorder=2)
            place: Look = {"textcoords": "offset points", "va": "center", "fontsize": 0.8 * style.font, "zorder": 3}
            axes.annotate(_lines(cost), (len(cost.more), row), (0.5 * style.font, 0), **place)
    return chart


def _lines(cost: SettingCost) -> str:
    """`7 lines, 2 others come`."""
    others = {0: "", 1: ", 1 other comes"}.get(len(cost.less), f", {len(cost.less)} others come")
    return f"{count(cost.more)}{others}"


def alt_text(costs: Sequence[SettingCost], job: str) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [f"{TITLE}. {job}. A bar per setting: the lines of code of the manual loop that go away without it."]
    lines += [f"{cost.as_option} (off: {cost.without}): {_lines(cost)}." for cost in costs]
    return "\n".join(lines if costs else [*lines, "No setting of this run costs a line."]) + "\n"
