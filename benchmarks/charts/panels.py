"""The panels: one function for each, used by the single charts and by the overview.

Every function takes the runs in drawing order, the first one lowest, and a style. They use matplotlib's object
interface, without global state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator, PercentFormatter

from benchmarks.charts.data import (
    Run,
    differences,
    drawn_reviews,
    evaluations,
    has,
    outline,
    padding_share,
    phase_seconds,
    series,
)
from benchmarks.charts.styles import MARKERS, PHASE_COLOURS, Look, Style
from benchmarks.statistics import duration, range_text, step_seconds, unit_for
from shared.recording.record import RunRecord, training_seconds

# More names than this do not fit next to an axis; a legend replaces them.
MOST_NAMES = 7
# The value is written on a part of a bar that has at least this share of the longest bar.
WIDE_ENOUGH = 0.08
# In an SVG each dot is an element; more dots than this are embedded as an image.
MOST_SVG_DOTS = 4000


def draw_series(axes: Axes, runs: Sequence[Run], name: str, unit: str, style: Style) -> None:
    """One number of each step as a line per run, by optimizer step."""
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=style.ticks))
    if not any(run.record.steps for run in runs):
        say_nothing_to_show(axes, "no step in this run", style)
        return
    gaps = 0
    for run, look in zip(runs, style.looks(len(runs)), strict=True):
        steps, values = series(run.record, name)
        gaps += sum(not math.isfinite(value) for value in values) if has(run.record, name) else 0
        _draw_line(axes, run.label, steps, values, look, style)
    axes.margins(y=0.1)
    if gaps:
        text = f"{gaps:,} value{'s are' if gaps > 1 else ' is'} not a finite number: left out"
        axes.text(0.012, 0.96, text, transform=axes.transAxes, va="top", color=style.wrong, fontsize="small")


def _draw_line(axes: Axes, name: str, steps: list[int], values: list[float], look: Look, style: Style) -> None:
    """One number of each step; where it is not finite, the line has a gap."""
    values = [value if math.isfinite(value) else math.nan for value in values]
    if style.columns:
        steps, values = outline(steps, values, style.columns)
    # A single step has no line, so it gets a marker.
    axes.plot(steps, values, label=name, marker="o" if len(steps) == 1 else "", **look)


def draw_limits(axes: Axes, limits: Sequence[float], style: Style) -> None:
    """The norms that gradients are scaled down to, as dotted lines across, on an axis that begins at zero."""
    for limit in limits:
        axes.axhline(limit, color=style.wrong, linewidth=1.6 * style.scale, linestyle=(0, (1, 1.5)))
    # Without this, a limit that all norms are scaled down to would be on the panel's edge.
    axes.set_ylim(bottom=0, top=max([axes.get_ylim()[1], *(1.1 * limit for limit in limits)]))


def draw_difference(
    axes: Axes,
    pairs: Sequence[tuple[Run, Run]],
    looks: Sequence[Look],
    style: Style,
    *,
    note: str,
    side: str = "left",
) -> None:
    """The absolute difference of two runs' training losses at every step that both have; a line per pair.

    Args:
        pairs: pairs of a run and the run that it is compared with.
        looks: of each pair; a single pair is shown in the colour of its verdict.
        note: a text in the panel, on its `side`, left or right.
    """
    other = pairs[0][1].label
    axes.set_ylabel(f"|{pairs[0][0].label} − {other}|" if len(pairs) == 1 else f"|run − {other}|")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=style.ticks))
    lines = [differences(run.record, other.record) for run, other in pairs]
    differ = any(any(values) for _, values in lines)
    if len(pairs) == 1:
        looks = [{"color": style.wrong if differ else style.exact, "linewidth": 2.5 * style.scale}]
    for (run, _), (steps, values), look in zip(pairs, lines, looks, strict=True):
        _draw_line(axes, run.label, steps, values, look, style)
    _scale_differences(axes, [value for _, values in lines for value in values if math.isfinite(value)])
    colour = style.wrong if differ else style.exact
    box = {"facecolor": style.ground, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    text_options: Look = {"va": "top", "ha": side, "color": colour, "fontsize": "large", "weight": "bold"}
    axes.text(0.012 if side == "left" else 0.988, 0.94, note, transform=axes.transAxes, bbox=box, **text_options)


def _scale_differences(axes: Axes, values: list[float]) -> None:
    """A logarithmic axis with a zero, and room for a note above; only the zero where nothing differs."""
    largest = max(values, default=0.0)
    if largest == 0:
        axes.set_ylim(-0.6, 1)
        axes.set_yticks([0], ["0.0"])
        return
    smallest = min(value for value in values if value > 0)
    axes.set_yscale("symlog", linthresh=smallest, linscale=0.4)
    decades = range(math.ceil(math.log10(smallest)), math.floor(math.log10(largest)) + 1)
    axes.set_yticks([0, *(10.0**decade for decade in decades[:: len(decades) // 4 + 1])])
    axes.minorticks_off()
    axes.set_ylim(bottom=0, top=largest * (largest / smallest) ** 0.45 * 3)


def draw_reports(axes: Axes, runs: Sequence[Run], name: str, unit: str, style: Style) -> None:
    """The metric that the loops reported after each evaluation, `eval_loss` or `eval_accuracy`, by epochs done."""
    points = [evaluations(run.record, name) for run in runs]
    if not any(epochs for epochs, _ in points):
        say_nothing_to_show(axes, "no evaluation in this run", style)
        return
    last = len(runs) - 1
    for number, (run, look, (epochs, values)) in enumerate(zip(runs, style.looks(len(runs)), points, strict=True)):
        size = style.scale * (16 - 8 * number / max(last, 1))
        marker: Look = {"marker": MARKERS[number % len(MARKERS)], "markersize": size}
        if number == last > 0:
            marker = {"marker": "x", "markersize": size, "markeredgewidth": 2.2 * style.scale}
        axes.plot(epochs, values, label=run.label, **look, **marker)
    _label_points(axes, points, name)
    axes.set_ylabel(unit)
    axes.set_xlabel("epochs done")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.margins(x=0.16, y=0.42)
    if len(lone := {epoch for epochs, _ in points for epoch in epochs}) == 1:
        axes.set_xlim(min(lone) - 0.5, min(lone) + 0.5)
    if name == "eval_accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _label_points(axes: Axes, points: Sequence[tuple[list[float], list[float]]], name: str) -> None:
    """Write the values at the points, above the highest and below the lowest, if there are few enough to read."""
    by_epoch: dict[float, list[float]] = {}
    for epochs, values in points:
        for epoch, value in zip(epochs, values, strict=True):
            by_epoch.setdefault(epoch, []).append(value)
    if len(by_epoch) > 4:
        return
    for epoch, values in by_epoch.items():
        texts = {max(values): ("bottom", 0.8)}
        texts.setdefault(min(values), ("top", -0.8))
        for value, (side, lines) in texts.items():
            text = f"{value:.1%}" if name == "eval_accuracy" else f"{value:.4f}"
            place: Look = {"xytext": (0, lines), "textcoords": "offset fontsize", "ha": "center", "va": side}
            axes.annotate(text, (epoch, value), **place)


def draw_step_seconds(axes: Axes, runs: Sequence[Run], note: str, style: Style) -> None:
    """The time of a step without evaluation and recording: the median and the middle half of each run.

    Args:
        note: a text about a difference; empty: none.
    """
    spreads = [step_seconds(run.record) for run in runs]
    if not any(spreads):
        say_nothing_to_show(axes, "no step in this run", style)
        return
    unit, factor = unit_for(max(spread.high for spread in spreads if spread))
    axes.set_xlabel(f"{unit}: median and middle half" + (f"\n{note}" if note else ""))
    for place, (spread, look) in enumerate(zip(spreads, style.looks(len(runs)), strict=True)):
        if spread:
            middle, low, high = (value * factor for value in spread)
            axes.plot([low, high], [place] * 2, color=look["color"], linewidth=5 * style.scale)
            axes.plot([middle], [place], color=look["color"], marker="o", markersize=10 * style.scale)
            axes.annotate(f"{middle:.3g}", (middle, place - 0.2), ha="center", va="bottom")
    axes.set_yticks(range(len(runs)), [run.label for run in runs])
    axes.set_ylim(len(runs) - 0.5, -0.75)
    axes.set_xlim(0, 1.1 * factor * max(spread.high for spread in spreads if spread))
    axes.grid(axis="y", visible=False)


def draw_phases(axes: Axes, runs: Sequence[Run], style: Style) -> None:
    """The time of each phase of a step, stacked to one bar per run."""
    if not any(run.record.steps for run in runs):
        say_nothing_to_show(axes, "no step in this run", style)
        return
    means = [phase_seconds(run.record) for run in runs]
    spreads = [step_seconds(run.record) for run in runs]
    highest = [*(sum(seconds.values()) for seconds in means), *(spread.high for spread in spreads if spread)]
    unit, factor = unit_for(max(highest))
    longest = max(highest) * factor or 1.0
    phases = list(dict.fromkeys(phase for seconds in means for phase in seconds))
    for number, phase in enumerate(phases):
        colour = PHASE_COLOURS[min(number, len(PHASE_COLOURS) - 1)]
        for place, seconds in enumerate(means):
            width = seconds.get(phase, 0.0) * factor
            left = sum(seconds.get(earlier, 0.0) for earlier in phases[:number]) * factor
            bar_options: Look = {"color": colour, "edgecolor": style.ink, "linewidth": 0.8 * style.scale}
            axes.barh(place, width, left=left, height=0.5, label=phase if not place else "_", **bar_options)
            if width > (2.5 if style.bare else 1) * WIDE_ENOUGH * longest:
                text = f"{width:.3g}" if width < 1000 else f"{width:.0f}"
                axes.text(left + width / 2, place, text, ha="center", va="center", color=_readable_on(colour))
    for place, (run, spread) in enumerate(zip(runs, spreads, strict=True)):
        text = "no step in this run"
        if spread:
            total = sum(training_seconds(line) for line in run.record.steps)
            text = f"a step: {duration(spread.median)} ({range_text(spread)})" + (
                "" if style.bare else f"; all steps: {duration(total)}"
            )
            middle, low, high = (value * factor for value in spread)
            line: Look = {"linewidth": 1.6 * style.scale, "marker": "|", "markersize": 8 * style.scale}
            axes.plot([low, high], [place - 0.31] * 2, color=style.ink, **line)
            axes.plot([middle], [place - 0.31], color=style.ink, marker="o", markersize=6 * style.scale)
        # Slightly to the right of the axis, so that the first letter does not touch it.
        offset: Look = {"xytext": (0.3 * style.font, 0), "textcoords": "offset points"}
        axes.annotate(text, (0, place + 0.29), va="bottom", weight="bold", **offset).set_in_layout(False)
    axes.set_yticks(range(len(runs)), [run.label for run in runs])
    axes.set_ylim(-0.45, len(runs) - 0.25)
    axes.set_xlim(0, longest * 1.02)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, pad=0.4 * style.font)
    below = "" if style.bare else "; line and dot: middle half and median"
    axes.set_xlabel(f"{unit} per step, mean of the middle half{below}")
    close = {"fontsize": "small", "handlelength": 0.9, "columnspacing": 0.9} if style.bare else {"handlelength": 1.2}
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(phases), borderaxespad=0.2, **close)


def _readable_on(colour: str) -> str:
    red, green, blue = to_rgb(colour)
    return "#000000" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.45 else "#FFFFFF"


def draw_peaks(axes: Axes, runs: Sequence[Run], style: Style) -> None:
    """Each run's highest use of memory, from its footer, as a thin line across."""
    for run, look in zip(runs, style.looks(len(runs)), strict=True):
        if (peak := run.record.footer.get("peak_memory_mb")) is not None:
            axes.axhline(peak, color=look["color"], linewidth=1.2 * style.scale, linestyle=(0, (1, 2)))
    axes.margins(y=0.15)


