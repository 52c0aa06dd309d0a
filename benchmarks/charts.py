"""The comparison chart: both loops on one slide.

Drawn with matplotlib's object interface, no global state: the same records give the same SVG, byte for byte.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from shared.record import RunRecord, training_seconds

# Okabe and Ito's palette, told apart by the colour-blind; the two differ in lightness too, for print in grey.
TRAINER_STYLE = {"color": "#E69F00", "linewidth": 7, "alpha": 0.75, "solid_capstyle": "round"}
MANUAL_STYLE = {"color": "#000000", "linewidth": 1.6, "linestyle": (0, (4, 2))}
EXACT, WRONG, FAINT = "#0072B2", "#D55E00", "#8A8A8A"
LOOPS = (("Trainer", TRAINER_STYLE), ("by hand", MANUAL_STYLE))

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sameloop",
}
SIZE_INCHES, DOTS_PER_INCH = (16, 9), 120
LONGEST_NAME = 40


def draw_comparison(manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any], folder: Path) -> list[Path]:
    """Draw `comparison.png` (1920 x 1080) and `comparison.svg` into `folder`.

    Args:
        manual, trainer: the two records.
        comparison: the content of `comparison.json`.

    Returns:
        The two paths.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = comparison_figure(manual, trainer, comparison)
        png, svg = folder / "comparison.png", folder / "comparison.svg"
        figure.savefig(png, dpi=DOTS_PER_INCH, metadata={"Software": None})
        description = f"{headline(comparison)}. {subtitle(manual)}"
        figure.savefig(svg, metadata={"Date": None, "Title": headline(comparison), "Description": description})
    return [png, svg]


def comparison_figure(manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any]) -> Figure:
    """All panels on one 16:9 figure, titled with the verdict and labelled with the run."""
    figure = Figure(figsize=SIZE_INCHES)
    identical = comparison["verdict"] == "identical"
    figure.text(0.045, 0.945, headline(comparison), fontsize=24, weight="bold", color=EXACT if identical else WRONG)
    figure.text(0.045, 0.908, subtitle(manual), fontsize=13, color="#404040")
    first = comparison["first_divergence"]
    if first is not None:
        cause = "\n".join(textwrap.wrap(f"Likely cause: {first['likely_cause']}", 165))
        figure.text(0.045, 0.893, cause, fontsize=13, color=WRONG, va="top")
    figure.text(0.045, 0.018, footnote(comparison["environment"]), fontsize=10.5, color="#606060")
    grid = figure.add_gridspec(
        6,
        2,
        width_ratios=(1.75, 1),
        left=0.065,
        right=0.975,
        top=0.855 if identical else 0.8,
        bottom=0.115,
        hspace=2.1,
        wspace=0.17,
    )
    reports = [reported_evaluations(record) for record in (manual, trainer)]
    losses = figure.add_subplot(grid[:4, 0])
    draw_losses(losses, manual, trainer)
    draw_difference(figure.add_subplot(grid[4:, 0], sharex=losses), manual, trainer, comparison)
    draw_reports(figure.add_subplot(grid[:2, 1]), *reports, "eval_loss", "Validation loss", "mean per review")
    accuracy = figure.add_subplot(grid[2:4, 1])
    draw_reports(accuracy, *reports, "eval_accuracy", "Validation accuracy", "reviews right")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    draw_seconds(figure.add_subplot(grid[4:, 1]), manual, trainer)
    return figure


def draw_losses(axes: Axes, manual: RunRecord, trainer: RunRecord) -> None:
    """Training loss by optimizer step: Trainer broad and pale, the loop by hand thin and dark on top of it."""
    for (label, style), record in zip(LOOPS, (trainer, manual), strict=True):
        axes.plot(*series(record, "loss"), label=label, marker="o" if len(record.steps) == 1 else "", **style)
    axes.set_title("Training loss")
    axes.set_ylabel("mean per review")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.1)
    mark_epochs(axes, manual)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=2, handlelength=3.5, borderaxespad=0)


