"""The data of the charts: numbers from records. The alt texts are made from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.statistics import step_seconds, warm_steps
from shared.recording.record import RunRecord, training_seconds

NAMES = {"manual": "manual", "trainer": "Trainer"}
# The order in which a step's phases are stacked; a checkpoint is not part of a step.
PHASES = ("data", "forward", "backward", "optimizer")
# More dots than this cannot be distinguished, and are slow.
MOST_DOTS = 60_000


class Run(NamedTuple):
    """A run in a chart: its name, and its record (for several processes, the first one's)."""

    label: str
    record: RunRecord


class Difference(NamedTuple):
    """Where two runs first diverge.

    Attributes:
        step: optimizer step, counted from 1; 0 is before the first.
        quantity: what differs, as `benchmarks.verdict.verdict` names it.
        cause: the likely cause; None where it was not determined.
        rank: the process in which it is.
    """

    step: int
    quantity: str
    cause: str | None = None
    rank: int = 0

    @property
    def where(self) -> str:
        return f"at step {self.step}" if self.step else "before step 1"

    def __str__(self) -> str:
        return f"{self.where.removeprefix('at ')}, {self.quantity}" + (f" (process {self.rank})" if self.rank else "")


class EqualRuns(NamedTuple):
    """Runs that are equal to each other.

    Attributes:
        runs: at least one.
        first: where they diverge from the first such group; None: they are the first group.
    """

    runs: tuple[Run, ...]
    first: Difference | None


class Pair(NamedTuple):
    """Two runs that are compared, and the first difference of all runs that are shown.

    Attributes:
        run, other: the two; where there is one of each loop, `run` is the manual loop.
        first: where the shown runs first diverge; None if they do not.
        groups: for more than two runs, which of them are equal; empty for two.
    """

    run: Run
    other: Run
    first: Difference | None
    groups: tuple[EqualRuns, ...] = ()


def names_of(manual: RunRecord, trainer: RunRecord) -> Mapping[str, str]:
    """The names of a comparison's runs: `NAMES`, or the files of two loops on our own job."""
    files = [Path(record.config.loop) for record in (manual, trainer) if record.config.loop]
    if len(files) < len(NAMES) or "job" in manual.header:
        return NAMES
    ours, theirs = (file.name for file in files)
    if ours == theirs:
        ours, theirs = (f"{file.absolute().parent.name}/{file.name}" for file in files)
    return dict(zip(NAMES, (ours, theirs if ours != theirs else f"{theirs} (2)"), strict=True))


def series(record: RunRecord, name: str) -> tuple[list[int], list[float]]:
    """The steps and one number of each; None or a missing number is NaN, and drawn as a gap."""
    values = [math.nan if line.get(name) is None else float(line[name]) for line in record.steps]
    return [line["step"] for line in record.steps], values


def outline(steps: list[int], values: list[float], columns: int) -> tuple[list[int], list[float]]:
    """The lowest and the highest value of every few steps: how a line looks on a narrow chart.

    Args:
        steps, values: from `series`; values that are not finite are left out if there are others.
        columns: the number of parts of the steps; fewer than twice as many steps are not changed.
    """
    if len(steps) < 2 * columns:
        return steps, values
    chosen: list[int] = []
    for column in range(columns):
        part = range(column * len(steps) // columns, (column + 1) * len(steps) // columns)
        known = [place for place in part if math.isfinite(values[place])] or [part[0]]
        chosen += sorted({min(known, key=values.__getitem__), max(known, key=values.__getitem__)})
    return [steps[place] for place in chosen], [values[place] for place in chosen]


def has(record: RunRecord, name: str) -> bool:
    """Whether any step has the number `name`: some are not always known."""
    return any(line.get(name) is not None for line in record.steps)


def same(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Exact equality, number by number; two NaNs are equal."""
    pairs = zip(ours, theirs, strict=False)
    return len(ours) == len(theirs) and all(a == b or (a != a and b != b) for a, b in pairs)


def differences(record: RunRecord, other: RunRecord) -> tuple[list[int], list[float]]:
    """The absolute difference of two runs' training losses at every step that both have; 0.0 for equal values."""
    (steps, ours), (_, theirs) = series(record, "loss"), series(other, "loss")
    absolute = [0.0 if same([a], [b]) else abs(a - b) for a, b in zip(ours, theirs, strict=False)]
    return steps[: len(absolute)], absolute


def phase_seconds(record: RunRecord) -> dict[str, float]:
    """The mean seconds of each phase over the middle half of the steps; empty where there is no step."""
    if (spread := step_seconds(record)) is None:
        return {}
    steps = [line for line in warm_steps(record) if spread.low <= training_seconds(line) <= spread.high]
    names = {phase for line in steps for phase in line["seconds"]} - {"checkpoint"}
    phases = [*(phase for phase in PHASES if phase in names), *sorted(names.difference(PHASES))]
    return {phase: mean(line["seconds"].get(phase, 0.0) for line in steps) for phase in phases}


def reported_evaluations(record: RunRecord) -> list[dict[str, Any]]:
    """The evaluations as the loop itself logged them; for an unfinished run, as the recorder measured them."""
    return record.reported_evaluations if record.footer else record.recorded_evaluations


def evaluations(record: RunRecord, name: str) -> tuple[list[float], list[float]]:
    """The completed epochs and one number of each evaluation that has it."""
    known = [line for line in reported_evaluations(record) if line.get(name) is not None]
    return [line["epoch"] for line in known], [float(line[name]) for line in known]


def drawn_reviews(record: RunRecord, steps: int | None = None) -> Iterator[tuple[int, str]]:
    """Every drawn review, in order: the step, and the review's digest; for the first `steps` steps, or for all."""
    for line in record.steps[:steps]:
        for batch in line["reviews"]:
            for review in batch:
                yield line["step"], review


def steps_that_fit(runs: Sequence[Run], most: int = MOST_DOTS) -> int:
    """How many steps can be drawn before there are more than `most` dots for one run."""
    fits = []
    for run in runs:
        dots = accumulate(sum(map(len, line["reviews"])) for line in run.record.steps)
        steps = sum(count <= most for count in dots)
        fits.append((steps, steps < len(run.record.steps)))
    # A run that fits completely does not shorten a longer one.
    return min((steps for steps, cut in fits if cut), default=max((steps for steps, _ in fits), default=0))


def first_other_reviews(runs: Sequence[Run]) -> int | None:
    """The first step at which not all runs drew the same reviews in the same order; None if there is none."""
    for lines in zip(*(run.record.steps for run in runs), strict=False):
        if any(line["reviews"] != lines[0]["reviews"] for line in lines):
            return lines[0]["step"]
    lengths = {len(run.record.steps) for run in runs}
    return None if len(lengths) == 1 else min(lengths) + 1


def clips(record: RunRecord) -> int:
    """The number of steps with a gradient norm above `max_grad_norm` before clipping; 0 where there is no limit."""
    limit = record.config.max_grad_norm
    return sum((line.get("unclipped_norm") or 0.0) > limit for line in record.steps) if limit else 0


def padding_share(record: RunRecord) -> float:
    """The share of padding in all tokens, from 0 to 1."""
    places = sum(line["padded_tokens"] for line in record.steps)
    return 1 - sum(line["tokens"] for line in record.steps) / places if places else 0.0


def different_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings that differ between runs, each with its values in the runs' order."""
    settings = [run.record.config.settings for run in runs]
    return {
        name: [of_run.get(name) for of_run in settings]
        for name in settings[0]
        if any(of_run.get(name) != settings[0][name] for of_run in settings)
    }