def draw_reviews(axes: Axes, runs: Sequence[Run], steps: int, noun: str, style: Style) -> None:
    """A dot for each review drawn in the first `steps` steps: its step and its number, in order of the first draw.

    Args:
        noun: the job's word for a review.
    """
    axes.set_ylabel(f"{noun}, numbered")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=style.ticks))
    draws = [list(drawn_reviews(run.record, steps)) for run in runs]
    numbers: dict[str, int] = {}
    for run_draws in draws:
        for _, review in run_draws:
            numbers.setdefault(review, len(numbers) + 1)
    if not numbers:
        say_nothing_to_show(axes, f"no {noun} was drawn in this run", style)
        return
    broad = style.scale * min(8.0, max(2.0, 220 / math.sqrt(max(map(len, draws)))))
    for number, (run, look, run_draws) in enumerate(zip(runs, style.looks(len(runs)), draws, strict=True)):
        axes.plot(
            [step for step, _ in run_draws],
            [numbers[review] for _, review in run_draws],
            linestyle="",
            marker="o",
            markersize=broad * (0.4 ** (number / max(1, len(runs) - 1)) if len(runs) > 1 else 0.6),
            markeredgewidth=0,
            color=look["color"],
            alpha=look.get("alpha", 1.0),
            label=run.label,
            rasterized=len(run_draws) > MOST_SVG_DOTS,
        )
    # Room for the names of the epochs.
    axes.set_ylim(1 - 0.16 * len(numbers), len(numbers) * 1.04)


