"""Both loops as one table: a row per piece of the manual loop, next to the lines of the Trainer loop for it.

The rows follow the manual loop, from its top to its bottom. The Trainer loop's lines of the same phase stand in the
first row of that phase; what only one of them has makes a row with one side empty. The loop with `accelerate`, if it
is shown, and any other loop are written in the order of the manual loop: piece stands next to piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from benchmarks.judge.finding import UNDECIDED
from benchmarks.judge.phases import BY_NAME, PHASES, Phase
from benchmarks.lesson.events import Event
from benchmarks.lesson.xray import XRay, script_frame, stack_text
from benchmarks.pages.alignment import Stretch, stretches

# Phases at the beginning of a script that are not part of the job.
HEAD = ("page", "imports", "function")
# Where this phase shares a line with another, as in many loops, the other one describes the line better.
LESS_TELLING = ("device",)
# The quantity that differs, and the phase whose line computes it, for differences without a cause.
PHASE_OF = {
    "batch": "shuffle",
    "mode": "train mode",
    "rng": "seed",
    "forward_losses": "forward",
    "losses": "loss",
    "grad_norm": "clip",
    "learning_rate": "schedule step",
    "weights": "step",
}
Line = tuple[int, Markup]


@dataclass
class Row:
    """A row of the table.

    Attributes:
        phase: what its lines do.
        manual, accelerate, trainer: the lines of the loops, each with its number; empty: this loop has none here.
        is_first: whether it is the first row of its phase, which explains the phase.
        inside: where the installed `Trainer` does it, according to the x-ray, and the line's code.
        instead: the text where the manual loop has no lines.
    """

    phase: Phase
    manual: list[Line] = field(default_factory=list)
    accelerate: list[Line] = field(default_factory=list)
    trainer: list[Line] = field(default_factory=list)
    is_first: bool = False
    inside: tuple[str, str] | None = None
    instead: str = "nothing in the manual loop"

    @property
    def is_head(self) -> bool:
        return self.phase.name in HEAD

    @property
    def id(self) -> str:
        """The name of its phase as an id."""
        return self.phase.name.replace(" ", "-")


def rows_of(
    sources: Mapping[str, str], xray: XRay | None, is_own_job: bool = False, are_loops: bool = False
) -> list[Row]:
    """The rows, in the order of the manual loop.

    Args:
        sources: both loops as they are shown, perhaps that with `accelerate`, too; empty: there is no code to show.
        xray: it shows which line does what in a loop without comments, and where `Trainer` does it.
        is_own_job: whether the job is the user's. A script's lines then stand beside those that the loop's file has of
            it, which are the last ones of both.
        are_loops: whether both loops are loops, and piece stands beside piece.
    """
    if not sources:
        return []
    coloured = {loop: colour(source) for loop, source in sources.items()}
    events = [pair.trainer for pair in xray.pairs if pair.trainer] if xray else []
    ours = _pieces(sources["manual"], xray)
    if is_own_job:
        ours = _joined(ours)
    rows = [Row(BY_NAME[piece.phase], _lines(piece, coloured["manual"])) for piece in ours]
    place = -1
    for piece in () if are_loops else stretches(sources["trainer"]):
        matching = [number for number, row in enumerate(rows) if row.phase.name == piece.phase]
        if matching:
            place = matching[-1 if is_own_job else 0]
        else:
            follows = piece.phase == "arguments" and place >= 0
            place = place + 1 if follows else _missing_place(piece.phase, rows, events)
            rows.insert(place, Row(BY_NAME[piece.phase]))
        rows[place].trainer += _lines(piece, coloured["trainer"])
    for event in events:
        if not any(row.phase.name == event.phase for row in rows):
            rows.insert(_missing_place(event.phase, rows, events), Row(BY_NAME[event.phase]))
    for loop in ("trainer",) if are_loops else ("accelerate",) if "accelerate" in sources else ():
        _place_loop(rows, loop, stretches(sources[loop]), coloured[loop])
    inside = trainers_own(events)
    visited: set[str] = set()
    for row in rows:
        row.is_first = row.phase.name not in visited
        row.inside = inside.get(row.phase.name)
        if row.phase.name == "arguments":
            row.instead = "nothing in the manual loop"
        elif are_loops:
            row.instead = "nothing here"
        elif xray and xray.config.loop:
            row.instead = _instead(row.phase.name, xray, events)
        visited.add(row.phase.name)
    return rows


def _place_loop(rows: list[Row], loop: str, pieces: Sequence[Stretch], coloured: Sequence[Markup]) -> None:
    """Put another loop next to the manual loop: pieces that follow each other in both share a row.

    A piece without such a match goes to the nearest row of its phase, or gets a row of its own.
    """
    manual_rows = [row for row in rows if row.manual]
    phases = [row.phase.name for row in manual_rows], [piece.phase for piece in pieces]
    matched = SequenceMatcher(None, *phases, autojunk=False).get_matching_blocks()
    matching = {b + n: manual_rows[a + n] for a, b, size in matched for n in range(size)}
    place = -1
    for number, piece in enumerate(pieces):
        places = [n for n, row in enumerate(rows) if row.phase.name == piece.phase]
        if number in matching:
            place = next(n for n, row in enumerate(rows) if row is matching[number])
        elif places:
            place = min(places, key=lambda candidate: abs(candidate - place - 1))
        else:
            place += 1
            rows.insert(place, Row(BY_NAME[piece.phase]))
        getattr(rows[place], loop).extend(_lines(piece, coloured))


def colour(source: str) -> list[Markup]:
    """A script's lines as coloured HTML; every element that the formatter opens ends on the same line."""
    lexer, formatter = PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)
    return [Markup(line) for line in highlight(source, lexer, formatter).splitlines()]


