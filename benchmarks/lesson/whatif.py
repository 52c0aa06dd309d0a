"""What happens without a line: what is removed from the manual loop for every phase, and the result.

`make whatif` measures it and saves it in `whatif.json`; the report and the lesson show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmarks.statistics import wilson
from shared.files import read_json

# What was measured for the lesson: `whatif.json`, and `ladder.json` beside it.
MEASURED = Path(__file__).with_name("measured")
FILE = MEASURED / "whatif.json"
# The quantities of a step that a user can see, in the order in which they are computed.
IN_A_STEP = {
    "forward_losses": "loss",
    "unclipped_norm": "gradient norm",
    "grad_norm": "clipped gradient norm",
    "learning_rate": "learning rate",
}
ANSWERS = (*dict.fromkeys(IN_A_STEP.values()), "evaluation", "nothing")


@dataclass(frozen=True)
class RunResult:
    """The results of one run.

    Attributes:
        loss: of each step, the mean of what the model returned for its batches.
        accuracy, eval_loss: after each epoch.
        padded_tokens: how many tokens the model was given in training, padding included.
        error: why there are no results, in a line; usually None.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    eval_loss: list[float] = field(default_factory=list)
    padded_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True)
class WhatIf:
    """What happens without a phase's line.

    Attributes:
        phase, without, asked: as `Edit`.
        diff: what was changed in the loop, a line each, beginning with `-` or `+`.
        whole: the unchanged loop, under the same settings.
        seen: the loop without the line.
        quantity: the first visible quantity that differs, one of `ANSWERS`.
        step: where; None if nothing differs.
        values: of the unchanged loop, and without the line; a number of steps is an integer.
        same_weights: whether the trained weights are the same, bit for bit.
        eval_size: on how many examples the accuracies are.
    """

    phase: str
    without: str
    asked: bool
    diff: list[str]
    whole: RunResult
    seen: RunResult
    quantity: str
    step: int | None
    values: list[int | float | None]
    same_weights: bool
    eval_size: int

    @property
    def sentence(self) -> str:
        """What was tried and what happened, in words."""
        return f"Tried: {self.without}. {self.outcome}"

    @property
    def outcome(self) -> str:
        """What happened, with figures."""
        if self.seen.error:
            return f"SameLoop stops with the message “{self.seen.error.partition(': ')[2]}”."
        if self.step is None:
            parts = [
                "No loss, norm or weight differs." if self.same_weights else "Only the weights' last bits differ."
            ]
        else:
            right, wrong = _distinct_texts(self.values)
            parts = [f"First difference: the {self.quantity} of step {self.step}, {wrong} instead of {right}."]
            if self.quantity == "number of steps":
                parts = [f"There were {wrong} optimizer steps instead of {right}."]
        if self.seen.accuracy and self.step is not None:
            parts.append(self._accuracy(self.seen.accuracy[-1], self.whole.accuracy[-1]))
        if self.seen.padded_tokens > 1.05 * self.whole.padded_tokens:
            times = self.seen.padded_tokens / self.whole.padded_tokens
            parts.append(f"The model processes {times:.2f} times as many tokens.")
        return " ".join(parts)

    def _accuracy(self, ours: float, whole: float) -> str:
        """A sentence on the accuracies at the end; no difference where their 95 % intervals overlap."""
        (low, high), (lowest, highest) = (wilson(share * self.eval_size, self.eval_size) for share in (ours, whole))
        if ours == whole:
            return f"The accuracy is the same, {whole:.1%}."
        if low <= highest and lowest <= high:
            return f"Accuracy: no measurable difference ({ours:.1%}, original {whole:.1%})."
        return f"The accuracy is {ours:.1%}, original {whole:.1%}."


def _distinct_texts(values: Sequence[float | None]) -> list[str]:
    """Two different numbers, with as few digits as show the difference, but at least four."""
    for digits in (4, 6, 9, 17):
        texts = ["none" if value is None else f"{value:.{digits}g}" for value in values]
        if texts[0] != texts[1]:
            break
    return texts


@dataclass(frozen=True)
class Measured:
    """All results.

    Attributes:
        job: what was trained on what.
        eval_size: on how many examples the accuracies are.
        what_ifs: by phase.
        environment: versions and device, as a record's header has them.
    """

    job: str
    eval_size: int
    what_ifs: dict[str, WhatIf]
    environment: dict[str, Any]


def read_measured(file: Path = FILE) -> Measured:
    """What `measure` found when it was last run."""
    return TypeAdapter(Measured).validate_python(read_json(file))
