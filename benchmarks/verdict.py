"""The verdict: are two runs bit-identical, and if not, where do they part first?

Reads two records and two saved models; runs nothing. Equal means exactly equal: `==` on floats (two NaNs
count as equal), `torch.equal` on weights. There is no tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from benchmarks.causes import likely_cause
from shared.errors import SameLoopError
from shared.files import sha256
from shared.folder import WEIGHTS_FILE
from shared.record import RunRecord

SCHEMA = 1
# What a step is made of, in causal order: what comes later depends on what comes before.
STEP_QUANTITIES = ("batch", "mode", "rng", "forward_losses", "losses", "grad_norm", "learning_rate")
EVALUATION_QUANTITIES = ("batch", "mode", "logits", "loss", "accuracy")
# What the loops themselves report after an evaluation.
REPORTED_EVALUATION = ("eval_loss", "eval_accuracy")
# What they report of the training, and what is a measurement of time or of speed, different in every run.
REPORTED_TRAINING = ("loss", "grad_norm", "learning_rate", "epoch")


class Divergence(NamedTuple):
    """Where two runs part.

    Attributes:
        step: optimizer step, counted from 1; 0 is before the first.
        quantity: what differs, for example `grad_norm`, `eval_logits`, `weights`.
        manual, trainer: the two values.
    """

    step: int
    quantity: str
    manual: Any
    trainer: Any


def compare_runs(manual_dir: Path, trainer_dir: Path) -> dict[str, Any]:
    """Compare two finished runs, each a folder with `record.jsonl` and `model.safetensors`.

    Returns:
        The content of `comparison.json`.

    Raises:
        SameLoopError: a record or a model is missing or damaged.
    """
    manuals, trainers = RunRecord.read_all(manual_dir), RunRecord.read_all(trainer_dir)
    weights = compare_weights(manual_dir / WEIGHTS_FILE, trainer_dir / WEIGHTS_FILE)
    first, rank = first_divergence(manuals, trainers)
    if first is None and weights.differing:
        last_step = len(manuals[0].steps)
        first = Divergence(last_step, "weights", weights.differing[0], f"differs by {weights.max_abs_diff}")
    return {
        "schema": SCHEMA,
        "verdict": "identical" if first is None else "diverged",
        "steps": len(manuals[0].steps),
        "max_abs_diff": {**max_abs_diff(manuals, trainers), "weights": weights.max_abs_diff},
        "first_divergence": first
        and {
            **first._asdict(),
            "rank": rank,
            "likely_cause": likely_cause(first.step, first.quantity, manuals[rank], trainers[rank]),
        },
        "manual": summary(manuals, manual_dir),
        "trainer": summary(trainers, trainer_dir),
        "config": manuals[0].config.model_dump(),
        "environment": {**manuals[0].header["environment"], "world_size": len(manuals)},
    }


def first_divergence(manuals: list[RunRecord], trainers: list[RunRecord]) -> tuple[Divergence | None, int]:
    """The first divergence over all processes, and the process it is in; None if there is none."""
    if len(manuals) != len(trainers):
        return Divergence(0, "number of processes", len(manuals), len(trainers)), 0
    firsts = [
        (found, rank)
        for rank, pair in enumerate(zip(manuals, trainers, strict=True))
        if (found := next(divergences(*pair), None)) is not None
    ]
    return min(firsts, key=lambda each: (each[0].step, each[1]), default=(None, 0))


def divergences(manual: RunRecord, trainer: RunRecord) -> Iterator[Divergence]:
    """Every difference between two records, in causal order; nothing if there is none."""
    if different := manual.config.differences(trainer.config):
        yield Divergence(0, "config", *({name: pair[side] for name, pair in different.items()} for side in (0, 1)))
    ours, theirs = manual.start.get("initial_weights", {}), trainer.start.get("initial_weights", {})
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if ours.get(name) != theirs.get(name):
            yield Divergence(0, f"initial weights: {name}", ours.get(name), theirs.get(name))
    evaluations = _pair_by_step(manual.evaluations, trainer.evaluations)
    reports = _pair_by_step(*(_reported_evaluations(record) for record in (manual, trainer)))
    yield from _evaluation_divergences(0, evaluations, reports)
    for our_step, their_step in zip(manual.steps, trainer.steps, strict=False):
        step = our_step["step"]
        yield from _unequal(step, STEP_QUANTITIES, our_step, their_step)
        yield from _evaluation_divergences(step, evaluations, reports)
    if len(manual.steps) != len(trainer.steps):
        last = min(len(manual.steps), len(trainer.steps))
        yield Divergence(last + 1, "number of steps", len(manual.steps), len(trainer.steps))
    yield from _log_divergences(manual, trainer)


class WeightsDifference(NamedTuple):
    """How two saved models differ: the names that do, and by how much at most (0.0 if none)."""

    differing: list[str]
    max_abs_diff: float | None


def compare_weights(manual: Path, trainer: Path) -> WeightsDifference:
    """Compare two safetensors files tensor by tensor with `torch.equal`.

    `max_abs_diff` is None when they do not hold the same names and shapes.

    Raises:
        SameLoopError: a file is missing or damaged.
    """
    differing, largest, comparable = [], 0.0, True
    try:
        with safe_open(manual, "pt") as ours, safe_open(trainer, "pt") as theirs:
            names, their_names = set(ours.keys()), set(theirs.keys())
            differing += sorted(names ^ their_names)
            comparable = not differing
            for name in sorted(names & their_names):
                mine, other = ours.get_tensor(name), theirs.get_tensor(name)
                if mine.shape != other.shape:
                    differing.append(name)
                    comparable = False
                elif not torch.equal(mine, other):
                    differing.append(name)
                    largest = max(largest, (mine.double() - other.double()).abs().max().item())
    except (OSError, SafetensorError) as error:
        raise SameLoopError(f"cannot read the saved weights ({error}): run the comparison again") from None
    return WeightsDifference(differing, largest if comparable else None)


def max_abs_diff(manuals: list[RunRecord], trainers: list[RunRecord]) -> dict[str, float | None]:
    """The largest absolute difference of each number over all steps and evaluations that both runs have."""
    pairs = list(zip(manuals, trainers, strict=False))
    steps = [lines for manual, trainer in pairs for lines in zip(manual.steps, trainer.steps, strict=False)]
    reports = [
        lines for pair in pairs for lines in zip(*(_reported_evaluations(record) for record in pair), strict=False)
    ]
    return {
        **{name: _largest(steps, name) for name in ("loss", "grad_norm", "learning_rate")},
        **{name: _largest(reports, name) for name in REPORTED_EVALUATION},
    }


def summary(records: list[RunRecord], folder: Path) -> dict[str, Any]:
    """One loop's results and costs, as `comparison.json` gives them.

    Losses are means per review, accuracies fractions; `train_seconds` leaves evaluation out,
    `tokens_per_second` counts useful tokens, not padding; memory in MB (10^6 bytes). Of several processes,
    times are the first one's, speeds and memory are added up.
    """
    reported = _reported_evaluations(records[0])
    footers = [record.footer for record in records]
    times = ("train_seconds", "evaluation_seconds", "recorder_seconds")
    sums = ("samples_per_second", "tokens_per_second", "peak_memory_mb")
    finished = all(footers)
    return {
        "train_loss": epoch_means(records),
        "eval_accuracy": [line.get("eval_accuracy") for line in reported],
        "eval_loss": [line.get("eval_loss") for line in reported],
        **{name: footers[0].get(name) for name in times},
        **{name: sum(footer[name] for footer in footers) if finished else None for name in sums},
        "weights_sha256": sha256(folder / WEIGHTS_FILE),
    }


def epoch_means(records: list[RunRecord]) -> list[float]:
    """The mean training loss of each epoch's steps, over all processes."""
    by_epoch: dict[int, list[float]] = {}
    for record in records:
        for step in record.steps:
            by_epoch.setdefault(record.epoch_of(step["step"]), []).append(step["loss"])
    return [sum(losses) / len(losses) for losses in by_epoch.values()]


