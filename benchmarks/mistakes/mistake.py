"""What a mistake is: an edit of a right script, and what a comparison and a check must say about it.

The script is the minimal loop, `manual_loop/minimal.py`; what only the full loop has, as the log or the saving, is
edited there. No copy of a script is kept: an edit that no longer applies exactly once is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.running.script import LoopScript, own_script, package_script
from shared.starting.children import ROOT

MINIMAL = ROOT / "manual_loop" / "minimal.py"
# The settings that it has as constants, or does not have.
AS_MINIMAL: dict[str, Any] = {
    "num_train_epochs": 2,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "logging_strategy": "no",
    "save_strategy": "no",
}
Pieces = tuple[tuple[str, str], ...]
# The verdict of a comparison of two equal loops.
IDENTICAL = "identical"


class Verdict(NamedTuple):
    """What `sameloop compare` must say.

    Attributes:
        where: the step and what differs first, `step 9: batch`; the latter alone where rounding decides the step.
        code: the code of the finding that is the cause.
        also: the codes of all other findings, in their order.
        settings: the settings of the comparison, if not the mistake's.
        stopped: what the error line must contain, if the mistake stops the run.
    """

    where: str = IDENTICAL
    code: str = ""
    also: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None
    stopped: str = ""


NO_DIFFERENCE = Verdict()


class Question(NamedTuple):
    """What happens without a phase's line: the lesson asks it and the report answers it.

    Attributes:
        pieces: the replacements in the full loop, specialized for the settings of the lesson.
        without: what is done instead, in words that go on from "Without it"; empty: as the mistake says it.
        asked: whether the lesson asks what differs first.
        settings: the settings with which there is such a line.
    """

    pieces: Pieces
    without: str = ""
    asked: bool = False
    settings: Mapping[str, Any] = {}


class LadderStep(NamedTuple):
    """A fix on the way from the course's loop to `Trainer`.

    Attributes:
        place: its place on the ladder, from 1.
        name: as `sameloop ladder --order` takes it.
        why: the reason, in a sentence.
    """

    place: int
    name: str
    why: str


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        name: as `sameloop break NAME` takes it.
        what: the mistake in words.
        phase: the phase whose line it is, one of `benchmarks.judge.phases.PHASES`.
        pieces: the replacements in the minimal loop, in order.
        whole: the same in the full loop; only where the minimal loop has no such line.
        compared: what a comparison with `Trainer` must say; None if none is made.
        check: the code of the finding that a check of the minimal loop must report; None: the comparison's; empty: it
            does not see the mistake.
        items: the items of the check's rubric that must fail, that finding in the first, if not the phase alone.
        source: where it happened in public; a mistake that has one is in the gallery.
        setting: right replacements that the minimal loop needs first.
        settings: the settings with which it is a mistake.
        question: the lesson's question; its script is specialized, so it has an edit of its own.
        step: the ladder's step; its fix is to undo the edit.
    """

    name: str
    what: str
    phase: str
    pieces: Pieces = ()
    whole: Pieces = ()
    compared: Verdict | None = NO_DIFFERENCE
    check: str | None = None
    items: tuple[str, ...] = ()
    source: str = ""
    setting: Pieces = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    question: Question | None = None
    step: LadderStep | None = None

    @property
    def checked(self) -> str:
        """The code of the finding that a check must report; empty if a check does not see it."""
        if self.check is None and self.pieces and self.compared:
            return self.compared.code
        return self.check or ""

    @property
    def fails(self) -> tuple[str, ...]:
        """The items of the check's rubric that it must fail; empty if a check does not see it."""
        return (self.items or (self.phase,)) if self.checked else ()

    @property
    def compared_settings(self) -> Mapping[str, Any]:
        """The settings of the comparison, on top of the preset."""
        return self.settings if self.compared is None or self.compared.settings is None else self.compared.settings


def right_script(mistake: Mistake) -> LoopScript:
    """The right script that a mistake is made in, with what it needs: the minimal loop or the full one."""
    return package_script("manual") if mistake.whole else edited(own_script(MINIMAL), mistake.setting)


def wrong_script(mistake: Mistake) -> LoopScript:
    """The script with the mistake planted.

    Raises:
        ValueError: an edit no longer applies exactly once.
    """
    return edited(right_script(mistake), mistake.pieces or mistake.whole)


def edited(script: LoopScript, pieces: Pieces) -> LoopScript:
    """A script with pieces of its text replaced, one after the other; raises as `LoopScript.edited`."""
    for old, new in pieces:
        script = script.edited(old, new)
    return script


def differing_lines(before: LoopScript, after: LoopScript) -> list[tuple[str, str]]:
    """The lines in which two scripts differ, in order: `-` and a removed line, `+` and an added one."""
    lines = difflib.ndiff(before.source.splitlines(), after.source.splitlines())
    return [(line[0], line[2:]) for line in lines if line[0] in "+-"]
