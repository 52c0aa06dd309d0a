"""The styles of charts: for paper, a slide, a dark slide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (7, 2)), (0, (5, 1.5, 1, 1.5)), (0, (2, 3)), (0, (9, 2, 2, 2)))
MARKERS = ("o", "s", "D", "^", "v", "P")
# Properties of a line, a bar or a text for matplotlib.
Look = dict[str, Any]
# The styles that a user can choose; `page` is the report's.
STYLE_NAMES = ("slide", "paper", "dark")
# One colour family for all styles, from light to dark to middle: neighbouring phases differ in grey, too.
PHASE_COLOURS = ("#F0E442", "#56B4E9", "#0072B2", "#CC79A7", "#999999")


@dataclass(frozen=True)
class Style:
    """Sizes and colours.

    Attributes:
        size: width and height in inches.
        overview_size: the same for the overview, which has five panels.
        dots_per_inch: of PNG files.
        font, overview_font: size of plain text, in points.
        scale: factor on the widths of lines.
        ground, ink, soft, faint, grid: background, text, text of less weight, thin lines, grid lines.
        exact, wrong: the colours of what is equal and what is not.
        accents: colours of runs, by Okabe and Ito, which the colour-blind can distinguish; the last run has the ink's.
        beside: whether the overview has its small panels next to the large ones, not below.
        bare: whether a single chart is only the panel, because the page has title and names.
        columns: how many steps can be distinguished in a panel; more are drawn as their outline. 0: any number.
        ticks: how many numbers an axis of steps has, at most.
        title_size, line_size, note_size: of the title, the lines below it and the footnote, as multiples of `font`.
    """

    size: tuple[float, float]
    overview_size: tuple[float, float]
    dots_per_inch: int
    font: float
    overview_font: float
    scale: float
    ground: str = "#FFFFFF"
    ink: str = "#000000"
    soft: str = "#404040"
    faint: str = "#8A8A8A"
    grid: str = "#E4E4E4"
    exact: str = "#0072B2"
    wrong: str = "#C04F00"
    accents: tuple[str, ...] = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7")
    beside: bool = True
    bare: bool = False
    columns: int = 0
    ticks: int | Literal["auto"] = "auto"
    title_size: float = 1.45
    line_size: float = 0.78
    note_size: float = 0.6

    def for_overview(self) -> Style:
        """The same style in the overview's size."""
        style = self.scaled(self.overview_font / self.font, 2.0 if self.beside else 1.4, 1.08, 0.88)
        return replace(style, size=self.overview_size)

    def scaled(self, factor: float, title_size: float, line_size: float, note_size: float) -> Style:
        """The same style with larger or smaller text, and lines as much broader or thinner."""
        style = replace(self, font=self.font * factor, scale=self.scale * factor)
        return replace(style, title_size=title_size, line_size=line_size, note_size=note_size)

    def looks(self, count: int) -> list[Look]:
        """Line properties for `count` runs, so that curves that coincide can all be seen.

        The first is broad and pale, the last thin, dark and dashed on top of it; the width decreases between them.
        """
        if count == 1:
            return [{"color": self.ink, "linewidth": 2 * self.scale}]
        colours = [*(self.accents[number % len(self.accents)] for number in range(count - 1)), self.ink]
        broad, thin = 7 * self.scale, 1.6 * self.scale
        looks: list[Look] = []
        for number, colour in enumerate(colours):
            width = broad * (thin / broad) ** (number / (count - 1))
            dashes = {"linestyle": DASHES[(number - 1) % len(DASHES)]} if number else {"alpha": 0.8}
            looks.append({"color": colour, "linewidth": width, **dashes})
        looks[0]["solid_capstyle"] = "round"
        return looks

    def settings(self) -> dict[str, Any]:
        """The settings for matplotlib; with them the same record gives the same file."""
        return {
            "font.family": "DejaVu Sans",
            "font.size": self.font,
            "axes.titlesize": self.font * 1.15,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.labelsize": self.font,
            "axes.linewidth": 0.8 * max(self.scale, 0.7),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.facecolor": self.ground,
            "axes.formatter.useoffset": False,
            "axes.edgecolor": self.ink,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "text.color": self.ink,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
            "xtick.labelsize": self.font,
            "ytick.labelsize": self.font,
            "figure.facecolor": self.ground,
            "savefig.facecolor": self.ground,
            "grid.color": self.grid,
            "grid.linewidth": 0.8 * max(self.scale, 0.7),
            "hatch.color": self.ink,
            "legend.frameon": False,
            "legend.fontsize": self.font,
            "svg.fonttype": "none",
            "svg.hashsalt": "sameloop",
        }


# Small, with text as large as that of a page. No colour is plain black or white: a page that shows the chart finds the
# colours by their values and replaces them by those of its theme.
_PAGE = Style(
    (4.6, 3.1),
    (6.3, 7.6),
    100,
    9.5,
    8,
    0.62,
    "#FEFEFE",
    "#0A0B0C",
    "#414243",
    "#8A8B8C",
    "#E4E5E6",
    "#0072B3",
    "#C04F01",
    bare=True,
    columns=500,
    ticks=5,
)
_SLIDE = Style((16, 9), (16, 9), 120, 20, 12, 1.5)
STYLES = {
    "paper": Style((6.3, 3.9), (6.3, 7.6), 300, 9, 8, 0.6, beside=False),
    "page": _PAGE,
    "slide": _SLIDE,
    "dark": replace(
        _SLIDE,
        ground="#11151C",
        ink="#FFFFFF",
        soft="#C9CFD8",
        faint="#8D96A3",
        grid="#2B323D",
        exact="#6CC3F5",
        wrong="#FF9966",
        accents=("#E69F00", "#56B4E9", "#2FC79B", "#FF8552", "#F0E442", "#E29AC6"),
    ),
}
