"""The chart of a class: how many submissions fail in each phase."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.styles import STYLES, Look
from benchmarks.check.rubric import FAILED, ITEMS, Result, summary


def class_chart(results: Sequence[Result]) -> Chart:
    """Draw one bar per phase, in the size of a slide.

    Args:
        results: of all submissions; of a loop that could not be judged to the end, the part that was judged counts.
    """
    style, counts = STYLES["slide"], {item: sum(item in result.failures for result in results) for item in ITEMS}
    lines = [("How many loops are wrong in each phase", style.soft)]
    with canvas(style, summary(results), alt_text(counts, results), lines=lines) as chart:
        axes = chart.add_subplot()
        axes.barh(list(counts), list(counts.values()), color=style.wrong, height=0.68)
        axes.set_ylim(len(counts) - 0.4, -0.6)
        for place, count in enumerate(counts.values()):
            look: Look = {"textcoords": "offset points", "va": "center", "color": style.faint}
            if count:
                look.update(color=style.ink, weight="bold")
            axes.annotate(str(count), (count, place), (8, 0), **look)
        # A mistake that only one or two loops have is not shown as a long bar.
        axes.set_xlim(0, max(5, *counts.values()))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("loops")
    return chart


def alt_text(counts: dict[str, int], results: Sequence[Result]) -> str:
    """The alternative text of the chart."""
    wrong = [f"{item} {count}" for item, count in counts.items() if count]
    fails = f"Wrong in: {', '.join(wrong)}; in no other phase." if wrong else "No loop is wrong in any phase."
    failed = any(result.verdict == FAILED for result in results)
    note = " Of a loop that could not be judged to the end, the part that was judged counts." if failed else ""
    begin = "Bar chart with one bar per phase of a training: how many loops are wrong in it."
    return f"{begin} {summary(results)}. {fails}{note}\n"
