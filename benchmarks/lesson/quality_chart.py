"""A model's answers as a picture: a row per class that the reviews are of, a column per class that it says."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from benchmarks.charts.charts import Chart
from benchmarks.charts.plot import Drawing
from benchmarks.charts.styles import Style
from benchmarks.charts.texts import shorten
from benchmarks.lesson.quality import Answers, Quality

TITLE = "What the reviews are, and what the model says"
LONGEST_NAME = 14
# How strong the colour of a cell is with none of its row's reviews in it, and how much more with all of them.
PALE, MORE = 0.08, 0.42


def drawing_of(quality: Quality) -> Drawing:
    """The picture of what the models of a comparison answer."""
    return Drawing(lambda look: confusion_figure(quality, look), TITLE, alt_text(quality))


def confusion_figure(quality: Quality, style: Style) -> Chart:
    """The figure; matplotlib must have been told the style's settings."""
    figure = Chart(figsize=style.size)
    height = 72 * style.size[1] / style.font
    shown = quality.shown()
    figure.text(0.03, 1 - 0.9 / height, TITLE, fontsize=1.45 * style.font, weight="bold", va="top")
    for number in range(len(shown)):
        y = 1 - (3.0 + 1.3 * number) / height
        figure.text(0.03, y, _sentence(quality, number), fontsize=0.75 * style.font, color=style.soft, va="top")
    top, bottom = 1 - (6.6 + 1.3 * len(shown)) / height, 3.0 / height
    letters = 72 * style.size[0] / style.font
    left, right = 8.5 / letters, 1.5 / letters
    width = (1 - right) / len(shown)
    for number, (who, answers) in enumerate(shown.values()):
        axes = figure.add_axes((left + number * width, bottom, width - left - right, top - bottom))
        _draw(axes, answers, style)
        title = "the model says" if len(shown) == 1 else f"{who}: the model says"
        axes.set_title(title, fontsize=0.9 * style.font, weight="normal", loc="center", pad=2.3 * style.font)
        if number == 0:
            axes.set_ylabel("the review is", fontsize=0.9 * style.font)
    return figure


def _draw(axes: Axes, answers: Answers, style: Style) -> None:
    """One table: cells as deep in colour as their share of the row, blue where the answer is right."""
    count = len(answers.classes)
    large = max(0.55, min(1.9, 7 / count)) * style.font
    small = max(0.45, min(0.75, 4 / count)) * style.font
    for row, numbers in enumerate(answers.confusion):
        for column, number in enumerate(numbers):
            share = number / sum(numbers) if number else 0.0
            colour = style.exact if row == column else style.wrong
            axes.add_patch(Rectangle((column, row), 1, 1, color=colour, alpha=PALE + MORE * share, linewidth=0))
            place = {"ha": "center", "va": "center"}
            axes.text(column + 0.5, row + 0.5, f"{number:,}", fontsize=large, weight="bold", **place)
            if number and count <= 4:
                below = f"{share:.0%} of all {shorten(answers.classes[row].name, LONGEST_NAME)}"
                axes.text(column + 0.5, row + 0.5 + 0.85 / count**1.5, below, fontsize=small, color=style.ink, **place)
    for place in range(1, count):
        axes.axhline(place, color=style.ground, linewidth=3 * style.scale)
        axes.axvline(place, color=style.ground, linewidth=3 * style.scale)
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.grid(False)
    names = [shorten(each.name, LONGEST_NAME) for each in answers.classes]
    middles = [place + 0.5 for place in range(count)]
    # Names above the columns must not touch each other.
    cell = 72 * style.size[0] * axes.get_position().width / count
    size = min(1.0, 8 / count, cell / style.font / (0.66 * max(map(len, names)))) * style.font
    axes.set_xticks(middles, names, fontsize=size)
    axes.set_yticks(middles, names, fontsize=size)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _sentence(quality: Quality, number: int) -> str:
    """The accuracy of one of the models that are shown."""
    who, answers = list(quality.shown().values())[number]
    return f"{answers.rate.sentence()}." if quality.is_one_model else f"{who}: {answers.rate.sentence()}."


def alt_text(quality: Quality) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [f"{TITLE}. A row per class that the reviews are of, a column per class that the model says."]
    for number, (_, answers) in enumerate(quality.shown().values()):
        lines.append(_sentence(quality, number))
        for name, row in zip(answers.classes, answers.confusion, strict=True):
            said = ", ".join(f"{count:,} {each.name}" for each, count in zip(answers.classes, row, strict=True))
            lines.append(f"Of {sum(row):,} reviews that are {name.name}, the model says: {said}.")
    lines.append(f"{quality.agreement()}.")
    return "\n".join(lines) + "\n"
