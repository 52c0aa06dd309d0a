"""`sameloop plot`: a chart of runs, or of the results of a command in a folder, with its alt text next to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gather import find_runs, gather
from shared.config import job_name
from shared.errors import SameLoopError

if TYPE_CHECKING:
    from benchmarks.charts.canvas import Chart

FORMATS = ("png", "svg", "pdf")

# The charts are imported where they are drawn: they import matplotlib, which `--help` must not wait for.


def _ladder(folder: Path, style: str) -> Chart:
    from benchmarks.mistakes.ladder import LADDER
    from benchmarks.mistakes.ladder_chart import ladder_chart

    return ladder_chart(LADDER.read(folder), style)


def _break(folder: Path, style: str) -> Chart:
    from benchmarks.mistakes.costs import GALLERY_KEPT
    from benchmarks.mistakes.costs_chart import costs_chart

    gallery = GALLERY_KEPT.read(folder)
    return costs_chart(gallery.mistakes, gallery.job, style)


def _confusion(folder: Path, style: str) -> Chart:
    from benchmarks.lesson.quality import measure
    from benchmarks.lesson.quality_chart import confusion_chart

    return confusion_chart(measure(folder), style)


def _settings(folder: Path, style: str) -> Chart:
    from benchmarks.pages.costs import setting_costs
    from benchmarks.pages.costs_chart import settings_chart

    record = find_runs(folder)[0].record
    costs = setting_costs(record.config, record.header.get("world_size", 1))
    return settings_chart(costs, job_name(record.config, record.start.get("parameters")), style)


def _size(folder: Path, style: str) -> Chart:
    from benchmarks.gotchas.size import SIZE_KEPT
    from benchmarks.gotchas.size_chart import size_chart

    return size_chart(SIZE_KEPT.read(folder), style)


def _speed(folder: Path, style: str) -> Chart:
    from benchmarks.speed.lesson import LESSON
    from benchmarks.speed.lesson_chart import speed_chart

    return speed_chart(LESSON.read(folder), style)


# Kinds of chart of one folder, those of runs, and all.
FOLDER_KINDS = {
    "ladder": _ladder,
    "break": _break,
    "confusion": _confusion,
    "dials": _settings,
    "size": _size,
    "speed": _speed,
}
RUN_KINDS = (
    *("overview", "losses", "difference", "accuracy", "time", "memory", "learning-rate", "gradient-norm", "batches"),
)
KINDS = (*RUN_KINDS, *FOLDER_KINDS)


def plot(
    paths: Sequence[Path], kind: str, style: str, file_format: str | None = None, output: Path | None = None
) -> Path:
    """Draw a chart into a file, and write its alt text into `<name>.alt.txt` next to it.

    Args:
        paths: comparison folders, runs' folders, or `record.jsonl` files; for a kind of `FOLDER_KINDS`, one folder.
        kind, style: one of `KINDS`, one of `STYLE_NAMES`.
        file_format: one of `FORMATS`; None: as the output's suffix says, or png.
        output: the file; None: `<kind>-<style>.<format>` in the first run's folder. An existing file is replaced.

    Returns:
        The file's path.

    Raises:
        SameLoopError: there is no such run, it lacks what the chart needs, or the file cannot be written.
    """
    if output is None:
        folder = paths[0] if paths[0].is_dir() else paths[0].parent
        output = folder / f"{kind}-{style}.{file_format or FORMATS[0]}"
    else:
        _check_format(output, file_format)
    chart = chart_of(paths, kind, style)
    try:
        return chart.save(output)
    except OSError as error:
        raise SameLoopError(
            f"cannot write {error.filename}: {error.strerror}; name another place with --output"
        ) from None


def chart_of(paths: Sequence[Path], kind: str = "overview", style: str = "slide") -> Chart:
    """Draw a chart and write nothing; arguments and errors as those of `plot`."""
    if kind not in FOLDER_KINDS:
        return gather(paths).chart(kind, style)
    if len(paths) > 1:
        raise SameLoopError(f"--kind {kind} draws one folder, not {len(paths)}: name one")
    if not paths[0].is_dir():
        raise SameLoopError(f"{paths[0]}: there is no such folder, and --kind {kind} draws one")
    return FOLDER_KINDS[kind](paths[0], style)


def _check_format(output: Path, file_format: str | None) -> None:
    """Refuse an output whose suffix names no known format, or not the one that was asked for."""
    suffix = output.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise SameLoopError(f"--output {output}: end the name in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}")
    if file_format not in (None, suffix):
        raise SameLoopError(f"--output {output}: the name says {suffix}, --format says {file_format}; leave one out")
