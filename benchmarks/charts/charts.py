"""Whole charts: a title, one panel or all of them, a verdict; and the files they are kept in.

The same records give the same bytes of SVG, whatever the file is called.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.charts import panels, texts
from benchmarks.charts.data import Difference, Pair, Run, first_other_reviews, has, steps_that_fit
from benchmarks.charts.styles import STYLES, Style
from shared.recording.record import RunRecord

# An SVG names its font; where that is not installed, Verdana has letters of the same width.
FONTS = "'DejaVu Sans', Verdana, sans-serif"
# Nothing in a file that tells when it was made.
METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
}


def draw_comparison(manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any], folder: Path) -> list[Path]:
    """Draw `comparison.png` (1920 x 1080) and `comparison.svg` into `folder`, with `comparison.alt.txt` beside them.

    Args:
        manual, trainer: the two records.
        comparison: the content of `comparison.json`.

    Returns:
        The three paths.
    """
    runs, pair = compared(manual, trainer, comparison)
    with matplotlib.rc_context(STYLES["slide"].for_overview().settings()):
        figure = comparison_figure(manual, trainer, comparison)
        alt = texts.alt_text("overview", runs, pair, differences_of(runs, pair))
        title = texts.title_of("overview", runs, pair)
        pictures = {
            folder / f"comparison.{kind}": picture(figure, kind, STYLES["slide"], title, alt)
            for kind in ("png", "svg")
        }
    for path, content in pictures.items():
        path.write_bytes(content)
    beside = folder / "comparison.alt.txt"
    beside.write_text(alt, encoding="utf-8")
    return [*pictures, beside]


def comparison_figure(manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any]) -> Figure:
    """The overview of a comparison as a slide."""
    runs, pair = compared(manual, trainer, comparison)
    return overview(runs, pair, STYLES["slide"].for_overview(), texts.footnote(comparison["environment"]))


def compared(manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any]) -> tuple[list[Run], Pair]:
    """Both runs in drawing order, and where they part as the comparison says."""
    by_hand, theirs, first = Run("by hand", manual), Run("Trainer", trainer), comparison["first_divergence"]
    found = first and Difference(first["step"], first["quantity"], first["likely_cause"], first.get("rank", 0))
    return [theirs, by_hand], Pair(by_hand, theirs, found)


def chart_of(kind: str, runs: Sequence[Run], pair: Pair | None, style_name: str) -> Chart:
    """Draw one chart.

    Args:
        kind: `overview`, or a key of `chart_texts.TITLES`.
        runs: in drawing order, the first one lowest.
        pair: the two that are held against each other; None: nothing is.
        style_name: a key of `STYLES`.
    """
    style = STYLES[style_name]
    style = style.for_overview() if kind == "overview" else style
    pairs = differences_of(runs, pair) if kind in ("overview", "difference") else []
    with matplotlib.rc_context(style.settings()):
        figure = overview(runs, pair, style) if kind == "overview" else single(kind, runs, pair, style)
    figure.look, figure.title = style, texts.title_of(kind, runs, pair)
    figure.alt = texts.alt_text(kind, runs, pair, pairs)
    return figure


class Chart(Figure):
    """A figure that knows its style and says what it shows; a notebook shows it without pyplot.

    Attributes:
        look: whose settings it is drawn with.
        title, alt: what a file of it carries.
    """

    look: Style = STYLES["slide"]
    title: str = ""
    alt: str = ""

    def content(self, file_format: str) -> bytes:
        """A file's content; `file_format` is `png`, `svg` or `pdf`."""
        with matplotlib.rc_context(self.look.settings()):
            return picture(self, file_format, self.look, self.title, self.alt)

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return self.content("png"), {"alt": " ".join(self.alt.split())}


def picture(figure: Figure, file_format: str, style: Style, title: str, alt: str) -> bytes:
    """The figure as a file's content; an SVG or a PDF carries its title, an SVG its alt text too."""
    metadata: dict[str, Any] = dict(METADATA[file_format])
    if file_format != "png":
        metadata["Title"] = title
    if file_format == "pdf":
        metadata["Subject"] = " ".join(alt.split())
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, dpi=style.dots_per_inch, metadata=metadata)
    if file_format != "svg":
        return buffer.getvalue()
    # Screen readers read <title> and <desc>; matplotlib writes the first only.
    svg = buffer.getvalue().decode("utf-8").replace("'DejaVu Sans'", FONTS)
    svg = re.sub(r"(<svg )", r'\1role="img" ', svg, count=1)
    svg = svg.replace("</title>", f"</title>\n <desc>{escape(alt.strip())}</desc>", 1)
    return svg.encode("utf-8")


