"""The runs that paths name, and where they diverge: the data of charts of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.charts.data import NAMES, Difference, EqualRuns, Pair, Run, names_of
from benchmarks.charts.texts import shorten
from benchmarks.runs import read_comparison
from shared.errors import SameLoopError
from shared.recording.record import FILE_NAME, RunRecord
from shared.running.folder import LOOPS

if TYPE_CHECKING:
    from benchmarks.charts.canvas import Chart

LONGEST_LABEL = 24
# More lines than this in one chart cannot be distinguished.
MOST_RUNS = 8


class Source(NamedTuple):
    """A run that was found: the records of its processes, the first one's first, and where it is."""

    records: list[RunRecord]
    folder: Path

    @property
    def record(self) -> RunRecord:
        return self.records[0]

    @property
    def role(self) -> str:
        """The loop; for two loops on our own job, which are both manual loops, the side of the comparison."""
        return self.folder.name if self.folder.name in LOOPS else self.record.loop


class GatheredRuns(NamedTuple):
    """Everything that charts are drawn from.

    Attributes:
        sources: the runs as they were found, in drawing order.
        runs: the same, named.
        pair: the two runs that are compared; None: there are not two.
    """

    sources: list[Source]
    runs: list[Run]
    pair: Pair | None

    def chart(self, kind: str, style: str) -> Chart:
        """Draw a chart; a SameLoopError if the runs lack what it needs."""
        if kind == "difference" and len(self.sources) < 2:
            raise SameLoopError("a difference takes two runs: name a comparison's folder, or a second run")
        for source in self.sources:
            if kind == "memory" and any("memory_mb" not in line for line in source.record.steps):
                raise SameLoopError(
                    f"the record in {source.folder} has no `memory_mb`, because it was written by an older "
                    "version: run again, or choose another --kind"
                )
        # It imports matplotlib, which `--help` must not wait for.
        from benchmarks.charts.charts import runs_chart

        return runs_chart(kind, self.runs, self.pair, style)


def gather(paths: Sequence[Path]) -> GatheredRuns:
    """Read the runs that the paths name, once for any number of charts; refuse too many. Errors as `find_runs`."""
    sources = [source for path in paths for source in find_runs(path)]
    if len(sources) > MOST_RUNS:
        raise SameLoopError(f"{len(sources)} runs are too many for one chart: name at most {MOST_RUNS}")
    # The Trainer's runs first: they are drawn broad and pale, the manual loop's thin and dark on top of them.
    sources.sort(key=lambda source: source.role == "manual")
    runs = label(sources)
    return GatheredRuns(sources, runs, find_pair(sources, runs))


def find_runs(path: Path) -> list[Source]:
    """The runs that a path names: both runs of a comparison's folder, or the run of a run's folder or record.

    Raises:
        SameLoopError: there is no run, or a record is damaged.
    """
    if path.is_file():
        return [Source([RunRecord.read(path)], path.parent)]
    if not path.is_dir():
        raise SameLoopError(f"{path}: there is no such folder or record; `sameloop compare` makes one")
    if (path / FILE_NAME).is_file():
        return [Source(RunRecord.read_all(path), path)]
    folders = [path / loop for loop in LOOPS if (path / loop / FILE_NAME).is_file()]
    if not folders:
        raise SameLoopError(f"{path}: it holds neither a {FILE_NAME} nor a comparison's two runs")
    return [Source(RunRecord.read_all(folder), folder) for folder in folders]


def label(sources: Sequence[Source]) -> list[Run]:
    """Name the runs: by their loop; where there are several of one loop, by their folder too, or by a number."""
    by_role = {source.role: source.record for source in sources}
    if len(sources) == len(by_role) == len(LOOPS) and len({source.folder.parent for source in sources}) == 1:
        names = names_of(*(by_role[loop] for loop in LOOPS))
        return [Run(names[source.role], source.record) for source in sources]
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
    """Choose the two runs that are compared, and find where they diverge; None for a single run.

    One of the manual loop and one of the Trainer, with the same settings if there are such; else the first two.
    """
    if len(runs) < 2:
        return None
    numbers = {loop: [n for n, source in enumerate(sources) if source.record.loop == loop] for loop in LOOPS}
    pairs = [(ours, theirs) for ours in numbers["manual"] for theirs in numbers["trainer"]] or [(0, 1)]
    alike = (pair for pair in pairs if not sources[pair[0]].record.config.differences(sources[pair[1]].record.config))
    ours, theirs = next(alike, pairs[0])
    if len(runs) == 2:
        return Pair(runs[ours], runs[theirs], find_difference(sources[ours], sources[theirs]))
    groups = find_groups(sources, runs)
    firsts = [group.first for group in groups if group.first is not None]
    return Pair(runs[ours], runs[theirs], min(firsts, key=lambda first: first.step, default=None), groups)


def find_groups(sources: Sequence[Source], runs: Sequence[Run]) -> tuple[EqualRuns, ...]:
    """Which of the runs are equal, and where each such group diverges from the first; only a pair has a cause."""
    members: list[list[int]] = []
    for number, source in enumerate(sources):
        equal = (group for group in members if find_difference(source, sources[group[0]]) is None)
        if (group := next(equal, None)) is None:
            members.append([number])
        else:
            group.append(number)
    firsts = [find_difference(sources[group[0]], sources[members[0][0]]) for group in members]
    return tuple(
        EqualRuns(tuple(runs[number] for number in group), first and first._replace(cause=None))
        for group, first in zip(members, firsts, strict=True)
    )


def find_difference(ours: Source, theirs: Source) -> Difference | None:
    """Where two runs first diverge; different settings do not count, because they are named elsewhere."""
    # It imports torch, which `--help` must not wait for.
    from benchmarks.verdict.verdict import divergences, first_divergence

    first, rank = first_divergence(ours.records, theirs.records)
    if first is not None and first.quantity == "config":
        first = next((item for item in divergences(ours.record, theirs.record) if item.quantity != "config"), None)
        return first and Difference(first.step, first.quantity)
    if first is None:
        return _difference_of_weights(ours, theirs)
    cause = None
    if (ours.record.loop, theirs.record.loop) == LOOPS:
        from benchmarks.judge.causes import explain

        cause = explain(first.step, first.quantity, ours.records[rank], theirs.records[rank])[0].text
    return Difference(first.step, first.quantity, cause, rank)


def _difference_of_weights(ours: Source, theirs: Source) -> Difference | None:
    """The difference of the trained weights as a comparison found it; the records do not hold the weights."""
    folder = ours.folder.parent
    if folder != theirs.folder.parent:
        return None
    try:
        first = read_comparison(folder)["first_divergence"]
        if first is not None and first["quantity"] == "weights":
            return Difference(first["step"], first["quantity"], first["likely_cause"])
    except SameLoopError:
        return None  # there is no comparison, or it is no longer complete: nothing is known
    return None
