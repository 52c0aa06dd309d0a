"""Which releases of SameLoop's dependencies were tested together, and the results.

`make versions` runs them (`benchmarks/proofs/versions.py`) and keeps the results in `stacks.jsonl`, a line for each;
`sameloop doctor` says whether the installed releases are among them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import BaseModel

FILE = Path(__file__).with_name("stacks.jsonl")
# The settings with which the loops are known to differ.
WITHOUT_REMEDY = "accumulation without the remedy"
# The outcomes of a set of settings other than `identical`, in words.
OTHERWISE = {
    "log": "every step, evaluation and weight identical, but not the log",
    "diverged": "diverged",
    "refused": "refused",
    "failed": "does not run",
}


class Stack(BaseModel):
    """Releases that were tested together.

    Attributes:
        name: as in `transformers-4.46.3-torch-2.13.0-python-3.11`.
        how: `two scripts`, which eject writes, or `both loops`, SameLoop itself.
        versions: of Python and the libraries, by name.
        outcomes: for each set of settings, `identical` or one of `OTHERWISE`.
        seen: for those that are not identical, the first difference or the error message.
        scale: without our remedy, with two batches to a step, the first step's gradient norm of Trainer divided by
            that of the manual loop; for `both loops`, the same of the loss.
        tests: within our range, the result of SameLoop's own tests of identity and of resuming.
    """

    name: str
    date: str
    how: str
    seconds: int
    versions: dict[str, str]
    outcomes: dict[str, str]
    seen: dict[str, str] = {}
    scale: float | None = None
    tests: str | None = None

    @property
    def summary(self) -> str:
        """`21 of 23 identical`, and what the others are; the one without the remedy does not count."""
        outcomes = {name: outcome for name, outcome in self.outcomes.items() if name != WITHOUT_REMEDY}
        parts = [f"{sum(outcome == 'identical' for outcome in outcomes.values())} of {len(outcomes)} identical"]
        for kind, words in OTHERWISE.items():
            names = [name for name, outcome in outcomes.items() if outcome == kind]
            if names:
                parts.append(f"{words}: {', '.join(names) if len(names) <= 6 else f'{len(names)} cases'}")
        return "; ".join([*parts, *filter(None, [self.tests])])

    @property
    def fine(self) -> bool:
        """Whether every outcome is identical or refused."""
        outcomes = {outcome for name, outcome in self.outcomes.items() if name != WITHOUT_REMEDY}
        return outcomes <= {"identical", "refused"} and "failed" not in (self.tests or "")


def tried() -> list[Stack]:
    """The stacks that were tested, by release."""
    return [Stack.model_validate(json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


def what_is_known(transformers: str, torch: str, python: str) -> tuple[bool, str]:
    """Whether a stack of these versions was tested and all was identical, and a sentence about it for the doctor."""
    stacks = tried()
    same = [stack for stack in stacks if stack.versions["transformers"] == transformers]
    ours = (_minor(torch), _minor(python))
    exact = [stack for stack in same if (_minor(stack.versions["torch"]), _minor(stack.versions["python"])) == ours]
    if exact:
        return exact[0].fine, f"tested on {exact[0].date}: {exact[0].summary}"
    if same:
        others = ", ".join(f"torch {stack.versions['torch']}, Python {stack.versions['python']}" for stack in same)
        return True, f"this transformers was tested with {others}: {same[0].summary}"
    near = [version for stack in stacks if _minor(version := stack.versions["transformers"]) == _minor(transformers)]
    if near:
        return True, f"transformers {near[0]} was tested, this patch release was not"
    known = sorted({stack.versions["transformers"] for stack in stacks}, key=numbers)
    return False, f"transformers {transformers} was not tested; these were: {', '.join(known)}"


def numbers(version: str) -> list[int]:
    """`2.13.0+cpu` as [2, 13, 0]."""
    return [int(part) for part in re.findall(r"\d+", version)]


def _minor(version: str) -> list[int]:
    return numbers(version)[:2]
