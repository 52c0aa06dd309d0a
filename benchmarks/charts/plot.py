"""From a drawing to a picture in a file or on a page, and its alt text beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.charts.charts import Chart
    from benchmarks.charts.styles import Style

# Kinds of chart of one run or of many.
KINDS = ("overview", "losses", "difference", "accuracy", "time", "memory", "learning-rate", "gradient-norm", "batches")
STYLE_NAMES = ("slide", "paper", "dark")
FORMATS = ("png", "svg", "pdf")
NAMES = {"manual": "by hand", "trainer": "Trainer"}


class Picture(NamedTuple):
    """A chart: the file's content, and its alt text."""

    content: bytes
    alt: str


class Drawing(NamedTuple):
    """A chart that is still to be drawn.

    Attributes:
        figure: makes it, once matplotlib has been told the style's settings.
        title, alt: what the file itself carries.
    """

    figure: Callable[[Style], Chart]
    title: str
    alt: str


def inline_svg_from(drawn: Picture, name: str) -> str:
    """The same of an SVG that has been drawn; its ids begin with a name that no other on the page has."""
    svg = drawn.content.decode("utf-8")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg ") :], flags=re.DOTALL)
    svg = re.sub(r"^<svg [^>]*?>", lambda found: re.sub(r' (width|height)="[^"]*"', "", found[0]), svg)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)


def alt_path(output: Path) -> Path:
    """Where the alt text of a picture is kept."""
    return output.with_suffix(".alt.txt")


def save_picture(drawing: Drawing, path: Path, style: str) -> Path:
    """Draw a chart into a file, and write its alt text into `<name>.alt.txt` beside it.

    Args:
        drawing: the chart.
        path: ends in .png, .svg or .pdf; a picture there is replaced.
        style: a key of `STYLES`.

    Returns:
        The path.
    """
    drawn = draw_drawing(drawing, style, path.suffix.removeprefix("."))
    path.write_bytes(drawn.content)
    alt_path(path).write_text(drawn.alt, encoding="utf-8")
    return path


def draw_drawing(drawing: Drawing, style: str, file_format: str) -> Picture:
    """Draw a chart and write nothing."""
    chart = drawn_chart(drawing, style)
    return Picture(chart.content(file_format), chart.alt)


def drawn_chart(drawing: Drawing, style: str) -> Chart:
    """The same as a figure."""
    import matplotlib

    from benchmarks.charts.styles import STYLES

    look = STYLES[style]
    with matplotlib.rc_context(look.settings()):
        chart = drawing.figure(look)
    chart.look, chart.title, chart.alt = look, drawing.title, drawing.alt
    return chart
