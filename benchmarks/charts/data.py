"""What the charts show: numbers taken out of records. The alt texts are made from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.statistics import step_seconds, warm_steps
from shared.recording.record import RunRecord, training_seconds

NAMES = {"manual": "manual", "trainer": "Trainer"}
# The order in which a step's phases are stacked; a checkpoint is not part of a step.
PHASES = ("data", "forward", "backward", "optimizer")
# More dots than this are a smear, and a slow one.
MOST_DOTS = 60_000


class Run(NamedTuple):
    """A run as a chart shows it: its name there, and its record (of several processes, the first one's)."""

    label: str
    record: RunRecord


class Difference(NamedTuple):
    """Where two runs part first.

    Attributes:
        step: optimizer step, counted from 1; 0 is before the first.
        quantity: what differs, as `benchmarks.verdict.verdict` names it.
        cause: what the evidence says about why; None where nobody has asked.
        rank: the process it is in.
    """

    step: int
    quantity: str
    cause: str | None = None
    rank: int = 0

    def __str__(self) -> str:
        where = f"step {self.step}" if self.step else "before step 1"
        return f"{where}, {self.quantity}" + (f" (process {self.rank})" if self.rank else "")


class Alike(NamedTuple):
    """Of several runs, those that are equal to each other.

    Attributes:
        runs: at least one.
        first: where they part from the first such group; None: they are it.
    """

    runs: tuple[Run, ...]
    first: Difference | None


class Pair(NamedTuple):
    """Two runs held against each other, and whatever other runs are shown beside them.

    Attributes:
        one, other: the runs; where there is one of each loop, `one` is the manual loop.
        first: where the runs part first, all that are shown; None if they do not.
        groups: of more than two runs, which of them are equal; empty for two.
    """

    one: Run
    other: Run
    first: Difference | None
    groups: tuple[Alike, ...] = ()


def names_of(manual: RunRecord, trainer: RunRecord) -> Mapping[str, str]:
    """What a comparison's runs are called: `NAMES`, but two loops on our own job by their files."""
    files = [Path(record.config.loop) for record in (manual, trainer) if record.config.loop]
    if len(files) < len(NAMES) or "job" in manual.header:
        return NAMES
    ours, theirs = (file.name for file in files)
    if ours == theirs:
        ours, theirs = (f"{file.absolute().parent.name}/{file.name}" for file in files)
    return dict(zip(NAMES, (ours, theirs if ours != theirs else f"{theirs} (2)"), strict=True))


def series(record: RunRecord, name: str) -> tuple[list[int], list[float]]:
    """The steps and one number of each; what is None or missing is NaN, and drawn as a gap."""
    values = [math.nan if line.get(name) is None else float(line[name]) for line in record.steps]
    return [line["step"] for line in record.steps], values


def outline(steps: list[int], values: list[float], columns: int) -> tuple[list[int], list[float]]:
    """The lowest and the highest value of every so many steps: what a line looks like on a picture that narrow.

    Args:
        steps, values: as `series` gives them; values that are no number are left out if there is any other.
        columns: how many parts the steps are cut into; fewer than twice as many steps stay as they are.
    """
    if len(steps) < 2 * columns:
        return steps, values
    kept: list[int] = []
    for column in range(columns):
        part = range(column * len(steps) // columns, (column + 1) * len(steps) // columns)
        known = [place for place in part if math.isfinite(values[place])] or [part[0]]
        kept += sorted({min(known, key=values.__getitem__), max(known, key=values.__getitem__)})
    return [steps[place] for place in kept], [values[place] for place in kept]


def has(record: RunRecord, name: str) -> bool:
    """Whether any step knows the number `name`: older records lack some, and of others it is not known."""
    return any(line.get(name) is not None for line in record.steps)


def same(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Exact equality, number by number; two NaNs are equal."""
    pairs = zip(ours, theirs, strict=False)
    return len(ours) == len(theirs) and all(a == b or (a != a and b != b) for a, b in pairs)


def differences(one: RunRecord, other: RunRecord) -> tuple[list[int], list[float]]:
    """The absolute difference of two training losses at every step that both have; equal values differ by 0.0."""
    (steps, ours), (_, theirs) = series(one, "loss"), series(other, "loss")
    found = [0.0 if same([a], [b]) else abs(a - b) for a, b in zip(ours, theirs, strict=False)]
    return steps[: len(found)], found


def phase_seconds(record: RunRecord) -> dict[str, float]:
    """The mean seconds that the middle half of the steps spends in each phase; empty where there is no step."""
    if (spread := step_seconds(record)) is None:
        return {}
    steps = [line for line in warm_steps(record) if spread.low <= training_seconds(line) <= spread.high]
    found = {phase for line in steps for phase in line["seconds"]} - {"checkpoint"}
    phases = [*(phase for phase in PHASES if phase in found), *sorted(found.difference(PHASES))]
    return {phase: mean(line["seconds"].get(phase, 0.0) for line in steps) for phase in phases}


def reported_evaluations(record: RunRecord) -> list[dict[str, Any]]:
    """The evaluations as the loop itself logged them; of a run that did not finish, as the recorder saw them."""
    return record.reported_evaluations if record.footer else record.seen_evaluations


def evaluations(record: RunRecord, name: str) -> tuple[list[float], list[float]]:
    """Epochs done, and one number of each evaluation that has it."""
    known = [line for line in reported_evaluations(record) if line.get(name) is not None]
    return [line["epoch"] for line in known], [float(line[name]) for line in known]


def drawn(record: RunRecord, steps: int | None = None) -> Iterator[tuple[int, str]]:
    """Every review drawn, in order: the step, and the review's digest; of the first `steps` steps, or of all."""
    for line in record.steps[:steps]:
        for batch in line["reviews"]:
            for review in batch:
                yield line["step"], review


def steps_that_fit(records: Sequence[RunRecord], most: int = MOST_DOTS) -> int:
    """How many steps can be drawn before there are more than `most` dots for one run."""
    fits = []
    for record in records:
        dots, steps = 0, 0
        for line in record.steps:
            dots += sum(map(len, line["reviews"]))
            if dots > most:
                break
            steps += 1
        fits.append((steps, steps < len(record.steps)))
    # A run that fits as a whole does not cut a longer one short.
    return min((steps for steps, cut in fits if cut), default=max((steps for steps, _ in fits), default=0))


def first_other_reviews(records: Sequence[RunRecord]) -> int | None:
    """The first step at which not all runs drew the same reviews in the same order; None if all always did."""
    for lines in zip(*(record.steps for record in records), strict=False):
        if any(line["reviews"] != lines[0]["reviews"] for line in lines):
            return lines[0]["step"]
    lengths = {len(record.steps) for record in records}
    return None if len(lengths) == 1 else min(lengths) + 1


def clips(record: RunRecord) -> int:
    """At how many steps the gradient norm was above `max_grad_norm` before the clip; 0 where there is no limit."""
    limit = record.config.max_grad_norm
    return sum((line.get("unclipped_norm") or 0.0) > limit for line in record.steps) if limit else 0


def padding_share(record: RunRecord) -> float:
    """The part of all token places that held padding, from 0 to 1."""
    places = sum(line["padded_tokens"] for line in record.steps)
    return 1 - sum(line["tokens"] for line in record.steps) / places if places else 0.0


def different_settings(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """The settings that are not the same in all records, each with its values in the records' order."""
    settings = [record.config.settings for record in records]
    return {
        name: [each.get(name) for each in settings]
        for name in settings[0]
        if any(each.get(name) != settings[0][name] for each in settings)
    }