def differences_of(runs: Sequence[Run], pair: Pair | None) -> list[tuple[Run, Run]]:
    """Of two runs their difference; of more, each one's difference from the pair's second run."""
    if pair is None:
        return []
    if len(runs) == 2:
        return [(pair.one, pair.other)]
    return [(run, pair.other) for run in runs if run is not pair.other]


def overview(runs: Sequence[Run], pair: Pair | None, style: Style, footnote: str = "") -> Chart:
    """All panels on one figure, titled with the verdict and labelled with the runs."""
    figure = Chart(figsize=style.size)
    head = [(texts.subtitle(runs), 1.08, style.soft)]
    if dials := texts.dials_that_differ(runs):
        head.append((dials, 1.08, style.soft))
    colour = style.ink
    if pair is not None and pair.groups:
        head.append((texts.verdict(pair), 1.08, style.exact if pair.first is None else style.ink))
    elif pair is not None:
        colour = style.exact if pair.first is None else style.wrong
        if pair.first is not None and pair.first.cause:
            head.append((f"Likely cause: {pair.first.cause}", 1.08, style.wrong))
    size = 2.0 if style.beside else 1.4
    top = _write_head(figure, style, texts.title_of("overview", runs, pair), size, colour=colour, lines=head)
    footnote = footnote or _footnote(runs)
    _text(figure, style, _points(0.35 * style.font, figure), footnote, factor=0.88, colour=style.soft, va="bottom")
    large, small = _places(figure, style, top - _points(2.7 * style.font, figure))
    losses, second = figure.add_subplot(large[0]), None
    panels.draw_series(losses, runs, "loss", "mean per review", style)
    losses.set_title(texts.TITLES["losses"])
    panels.mark_epochs(losses, runs[-1].record, style)
    if len(runs) > 1 and losses.lines:
        above = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.99), "borderaxespad": 0, "handlelength": 3.5}
        many = {"ncols": 3, "fontsize": "small", "handlelength": 2.5} if len(runs) > 2 else {"ncols": 2}
        losses.legend(**{**above, **many})
    second = figure.add_subplot(large[1], sharex=losses)
    second.set_xlabel("optimizer step")
    if pairs := differences_of(runs, pair):
        panels.draw_difference(
            second, pairs, _looks_of(pairs, runs, style), style, note=texts.difference_note(pairs, pair)
        )
        names = f"Difference from {pair.other.label}, step by step" if len(pairs) > 1 else None
        second.set_title(names or "Difference of the two, step by step")
    elif has(runs[0].record, name := texts.norms_of(runs)[0]):
        panels.draw_series(second, runs, name, "L2 norm", style)
        panels.draw_limits(second, list(texts.limits_of(runs)), style)
        second.set_title(f"Gradient norm {texts.norm_title(name, runs)}")
    else:
        panels.say_nothing_to_show(second, "no gradient norm in this record", style)
    if pair is not None and pair.first is not None:
        for axes in (losses, second):
            panels.mark_step(axes, pair.first.step, style)
    panels.mark_epochs(second, runs[-1].record, style, named=False)
    for place, name, title, unit in (
        (small[0], "eval_loss", "Validation loss", "mean per review"),
        (small[1], "eval_accuracy", "Validation accuracy", "reviews right"),
    ):
        axes = figure.add_subplot(place)
        axes.set_title(title)
        panels.draw_reports(axes, runs, name, unit, style)
    seconds = figure.add_subplot(small[2])
    seconds.set_title("Training time per epoch")
    panels.draw_seconds(seconds, runs, style)
    return figure


def _places(figure: Figure, style: Style, top: float) -> tuple[list[Any], list[Any]]:
    """Where the two large and the three small panels go."""
    if style.beside:
        grid = figure.add_gridspec(
            6, 2, width_ratios=(1.75, 1), left=0.065, right=0.975, top=top, bottom=0.115, hspace=2.1, wspace=0.17
        )
        return [grid[:4, 0], grid[4:, 0]], [grid[:2, 1], grid[2:4, 1], grid[4:, 1]]
    grid = figure.add_gridspec(
        4, 2, height_ratios=(2, 1.1, 1, 1.1), left=0.11, right=0.975, top=top, bottom=0.085, hspace=0.75, wspace=0.3
    )
    return [grid[0, :], grid[1, :]], [grid[2, 0], grid[2, 1], grid[3, :]]


