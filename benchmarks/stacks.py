"""Which releases of what SameLoop stands on were run together, and what came of it.

`make versions` runs them (`benchmarks/proofs/versions.py`) and keeps what it found in `stacks.jsonl`, a line for each;
`sameloop doctor` says whether the installed ones are among them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import BaseModel

FILE = Path(__file__).with_name("stacks.jsonl")
# Where it is known that the loops differ.
WITHOUT_REMEDY = "accumulation without the remedy"
# What came of a set of settings besides `identical`, in words.
OTHERWISE = {
    "log": "every step, evaluation and weight identical, but not the log",
    "diverged": "diverged",
    "refused": "refused",
    "failed": "does not run",
}


class Stack(BaseModel):
    """Releases that were run together.

    Attributes:
        name: as in `transformers-4.46.3-torch-2.13.0-python-3.11`.
        date: when they were run.
        how: `two scripts`, those that eject writes, or `both loops`, SameLoop itself.
        seconds: how long it took.
        versions: of Python and the libraries, by name.
        outcomes: of each set of settings, `identical` or one of `OTHERWISE`.
        seen: of those that are not identical, the first difference or the one line that was said.
        scale: without our remedy, with two batches to a step, the first step's gradient norm by Trainer over that by
            hand; of `both loops`, the loss's.
        tests: in our range, how SameLoop's own tests of identity and of resuming ended there.
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
        """`21 of 23 identical`, and what the others are, the one without the remedy apart."""
        outcomes = {name: each for name, each in self.outcomes.items() if name != WITHOUT_REMEDY}
        said = [f"{sum(each == 'identical' for each in outcomes.values())} of {len(outcomes)} identical"]
        for kind, words in OTHERWISE.items():
            names = [name for name, each in outcomes.items() if each == kind]
            if names:
                said.append(f"{words}: {', '.join(names) if len(names) <= 6 else f'{len(names)} cases'}")
        return "; ".join([*said, *filter(None, [self.tests])])

    @property
    def fine(self) -> bool:
        """Whether all was identical, or refused."""
        found = {each for name, each in self.outcomes.items() if name != WITHOUT_REMEDY}
        return found <= {"identical", "refused"} and "failed" not in (self.tests or "")


def tried() -> list[Stack]:
    """The stacks that were run, by release."""
    return [Stack.model_validate(json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


def what_is_known(transformers: str, torch: str, python: str) -> tuple[bool, str]:
    """Whether a stack was run and all was identical, and a sentence on it, for `sameloop doctor`.

    Args:
        transformers, torch, python: the installed versions.
    """
    stacks = tried()
    same = [each for each in stacks if each.versions["transformers"] == transformers]
    ours = (_minor(torch), _minor(python))
    exact = [each for each in same if (_minor(each.versions["torch"]), _minor(each.versions["python"])) == ours]
    if exact:
        return exact[0].fine, f"run on {exact[0].date}: {exact[0].summary}"
    if same:
        others = ", ".join(f"torch {each.versions['torch']}, Python {each.versions['python']}" for each in same)
        return True, f"this transformers was run, with {others}: {same[0].summary}"
    near = [version for each in stacks if _minor(version := each.versions["transformers"]) == _minor(transformers)]
    if near:
        return True, f"transformers {near[0]} was run, this patch release not"
    known = sorted({each.versions["transformers"] for each in stacks}, key=numbers)
    return False, f"transformers {transformers} was not run; these were: {', '.join(known)}"


def numbers(version: str) -> list[int]:
    """`2.13.0+cpu` as [2, 13, 0]."""
    return [int(part) for part in re.findall(r"\d+", version)]


def _minor(version: str) -> list[int]:
    return numbers(version)[:2]