def _lines(piece: Stretch, coloured: Sequence[Markup]) -> list[Line]:
    """A piece's lines without the blank ones around them."""
    numbers = [piece.first + n for n, line in enumerate(piece.lines)]
    while numbers and not piece.lines[numbers[-1] - piece.first].strip():
        numbers.pop()
    while numbers and not piece.lines[numbers[0] - piece.first].strip():
        numbers.pop(0)
    return [(number, coloured[number - 1]) for number in numbers]


def _pieces(source: str, xray: XRay | None) -> list[Stretch]:
    """The manual loop cut into its pieces: at its comments; without comments, where the x-ray recorded events."""
    pieces = stretches(source)
    if xray is None or any(piece.phase not in HEAD for piece in pieces):
        return pieces
    begins = {piece.first: piece.phase for piece in pieces}
    evaluates = False
    for event in (pair.manual for pair in xray.pairs if pair.manual):
        if event.phase == "train mode":
            evaluates = event.what == "dropout off"
        frame = script_frame(event, xray.script)
        if frame and (frame.line not in begins or begins[frame.line] in LESS_TELLING):
            begins[frame.line] = "evaluate" if evaluates else event.phase
    lines, starts = source.splitlines(), sorted(begins)
    cuts = zip(starts, [*starts[1:], len(lines) + 1], strict=True)
    return _joined([Stretch(begins[a], a, lines[a - 1 : b - 1]) for a, b in cuts])


def _joined(pieces: Sequence[Stretch]) -> list[Stretch]:
    """Pieces that follow each other and belong to one phase are one."""
    joined: list[Stretch] = []
    for piece in pieces:
        if joined and joined[-1].phase == piece.phase:
            joined[-1].lines.extend(piece.lines)
        else:
            joined.append(piece._replace(lines=list(piece.lines)))
    return joined


def _missing_place(phase: str, rows: Sequence[Row], events: Sequence[Event]) -> int:
    """The place of a row without lines of the manual loop: after what happens before it in `Trainer`."""
    names = [row.phase.name for row in rows]
    for name in _before(phase, events):
        if name in names:
            return names.index(name) + 1
    order = [known_phase.name for known_phase in PHASES]
    earlier = order[: order.index(phase)]
    return max((names.index(name) + 1 for name in earlier if name in names), default=0)


def _before(phase: str, events: Sequence[Event]) -> list[str]:
    """The phases that happen before this one in the same part of the run, the nearest first."""
    first = next((number for number, event in enumerate(events) if event.phase == phase), None)
    if first is None:
        return []
    return [event.phase for event in reversed(events[:first]) if event.part == events[first].part]


def _instead(phase: str, xray: XRay, events: Sequence[Event]) -> str:
    """The text for a phase without lines in a user's file, so that it claims nothing false."""
    ours = [pair.manual for pair in xray.pairs if pair.manual and pair.manual.phase == phase]
    if any(script_frame(event, xray.script) for event in ours):
        return "among the lines of another row"
    if ours:
        return "not in this file: SameLoop does it"
    return "nothing in the manual loop" if any(event.phase == phase for event in events) else "–"


def trainers_own(events: Sequence[Event]) -> dict[str, tuple[str, str]]:
    """For each phase, where the installed `Trainer` does it, and the code of that line."""
    inside: dict[str, tuple[str, str]] = {}
    for event in events:
        own = [frame for frame in event.frames if frame.file == "trainer.py"]
        if own and event.phase not in inside:
            inside[event.phase] = (stack_text(tuple(own[-2:])), own[-1].code)
    return inside


def phase_at_fault(comparison: Mapping[str, Any], xray: XRay | None, rows: Sequence[Row]) -> str | None:
    """The phase whose lines make the first difference; None if there is none, or no row shows it.

    It is taken from the cause, if there is one; else from the x-ray, if its events diverge; else from what differs.
    """
    first = comparison["first_divergence"]
    if not first:
        return None
    quantity, names = first["quantity"], []
    for cause in first.get("findings", [])[:1]:
        topic, _, kind = cause["code"].partition(".")
        names += [] if kind == UNDECIDED else [topic, cause["phase"]]
    pair = xray.first_difference if xray else None
    if pair:
        names.append((pair.trainer or pair.either).phase)
    names.append(PHASE_OF.get(quantity, "evaluate" if quantity.startswith("eval") else quantity))
    visible = {row.phase.name for row in rows}
    return next((name for name in names if name in visible), None)