def single(kind: str, runs: Sequence[Run], pair: Pair | None, style: Style) -> Chart:
    """One chart of its own: title, runs, verdict, and the panel below."""
    figure = Chart(figsize=style.size, layout="constrained")
    head = [(texts.subtitle(runs), 0.75, style.soft)]
    if dials := texts.dials_that_differ(runs):
        head.append((dials, 0.75, style.soft))
    head += [(text, 0.85, colour) for text, colour in _verdicts(kind, runs, pair, style)]
    fits, title = 0, texts.title_of(kind, runs, pair)
    if kind == "batches":
        fits = steps_that_fit([run.record for run in runs])
        if fits < max(len(run.record.steps) for run in runs):
            title += f" (steps 1 to {fits:,})"
    top = 1.0 if style.bare else _write_head(figure, style, title, 1.45, colour=style.ink, lines=head)
    figure.get_layout_engine().set(rect=(0.015, 0.015, 0.97, top - 0.015 - _points(0.4 * style.font, figure)))
    if kind == "batches":
        _batches(figure, runs, pair, fits, style)
        return figure
    if kind == "gradient-norm":
        _norms(figure, runs, pair, style)
        return figure
    axes = figure.add_subplot()
    if kind == "time":
        panels.draw_phases(axes, runs, style)
    elif kind == "accuracy":
        panels.draw_reports(axes, runs, "eval_accuracy", "share of reviews right", style)
        _name_and_mark(axes, runs, style.looks(len(runs)), pair, style, in_epochs=True)
    elif kind == "difference":
        pairs = differences_of(runs, pair)
        differ = pair is not None and pair.first is not None
        note = texts.largest_difference(pairs) if differ else texts.difference_note(pairs, pair)
        note = re.sub("(?<=[:,]) ", "\n", note, count=1) if style.bare else note
        looks = _looks_of(pairs, runs, style)
        # Away from the line that marks the first difference.
        early = differ and pair.first.step <= len(pair.one.record.steps) / 2
        panels.draw_difference(axes, pairs, looks, style, note=note, side="right" if early else "left")
        axes.set_xlabel("optimizer step")
        panels.mark_epochs(axes, runs[-1].record, style)
        _name_and_mark(axes, [run for run, _ in pairs], looks, pair, style)
    else:
        name, _, unit = texts.SERIES[kind]
        panels.draw_series(axes, runs, name, unit, style)
        axes.set_xlabel("optimizer step")
        if kind == "learning-rate":
            # Else the axis' power of ten would stand where the first difference is named.
            axes.yaxis.set_major_formatter("{x:.6g}")
        if kind == "memory":
            panels.draw_peaks(axes, runs, style)
        panels.mark_epochs(axes, runs[-1].record, style)
        _name_and_mark(axes, runs, style.looks(len(runs)), pair, style, peaks=kind == "memory")
    return figure


def _verdicts(kind: str, runs: Sequence[Run], pair: Pair | None, style: Style) -> list[tuple[str, str]]:
    """What is said of the pair above a single chart, each with its colour."""
    if pair is None:
        return []
    lines = []
    if kind == "batches":
        alike = first_other_reviews([run.record for run in runs]) is None
        lines.append((texts.reviews_note(runs), style.exact if alike else style.wrong))
    if kind == "time" and (note := texts.time_note(runs)):
        lines.append((note, style.soft))
    if pair.first is None:
        return lines or [(texts.verdict(pair), style.exact)]
    if pair.groups:
        return [*lines, (texts.verdict(pair), style.ink)]
    # Where the chart marks and names the first difference itself, there is room for the cause instead.
    if kind in ("time", "batches") or not pair.first.cause:
        return [*lines, (texts.verdict(pair), style.wrong)]
    return [*lines, (f"Likely cause: {pair.first.cause}", style.wrong)]


def _batches(figure: Figure, runs: Sequence[Run], pair: Pair | None, fits: int, style: Style) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    panels.draw_reviews(upper, runs, fits, style)
    upper.tick_params(labelbottom=False)
    panels.mark_epochs(upper, runs[-1].record, style)
    panels.draw_padding(lower, runs, fits, style)
    if style.bare:
        lower.set_xlabel(f"optimizer step ({panels.padding_text(runs)})")
    else:
        lower.set_title(panels.padding_text(runs), fontsize=0.8 * style.font, weight="normal")
    step = first_other_reviews([run.record for run in runs])
    if step is not None and step <= fits:
        for axes in (upper, lower):
            panels.mark_step(axes, step, style)
    if not style.bare:
        panels.name_lines(upper, runs, style.looks(len(runs)), style, height=_height(figure) * 0.38)