def _evaluation_divergences(step: int, evaluations: dict, reports: dict) -> Iterator[Divergence]:
    """The differences of the evaluations after `step`: first what was seen, then what was reported."""
    for ours, theirs in evaluations.get(step, []):
        if not (ours and theirs):
            yield Divergence(step, "evaluation", *("yes" if line else "no" for line in (ours, theirs)))
        yield from _unequal(step, EVALUATION_QUANTITIES, ours, theirs, prefix="eval_forward_")
    for ours, theirs in reports.get(step, []):
        yield from _unequal(step, REPORTED_EVALUATION, ours, theirs)


def _log_divergences(manual: RunRecord, trainer: RunRecord) -> Iterator[Divergence]:
    """The differences of the training values that the loops logged, line by line."""
    logs = [[line for line in record.log_history if "loss" in line] for record in (manual, trainer)]
    for ours, theirs in zip(*logs, strict=False):
        yield from _unequal(ours.get("step", 0), REPORTED_TRAINING, ours, theirs, prefix="logged ")
    if len(logs[0]) != len(logs[1]):
        yield Divergence(len(manual.steps), "number of log lines", len(logs[0]), len(logs[1]))


def _reported_evaluations(record: RunRecord) -> list[dict[str, Any]]:
    return [line for line in record.log_history if "eval_loss" in line]


def _pair_by_step(ours: list[dict], theirs: list[dict]) -> dict[int, list[tuple[dict, dict]]]:
    """Evaluations of both runs by the step they follow; one that the other run lacks is paired with {}."""
    paired: dict[int, list[tuple[dict, dict]]] = {}
    for step in sorted({line["step"] for line in (*ours, *theirs)}):
        mine = [line for line in ours if line["step"] == step]
        others = [line for line in theirs if line["step"] == step]
        count = max(len(mine), len(others))
        pad = [{}] * count
        paired[step] = list(zip((mine + pad)[:count], (others + pad)[:count], strict=True))
    return paired


def _unequal(step: int, names: tuple[str, ...], ours: dict, theirs: dict, prefix: str = "") -> Iterator[Divergence]:
    for name in names:
        if not equal(ours.get(name), theirs.get(name)):
            yield Divergence(step, prefix + name, ours.get(name), theirs.get(name))


def equal(one: Any, other: Any) -> bool:
    """Exact equality; two NaNs are equal, and lists are compared item by item."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def _largest(pairs: list[tuple[dict, dict]], name: str) -> float | None:
    values = [(ours.get(name), theirs.get(name)) for ours, theirs in pairs]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    return max((0.0 if equal(a, b) else abs(a - b) for a, b in known), default=None)
