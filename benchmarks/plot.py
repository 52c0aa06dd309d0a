"""`sameloop plot`: a chart of runs, or of what a command left in a folder, with its alt text beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts.plot import FORMATS, Drawing, Picture, alt_path, draw_drawing
from benchmarks.gather import draw_gathered, find_runs, gather
from shared.config import job_name
from shared.errors import SameLoopError

# The charts are imported where they are drawn: they import matplotlib, which `--help` must not wait for.


def _ladder(folder: Path) -> Drawing:
    from benchmarks.mistakes.ladder import kept_ladder
    from benchmarks.mistakes.ladder_chart import drawing_of

    return drawing_of(kept_ladder(folder))


def _break(folder: Path) -> Drawing:
    from benchmarks.mistakes.costs import kept_costs
    from benchmarks.mistakes.costs_chart import drawing_of

    return drawing_of(*kept_costs(folder))


def _confusion(folder: Path) -> Drawing:
    from benchmarks.lesson.quality import measure
    from benchmarks.lesson.quality_chart import drawing_of

    return drawing_of(measure(folder))


def _dials(folder: Path) -> Drawing:
    from benchmarks.pages.costs import dial_costs
    from benchmarks.pages.costs_chart import drawing_of

    record = find_runs(folder)[0].record
    costs = dial_costs(record.config, record.header.get("world_size", 1))
    return drawing_of(costs, job_name(record.config, record.start.get("parameters")))


def _size(folder: Path) -> Drawing:
    from benchmarks.gotchas.size import read_size
    from benchmarks.gotchas.size_chart import drawing_of

    return drawing_of(read_size(folder))


def _speed(folder: Path) -> Drawing:
    from benchmarks.speed.lesson import read_lesson
    from benchmarks.speed.lesson_chart import drawing_of

    return drawing_of(read_lesson(folder))


# Kinds of chart of one folder.
FOLDER_KINDS = {
    "ladder": _ladder,
    "break": _break,
    "confusion": _confusion,
    "dials": _dials,
    "size": _size,
    "speed": _speed,
}


def plot(
    paths: Sequence[Path], kind: str, style: str, file_format: str | None = None, output: Path | None = None
) -> Path:
    """Draw a chart into a file, and write its alt text into `<name>.alt.txt` beside it.

    Args:
        paths: comparison folders, runs' folders, or `record.jsonl` files; for a kind of `FOLDER_KINDS`, one folder.
        kind, style: one of `KINDS` or `FOLDER_KINDS`, one of `STYLE_NAMES`.
        file_format: one of `FORMATS`; None: as the output's suffix says, or png.
        output: the file; None: `<kind>-<style>.<format>` in the first run's folder. A picture there is replaced.

    Returns:
        The file's path.

    Raises:
        SameLoopError: there is no such run, it lacks what the chart needs, or the file cannot be written.
    """
    if output is None:
        file_format = file_format or FORMATS[0]
        folder = paths[0] if paths[0].is_dir() else paths[0].parent
        output = folder / f"{kind}-{style}.{file_format}"
    else:
        file_format = _format_of(output, file_format)
    drawn = draw_picture(paths, kind, style, file_format)
    try:
        for path, content in ((output, drawn.content), (alt_path(output), drawn.alt.encode("utf-8"))):
            path.write_bytes(content)
    except OSError as error:
        raise SameLoopError(f"cannot write {path}: {error.strerror}; name another place with --output") from None
    return output


def draw_picture(
    paths: Sequence[Path], kind: str = "overview", style: str = "slide", file_format: str = "png"
) -> Picture:
    """Draw a chart and write nothing.

    Args, Raises:
        as `plot`.
    """
    if kind in FOLDER_KINDS:
        return draw_drawing(drawing_of(paths, kind), style, file_format)
    return draw_gathered(gather(paths), kind, style, file_format)


def drawing_of(paths: Sequence[Path], kind: str) -> Drawing:
    """What a kind of `FOLDER_KINDS` shows of a folder.

    Raises:
        SameLoopError: there are several, or it lacks what the chart needs.
    """
    if len(paths) > 1:
        raise SameLoopError(f"--kind {kind} draws one folder, not {len(paths)}: name one")
    if not paths[0].is_dir():
        raise SameLoopError(f"{paths[0]}: there is no such folder, and --kind {kind} draws one")
    return FOLDER_KINDS[kind](paths[0])


def _format_of(output: Path, file_format: str | None) -> str:
    """The format that the output's suffix names.

    Raises:
        SameLoopError: none that is known, or not the one that was asked for.
    """
    suffix = output.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise SameLoopError(f"--output {output}: end the name in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}")
    if file_format not in (None, suffix):
        raise SameLoopError(f"--output {output}: the name says {suffix}, --format says {file_format}; leave one out")
    return suffix