def _norms(figure: Figure, runs: Sequence[Run], pair: Pair | None, style: Style) -> None:
    """The gradient norm before and after the clip, one panel each; only the latter where no record has the former."""
    names = texts.norms_of(runs)
    found = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    differ = pair is not None and pair.first is not None
    for axes, name in zip(found, names, strict=True):
        panels.draw_series(axes, runs, name, "L2 norm", style)
        panels.draw_limits(axes, list(texts.limits_of(runs)), style)
        panels.mark_epochs(axes, runs[-1].record, style, named=axes is found[-1])
        # Below the first panel's title is the name of the first difference.
        pad = (1.6 if differ and axes is found[0] else 0.4) * style.font
        axes.set_title(texts.norm_title(name, runs), fontsize=0.8 * style.font, weight="normal", pad=pad)
    _name_and_mark(found[0], runs, style.looks(len(runs)), pair, style, share=0.65 / len(names))
    if differ and found[-1] is not found[0]:
        panels.mark_step(found[-1], pair.first.step, style)
    found[-1].set_xlabel("optimizer step")


def _looks_of(pairs: Sequence[tuple[Run, Run]], runs: Sequence[Run], style: Style) -> list[dict[str, Any]]:
    """A difference looks like the run whose it is."""
    looks = style.looks(len(runs))
    return [looks[next(n for n, each in enumerate(runs) if each is run)] for run, _ in pairs]


def _name_and_mark(
    axes: Axes,
    runs: Sequence[Run],
    looks: Sequence[dict[str, Any]],
    pair: Pair | None,
    style: Style,
    *,
    in_epochs: bool = False,
    peaks: bool = False,
    share: float = 0.65,
) -> None:
    """Name the lines and mark the first difference; `share` is the panel's part of the figure's height, about."""
    found = [run.record.footer.get("peak_memory_mb") for run in runs] if peaks else []
    extra = ["" if peak is None else f"\npeak {peak:,.0f} MB" for peak in found]
    if pair is not None and pair.first is not None and axes.lines:
        x = pair.first.step / pair.one.record.steps_per_epoch if in_epochs else pair.first.step
        panels.mark_step(axes, x, style, f"first difference: {texts.shorten(str(pair.first), 50)}")
    if not style.bare or peaks or len(runs) != 2:
        panels.name_lines(axes, runs, looks, style, height=_height(axes.figure) * share, extra=extra)


# Text around the panels ---------------------------------------------------------------------------


def _write_head(
    figure: Figure, style: Style, title: str, size: float, *, colour: str, lines: Sequence[tuple[str, float, str]]
) -> float:
    """Write the title and the lines below it; returns where they end, as a share of the figure's height."""
    y = 1 - _points(1.0 * style.font, figure)
    y = _text(figure, style, y, title, factor=size, colour=colour, weight="bold")
    for text, factor, line_colour in lines:
        y = _text(figure, style, y, text, factor=factor, colour=line_colour)
    return y


def _text(figure: Figure, style: Style, y: float, text: str, *, factor: float, colour: str, **options: Any) -> float:
    """Write a text, wrapped to the figure's width, its top at `y`; returns where the next one can begin."""
    size = factor * style.font
    letter = 0.62 if options.get("weight") == "bold" else 0.54
    wrapped = _wrap(text, int(figure.get_figwidth() * 0.93 * 72 / (letter * size)))
    left = 0.045 if style.beside else 0.03
    shown = {"fontsize": size, "color": colour, "va": "top", "linespacing": 1.2, **options}
    figure.text(left, y, "\n".join(wrapped), **shown)
    return y - _points(size * (1.2 * len(wrapped) + 0.35), figure)


def _wrap(text: str, longest: int) -> list[str]:
    """As few lines as can be, of about the same length."""
    lines = textwrap.wrap(text, longest) or [""]
    even = range(len(text) // len(lines), longest)
    return next((found for width in even if len(found := textwrap.wrap(text, width)) == len(lines)), lines)


def _points(points: float, figure: Figure) -> float:
    """Points as a share of the figure's height."""
    return points / _height(figure)


def _height(figure: Figure) -> float:
    return figure.get_figheight() * 72


def _footnote(runs: Sequence[Run]) -> str:
    """Versions and device of the last run; nothing where the record does not have them."""
    try:
        return texts.footnote(runs[-1].record.header["environment"])
    except KeyError:
        return ""
