"""From panels to a chart: title, footnote and alt text; its files, and its SVG element for a page.

The same panels give the same bytes of SVG, whatever the name of the file is.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from benchmarks.charts.styles import STYLES, Style

# An SVG names its font; where it is not installed, Verdana has letters of the same width.
FONTS = "'DejaVu Sans', Verdana, sans-serif"
# Where title and lines begin, and the distance of panels from the edges, as shares of width and height.
LEFT, EDGE = 0.03, 0.015
# No date in a file.
METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
}


class Chart(Figure):
    """A chart with its style and its alt text; a notebook displays it without pyplot.

    Attributes:
        look: the style whose settings it is drawn with.
        title, alt: its title and alt text, which its files contain.
    """

    look: Style = STYLES["slide"]
    title: str = ""
    alt: str = ""

    def lay_out(self) -> None:
        """Compute the panels' positions once, when the chart is first drawn, and not again for every file."""
        layout = self.get_layout_engine()
        if layout is None:
            return
        with matplotlib.rc_context(self.look.settings()):
            layout.execute(self)
        self.set_layout_engine(None)
        for axes in self.axes:
            # The last bits of the solver's result vary.
            bounds = axes.get_position(original=True).bounds
            axes.set_position(Bbox.from_bounds(*(round(share, 5) for share in bounds)))

    def content(self, file_format: str) -> bytes:
        """The content of a file; an SVG or a PDF contains the title, an SVG also the alt text.

        Args:
            file_format: `png`, `svg` or `pdf`.
        """
        metadata: dict[str, Any] = dict(METADATA[file_format])
        if file_format != "png":
            metadata["Title"] = self.title
        if file_format == "pdf":
            metadata["Subject"] = " ".join(self.alt.split())
        self.lay_out()
        buffer = io.BytesIO()
        with matplotlib.rc_context(self.look.settings()):
            self.savefig(buffer, format=file_format, dpi=self.look.dots_per_inch, metadata=metadata)
        if file_format != "svg":
            return buffer.getvalue()
        # Screen readers read <title> and <desc>; matplotlib writes the first only.
        svg = buffer.getvalue().decode("utf-8").replace("'DejaVu Sans'", FONTS)
        svg = re.sub(r"(<svg )", r'\1role="img" ', svg, count=1)
        svg = svg.replace("</title>", f"</title>\n <desc>{escape(self.alt.strip())}</desc>", 1)
        return svg.encode("utf-8")

    def save(self, path: Path) -> Path:
        """Write a file, and the alt text into `<name>.alt.txt` next to it; existing files are replaced.

        Args:
            path: ends in .png, .svg or .pdf.

        Returns:
            The path.

        Raises:
            OSError: one of the two cannot be written.
        """
        path.write_bytes(self.content(path.suffix.lower().removeprefix(".")))
        path.with_suffix(".alt.txt").write_text(self.alt, encoding="utf-8")
        return path

    def inline_svg(self, name: str) -> str:
        """An `<svg>` element for an HTML page, which may have several of them; it scales with the page.

        Its `<title>` and `<desc>` hold title and alt text.

        Args:
            name: the prefix of its ids; no other element on the page may have it.
        """
        svg = self.content("svg").decode("utf-8")
        svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg ") :], flags=re.DOTALL)
        svg = re.sub(r"^<svg [^>]*?>", lambda match: re.sub(r' (width|height)="[^"]*"', "", match[0]), svg)
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return self.content("png"), {"alt": " ".join(self.alt.split())}


@contextmanager
def canvas(
    style: Style,
    title: str,
    alt: str,
    *,
    lines: Sequence[tuple[str, str]] = (),
    footnote: str = "",
    colour: str = "",
    height: float = 0.0,
) -> Iterator[Chart]:
    """A chart to add panels to; matplotlib places them between the text above and the text below.

    A bare style has only the panels.

    Args:
        style: sizes and colours, also for what the caller draws.
        title, alt: what it shows, in a line and in whole sentences.
        lines: below the title, each with its colour.
        footnote: below the panels; empty: none.
        colour: the title's; empty: the ink's.
        height: in inches; 0: that of the style.
    """
    with matplotlib.rc_context(style.settings()):
        pad = 0.3 * style.font / 72
        layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad)
        chart = Chart(figsize=(style.size[0], height or style.size[1]), dpi=style.dots_per_inch, layout=layout)
        chart.look, chart.title, chart.alt = style, title, alt
        side, bottom, top = EDGE, EDGE, 1 - EDGE
        if not style.bare:
            side, y = LEFT - 0.005, 1 - _points(style.font, chart)
            y = _write(chart, y, title, style.title_size, colour or style.ink, weight="bold")
            for text, line_colour in lines:
                y = _write(chart, y, text, style.line_size, line_colour)
            top = y - _points(0.4 * style.font, chart)
            if footnote:
                y = _points(0.35 * style.font, chart)
                bottom += 2 * y - _write(chart, y, footnote, style.note_size, style.soft, va="bottom")
        layout.set(rect=(side, bottom, 1 - 2 * side, top - bottom))
        yield chart


def _write(chart: Chart, y: float, text: str, factor: float, colour: str, **options: Any) -> float:
    """Write a text, wrapped to the chart's width, with its top at `y`; returns the top of the next one."""
    size = factor * chart.look.font
    text_options = {"fontsize": size, "color": colour, "va": "top", "linespacing": 1.2, **options}
    lines = []
    for part in text.split("\n"):
        sample = chart.text(LEFT, y, part, **text_options)
        width = sample.get_window_extent().width / chart.bbox.width
        sample.remove()
        # The letters of a line may be broader than the average.
        lines += _wrap(part, int(0.97 * len(part) * (1 - 2 * LEFT) / width)) if width > 1 - 2 * LEFT else [part]
    chart.text(LEFT, y, "\n".join(lines), **text_options)
    return y - _points(size * (1.2 * len(lines) + 0.35), chart)


def _wrap(text: str, longest: int) -> list[str]:
    """The fewest possible lines, of about the same length."""
    lines = textwrap.wrap(text, longest)
    even = range(len(text) // len(lines), longest)
    return next((wrapped for width in even if len(wrapped := textwrap.wrap(text, width)) == len(lines)), lines)


def _points(points: float, chart: Chart) -> float:
    """Points as a share of the chart's height."""
    return points / (72 * chart.get_figheight())
