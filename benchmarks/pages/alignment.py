"""What the lines of a script do, phase by phase, according to the comments in the script itself.

A comment that begins with a phase's name, as `# Clip: ...`, begins a block; it ends where the next one begins.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from benchmarks.judge.phases import BY_NAME

# A comment that begins a block: `# Schedule step: the learning rate of the next step.`
BEGINS = re.compile(rf"#\s+({'|'.join(sorted(map(str.capitalize, BY_NAME), key=len, reverse=True))})[:.]")


def phase_of(comment: str) -> str | None:
    """The phase that a comment begins; None if it begins none."""
    match = BEGINS.match(comment)
    return match[1].lower() if match else None


class Stretch(NamedTuple):
    """Consecutive lines of a script of one phase: the phase, the number of the first line, and the lines."""

    phase: str
    first: int
    lines: list[str]


def stretches(source: str) -> list[Stretch]:
    """Cut a script where its comments begin a phase; every line is in one stretch.

    Without a comment: a script begins with its docstring and its imports, a `train` or what follows the functions
    with its first lines, and a function that a phase calls belongs to this phase.
    """
    lines = source.splitlines()
    begins: dict[int, str] = {0: "page"}
    outside, previous = True, ""
    for number, line in enumerate(lines):
        text = line.strip()
        comment = re.search(r"(?:^|  )(# .*)$", text)
        if comment and (phase := phase_of(comment[1])):
            begins[number] = phase
        elif re.match(r"(import|from) \w", line) and outside and not any(begins[key] == "imports" for key in begins):
            begins[number] = "imports"
        elif re.match(r"(import|from) \w|if __name__|\"{3}\w", line) and not outside:
            begins[number] = "function"
        elif defined := re.match(r"(?:def|class) (\w+)", line):
            outside = False
            # A comment or a decorator above it has begun its block already.
            if not previous.startswith(("#", "@")):
                begins[number] = "function" if defined[1] in ("train", "main") else defined[1]
        previous = line
    starts = sorted(begins)
    pieces = [Stretch(begins[a], a + 1, lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    callers = {part.phase: _caller(part.phase, pieces) for part in pieces if part.phase not in BY_NAME}
    while any(phase in callers for phase in callers.values()):
        callers = {name: callers.get(phase, phase) if phase != name else "function" for name, phase in callers.items()}
    return [piece._replace(phase=callers.get(piece.phase, piece.phase)) for piece in pieces]


def _caller(name: str, parts: list[Stretch]) -> str:
    """The phase of the first line that mentions a function."""
    uses = re.compile(rf"\b{name}\b")
    return next(
        (part.phase for part in parts if part.phase not in (name, "imports") and any(map(uses.search, part.lines))),
        "function",
    )


def by_phase(source: str) -> dict[str, list[Stretch]]:
    """A script's stretches by phase, in the order of `PHASES`; every phase is there, perhaps without lines."""
    by_name: dict[str, list[Stretch]] = {name: [] for name in BY_NAME}
    for stretch in stretches(source):
        by_name[stretch.phase].append(stretch)
    return by_name


def code_lines(stretches: list[Stretch]) -> int:
    """How many lines of code there are: neither blank nor comments alone."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for part in stretches for line in part.lines)
