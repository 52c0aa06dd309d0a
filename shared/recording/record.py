"""The record that a run leaves on disk, next to its model: `record.jsonl`, one JSON object per line.

The lines, distinguished by `kind`:

- `header`: the task and the environment: settings, versions, device, threads, git state. First line.
- `start`: the model and the optimizer as the first optimizer step finds them.
- `step`: one optimizer step.
- `resume`: the run was interrupted and continues from a checkpoint after this step, perhaps on another machine.
- `evaluation`: one pass over the evaluation subset.
- `detail`: digests of every weight, activation and gradient of one step, if requested.
- `footer`: totals, and what the loop itself reported. Absent when the run did not finish.

Every line is flushed as it is written, so a killed run leaves what it did, and before a checkpoint is made, all lines
are on the disk. A resumed run drops the lines after its checkpoint, which it will write again. Numbers
are written so that reading them back gives the same float64, bit for bit.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.files import sync, write_whole
from shared.recording.schema import LINE, problem

SCHEMA = 2
FILE_NAME = "record.jsonl"
# The ends of the names under which `Trainer` reports how long an evaluation took.
MEASURED = ("_runtime", "_per_second", "_preparation_time")


def file_name(rank: int) -> str:
    """Each process of a run writes its own record: the first `record.jsonl`, the next `record-1.jsonl`, ..."""
    return f"record-{rank}.jsonl" if rank else FILE_NAME


def training_seconds(step: dict[str, Any]) -> float:
    """The seconds that a step took, without those of a checkpoint before it."""
    return sum(seconds for phase, seconds in step["seconds"].items() if phase != "checkpoint")


class RecordWriter:
    """Appends lines to a record; each is on its way to the disk when `write` returns."""

    def __init__(self, path: Path, append: bool = False) -> None:
        self._file = path.open("a" if append else "w", encoding="utf-8")

    def write(self, kind: str, **fields: Any) -> None:
        """Write one line, of values that JSON can hold; an OSError if the disk is full, for example."""
        self._file.write(json.dumps({"kind": kind, **fields}, ensure_ascii=False) + "\n")
        self._file.flush()

    def flush_to_disk(self) -> None:
        """Wait until every line is on the disk."""
        sync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def cut_back(path: Path, step: int) -> RunRecord:
    """Drop a record's lines about the steps after `step`, so that a resumed run can continue it.

    Returns:
        What is left.

    Raises:
        SameLoopError: there is no record, or it does not reach `step`.
    """
    record = RunRecord.read(path)
    if len(record.steps) < step or any(line["step"] != number for number, line in enumerate(record.steps[:step], 1)):
        raise SameLoopError(
            f"the record {path} does not reach step {step}, after which the checkpoint was made; start again without "
            "--resume-from-checkpoint, or continue with --no-record"
        )
    kept = [line for line in record.lines if line["kind"] not in ("footer", "detail") and line.get("step", 0) <= step]
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
    return RunRecord(kept, str(path))


class RunRecord:
    """A record read back.

    Attributes:
        loop: `manual` or `trainer`.
        lines: all of them, in order.
        header, start, detail, footer: those lines; each but the header is empty where the run has none.
        steps, evaluations, resumes: those lines in order.
    """

    def __init__(self, lines: list[dict[str, Any]], source: str) -> None:
        self.lines = lines
        by_kind: dict[str, list[dict[str, Any]]] = {}
        for line in lines:
            by_kind.setdefault(line["kind"], []).append(line)
        if "header" not in by_kind:
            raise SameLoopError(f"{source} is not a run's record: it has no header line")
        self.header = by_kind["header"][0]
        if self.header.get("schema") != SCHEMA:
            raise SameLoopError(
                f"{source} was written in format {self.header.get('schema')}, this version reads {SCHEMA}: run again"
            )
        try:
            self.loop: str = self.header["loop"]
            self.config = RunConfig(**self.header["config"])
        except (KeyError, TypeError, ValidationError):
            raise SameLoopError(f"{source} has a header without the run's settings: run again") from None
        self.start = by_kind.get("start", [{}])[0]
        self.steps = by_kind.get("step", [])
        if any(line.get("step") != number for number, line in enumerate(self.steps, start=1)):
            raise SameLoopError(f"{source} has not every step once: the record is damaged, run again")
        self.evaluations = by_kind.get("evaluation", [])
        self.resumes = by_kind.get("resume", [])
        self.detail = by_kind.get("detail", [{}])[0]
        self.footer = by_kind.get("footer", [{}])[0]

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read `path`, a record or the folder that holds one.

        A half-written last line, as a killed run leaves it, is left out.

        Raises:
            SameLoopError: there is none, or it is not a record of this format.
        """
        if path.is_dir():
            path = path / FILE_NAME
        try:
            texts = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SameLoopError(f"cannot read the record {path}: {reason}") from None
        lines = []
        texts = texts[:-1] if texts[-1] == "" else texts
        for number, text in enumerate(texts, start=1):
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                if number == len(texts):
                    break
                raise SameLoopError(f"{path} line {number} is not JSON: the record is damaged, run again") from None
            if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
                raise SameLoopError(f"{path} line {number} is not a line of a run's record")
            # A header of another format has its own error.
            if line.get("schema", SCHEMA) == SCHEMA and (wrong := problem(LINE, line)):
                raise SameLoopError(f"{path} line {number} is damaged ({wrong}): run again")
            lines.append(line)
        return cls(lines, str(path))

    @classmethod
    def read_all(cls, folder: Path) -> list[RunRecord]:
        """The records of all processes of the run in `folder`, the first process's first; errors as `read`."""
        first = cls.read(folder)
        others = range(1, first.header.get("world_size", 1))
        return [first, *(cls.read(folder / file_name(rank)) for rank in others)]

    @property
    def log_history(self) -> list[dict[str, Any]]:
        """What the loop itself logged, one dictionary per log line, as it returned it.

        A line of a loop that does not count its steps gets the step and the epoch of the evaluation that it is of or
        before, as the recorder saw it.

        Raises:
            SameLoopError: the record is damaged.
        """
        filled, evaluations = [], 0
        try:
            reported = sum("eval_loss" in line for line in self.footer.get("log_history", []))
            for line in self.footer.get("log_history", []):
                if not {"step", "epoch"} <= line.keys():
                    evaluations += self._not_reported(line, evaluations, reported)
                    line_of_step = (self.evaluations[evaluations:] or self.steps[-1:])[0]
                    step = line.get("step", line_of_step["step"])
                    line = {**line, "step": step, "epoch": line.get("epoch", step / self.steps_per_epoch)}
                filled.append(line)
                evaluations += "eval_loss" in line
                reported -= "eval_loss" in line
        except (AttributeError, IndexError, KeyError, TypeError, ZeroDivisionError):
            raise SameLoopError("the record's log lines are damaged: run again") from None
        return filled

    def _not_reported(self, line: dict[str, Any], first: int, reported: int) -> int:
        """How many of the evaluations from `first` on come before the one that a line is of.

        None where each of them is reported; else the line is of the first that has its loss or its accuracy.
        """
        candidates = self.evaluations[first:]
        if "eval_loss" not in line or len(candidates) <= reported:
            return 0
        for name in ("loss", "accuracy"):
            for number, evaluation in enumerate(candidates):
                reported_value, own = line.get(f"eval_{name}"), evaluation.get(name)
                if reported_value is not None and own is not None and math.isclose(reported_value, own, rel_tol=1e-5):
                    return number
        loss = line["eval_loss"]
        further = (number for number, evaluation in enumerate(candidates) if _has_mean(evaluation, loss))
        return next(further, 0)

    @property
    def metric_names(self) -> list[str]:
        """What the loop reports of its evaluations, without measurements of time: of our job loss and accuracy."""
        if "job" not in self.header:
            return ["eval_loss", "eval_accuracy"]
        names = {
            name: None for line in self.footer.get("log_history", []) for name in line if name.startswith("eval_")
        }
        return [name for name in names if not name.endswith(MEASURED)]

    @property
    def reported_evaluations(self) -> list[dict[str, Any]]:
        """The evaluations as the loop itself has logged them."""
        loss_names = ("eval_loss",) if "job" not in self.header else self.metric_names
        return [line for line in self.log_history if any(name in line for name in loss_names)]

    @property
    def recorded_evaluations(self) -> list[dict[str, Any]]:
        """The evaluations as the recorder saw them, under the names by which a loop logs them."""
        return [
            {
                "step": line["step"],
                "epoch": line["step"] / self.steps_per_epoch,
                "eval_loss": line["loss"],
                "eval_accuracy": line["accuracy"],
            }
            for line in self.evaluations
        ]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training subset."""
        return self.header["steps_per_epoch"]

    def epoch_of(self, step: int) -> int:
        """The epoch, counted from 1, that optimizer step `step`, counted from 1, belongs to."""
        return (step - 1) // self.steps_per_epoch + 1


def _has_mean(evaluation: dict[str, Any], loss: float | None) -> bool:
    """Whether batches in a row of an evaluation, which may be of several data sets, have this mean loss."""
    import numpy as np

    sizes, losses = evaluation.get("batch_sizes") or [], evaluation.get("losses") or []
    if loss is None or not sizes or None in losses or len(sizes) != len(losses):
        return False
    sums, counts = (np.cumsum([0, *values]) for values in (np.multiply(sizes, losses), sizes))
    start, end = np.triu_indices(len(sums), 1)
    means = (sums[end] - sums[start]) / np.maximum(counts[end] - counts[start], 1)
    return bool(np.isclose(means, loss, rtol=1e-5, atol=0).any())
