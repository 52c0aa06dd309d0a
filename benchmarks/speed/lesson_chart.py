"""The lesson on speed as a chart: what each setting gains, and the accuracy that results."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.styles import STYLES, Look, Style
from benchmarks.speed.lesson import Lesson, Row, change_of, work
from benchmarks.statistics import Spread

TITLE = "What each setting gains at the same work"
# The share of a row's height that its bars take together.
BARS = 0.72


def speed_chart(lesson: Lesson, style_name: str = "slide") -> Chart:
    """Draw the lesson; `style_name`: a key of `STYLES`."""
    style, lengths = STYLES[style_name], lesson.lengths
    labels = [change_of(row.name).label for row in lesson.at(lengths[0])]
    lines = [(subtitle(lesson), style.soft)]
    # A bar per length in each row, of a height at which their numbers fit.
    height = max(style.size[1], style.font / 72 * (1.35 * len(labels) * len(lengths) + 14))
    with canvas(style, TITLE, alt_text(lesson), lines=lines, footnote=lesson.footnote, height=height) as chart:
        bars, dots = chart.subplots(1, 2, sharey=True, width_ratios=(0.62, 0.38))
        bars.set_ylim(len(labels) - 0.45, -0.55)
        bars.set_yticks(range(len(labels)), labels, fontsize=0.85 * style.font)
        for axes in (bars, dots):
            axes.grid(False, axis="y")
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.tick_params(axis="x", labelsize=0.8 * style.font)
        thick = BARS / len(lengths)
        for number, length in enumerate(lengths):
            colour = _colour(number, style)
            for place, row in enumerate(lesson.at(length)):
                at = place + (number - (len(lengths) - 1) / 2) * thick
                _draw_times(bars, lesson, row, at, 0.9 * thick, colour, style)
                _draw_accuracy(dots, lesson.accuracy(row), at, colour, style)
        _finish(bars, dots, lesson, style)
    return chart


def _colour(number: int, style: Style) -> str:
    """A light and a dark colour of one family: a second length is not a mistake."""
    return (style.accents[1], style.exact, *style.accents[2:])[number]


def _draw_times(axes: Axes, lesson: Lesson, row: Row, at: float, height: float, colour: str, style: Style) -> None:
    """A bar, its range where there is one, and its number; or in words why there is none."""
    font, times = style.font, lesson.times(row)
    # With a background of their own, or the dashed line would go through them.
    ground = {"facecolor": style.ground, "edgecolor": "none", "pad": 0.08 * font}
    look: Look = {"textcoords": "offset points", "va": "center", "fontsize": 0.72 * font, "bbox": ground}
    if times is None:
        # Only `not here` or `did not run`: the reason is long, and stands below the table.
        axes.annotate(row.remark.partition(":")[0], (0, at), (0.4 * font, 0), color=style.soft, zorder=5, **look)
        return
    axes.barh(at, times.median, height, color=colour, zorder=2)
    if times.low < times.high:
        axes.plot([times.low, times.high], [at, at], color=style.ink, linewidth=style.scale, zorder=4)
    axes.annotate(f"{times.median:.2f}×", (max(times.median, times.high), at), (0.4 * font, 0), zorder=5, **look)


def _draw_accuracy(axes: Axes, accuracy: Spread | None, at: float, colour: str, style: Style) -> None:
    if accuracy is None:
        return
    axes.plot([100 * accuracy.low, 100 * accuracy.high], [at, at], color=colour, linewidth=1.4 * style.scale, zorder=2)
    axes.plot([100 * accuracy.median], [at], "D", color=colour, markersize=0.35 * style.font, zorder=3)


def _finish(bars: Axes, dots: Axes, lesson: Lesson, style: Style) -> None:
    """Set scales and names, and draw the plain loop's line."""
    font = style.font
    highest = max(times.high for row in lesson.rows if (times := lesson.times(row)))
    # Room for the longest bar's number.
    bars.set_xlim(0, 1.16 * highest)
    bars.axvline(1, color=style.ink, linewidth=style.scale, linestyle=(0, (4, 3)), zorder=3)
    bars.set_xlabel("useful tokens per second, as a multiple of the plain loop's", fontsize=0.8 * font)
    bars.set_title("Speed", fontsize=font)
    dots.set_xlabel("accuracy, %, with its 95 % interval", fontsize=0.8 * font)
    dots.set_title("Accuracy", fontsize=font)
    dots.margins(x=0.06)
    if len(lesson.lengths) > 1:
        keys = [Patch(color=_colour(number, style)) for number in range(len(lesson.lengths))]
        names = [f"{length} tokens" for length in lesson.lengths]
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
        bars.legend(keys, names, ncols=len(names), fontsize=0.85 * font, **place)


def subtitle(lesson: Lesson) -> str:
    """What was trained, and what is drawn."""
    return f"{work(lesson)}.\nOne change in each row; dashed: the plain loop; without the first steps, which compile."


def alt_text(lesson: Lesson) -> str:
    """The chart in words, for those who cannot see it."""
    lines = [
        f"{TITLE}.",
        subtitle(lesson).replace("\n", " "),
        "Left: a bar per change, the useful tokens per second as a multiple of the plain loop's. Right: the accuracy "
        "in percent as a point, with its 95 % interval as a line.",
    ]
    for length in lesson.lengths:
        for row in lesson.at(length):
            label, times, accuracy = change_of(row.name).label, lesson.times(row), lesson.accuracy(row)
            if times is None:
                lines.append(f"At {length} tokens, {label}: {row.remark}.")
                continue
            sentence = f"At {length} tokens, {label}: {times.median:.2f} times"
            if times.low < times.high:
                sentence += f" ({times.low:.2f} to {times.high:.2f})"
            if accuracy is not None:
                sentence += f", accuracy {accuracy.median:.1%}, interval {accuracy.low:.1%} to {accuracy.high:.1%}"
            lines.append(f"{sentence}{f'; {row.remark}' if row.remark else ''}.")
    lines.append(f"{lesson.footnote}.")
    return "\n".join(lines) + "\n"
