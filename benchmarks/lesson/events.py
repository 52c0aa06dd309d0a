"""The tracer's record of a run: events, each with the calls that led to it, and the other calls of `Trainer`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Frame(NamedTuple):
    """One call on the way to an event.

    Attributes:
        file: as it is shown, for example `trainer.py` or `manual_loop/train.py`.
        line: the line of the file that was being executed.
        function: the function that the line is in.
        code: the line's text.
    """

    file: str
    line: int
    function: str
    code: str


class Event(NamedTuple):
    """One thing that a loop did.

    Attributes:
        part: `start`, `epoch`, `step`, `after`, `evaluation` or `end`.
        epoch, step: the current ones, both counted from 1; 0 before the first.
        phase: as `phases.PHASES` names it.
        what: a description.
        values: the numbers that belong to it.
        frames: the calls that led to it, outermost first.
        is_idle: whether it changes nothing: a move to where the data is already, or a loss divided by 1.
    """

    part: str
    epoch: int
    step: int
    phase: str
    what: str
    values: dict[str, Any]
    frames: tuple[Frame, ...]
    is_idle: bool = False

    @property
    def same(self) -> tuple:
        """What must be equal in both loops: everything except the calls that led there."""
        return (self.part, self.epoch, self.step, self.phase, self.what, self.values)


class Call(NamedTuple):
    """A function that `Trainer` called and in which no event happened.

    Attributes:
        part, epoch, step: as in `Event`.
        function: its name, with its class.
        file: where it is defined.
        frame: the line of `trainer.py` that called it.
        seconds: how long it took, the tracing included.
    """

    part: str
    epoch: int
    step: int
    function: str
    file: str
    frame: Frame
    seconds: float


@dataclass
class Trace:
    """The events and calls of one run.

    Attributes:
        events: what happened, in order.
        calls: the other calls of `Trainer`; empty for the manual loop.
        repetitions: what was done again without need: a sentence and the frames, each kind once.
        batches_ahead: how many batches, at most, had been padded before the one in use.
        seconds: how long each part took, by (part, epoch, step).
    """

    events: list[Event] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    repetitions: dict[str, tuple[Frame, ...]] = field(default_factory=dict)
    batches_ahead: int = 0
    seconds: dict[tuple[str, int, int], float] = field(default_factory=dict)
