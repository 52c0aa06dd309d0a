"""The verdict: are two runs bit-identical, and if not, where do they first diverge?

Reads two records and two saved models; runs nothing. Equal means exactly equal: `==` on floats (two NaNs
count as equal), `torch.equal` on weights. There is no tolerance.

What only one of the loops shows is not compared: the labels and the loss where a loop does not pass labels to the
model and has a criterion of its own, the loss where gradients are not computed by `backward()`, and a random generator
from which neither loop draws. Of a loop passed with `--loop`, additional evaluations and log lines that it does not
return are not compared either, nor its steps where no optimizer of torch.optim makes them. The verdict says what was
not compared, and which settings had no effect in this run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from benchmarks.judge.causes import explain
from benchmarks.judge.finding import differing_inputs, more_than
from benchmarks.judge.words import Words
from benchmarks.verdict.facts import own_job
from benchmarks.verdict.remarks import (
    REPORTED_EVALUATION,
    REPORTED_TRAINING,
    has_no_steps,
    is_lenient,
    never_acted,
    saved_config_differences,
    what_else,
)
from shared.errors import SameLoopError
from shared.files import digest_of_file, sha256
from shared.recording.record import FILE_NAME, RunRecord
from shared.running.folder import COMPARED, WEIGHTS_FILE

# The quantities of a step in causal order: what comes later depends on what comes before.
STEP_QUANTITIES = ("batch", "mode", "rng", "forward_losses", "losses", "grad_norm", "learning_rate")
EVALUATION_QUANTITIES = ("batch", "mode", "logits", "loss", "accuracy")


class Divergence(NamedTuple):
    """Where two runs diverge.

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
    ours, theirs = manuals[0], trainers[0]
    if not ours.config.differences(theirs.config) and ours.header.get("data") != theirs.header.get("data"):
        raise SameLoopError(
            f"--dataset {ours.config.dataset}: its reviews have changed between the two loops, so they cannot be "
            "compared; run both again"
        )
    job = own_job(ours, theirs)
    weights = compare_weights(manual_dir / WEIGHTS_FILE, trainer_dir / WEIGHTS_FILE)
    first, rank = first_divergence(manuals, trainers)
    if first is None and weights.differing:
        first = Divergence(len(ours.steps), "weights", weights.differing[0], f"differs by {weights.max_abs_diff}")
    remarks = [*what_else(ours, theirs), *saved_config_differences(manual_dir, trainer_dir)]
    return {
        "schema": COMPARED.schema,
        "verdict": "identical" if first is None else "diverged",
        "steps": len(ours.steps),
        "max_abs_diff": {**max_abs_diff(manuals, trainers), "weights": weights.max_abs_diff},
        "first_divergence": first
        and _explained(first, rank, manuals[rank], trainers[rank], (manual_dir, trainer_dir)),
        "never_acted": never_acted(trainers),
        "remarks": [Words.of(ours, theirs).fill(remark) for remark in remarks],
        "manual": summary(manuals, manual_dir),
        "trainer": summary(trainers, trainer_dir),
        "config": ours.config.model_dump(),
        "environment": {**ours.header["environment"], "world_size": len(manuals)},
        **({"job": job} if job else {}),
    }


def _explained(
    first: Divergence, rank: int, manual: RunRecord, trainer: RunRecord, folders: tuple[Path, Path]
) -> dict[str, Any]:
    """The first divergence with its cause, what else differs, and batches shown by their first review."""
    findings = explain(first.step, first.quantity, manual, trainer)
    if first.quantity in ("batch", "eval_forward_batch"):
        words = Words.of(manual, trainer)
        texts = [_first_review(manual, folders[0], first, words), _first_review(trainer, folders[1], first, words)]
        if all(texts):
            first = first._replace(manual=texts[0], trainer=texts[1])
    return {
        **first._asdict(),
        "rank": rank,
        "likely_cause": findings[0].text,
        "also": [finding.text for finding in findings[1:]],
        "findings": [finding.as_dict() for finding in findings],
    }


def _first_review(record: RunRecord, folder: Path, first: Divergence, words: Words) -> str | None:
    """How a batch that differs begins, in words, and how large it is; None where that is not known."""
    if first.quantity == "batch":
        line = record.steps[first.step - 1]
        ours, theirs = (batches if isinstance(batches, list) else [] for batches in (first.manual, first.trainer))
        number = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if differing_inputs(*pair)), 0)
        tokens = (line.get("first_review") or [[]])[min(number, len(line.get("first_review") or [[]]) - 1)]
    else:
        line = next((line for line in record.evaluations if line["step"] == first.step), {})
        tokens = line.get("first_review", [])
    file = folder / "tokenizer.json"
    if not tokens or not file.is_file():
        return None
    from tokenizers import Tokenizer

    text = Tokenizer.from_file(str(file)).decode(tokens)
    counts = f"{line['samples']} examples, {line['tokens']} tokens, padded to {line['padded_tokens']}"
    return f"{text!r}... ({words.fill(counts)})"