def draw_padding(axes: Axes, runs: Sequence[Run], steps: int, style: Style) -> None:
    """Useful tokens and padding of each step: the first run's as areas, the others' as outlines on top of them."""
    axes.set_ylabel("tokens")
    for number, (run, look) in enumerate(zip(runs, style.looks(len(runs)), strict=True)):
        lines = run.record.steps[:steps]
        if not lines:
            continue
        # Where steps are narrower than the resolution, means over several of them.
        width = -(-len(lines) // (style.columns or len(lines)))
        parts = [lines[start : start + width] for start in range(0, len(lines), width)]
        edges = [part[0]["step"] - 0.5 for part in parts] + [lines[-1]["step"] + 0.5]
        useful, places = (
            [sum(line[name] for line in part) / len(part) for part in parts] for name in ("tokens", "padded_tokens")
        )
        if number == 0:
            axes.stairs(useful, edges, fill=True, color=PHASE_COLOURS[1], label="useful")
            axes.stairs(places, edges, baseline=useful, fill=True, color=PHASE_COLOURS[3], label="padding")
        if number or len(runs) == 1:
            outline = {"color": look["color"], "linewidth": look["linewidth"] * 0.7}
            for values in (useful, places):
                axes.stairs(values, edges, baseline=None, linestyle=look.get("linestyle", "-"), **outline)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.set_ylim(0, max((line["padded_tokens"] for run in runs for line in run.record.steps), default=1) * 1.05 or 1)
    if not axes.patches:
        return
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, handlelength=1.2, borderaxespad=0.1)


