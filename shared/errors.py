"""The exceptions a user is meant to see."""

from __future__ import annotations


def shown(value: object, longest: int = 40) -> str:
    """Foreign text made safe for a message: on one line, without control characters, cut if it is long."""
    text = " ".join(str(value).split())
    text = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return text if len(text) <= longest else text[: longest - 3] + "..."


class SameLoopError(Exception):
    """Something the user can put right: one line saying what is wrong and what to do. Exit status 2.

    Without a text, the user has read the message already and only the exit status is left to set.
    """

    exit_status = 2


class ScriptError(SameLoopError):
    """A script is at fault, and its author has to change it: the line, and what is wrong there."""


class TrainingStopped(SameLoopError):  # noqa: N818 - the name describes what happened
    """The training cannot go on from here; what it has written so far stays where it is."""


class LossNotFinite(TrainingStopped):
    """The training loss is NaN or infinite.

    Args:
        step: the optimizer step, counted from 1, whose loss it is; the weights are those before it.
        learning_rate: of this step.
    """

    def __init__(self, step: int, loss: float, learning_rate: float) -> None:
        super().__init__(
            f"step {step}: the training loss is {loss} at learning rate {learning_rate:g}; stopped before the weights "
            "are lost too. Try a lower --learning-rate, --max-grad-norm 1, --warmup-steps 0.1, or without --fp16"
        )


class Interrupted(TrainingStopped):
    """The user or the system asked the program to stop, and it has, after a checkpoint.

    Args:
        text: what was kept and how to go on.
        signal_number: the signal that asked; the exit status is 128 plus its number, as in shells.
    """

    def __init__(self, text: str, signal_number: int) -> None:
        super().__init__(text)
        self.exit_status = 128 + signal_number
