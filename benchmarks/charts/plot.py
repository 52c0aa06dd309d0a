"""`sameloop plot`: a chart of one run or of many, with its alt text beside it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.charts.data import Alike, Difference, Pair, Run
from benchmarks.charts.texts import shorten
from benchmarks.compare import read_comparison
from shared.errors import SameLoopError
from shared.recording.record import FILE_NAME, RunRecord
from shared.running.folder import LOOPS

if TYPE_CHECKING:
    from benchmarks.charts.charts import Chart
    from benchmarks.charts.styles import Style

# Kinds of chart of one run or of many.
KINDS = ("overview", "losses", "difference", "accuracy", "time", "memory", "learning-rate", "gradient-norm", "batches")
# Kinds of chart of one folder, and the module whose `drawing` makes them from it. They import matplotlib, which
# `--help` must not wait for.
FOLDER_KINDS = {
    "ladder": "benchmarks.mistakes.ladder_chart",
    "break": "benchmarks.mistakes.costs_chart",
    "confusion": "benchmarks.lesson.quality_chart",
    "dials": "benchmarks.pages.costs_chart",
    "size": "benchmarks.gotchas.size_chart",
    "speed": "benchmarks.speed.lesson_chart",
}
STYLE_NAMES = ("slide", "paper", "dark")
FORMATS = ("png", "svg", "pdf")
NAMES = {"manual": "by hand", "trainer": "Trainer"}
# What a step must say for a kind to be drawn.
NEEDS = {"memory": "memory_mb", "learning-rate": "learning_rate", "gradient-norm": "grad_norm", "batches": "reviews"}
LONGEST_LABEL = 24
# More lines than this in one chart cannot be told apart.
MOST_RUNS = 8


class Source(NamedTuple):
    """A run that was found: its first process's record, those of all processes, and where it is."""

    record: RunRecord
    records: list[RunRecord]
    folder: Path


class Gathered(NamedTuple):
    """All that charts are drawn from.

    Attributes:
        sources: the runs as they were found, in drawing order.
        runs: the same, named.
        pair: the two that are held against each other; None: there are no two.
    """

    sources: list[Source]
    runs: list[Run]
    pair: Pair | None


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
    return importlib.import_module(FOLDER_KINDS[kind]).drawing(paths[0])


def gather(paths: Sequence[Path]) -> Gathered:
    """Read the runs that the paths name, once for however many charts.

    Raises:
        SameLoopError: as `find_runs`, or there are too many.
    """
    sources = [source for path in paths for source in find_runs(path)]
    if len(sources) > MOST_RUNS:
        raise SameLoopError(f"{len(sources)} runs in one chart: {MOST_RUNS} can be told apart; name fewer")
    # The Trainer's runs first: they are drawn broad and pale, those by hand thin and dark on top of them.
    sources.sort(key=lambda source: source.record.loop == "manual")
    runs = label(sources)
    return Gathered(sources, runs, find_pair(sources, runs))


def draw_gathered(gathered: Gathered, kind: str, style: str, file_format: str) -> Picture:
    """Draw a chart of runs that have been read.

    Raises:
        SameLoopError: they lack what the chart needs.
    """
    chart = gathered_chart(gathered, kind, style)
    return Picture(chart.content(file_format), chart.alt)


def gathered_chart(gathered: Gathered, kind: str, style: str) -> Chart:
    """The same as a figure.

    Raises:
        SameLoopError: as `draw_gathered`.
    """
    if kind == "difference" and len(gathered.sources) < 2:
        raise SameLoopError("a difference takes two runs: name a comparison's folder, or a second run")
    if needed := NEEDS.get(kind):
        for source in gathered.sources:
            if any(needed not in line for line in source.record.steps):
                raise SameLoopError(
                    f"the record in {source.folder} says nothing of `{needed}`, it was written by an older version: "
                    "run again, or choose another --kind"
                )
    # It imports matplotlib, which `--help` must not wait for.
    from benchmarks.charts.charts import chart_of

    return chart_of(kind, gathered.runs, gathered.pair, style)


def inline_svg(paths: Sequence[Path], kind: str = "overview", style: str = "slide") -> str:
    """A chart as an `<svg>` element that can stand in an HTML page, beside others like it.

    Its `<title>` and `<desc>` hold title and alt text. It scales with the page, and its ids are its own.

    Args, Raises:
        as `plot`.
    """
    return inline_svg_of(gather(paths), kind, style)


def inline_svg_of(gathered: Gathered, kind: str, style: str) -> str:
    """The same of runs that have been read.

    Raises:
        SameLoopError: as `draw_gathered`.
    """
    return inline_svg_from(draw_gathered(gathered, kind, style, "svg"), f"{kind}-{style}")


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


