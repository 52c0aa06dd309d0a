"""A model's confusion matrix as a picture: a row per true class, a column per predicted class."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from benchmarks.charts.canvas import Chart, canvas
from benchmarks.charts.styles import STYLES, Look, Style
from benchmarks.charts.texts import shorten
from benchmarks.lesson.quality import Answers, Quality

TITLE = "True classes, and what the model predicts"
LONGEST_NAME = 14
# How strong the colour of a cell is with none of its row's reviews in it, and how much more with all of them.
PALE, MORE = 0.08, 0.42


def confusion_chart(quality: Quality, style_name: str = "slide") -> Chart:
    """Draw the predictions of a comparison's models; `style_name`: a key of `STYLES`."""
    style, models = STYLES[style_name], list(quality.models_to_show().values())
    lines = [(_sentence(quality, name, answers), style.soft) for name, answers in models]
    with canvas(style, TITLE, alt_text(quality), lines=lines) as chart:
        for axes, (model_name, answers) in zip(chart.subplots(1, len(models), squeeze=False)[0], models, strict=True):
            _draw(axes, answers, len(models), style)
            title = "predicted class" if len(models) == 1 else f"{model_name}: predicted class"
            axes.set_title(title, fontsize=0.9 * style.font, weight="normal", loc="center")
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel("true class", fontsize=0.9 * style.font)
    return chart


def _draw(axes: Axes, answers: Answers, tables: int, style: Style) -> None:
    """Draw one of `tables` tables: cells as deep in colour as their share of the row, blue for correct predictions."""
    count = len(answers.classes)
    large = max(0.55, min(1.9, 7 / count)) * style.font
    small = max(0.45, min(0.75, 4 / count)) * style.font
    middle: Look = {"ha": "center", "va": "center"}
    for row, numbers in enumerate(answers.confusion):
        for column, number in enumerate(numbers):
            share = number / sum(numbers) if number else 0.0
            colour = style.exact if row == column else style.wrong
            axes.add_patch(Rectangle((column, row), 1, 1, color=colour, alpha=PALE + MORE * share, linewidth=0))
            axes.text(column + 0.5, row + 0.5, f"{number:,}", fontsize=large, weight="bold", **middle)
            if number and count <= 4:
                below = f"{share:.0%} of all {shorten(answers.classes[row].name, LONGEST_NAME)}"
                axes.text(
                    column + 0.5, row + 0.5 + 0.85 / count**1.5, below, fontsize=small, color=style.ink, **middle
                )
    for place in range(1, count):
        axes.axhline(place, color=style.ground, linewidth=3 * style.scale)
        axes.axvline(place, color=style.ground, linewidth=3 * style.scale)
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.grid(False)
    names = [shorten(score.name, LONGEST_NAME) for score in answers.classes]
    middles = [place + 0.5 for place in range(count)]
    # Names above the columns must not touch each other; the names of the rows take some of the width.
    cell = 72 * style.size[0] * 0.8 / tables / count
    size = min(1.0, 8 / count, cell / style.font / (0.66 * max(map(len, names)))) * style.font
    axes.set_xticks(middles, names, fontsize=size)
    axes.set_yticks(middles, names, fontsize=size)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _sentence(quality: Quality, model_name: str, answers: Answers) -> str:
    """The accuracy of one of the models in the picture."""
    return f"{answers.rate.sentence()}." if quality.is_one_model else f"{model_name}: {answers.rate.sentence()}."


def alt_text(quality: Quality) -> str:
    """The picture in words, for those who cannot see it."""
    lines = [f"{TITLE}. A row per true class, a column per predicted class."]
    for model_name, answers in quality.models_to_show().values():
        lines.append(_sentence(quality, model_name, answers))
        for name, row in zip(answers.classes, answers.confusion, strict=True):
            predicted = ", ".join(f"{count:,} {score.name}" for score, count in zip(answers.classes, row, strict=True))
            lines.append(f"Of {sum(row):,} examples of class {name.name}, the model predicts: {predicted}.")
    lines.append(f"{quality.agreement()}.")
    return "\n".join(lines) + "\n"