def padding_text(runs: Sequence[Run]) -> str:
    """`12.3% of all tokens are padding`, only once if it is the same in all runs."""
    shares = [padding_share(run.record) for run in runs]
    low, high = f"{min(shares):.1%}", f"{max(shares):.1%}"
    if low == high:
        return f"{low} of all tokens are padding"
    if len(runs) > 2:
        return f"padding: {low} to {high} of all tokens"
    return "padding: " + ", ".join(f"{share:.1%} {run.label}" for share, run in zip(shares, runs, strict=True))


# What is written onto a panel ---------------------------------------------------------------------


def name_lines(
    axes: Axes,
    runs: Sequence[Run],
    looks: Sequence[Look],
    style: Style,
    *,
    height: float,
    extra: Sequence[str] = (),
) -> None:
    """Name the lines at their right ends, each with a sample of the line, moved apart where the ends coincide.

    Args:
        runs, looks: in the order in which they were drawn.
        height: approximate height of the axes in points, which decides how far apart names must be.
        extra: a text after each name.
    """
    lines = axes.lines[: len(runs)]
    if len(runs) < 2 or len(lines) < len(runs):
        return
    if len(runs) > MOST_NAMES:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small", borderaxespad=0)
        return
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted: list[float] = []
    for line in lines:
        ends = [y for y in map(float, line.get_ydata()) if math.isfinite(y)]
        wanted.append(float(to_axes.transform((0, ends[-1]))[1]) if ends else 0.5)
    places = spread(wanted, 1.45 * style.font * (2 if any(extra) else 1) / height)
    for line, look, run, place, more in zip(lines, looks, runs, places, [*extra, *[""] * len(runs)], strict=False):
        if line.get_linestyle() == "None":
            look = {"marker": "o", "linestyle": "", "color": look["color"], "markersize": line.get_markersize()}
            axes.plot((1.04,), (place,), transform=axes.transAxes, clip_on=False, markeredgewidth=0, **look)
        else:
            axes.plot((1.015, 1.065), (place, place), transform=axes.transAxes, clip_on=False, **look)
        axes.text(1.075, place, f"{run.label}{more}", transform=axes.transAxes, va="center")


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions between 0 and 1, as near as possible to the wanted ones, in their order, and at least `gap` apart."""
    order = sorted(range(len(wanted)), key=lambda number: (wanted[number], -number))
    places: list[float] = []
    for number in order:
        places.append(max(wanted[number], places[-1] + gap) if places else wanted[number])
    shift = sum(places) / len(places) - sum(wanted) / len(wanted)
    shift += max(0.0, places[-1] - shift - 1)
    shift -= max(0.0, shift - places[0])
    return [place - shift for _, place in sorted(zip(order, places, strict=True))]


def mark_step(axes: Axes, x: float, style: Style, text: str = "") -> None:
    """A line at the step where two runs diverge, with its text, if any, above the panel."""
    axes.axvline(x, color=style.wrong, linewidth=2 * style.scale, linestyle=(0, (3, 1.5)), gid="first-difference")
    if text:
        left, right = axes.get_xlim()
        side = "left" if x < (left + right) / 2 else "right"
        place = axes.get_xaxis_transform()
        axes.text(x, 1.01, text, transform=place, ha=side, va="bottom", color=style.wrong, weight="bold")


def mark_epochs(axes: Axes, record: RunRecord, style: Style, named: bool = True) -> None:
    """Faint lines at the end of each epoch, named at the bottom if there is room."""
    ends = range(record.steps_per_epoch, len(record.steps) + 1, record.steps_per_epoch)
    if len(ends) > 12:
        return
    for epoch, end in enumerate(ends, start=1):
        axes.axvline(end + 0.5, color=style.faint, linewidth=style.scale, linestyle=(0, (1, 3)))
        if named and len(ends) <= (3 if style.bare else 6):
            place = axes.get_xaxis_transform()
            box = {"facecolor": style.ground, "edgecolor": "none", "alpha": 0.8, "pad": 0}
            axes.text(
                end + 0.4,
                0.025,
                f"epoch {epoch} ends ",
                transform=place,
                ha="right",
                fontsize="small" if style.font > 9 else "x-small",
                color=style.soft,
                bbox=box,
            )


def say_nothing_to_show(axes: Axes, reason: str, style: Style) -> None:
    """An empty panel that says why it is empty."""
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=style.soft)
    axes.set_xticks([])
    axes.set_yticks([])
