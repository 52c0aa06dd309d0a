"""A finding: one thing that was observed in a loop, as a code with values; and helpers that read a record."""

from __future__ import annotations

from typing import Any, NamedTuple

from shared.recording.record import RunRecord

# In the code and in the sentence of a finding whose cause the evidence does not decide.
UNDECIDED, NOT_DECIDED = "not_decided", "not decided"
# Which part of a loop a finding is about, by the first word of its code: a name of the check's rubric where it has
# one, else `model`, `weights` or `environment`.
PHASE_OF_TOPIC = {
    "autocast": "forward",
    "backward": "backward",
    "batch": "batch",
    "clip": "clip",
    "collator": "collator",
    "dropout": "forward",
    "dtype": "model",
    "environment": "environment",
    "evaluate": "evaluate",
    "forward": "forward",
    "log": "step",
    "loss": "loss",
    "mode": "train mode",
    "model": "model",
    "optimizer": "optimizer",
    "schedule": "schedule step",
    "seed": "seed",
    "shuffle": "shuffle",
    "step": "step",
    "weights": "weights",
    "zero": "zero",
}


class Finding(NamedTuple):
    """One way in which the manual loop works differently from `Trainer`.

    Attributes:
        code: what was found, as `topic.detail`; the topic is a key of `PHASE_OF_TOPIC`.
        step: the first step that shows it, from 1; 0 if it is so from the start.
        text: what was observed, and what to do.
        values: both loops' values, and what else was measured.
    """

    code: str
    step: int
    text: str
    values: dict[str, Any] = {}  # noqa: RUF012 - it is never changed

    @property
    def topic(self) -> str:
        return self.code.partition(".")[0]

    @property
    def phase(self) -> str:
        return PHASE_OF_TOPIC[self.topic]

    def as_dict(self) -> dict[str, Any]:
        """As `comparison.json` has it."""
        return {"code": self.code, "phase": self.phase, "step": self.step, "values": self.values, "text": self.text}


def names_of(names: list[str]) -> str:
    """`classifier.bias`, or `12 tensors (distilbert.embeddings.word_embeddings.weight first)`."""
    return names[0] if len(names) == 1 else f"{len(names)} tensors ({names[0]} first)"


def counted(count: int, noun: str) -> str:
    """`1 batch`, `2 batches`, `3 passes`, `4 epochs`."""
    plural = f"{noun}es" if noun.endswith(("s", "tch")) else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def follows_evaluation(record: RunRecord, step: int) -> bool:
    """Whether an evaluation lies between this step and the one before."""
    return any(line["step"] == step - 1 for line in record.evaluations)


def line_of(record: RunRecord, step: int) -> dict[str, Any]:
    """The record's line of a step, counted from 1, or {} if it has none."""
    return record.steps[step - 1] if 1 <= step <= len(record.steps) else {}


def missing_of(record: RunRecord) -> list[str]:
    """The trainable weights that are in none of the optimizer's groups."""
    return record.start.get("optimizer", {}).get("missing", [])


def differing_inputs(ours: Any, theirs: Any) -> set[str]:
    """The inputs in which two batches differ; an input that only one of the models got is not compared."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    return set() if ours == theirs else {"batch"}


def more_than(ours: dict[str, Any], theirs: dict[str, Any]) -> int:
    """How many more examples an evaluation has than another one, all of whose batches it has; else 0.

    Batches are taken for the same if their sizes, their modes and their losses are equal.
    """
    mine, others = (
        [*zip(line.get("batch_sizes", []), line.get("mode", []), line.get("losses", []), strict=False)]
        for line in (ours, theirs)
    )
    places = range(len(mine) - len(others) + 1) if others and None not in theirs["losses"] else ()
    if len(mine) > len(others) and any(mine[place : place + len(others)] == others for place in places):
        return ours["samples"] - theirs["samples"]
    return 0
