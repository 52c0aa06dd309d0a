"""Judge a loop's evaluations: when, with which weights, on which reviews, and whether its numbers are true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.nn.functional import cross_entropy

from benchmarks.check.notes import BOUND, Notes
from benchmarks.check.passes import Evaluation, Passes, has_known
from benchmarks.check.recording import RecordingError
from benchmarks.check.replay import Reference
from benchmarks.judge.finding import counted
from benchmarks.judge.reported import way_of
from benchmarks.judge.words import Words


class EvaluationJudge:
    """Judges the evaluations of a run.

    Args:
        passes: the batches and evaluations of the recording.
        reference: computes the right logits, without dropout.
        notes: receives the findings.
    """

    def __init__(self, passes: Passes, reference: Reference, notes: Notes) -> None:
        self._passes, self._reference, self._notes = passes, reference, notes

    def judge(self, log: Sequence[dict[str, Any]] | None) -> None:
        """Judge all evaluations; `log`: what the loop returned, None if it did not finish."""
        of_subset = [evaluation for evaluation in self._passes.evaluations if evaluation.is_of_subset]
        for evaluation in of_subset:
            evaluation.forwards = [(event, reviews) for event, reviews in evaluation.forwards if has_known(reviews)]
        if log is not None:
            self._notes.reached.add("evaluate")
        at_ends = []
        for number, after in enumerate(self._passes.ends, start=1):
            # A further evaluation, of an average say, takes nothing from the right one.
            candidates = sorted((e for e in of_subset if e.after == after), key=lambda e: not e.is_current)
            at_ends += candidates[:1]
            if not candidates:
                if log is not None:
                    self._report_missing(number, after, len(of_subset))
                return
            if not self._judge_pass(candidates[0], self._steps_of(number)):
                return
        if log is not None and of_subset and self._passes.batches:
            self._judge_reported(of_subset, at_ends, log)

    def _report_missing(self, number: int, after: int, count: int) -> None:
        """Report that no evaluation on the validation set follows an epoch."""
        on_training = any(evaluation.after == after for evaluation in self._passes.evaluations)
        code = "evaluate.reviews" if on_training else "evaluate.moment"
        counts = counted(count, "evaluation"), counted(self._passes.epochs, "evaluation")
        self._notes.add(code, *counts, self._steps_of(number), number=number)

    def _steps_of(self, epochs: int) -> int:
        return epochs * self._passes.steps_per_epoch

    def _judge_pass(self, evaluation: Evaluation, step: int) -> bool:
        """Judge the mode, reviews, weights and logits of one evaluation; return whether all are right."""
        notes, events = self._notes, [event for event, _ in evaluation.forwards]
        held = Counter(review for _, reviews in evaluation.forwards for review in reviews)
        size = len(self._passes.eval)
        missing = size - len([review for review in held if review is not None])
        if any(event["training"] or event["others"] for event in events):
            notes.add("evaluate.mode", "train mode", "eval mode", step)
        elif any(event["graph"] for event in events):
            notes.add("evaluate.graph", "gradients on", "gradients off", step)
        elif missing and missing == size % self._passes.config.per_device_eval_batch_size:
            notes.add("evaluate.last_batch", counted(size - missing, "review"), counted(size, "review"), step)
        elif missing or None in held or max(held.values()) > 1:
            used = f"{counted(held.total(), 'review')}, {size - missing} of the subset"
            notes.add("evaluate.samples", used, f"{counted(size, 'review')}, each once", step)
        elif not evaluation.is_current and not notes.has("weights.between"):
            notes.add("evaluate.weights", "other weights", f"the weights after step {step}", step)
        else:
            return self._judge_answers(evaluation, step)
        return False

    def _judge_answers(self, evaluation: Evaluation, step: int) -> bool:
        if {str(weight.dtype) for weight in evaluation.weights.values()} != {"torch.float32"}:
            return False
        for event, reviews in evaluation.forwards:
            tensors = event.tensors()
            right, differs = self._passes.eval.right_inputs(tensors, reviews)
            if right is None or "logits" not in tensors:
                continue
            logits = self._reference.answers(evaluation.weights, right)
            if not self._notes.equal(tensors["logits"], logits):
                code, text = "evaluate.logits", "the logits in the evaluation are not those of its batches"
                if differs is not None:
                    what, cause, *_ = differs
                    code = "evaluate.mask" if what in ("forward.mask", "forward.no_mask") else "evaluate.batch"
                    text = f"in the evaluation {cause}"
                self._notes.add_difference(code, tensors["logits"], logits, step, text)
                return False
        return True

    def _judge_reported(
        self, of_subset: list[Evaluation], at_ends: list[Evaluation], log: Sequence[dict[str, Any]]
    ) -> None:
        """Compare the numbers that the loop returns with the true ones."""
        ends = self._passes.ends
        lines = [line for line in log if "eval_loss" in line or "eval_accuracy" in line]
        if len(lines) not in (len(of_subset), len(ends)):
            self._notes.add("evaluate.not_reported", counted(len(lines), "line"), counted(len(ends), "line"))
            return
        reported = of_subset if len(lines) == len(of_subset) else at_ends
        for line, evaluation in zip(lines, reported, strict=False):
            step = self._steps_of(ends.index(evaluation.after) + 1) if evaluation.after in ends else 0
            if not self._judge_line(line, evaluation, step):
                return

    def _judge_line(self, line: dict[str, Any], evaluation: Evaluation, step: int) -> bool:
        """Judge both numbers of a line that the loop returns; return whether they are right."""
        sizes = [len(reviews) for _, reviews in evaluation.forwards]
        means, counts, own_losses = self._recomputed(evaluation)
        total = sum(sizes)
        expected = {
            "eval_loss": sum(mean * size for mean, size in zip(means, sizes, strict=True)) / total,
            "eval_accuracy": sum(counts) / total,
        }
        for name, parts in (("eval_loss", means), ("eval_accuracy", counts)):
            value, right = line.get(name), expected[name]
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                self._notes.add("evaluate.not_reported", "nothing", f"{right:.6g}", step, f"it returns no {name}")
                return False
            difference = abs(value - right) / max(1.0, abs(right))
            if self._notes.is_rounding(difference):
                if name == "eval_loss":
                    # Rounded as the manual loop and the Trainer round it.
                    self._notes.exact &= value == np.mean(own_losses, dtype=np.float32).item()
                continue
            training = len(self._passes.train), self._passes.per_epoch
            code, formula = way_of(name, value, sizes, parts, training, BOUND) or ("evaluate.number", "")
            text = f"the {name} that it returns is not the mean over the reviews"
            if formula:
                text += f": it is {Words().fill(formula)}"
            self._notes.smallest.setdefault("evaluate", abs(value - right))
            self._notes.add(code, f"{name} {value:.6g}", f"{right:.6g}", step, text)
            return False
        return True

    def _recomputed(self, evaluation: Evaluation) -> tuple[list[float], list[int], list[float]]:
        """Of each of the loop's batches the true mean loss, the number of correct predictions, and the loop's own mean
        loss, once per review.
        """
        means, counts, own_losses = [], [], []
        for event, reviews in evaluation.forwards:
            tensors = event.tensors()
            inputs, _ = self._passes.eval.right_inputs(tensors, reviews)
            if inputs is None:
                raise RecordingError("an evaluation of reviews that do not exist")
            logits, labels = self._reference.answers(evaluation.weights, inputs), inputs["labels"]
            means.append(cross_entropy(logits.double(), labels).item())
            counts.append(int((logits.argmax(dim=-1) == labels).sum()))
            if "logits" in tensors:
                own_losses += [cross_entropy(tensors["logits"], labels).item()] * len(reviews)
        return means, counts, own_losses
