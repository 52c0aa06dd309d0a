"""Limits on a recording, checked before it is read, because the loop's process may have written it itself."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.check.recording import LENGTHS

# A right loop has 107 events; the longest has 2,400 characters and 8 MB of tensors.
MOST_EVENTS, LONGEST_HEAD, ALL_HEADS, LARGEST_BODY = 100_000, 200_000, 50_000_000, 100_000_000
# The most digits of an integer; 64 bits have 19.
MOST_DIGITS = 20
EXCEEDED = "its recording is larger than that of any training"


class _LongNumberError(ValueError):
    """An integer in a recording has more digits than any number of a training."""


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise _LongNumberError(f"a number of {len(text)} digits")
    return int(text)


def exceeded_limit(path: Path) -> str | None:
    """A sentence about the limit that a recording exceeds; None if it exceeds none, even if it is damaged."""
    with path.open("rb") as file:
        number = heads = 0
        while len(lengths := file.read(LENGTHS.size)) == LENGTHS.size:
            head, body = LENGTHS.unpack(lengths)
            number, heads = number + 1, heads + head
            if head > LONGEST_HEAD:
                return f"{EXCEEDED}: an event of {head} characters"
            if heads > ALL_HEADS:
                return f"{EXCEEDED}: events of {heads} characters and more"
            if body > LARGEST_BODY:
                return f"{EXCEEDED}: an event of {body / 1e6:.0f} MB"
            if number > MOST_EVENTS:
                return f"{EXCEEDED}: {number} events and more"
            try:
                json.loads(file.read(head), parse_int=_whole_number)
            except _LongNumberError as error:
                return f"{EXCEEDED}: {error}"
            except (ValueError, RecursionError):
                return None  # `read_recording` reports that it is not JSON
            file.seek(body, 1)
    return None
