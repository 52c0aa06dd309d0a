"""The lesson in speed as a picture: what each setting buys, and the accuracy that comes out with it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.styles import STYLES, Look, Style
from benchmarks.speed.lesson import Lesson, Row, change_of, work
from benchmarks.statistics import Spread

TITLE = "What each setting buys at the same work"
# Of a row's height, how much its bars take together.
BARS = 0.72


def speed_chart(found: Lesson, style_name: str = "slide") -> Chart:
    """Draw the lesson; `style_name`: a key of `STYLES`."""
    style, lengths = STYLES[style_name], found.lengths
    labels = [change_of(row.name).label for row in found.at(lengths[0])]
    lines = [(subtitle(found), style.soft)]
    # A bar per length in each row, of a height at which their numbers fit.
    height = max(style.size[1], style.font / 72 * (1.35 * len(labels) * len(lengths) + 14))
    with canvas(style, TITLE, alt_text(found), lines=lines, footnote=found.footnote, height=height) as chart:
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
            for place, row in enumerate(found.at(length)):
                at = place + (number - (len(lengths) - 1) / 2) * thick
                _draw_times(bars, found, row, at, 0.9 * thick, colour, style)
                _draw_accuracy(dots, found.accuracy(row), at, colour, style)
        _finish(bars, dots, found, style)
    return chart


def _colour(number: int, style: Style) -> str:
    """Light and dark of one family, for a second length is no mistake."""
    return (style.accents[1], style.exact, *style.accents[2:])[number]


def _draw_times(axes: Axes, found: Lesson, row: Row, at: float, height: float, colour: str, style: Style) -> None:
    """A bar, its range where there is one, and its number; or in words why there is none."""
    font, times = style.font, found.times(row)
    # On a ground of their own, or the dashed line would go through them.
    ground = {"facecolor": style.ground, "edgecolor": "none", "pad": 0.08 * font}
    look: Look = {"textcoords": "offset points", "va": "center", "fontsize": 0.72 * font, "bbox": ground}
    if times is None:
        # `not here` or `did not run`: the reason is long, and beside the table.
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


def _finish(bars: Axes, dots: Axes, found: Lesson, style: Style) -> None:
    """Scales, names, and the plain loop's line."""
    font = style.font
    highest = max(times.high for row in found.rows if (times := found.times(row)))
    # Room for the longest bar's number.
    bars.set_xlim(0, 1.16 * highest)
    bars.axvline(1, color=style.ink, linewidth=style.scale, linestyle=(0, (4, 3)), zorder=3)
    bars.set_xlabel("useful tokens per second, as a multiple of the plain loop's", fontsize=0.8 * font)
    bars.set_title("Speed", fontsize=font)
    dots.set_xlabel("accuracy, %, with its 95 % interval", fontsize=0.8 * font)
    dots.set_title("What comes out", fontsize=font)
    dots.margins(x=0.06)
    if len(found.lengths) > 1:
        keys = [Patch(color=_colour(number, style)) for number in range(len(found.lengths))]
        names = [f"{length} tokens" for length in found.lengths]
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
        bars.legend(keys, names, ncols=len(names), fontsize=0.85 * font, **place)


def subtitle(found: Lesson) -> str:
    """What was trained, and what is drawn."""
    return f"{work(found)}.\nOne change in each row; dashed: the plain loop; the first steps, which compile, left out."


def alt_text(found: Lesson) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [
        f"{TITLE}.",
        subtitle(found).replace("\n", " "),
        "Left: a bar per change, the useful tokens per second as a multiple of the plain loop's. Right: the accuracy "
        "in percent as a point, with its 95 % interval as a line.",
    ]
    for length in found.lengths:
        for row in found.at(length):
            label, times, accuracy = change_of(row.name).label, found.times(row), found.accuracy(row)
            if times is None:
                lines.append(f"At {length} tokens, {label}: {row.remark}.")
                continue
            said = f"At {length} tokens, {label}: {times.median:.2f} times"
            if times.low < times.high:
                said += f" ({times.low:.2f} to {times.high:.2f})"
            if accuracy is not None:
                said += f", accuracy {accuracy.median:.1%}, interval {accuracy.low:.1%} to {accuracy.high:.1%}"
            lines.append(f"{said}{f'; {row.remark}' if row.remark else ''}.")
    lines.append(f"{found.footnote}.")
    return "\n".join(lines) + "\n"