def first_divergence(manuals: list[RunRecord], trainers: list[RunRecord]) -> tuple[Divergence | None, int]:
    """The first divergence over all processes, and the process it is in; None if there is none."""
    if len(manuals) != len(trainers):
        return Divergence(0, "number of processes", len(manuals), len(trainers)), 0
    firsts = [
        (divergence, rank)
        for rank, pair in enumerate(zip(manuals, trainers, strict=True))
        if (divergence := next(divergences(*pair), None)) is not None
    ]
    return min(firsts, key=lambda ranked: (ranked[0].step, ranked[1]), default=(None, 0))


def divergences(manual: RunRecord, trainer: RunRecord) -> Iterator[Divergence]:
    """Every difference between two records, in causal order; nothing if there is none."""
    named = ("loop",) if "job" not in manual.header else ("loop", "dataset", "model", "max_length")
    different = {name: pair for name, pair in manual.config.other_numbers(trainer.config).items() if name not in named}
    if different:
        yield Divergence(0, "config", *({name: pair[side] for name, pair in different.items()} for side in (0, 1)))
    lenient = is_lenient(manual)
    ours, theirs = manual.start.get("initial_weights", {}), trainer.start.get("initial_weights", {})
    if not ours and lenient:
        theirs = {}  # no step was seen
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if ours.get(name) != theirs.get(name):
            yield Divergence(0, f"initial weights: {name}", ours.get(name), theirs.get(name))
    if lenient and has_no_steps(manual):
        evaluations = _pair_by_order(manual.evaluations, trainer.evaluations)
        reports = _pair_by_order(manual.reported_evaluations, trainer.reported_evaluations)
        for step in evaluations:
            yield from _evaluation_divergences(step, evaluations, reports, lenient, trainer.metric_names)
        return
    evaluations = _pair_by_step(manual.evaluations, trainer.evaluations)
    reports = _pair_by_step(manual.reported_evaluations, trainer.reported_evaluations)
    yield from _evaluation_divergences(0, evaluations, reports, lenient, trainer.metric_names)
    generators = _generators_drawn_from(manual, trainer)
    for our_step, their_step in zip(manual.steps, trainer.steps, strict=False):
        step = our_step["step"]
        yield from _unequal(step, STEP_QUANTITIES, *_comparable(our_step, their_step, generators))
        yield from _evaluation_divergences(step, evaluations, reports, lenient, trainer.metric_names)
    if len(manual.steps) != len(trainer.steps):
        last = min(len(manual.steps), len(trainer.steps))
        yield Divergence(last + 1, "number of steps", len(manual.steps), len(trainer.steps))
    yield from _log_divergences(manual, trainer)


def _comparable(ours: dict[str, Any], theirs: dict[str, Any], generators: set[str]) -> tuple[dict, dict]:
    """Two lines of a step or an evaluation without what only one of the loops shows."""
    ours, theirs = dict(ours), dict(theirs)
    ours["batch"], theirs["batch"] = _common(ours.get("batch"), theirs.get("batch"))
    if isinstance(ours.get("rng"), dict) and isinstance(theirs.get("rng"), dict):
        for line in (ours, theirs):
            line["rng"] = {name: value for name, value in line["rng"].items() if name in generators}
    if any(line.get("losses") == [] and line.get("grad_norm") for line in (ours, theirs)):
        # Gradients that were not computed by `backward()`, but by torch.autograd.grad for example: the recorder saw
        # them only at the step, and so computed their norm in another way. Instead of it, some numbers of every
        # gradient are compared, bit for bit.
        ours["losses"] = theirs["losses"] = None
        sample = ours.get("gradient_sample")
        if sample and sample == theirs.get("gradient_sample"):
            ours["grad_norm"] = theirs["grad_norm"]
    if None in (ours.get("forward_losses") or ()) or None in (theirs.get("forward_losses") or ()):
        ours["forward_losses"] = theirs["forward_losses"] = None
    return ours, theirs


