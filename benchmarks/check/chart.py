"""The chart of a class: how many submissions fail at each phase."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from benchmarks.charts.charts import Chart
from benchmarks.charts.plot import Drawing, Picture, draw_drawing
from benchmarks.charts.styles import Style
from benchmarks.check.rubric import FAILED, ITEMS, Result, summary


def draw_class(results: Sequence[Result]) -> Picture:
    """A bar per phase, 1920 x 1080 pixels, as PNG, and its alt text.

    Args:
        results: of all submissions; of those that could not be judged what was seen of them counts.
    """
    counts = {item: sum(item in each.failures for each in results) for item in ITEMS}
    drawing = Drawing(lambda look: class_figure(counts, results, look), summary(results), alt_text(counts, results))
    return draw_drawing(drawing, "slide", "png")


def class_figure(counts: dict[str, int], results: Sequence[Result], style: Style) -> Chart:
    """The chart; `counts`: how many loops fail at each phase."""
    figure = Chart(figsize=style.size)
    figure.text(0.03, 0.955, summary(results), fontsize=1.5 * style.font, weight="bold", va="top")
    figure.text(0.03, 0.875, "How many loops are wrong at each phase", color=style.soft, va="top")
    axes = figure.add_axes((0.16, 0.095, 0.8, 0.725))
    axes.barh(list(counts), list(counts.values()), color=style.wrong, height=0.68)
    axes.invert_yaxis()
    for place, count in enumerate(counts.values()):
        axes.annotate(
            str(count),
            (count, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=style.ink if count else style.faint,
            weight="bold" if count else "normal",
        )
    # Room for the number at the longest bar's end; a mistake of one or two is no long bar.
    axes.set_xlim(0, max(5, 1.08 * max(counts.values())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("loops")
    return figure


def alt_text(counts: dict[str, int], results: Sequence[Result]) -> str:
    """The chart in words."""
    wrong = [f"{item} {count}" for item, count in counts.items() if count]
    fails = f"Wrong at: {', '.join(wrong)}; at no other phase." if wrong else "No loop is wrong at any phase."
    failed = any(each.verdict == FAILED for each in results)
    note = " Of a loop that could not be judged, what was seen of it counts." if failed else ""
    begin = "Bar chart, one bar per phase of a training: how many loops are wrong there."
    return f"{begin} {summary(results)}. {fails}{note}\n"
