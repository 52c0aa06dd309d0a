"""From panels to a picture: a title above them, a footnote below, the same in words; its files, its place on a page.

The same panels give the same bytes of SVG, whatever the file is called.
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

# An SVG names its font; where that is not installed, Verdana has letters of the same width.
FONTS = "'DejaVu Sans', Verdana, sans-serif"
# Where title and lines begin, and how far panels stay from the edges, as shares of width and height.
LEFT, EDGE = 0.03, 0.015
# Nothing in a file that tells when it was made.
METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
}


class Chart(Figure):
    """A picture that knows its style and says what it shows; a notebook shows it without pyplot.

    Attributes:
        look: whose settings it is drawn with.
        title, alt: what a file of it carries.
    """

    look: Style = STYLES["slide"]
    title: str = ""
    alt: str = ""

    def lay_out(self) -> None:
        """Find the panels' places, if that is still to be done: when it is drawn, and not again for every file."""
        layout = self.get_layout_engine()
        if layout is None:
            return
        with matplotlib.rc_context(self.look.settings()):
            layout.execute(self)
        self.set_layout_engine(None)
        for axes in self.axes:
            # The solver's last bits are others from time to time.
            found = axes.get_position(original=True).bounds
            axes.set_position(Bbox.from_bounds(*(round(share, 5) for share in found)))

    def content(self, file_format: str) -> bytes:
        """A file's content; an SVG or a PDF carries the title, an SVG the alt text too.

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
        """Write a file, and the alt text into `<name>.alt.txt` beside it; what is there is replaced.

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
        """An `<svg>` element that can stand in an HTML page, beside others like it, and scales with the page.

        Its `<title>` and `<desc>` hold title and alt text.

        Args:
            name: what its ids begin with; no other on the page has it.
        """
        svg = self.content("svg").decode("utf-8")
        svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg ") :], flags=re.DOTALL)
        svg = re.sub(r"^<svg [^>]*?>", lambda found: re.sub(r' (width|height)="[^"]*"', "", found[0]), svg)
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
    """A picture to add panels to; matplotlib finds their places, between what is written above and below them.

    A style that is bare has the panels alone.

    Args:
        style: sizes and colours; what is drawn meanwhile is drawn in them.
        title, alt: what it shows, in a line and in whole sentences.
        lines: below the title, each with its colour.
        footnote: below the panels; empty: none.
        colour: the title's; empty: the ink's.
        height: in inches, if it is not the style's.
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
    """Write a text, wrapped to the chart's width, its top at `y`; returns where the next one can begin."""
    size = factor * chart.look.font
    shown = {"fontsize": size, "color": colour, "va": "top", "linespacing": 1.2, **options}
    lines = []
    for part in text.split("\n"):
        written = chart.text(LEFT, y, part, **shown)
        width = written.get_window_extent().width / chart.bbox.width
        written.remove()
        # A line may hold broader letters than all of them are on average.
        lines += _wrap(part, int(0.97 * len(part) * (1 - 2 * LEFT) / width)) if width > 1 - 2 * LEFT else [part]
    chart.text(LEFT, y, "\n".join(lines), **shown)
    return y - _points(size * (1.2 * len(lines) + 0.35), chart)


def _wrap(text: str, longest: int) -> list[str]:
    """As few lines as can be, of about the same length."""
    lines = textwrap.wrap(text, longest)
    even = range(len(text) // len(lines), longest)
    return next((found for width in even if len(found := textwrap.wrap(text, width)) == len(lines)), lines)


def _points(points: float, chart: Chart) -> float:
    """Points as a share of the chart's height."""
    return points / (72 * chart.get_figheight())
