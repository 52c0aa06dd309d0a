"""What a mistake is: an edit of a right page, and what a comparison and a check must say of it.

The page is the minimal one, `manual_loop/minimal.py`; what only the full loop has, as the log or the saving,
is edited there. No copy of a page is kept: an edit that no longer applies, exactly once, is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.running.script import LoopScript, own_script, package_script
from shared.starting.children import ROOT

MINIMAL = ROOT / "manual_loop" / "minimal.py"
# What it has written into it, or knows nothing of.
AS_MINIMAL: dict[str, Any] = {
    "num_train_epochs": 2,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "logging_strategy": "no",
    "save_strategy": "no",
}
Pieces = tuple[tuple[str, str], ...]
# What a comparison says of two loops that differ in nothing.
IDENTICAL = "identical"


class Compared(NamedTuple):
    """What `sameloop compare` must say.

    Attributes:
        where: the step and what differs first, `step 9: batch`; the latter alone where rounding decides on the step.
        code: of the finding that is the cause.
        also: the codes of all other findings, in their order.
        settings: under which it is compared, if others than the mistake's.
        stopped: of a mistake that stops the run, what the error line must contain.
    """

    where: str = IDENTICAL
    code: str = ""
    also: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None
    stopped: str = ""


NO_DIFFERENCE = Compared()


class Question(NamedTuple):
    """What happens without a phase's line, as the lesson asks and the report says.

    Attributes:
        without: what is done instead, in words that go on from "Without it".
        pieces: what is replaced by what in the full loop, specialized for the settings of the lesson.
        asked: whether the lesson asks what differs first.
        settings: under which there is such a line.
    """

    without: str
    pieces: Pieces
    asked: bool = False
    settings: Mapping[str, Any] = {}


class LadderStep(NamedTuple):
    """A repair on the way from the course's loop to `Trainer`.

    Attributes:
        place: on the ladder, from 1.
        name: as `sameloop ladder --order` takes it.
        why: in a sentence.
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
        phase: whose line it is, one of `benchmarks.judge.phases.PHASES`.
        pieces: what of the minimal loop is replaced by what, in order.
        whole: the same of the full loop; only where the minimal loop has no such line.
        compared: what a comparison with `Trainer` must say; None: it is not made.
        check: the code of the finding that a check must make; empty: a check does not see it.
        items: of the check's rubric what must fail, `check` in the first, where it is not the phase alone.
        source: where it happened in public; what has one is in the gallery.
        setting: what the minimal loop is given first, rightly.
        settings: under which the mistake is one.
        stops: whether the run cannot come to its end.
        question: of the lesson; its page is folded, so it has an edit of its own.
        step: of the ladder; its repair is that the edit is undone.
    """

    name: str
    what: str
    phase: str
    pieces: Pieces = ()
    whole: Pieces = ()
    compared: Compared | None = NO_DIFFERENCE
    check: str = ""
    items: tuple[str, ...] = ()
    source: str = ""
    setting: Pieces = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    stops: bool = False
    question: Question | None = None
    step: LadderStep | None = None

    @property
    def fails(self) -> tuple[str, ...]:
        """The items of the check's rubric that it must fail; none: a check does not see it."""
        return (self.items or (self.phase,)) if self.check else ()

    @property
    def compared_settings(self) -> Mapping[str, Any]:
        """The settings of the comparison, on top of the preset."""
        return self.settings if self.compared is None or self.compared.settings is None else self.compared.settings


def right_script(mistake: Mistake | None = None) -> LoopScript:
    """The page that a mistake is made in, with what it needs: the minimal one, or that of all settings."""
    if mistake is not None and mistake.whole:
        return package_script("manual")
    return edited(own_script(MINIMAL), mistake.setting if mistake else ())


def wrong_script(mistake: Mistake) -> LoopScript:
    """The page with the mistake planted.

    Raises:
        ValueError: an edit applies no longer, exactly once.
    """
    return edited(right_script(mistake), mistake.pieces or mistake.whole)


def edited(script: LoopScript, pieces: Pieces) -> LoopScript:
    """A page with pieces of its text replaced, one after the other; raises as `Page.edited`."""
    for right, wrong in pieces:
        script = script.edited(right, wrong)
    return script


def differing_lines(before: LoopScript, after: LoopScript) -> list[tuple[str, str]]:
    """The lines in which two pages differ, in order: `-` and a line that goes, `+` and one that comes."""
    lines = difflib.ndiff(before.source.splitlines(), after.source.splitlines())
    return [(line[0], line[2:]) for line in lines if line[0] in "+-"]