def draw_difference(axes: Axes, manual: RunRecord, trainer: RunRecord, comparison: dict[str, Any]) -> None:
    """The absolute difference of the two training losses at every step that both have."""
    steps = [line["step"] for line, _ in zip(manual.steps, trainer.steps, strict=False)]
    differences = [
        0.0 if ours["loss"] == theirs["loss"] else abs(ours["loss"] - theirs["loss"])
        for ours, theirs in zip(manual.steps, trainer.steps, strict=False)
    ]
    axes.set_title("Difference of the two, step by step")
    axes.set_ylabel("|by hand − Trainer|")
    axes.set_xlabel("optimizer step")
    finite = [value for value in differences if math.isfinite(value)]
    largest = max(finite, default=0.0)
    colour = WRONG if any(differences) else EXACT
    axes.plot(steps, differences, color=colour, linewidth=2.5, marker="o" if len(steps) == 1 else "")
    if largest > 0:
        smallest = min(value for value in finite if value > 0)
        axes.set_yscale("symlog", linthresh=smallest, linscale=0.4)
        decades = range(math.ceil(math.log10(smallest)), math.floor(math.log10(largest)) + 1)
        axes.set_yticks([0, *(10.0**decade for decade in decades[:: len(decades) // 4 + 1])])
        axes.minorticks_off()
        axes.set_ylim(bottom=0, top=largest * (largest / smallest) ** 0.45 * 3)
    else:
        axes.set_ylim(-0.6, 1)
        axes.set_yticks([0], ["0.0"])
    note = difference_note(comparison, len(steps), any(differences))
    axes.text(0.012, 0.94, note, transform=axes.transAxes, va="top", color=colour, fontsize=13, weight="bold")
    first = comparison["first_divergence"]
    if first is not None and first["step"] in steps:
        axes.axvline(first["step"], color=WRONG, linewidth=1.5, linestyle=":")
    mark_epochs(axes, manual, named=False)


def difference_note(comparison: dict[str, Any], steps: int, losses_differ: bool) -> str:
    """What the difference panel says in words."""
    first = comparison["first_divergence"]
    if first is not None:
        return f"first difference at step {first['step']}: {first['quantity']}"
    if losses_differ:
        return "the losses differ"
    return f"0.0 at {'the one step' if steps == 1 else f'all {steps:,} steps'}: exactly equal, not just close"


def draw_reports(
    axes: Axes, manual: list[dict[str, Any]], trainer: list[dict[str, Any]], name: str, title: str, unit: str
) -> None:
    """What both loops reported after each evaluation, by epochs done."""
    axes.set_title(title)
    if not manual and not trainer:
        say_nothing_to_show(axes, "no evaluation in this run")
        return
    markers = ({"marker": "o", "markersize": 17}, {"marker": "x", "markersize": 9, "markeredgewidth": 2.2})
    for (_, style), marker, lines in zip(LOOPS, markers, (trainer, manual), strict=True):
        known = [line for line in lines if line.get(name) is not None]
        axes.plot([line["epoch"] for line in known], [line[name] for line in known], **style, **marker)
    label_points(axes, [(line["epoch"], line[name]) for line in manual if line.get(name) is not None], name)
    axes.set_ylabel(unit)
    axes.set_xlabel("epochs done")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.margins(x=0.16, y=0.42)


def label_points(axes: Axes, points: Sequence[tuple[float, float]], name: str) -> None:
    """Write the values at the points, where there are few enough to read."""
    if len(points) > 4:
        return
    for epoch, value in points:
        text = f"{value:.1%}" if name == "eval_accuracy" else f"{value:.4f}"
        axes.annotate(text, (epoch, value), xytext=(0, 13), textcoords="offset points", ha="center", fontsize=12)


def draw_seconds(axes: Axes, manual: RunRecord, trainer: RunRecord) -> None:
    """Training seconds per epoch, evaluation and recording left out, as pairs of bars."""
    axes.set_title("Training time per epoch")
    axes.set_ylabel("seconds")
    axes.set_xlabel("epoch")
    pairs = [seconds_by_epoch(record) for record in (trainer, manual)]
    epochs = sorted(set(pairs[0]) | set(pairs[1]))
    for offset, (label, style), seconds in zip((-0.2, 0.2), LOOPS, pairs, strict=True):
        bars = axes.bar(
            [epoch + offset for epoch in epochs],
            [seconds.get(epoch, 0.0) for epoch in epochs],
            width=0.38,
            color=style["color"] if label == "Trainer" else "#FFFFFF",
            edgecolor="#000000",
            linewidth=1.2,
            hatch="" if label == "Trainer" else "////",
            label=label,
        )
        if len(epochs) <= 4:
            axes.bar_label(bars, fmt="{:.3g}", padding=2, fontsize=12)
    axes.set_xticks(epochs[:: len(epochs) // 8 + 1])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.set_xlim(min(epochs, default=1) - 0.75, max(epochs, default=1) + 1.35)
    axes.margins(y=0.2)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="center right", handlelength=1.4)


def mark_epochs(axes: Axes, record: RunRecord, named: bool = True) -> None:
    """Faint lines where an epoch ends, named at the top where there is room."""
    ends = range(record.steps_per_epoch, len(record.steps) + 1, record.steps_per_epoch)
    if len(ends) > 12:
        return
    for epoch, end in enumerate(ends, start=1):
        axes.axvline(end + 0.5, color=FAINT, linewidth=1, linestyle=(0, (1, 3)))
        if named:
            place = axes.get_xaxis_transform()
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            text = f"epoch {epoch} ends "
            axes.text(end + 0.4, 0.02, text, transform=place, ha="right", fontsize=11, color="#505050", bbox=box)


def say_nothing_to_show(axes: Axes, reason: str) -> None:
    """An empty panel that says why it is empty."""
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="#606060")
    axes.set_xticks([])
    axes.set_yticks([])


def series(record: RunRecord, name: str) -> tuple[list[int], list[float]]:
    """The steps and one number of each; None is drawn as a gap."""
    values = [math.nan if line[name] is None else line[name] for line in record.steps]
    return [line["step"] for line in record.steps], values


def seconds_by_epoch(record: RunRecord) -> dict[int, float]:
    """Training seconds of each epoch, counted from 1."""
    seconds: dict[int, float] = {}
    for line in record.steps:
        epoch = record.epoch_of(line["step"])
        seconds[epoch] = seconds.get(epoch, 0.0) + training_seconds(line)
    return seconds


def reported_evaluations(record: RunRecord) -> list[dict[str, Any]]:
    """The evaluations as the loop itself logged them."""
    return [line for line in record.log_history if "eval_loss" in line]


def headline(comparison: dict[str, Any]) -> str:
    """The verdict as a title."""
    if comparison["verdict"] == "identical":
        return "Identical: Trainer is the loop written by hand, bit for bit"
    first = comparison["first_divergence"]
    return f"Diverged at step {first['step']}: {shorten(first['quantity'], 50)}"


def subtitle(record: RunRecord) -> str:
    """Model, slice and seeds in one line."""
    config = record.config
    size = f" ({record.start['parameters'] / 1e6:.1f} M parameters)" if record.start else ""
    return (
        f"model {shorten(config.model)}{size}, dataset {shorten(config.dataset)}: {config.train_size:,} + "
        f"{config.eval_size:,} reviews of at most {config.max_length} tokens, {len(record.steps):,} steps, "
        f"seed {config.seed}, slice seed {config.slice_seed}"
    )


def footnote(environment: dict[str, Any]) -> str:
    """Versions and device in one line."""
    versions = ", ".join(f"{name} {environment[name]}" for name in ("torch", "transformers", "accelerate", "python"))
    return f"{versions}; {environment['device']}, {environment['threads']} threads"


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Leave out the middle of a long name."""
    return name if len(name) <= longest else f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"