def _common(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Two batches, or a step's lists of batches, with the inputs that both loops show."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = [name for name in ours if name in theirs]
        return {name: ours[name] for name in names}, {name: theirs[name] for name in names}
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = list(map(_common, ours, theirs))
        return [mine for mine, _ in pairs], [other for _, other in pairs]
    return ours, theirs


def _generators_drawn_from(manual: RunRecord, trainer: RunRecord) -> set[str]:
    """The random generators that matter: torch's, and any other whose state changes during either run."""
    names = {"torch", "cuda", "mps"}
    for record in (manual, trainer):
        states = [line["rng"] for line in record.steps if isinstance(line.get("rng"), dict)]
        names |= {name for state in states for name in state if state[name] != states[0].get(name)}
    return names


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
        lines for pair in pairs for lines in zip(*(record.reported_evaluations for record in pair), strict=False)
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
    reported = records[0].reported_evaluations
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
        "record": digest_of_file(folder / FILE_NAME),
    }


def epoch_means(records: list[RunRecord]) -> list[float]:
    """The mean training loss of each epoch's steps, over all processes."""
    by_epoch: dict[int, list[float]] = {}
    for record in records:
        for step in record.steps:
            by_epoch.setdefault(record.epoch_of(step["step"]), []).append(step["loss"])
    return [sum(losses) / len(losses) for losses in by_epoch.values()]


def _evaluation_divergences(
    step: int, evaluations: dict, reports: dict, lenient: bool, names: list[str]
) -> Iterator[Divergence]:
    """The differences of the evaluations after `step`: first what was recorded, then what was reported."""
    reported = [
        difference
        for ours, theirs in reports.get(step, [])
        if theirs or not lenient
        for difference in _unequal(step, tuple(name for name in names if not lenient or name in ours), ours, theirs)
    ]
    for ours, theirs in evaluations.get(step, []):
        if lenient and (not theirs or (more_than(ours, theirs) and not reported)):
            continue  # if it disturbs anything, that shows in what comes after it
        if not (ours and theirs):
            yield Divergence(step, "evaluation", *("yes" if line else "no" for line in (ours, theirs)))
        # The loss and the accuracy come from the model's own outputs; without labels there are none.
        missing = {name for name in ("loss", "accuracy") if ours.get(name) is None or theirs.get(name) is None}
        quantities = tuple(name for name in EVALUATION_QUANTITIES if name not in missing)
        yield from _unequal(step, quantities, *_comparable(ours, theirs, set()), prefix="eval_forward_")
    yield from reported


def _log_divergences(manual: RunRecord, trainer: RunRecord) -> Iterator[Divergence]:
    """The differences of the training values that the loops logged, line by line."""
    logs = [[line for line in record.log_history if "loss" in line] for record in (manual, trainer)]
    if is_lenient(manual):
        by_step = {line.get("step"): line for line in logs[1]}
        for ours in logs[0]:
            names = tuple(name for name in REPORTED_TRAINING if name in ours and ours.get("step") in by_step)
            yield from _unequal(ours.get("step", 0), names, ours, by_step.get(ours.get("step"), {}), prefix="logged ")
        return
    for ours, theirs in zip(*logs, strict=False):
        yield from _unequal(ours.get("step", 0), REPORTED_TRAINING, ours, theirs, prefix="logged ")
    if len(logs[0]) != len(logs[1]):
        yield Divergence(len(manual.steps), "number of log lines", len(logs[0]), len(logs[1]))


def _pair_by_step(ours: list[dict], theirs: list[dict]) -> dict[int, list[tuple[dict, dict]]]:
    """Evaluations of both runs by the step they follow; one that the other run lacks is paired with {}."""
    paired: dict[int, list[tuple[dict, dict]]] = {}
    for step in sorted({line["step"] for line in (*ours, *theirs)}):
        mine, others = ([line for line in side if line["step"] == step] for side in (ours, theirs))
        paired[step] = list(zip_longest(mine, others, fillvalue={}))
    return paired


def _pair_by_order(ours: list[dict], theirs: list[dict]) -> dict[int, list[tuple[dict, dict]]]:
    """The same where ours do not name their steps: the first with the first, by the step that theirs follows."""
    padded = [*ours, *({} for _ in theirs)]
    return {line["step"]: [(mine, line)] for mine, line in zip(padded, theirs, strict=False)}


def _unequal(step: int, names: tuple[str, ...], ours: dict, theirs: dict, prefix: str = "") -> Iterator[Divergence]:
    for name in names:
        if not equal(ours.get(name), theirs.get(name)):
            yield Divergence(step, prefix + name, ours.get(name), theirs.get(name))


def equal(ours: Any, theirs: Any) -> bool:
    """Exact equality; two NaNs are equal, and lists are compared item by item."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return ours == theirs


def _largest(pairs: list[tuple[dict, dict]], name: str) -> float | None:
    values = [(ours.get(name), theirs.get(name)) for ours, theirs in pairs]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    return max((0.0 if equal(a, b) else abs(a - b) for a, b in known), default=None)
