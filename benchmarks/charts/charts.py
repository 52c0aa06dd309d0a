"""Charts of runs: one panel or all of them, below a title and the verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.charts import panels, texts
from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.data import Difference, Pair, Run, first_other_reviews, has, names_of, steps_that_fit
from benchmarks.charts.styles import STYLES, Look, Style
from shared.recording.record import RunRecord


def draw_comparison(manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any], folder: Path) -> list[Path]:
    """Draw `comparison.png` (1920 x 1080) and `comparison.svg` into `folder`, with `comparison.alt.txt` next to them.

    Args:
        comparison: the content of `comparison.json`.

    Returns:
        The three paths.
    """
    chart = runs_chart("overview", *runs_and_pair(manual, trainer, comparison), "slide")
    return [*(chart.save(folder / f"comparison.{kind}") for kind in ("png", "svg")), folder / "comparison.alt.txt"]


def runs_and_pair(manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any]) -> tuple[list[Run], Pair]:
    """Both runs in drawing order, and where they diverge according to the comparison."""
    names, first = names_of(manual, trainer), comparison["first_divergence"]
    ours, theirs = Run(names["manual"], manual), Run(names["trainer"], trainer)
    difference = first and Difference(first["step"], first["quantity"], first["likely_cause"], first.get("rank", 0))
    return [theirs, ours], Pair(ours, theirs, difference)


def runs_chart(kind: str, runs: Sequence[Run], pair: Pair | None, style_name: str) -> Chart:
    """Draw one chart of runs.

    Args:
        kind: `overview`, or a key of `texts.TITLES`.
        runs: in drawing order, the first one lowest.
        pair: the two runs that are compared; None: nothing is compared.
        style_name: a key of `STYLES`.
    """
    style, title = STYLES[style_name], texts.in_words_of(runs, texts.title_of(kind, runs, pair))
    pairs = differences_of(runs, pair) if kind in ("overview", "difference") else []
    alt = texts.in_words_of(runs, texts.alt_text(kind, runs, pair, pairs))
    colour, footnote = "", ""
    if kind == "overview":
        style, footnote = style.for_overview(), texts.footnote(runs[-1].record.header["environment"])
        if pair is not None and not pair.groups:  # the title is the verdict
            colour = style.exact if pair.first is None else style.wrong
    if kind == "batches" and (fits := steps_that_fit(runs)) < max(len(run.record.steps) for run in runs):
        title += f" (steps 1 to {fits:,})"
    lines = [(line, style.soft) for line in (texts.subtitle(runs), texts.settings_that_differ(runs)) if line]
    lines += _verdicts(kind, runs, pair, style)
    with canvas(style, title, alt, lines=lines, footnote=footnote, colour=colour) as chart:
        if kind in texts.SERIES:
            _series(kind, chart, runs, pair, style)
        else:
            KINDS[kind](chart, runs, pair, style)
    return chart


def differences_of(runs: Sequence[Run], pair: Pair | None) -> list[tuple[Run, Run]]:
    """For two runs their difference; for more, each one's difference from the pair's second run."""
    if pair is None:
        return []
    if len(runs) == 2:
        return [(pair.run, pair.other)]
    return [(run, pair.other) for run in runs if run is not pair.other]


def _verdicts(kind: str, runs: Sequence[Run], pair: Pair | None, style: Style) -> list[tuple[str, str]]:
    """The lines about the pair above a chart, each with its colour."""
    if pair is None:
        return []
    lines = []
    if kind == "batches":
        colour = style.exact if first_other_reviews(runs) is None else style.wrong
        lines.append((texts.in_words_of(runs, texts.reviews_note(runs)), colour))
    if kind == "time" and (note := texts.time_note(runs)):
        lines.append((note, style.soft))
    is_in_title = kind == "overview" and not pair.groups  # by the title
    if pair.first is None:
        return lines or ([] if is_in_title else [(texts.verdict(pair), style.exact)])
    if pair.groups:
        return [*lines, (texts.verdict(pair), style.ink)]
    # Where the chart itself marks and names the first difference, this line has the cause instead.
    if pair.first.cause and kind not in ("time", "batches"):
        return [*lines, (f"Likely cause: {pair.first.cause}", style.wrong)]
    return lines if is_in_title else [*lines, (texts.verdict(pair), style.wrong)]


# All panels ---------------------------------------------------------------------------------------


def _overview(chart: Chart, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    if style.beside:
        grid = chart.add_gridspec(6, 2, width_ratios=(1.75, 1))
        large, small = [grid[:4, 0], grid[4:, 0]], [grid[:2, 1], grid[2:4, 1], grid[4:, 1]]
    else:
        grid = chart.add_gridspec(4, 2, height_ratios=(2, 1.1, 1, 1.1))
        large, small = [grid[0, :], grid[1, :]], [grid[2, 0], grid[2, 1], grid[3, :]]
    losses, example = chart.add_subplot(large[0]), texts.in_words_of(runs, "review")
    metric = next((name for name in runs[0].record.metric_names if not name.endswith("loss")), "eval_accuracy")
    panels.draw_series(losses, runs, "loss", f"mean per {example}", style)
    losses.set_title(texts.TITLES["losses"])
    panels.mark_epochs(losses, runs[-1].record, style)
    if len(runs) > 1 and losses.lines:
        look: Look = {"ncols": 2, "handlelength": 3.5}
        if len(runs) > 2:
            look = {"ncols": 3, "handlelength": 2.5, "fontsize": "small"}
        losses.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), borderaxespad=0, **look)
    second = chart.add_subplot(large[1], sharex=losses)
    _second_panel(second, runs, pair, style)
    if pair is not None and pair.first is not None:
        for axes in (losses, second):
            panels.mark_step(axes, pair.first.step, style)
    panels.mark_epochs(second, runs[-1].record, style, named=False)
    for place, name, title, unit in (
        (small[0], "eval_loss", "Validation loss", f"mean per {example}"),
        (small[1], metric, "Validation accuracy", f"{example}s right")
        if metric == "eval_accuracy"
        else (small[1], metric, "Validation, as reported", metric),
    ):
        axes = chart.add_subplot(place)
        axes.set_title(title)
        panels.draw_reports(axes, runs, name, unit, style)
    seconds = chart.add_subplot(small[2])
    seconds.set_title("Time of a step")
    panels.draw_step_seconds(seconds, runs, texts.short_time_note(runs), style)


def _second_panel(axes: Axes, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    """The panel below the losses: for several runs their difference, for one run the gradient norm."""
    axes.set_xlabel("optimizer step")
    if pair is not None:
        pairs = differences_of(runs, pair)
        note = texts.difference_note(pairs, pair)
        panels.draw_difference(axes, pairs, _looks_of(pairs, runs, style), style, note=note)
        whose = "of the two" if len(pairs) == 1 else f"from {pair.other.label}"
        axes.set_title(f"Difference {whose}, step by step")
    elif has(runs[0].record, name := texts.norms_of(runs)[0]):
        panels.draw_series(axes, runs, name, "L2 norm", style)
        panels.draw_limits(axes, list(texts.limits_of(runs)), style)
        axes.set_title(f"Gradient norm {texts.norm_title(name, runs)}")
    else:
        panels.say_nothing_to_show(axes, "no gradient norm in this record", style)


# One kind -----------------------------------------------------------------------------------------


def _series(kind: str, chart: Chart, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    """One number of each step."""
    axes, (name, _, unit) = chart.add_subplot(), texts.SERIES[kind]
    panels.draw_series(axes, runs, name, texts.in_words_of(runs, unit), style)
    axes.set_xlabel("optimizer step")
    if kind == "learning-rate":
        # Otherwise the axis' power of ten would overlap the name of the first difference.
        axes.yaxis.set_major_formatter("{x:.6g}")
    if kind == "memory":
        panels.draw_peaks(axes, runs, style)
    panels.mark_epochs(axes, runs[-1].record, style)
    _name_and_mark(axes, runs, style.looks(len(runs)), pair, style, peaks=kind == "memory")


def _difference(chart: Chart, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    axes, pairs = chart.add_subplot(), differences_of(runs, pair)
    first = pair and pair.first
    note = texts.largest_difference(pairs) if first else texts.difference_note(pairs, pair)
    note = re.sub("(?<=[:,]) ", "\n", note, count=1) if style.bare else note
    looks = _looks_of(pairs, runs, style)
    # On the side without the line that marks the first difference.
    early = pair and first and first.step <= len(pair.run.record.steps) / 2
    panels.draw_difference(axes, pairs, looks, style, note=note, side="right" if early else "left")
    axes.set_xlabel("optimizer step")
    panels.mark_epochs(axes, runs[-1].record, style)
    _name_and_mark(axes, [run for run, _ in pairs], looks, pair, style)


def _accuracy(chart: Chart, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    axes = chart.add_subplot()
    panels.draw_reports(axes, runs, "eval_accuracy", texts.in_words_of(runs, "share of reviews right"), style)
    _name_and_mark(axes, runs, style.looks(len(runs)), pair, style, in_epochs=True)


def _time(chart: Chart, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    panels.draw_phases(chart.add_subplot(), runs, style)


def _batches(chart: Chart, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    fits = steps_that_fit(runs)
    upper, lower = chart.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    panels.draw_reviews(upper, runs, fits, texts.in_words_of(runs, "review"), style)
    upper.tick_params(labelbottom=False)
    panels.mark_epochs(upper, runs[-1].record, style)
    panels.draw_padding(lower, runs, fits, style)
    lower.set_xlabel(f"optimizer step ({panels.padding_text(runs)})")
    step = first_other_reviews(runs)
    if step is not None and step <= fits:
        for axes in (upper, lower):
            panels.mark_step(axes, step, style)
    if not style.bare:
        panels.name_lines(upper, runs, style.looks(len(runs)), style, height=_height(upper) * 0.38)


def _norms(chart: Chart, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    """The gradient norm before and after clipping, one panel each; only the latter where no record has the former."""
    names = texts.norms_of(runs)
    panels_of_norms: list[Axes] = list(chart.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0])
    first = pair and pair.first
    for axes, name in zip(panels_of_norms, names, strict=True):
        panels.draw_series(axes, runs, name, "L2 norm", style)
        panels.draw_limits(axes, list(texts.limits_of(runs)), style)
        panels.mark_epochs(axes, runs[-1].record, style, named=axes is panels_of_norms[-1])
        # The name of the first difference is below the first panel's title.
        pad = (1.6 if first and axes is panels_of_norms[0] else 0.4) * style.font
        axes.set_title(texts.norm_title(name, runs), fontsize=0.8 * style.font, weight="normal", pad=pad)
    _name_and_mark(panels_of_norms[0], runs, style.looks(len(runs)), pair, style, share=0.65 / len(names))
    if first and panels_of_norms[-1] is not panels_of_norms[0]:
        panels.mark_step(panels_of_norms[-1], first.step, style)
    panels_of_norms[-1].set_xlabel("optimizer step")


# The functions that add the panels, by kind; the kinds of `texts.SERIES` share `_series`.
KINDS: dict[str, Callable[[Chart, Sequence[Run], Pair | None, Style], None]] = {
    "overview": _overview,
    "difference": _difference,
    "accuracy": _accuracy,
    "time": _time,
    "gradient-norm": _norms,
    "batches": _batches,
}


def _looks_of(pairs: Sequence[tuple[Run, Run]], runs: Sequence[Run], style: Style) -> list[Look]:
    """The look of each difference: that of its run."""
    looks = style.looks(len(runs))
    return [looks[next(n for n, other in enumerate(runs) if other is run)] for run, _ in pairs]


def _name_and_mark(
    axes: Axes,
    runs: Sequence[Run],
    looks: Sequence[Look],
    pair: Pair | None,
    style: Style,
    *,
    in_epochs: bool = False,
    peaks: bool = False,
    share: float = 0.65,
) -> None:
    """Name the lines and mark the first difference; `share`: the panel's approximate share of the figure's height."""
    peak_memory = [run.record.footer.get("peak_memory_mb") for run in runs] if peaks else []
    extra = ["" if peak is None else f"\npeak {peak:,.0f} MB" for peak in peak_memory]
    if pair is not None and pair.first is not None and axes.lines:
        x = pair.first.step / pair.run.record.steps_per_epoch if in_epochs else pair.first.step
        panels.mark_step(axes, x, style, f"first difference: {texts.shorten(str(pair.first), 50)}")
    if not style.bare or peaks or len(runs) != 2:
        panels.name_lines(axes, runs, looks, style, height=_height(axes) * share, extra=extra)


def _height(axes: Axes) -> float:
    """The height of the whole chart, in points."""
    return 72 * axes.figure.bbox.height / axes.figure.dpi