def find_runs(path: Path) -> list[Source]:
    """The runs that a path names: both of a comparison's folder, the one of a run's folder or of its record.

    Raises:
        SameLoopError: there is none, or a record is damaged.
    """
    if path.is_file():
        record = RunRecord.read(path)
        return [Source(record, [record], path.parent)]
    if not path.is_dir():
        raise SameLoopError(f"{path}: there is no such folder or record; `sameloop compare` makes one")
    if (path / FILE_NAME).is_file():
        return [_read(path)]
    found = [_read(path / loop) for loop in LOOPS if (path / loop / FILE_NAME).is_file()]
    if not found:
        raise SameLoopError(f"{path}: it holds neither a {FILE_NAME} nor a comparison's two runs")
    return found


def _read(folder: Path) -> Source:
    records = RunRecord.read_all(folder)
    return Source(records[0], records, folder)


def label(sources: Sequence[Source]) -> list[Run]:
    """Name the runs: by their loop; where there are several of one loop, by their folder too, or by a number."""
    loops = [NAMES.get(source.record.loop, source.record.loop) for source in sources]
    labels: list[str] = []
    for loop, source in zip(loops, sources, strict=True):
        folder = source.folder.resolve()
        name = folder.parent.name if folder.name in LOOPS else folder.name
        labels.append(f"{loop}, {shorten(name, LONGEST_LABEL)}" if loops.count(loop) > 1 else loop)
    numbered = [
        f"{text} ({labels[:place].count(text) + 1})" if labels.count(text) > 1 else text
        for place, text in enumerate(labels)
    ]
    return [Run(text, source.record) for text, source in zip(numbered, sources, strict=True)]


def find_pair(sources: Sequence[Source], runs: Sequence[Run]) -> Pair | None:
    """Choose the two runs that are held against each other, and find where they part; None for a lone run.

    One by hand and one of the Trainer, of the same dials if there are such; else the first two.
    """
    if len(runs) < 2:
        return None
    numbers = {loop: [n for n, source in enumerate(sources) if source.record.loop == loop] for loop in LOOPS}
    pairs = [(ours, theirs) for ours in numbers["manual"] for theirs in numbers["trainer"]] or [(0, 1)]
    alike = (pair for pair in pairs if not sources[pair[0]].record.config.differences(sources[pair[1]].record.config))
    one, other = next(alike, pairs[0])
    if len(runs) == 2:
        return Pair(runs[one], runs[other], find_difference(sources[one], sources[other]))
    groups = find_groups(sources, runs)
    firsts = [group.first for group in groups if group.first is not None]
    return Pair(runs[one], runs[other], min(firsts, key=lambda each: each.step, default=None), groups)


def find_groups(sources: Sequence[Source], runs: Sequence[Run]) -> tuple[Alike, ...]:
    """Which of the runs are equal, and where each such group parts from the first; causes are a pair's alone."""
    members: list[list[int]] = []
    for number, source in enumerate(sources):
        equal = (group for group in members if find_difference(source, sources[group[0]]) is None)
        if (group := next(equal, None)) is None:
            members.append([number])
        else:
            group.append(number)
    firsts = [find_difference(sources[group[0]], sources[members[0][0]]) for group in members]
    return tuple(
        Alike(tuple(runs[number] for number in group), first and first._replace(cause=None))
        for group, first in zip(members, firsts, strict=True)
    )


def find_difference(ours: Source, theirs: Source) -> Difference | None:
    """Where two runs part first; different dials, which are named elsewhere, do not count as such."""
    # It imports torch, which `--help` must not wait for.
    from benchmarks.verdict.verdict import divergences, first_divergence

    found, rank = first_divergence(ours.records, theirs.records)
    if found is not None and found.quantity == "config":
        found = next((each for each in divergences(ours.record, theirs.record) if each.quantity != "config"), None)
        return found and Difference(found.step, found.quantity)
    if found is None:
        return _difference_of_weights(ours, theirs)
    cause = None
    if (ours.record.loop, theirs.record.loop) == LOOPS:
        from benchmarks.judge.causes import likely_cause

        cause = likely_cause(found.step, found.quantity, ours.records[rank], theirs.records[rank])
    return Difference(found.step, found.quantity, cause, rank)


def _difference_of_weights(ours: Source, theirs: Source) -> Difference | None:
    """The records do not hold the trained weights; a comparison that found them different has said so."""
    folder = ours.folder.parent
    if folder != theirs.folder.parent:
        return None
    try:
        first = read_comparison(folder)["first_divergence"]
        if first is not None and first["quantity"] == "weights":
            return Difference(first["step"], first["quantity"], first["likely_cause"])
    except (SameLoopError, KeyError, TypeError):
        return None  # no comparison is there, or it is no longer whole: nobody has said so
    return None
