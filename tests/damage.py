"""What can happen to a file that was kept: it is cut short, one byte or one value is another, it is something else."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ODD = (None, -1, 0, 1.5, "x", "", [], {}, [None], {"a": 1}, True, 1e400, float("nan"), "9" * 50, [[[]]], 10**30)
# Deeper than Python follows, longer than it counts, and no text.
EXTREMES = (b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xff\xfe{}", b"")


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Everything that can happen to a file of JSON, or of lines of JSON, with this content."""
    places = st.integers(0, len(content) - 1)
    return st.one_of(
        st.sampled_from(EXTREMES),
        places.map(lambda place: content[:place]),
        st.tuples(places, st.integers(1, 255)).map(lambda change: _with_another_byte(content, *change)),
        json_values.map(lambda value: json.dumps(value).encode()),
        # By far the most: what is no JSON is refused before anything is done with it.
        *[st.integers(0, 10**9).map(lambda seed: _with_another_value(content, random.Random(seed)))] * 4,
    )


def _with_another_byte(content: bytes, place: int, by: int) -> bytes:
    return content[:place] + bytes([content[place] ^ by]) + content[place + 1 :]


def _with_another_value(content: bytes, dice: random.Random) -> bytes:
    """One value is changed or gone, in one of the lines where there are several."""
    lines = content.splitlines() if b"\n{" in content else [content]
    kinds = [json.loads(line).get("kind") for line in lines]
    wanted = dice.choice(sorted(set(kinds), key=str))
    number = dice.choice([number for number, kind in enumerate(kinds) if kind == wanted])
    whole = json.loads(lines[number])
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            walk(value[key])

    walk(whole)
    holder, key = dice.choice(places)
    if isinstance(holder, dict) and dice.random() < 0.3:
        del holder[key]
    else:
        holder[key] = dice.choice(ODD)
    lines[number] = json.dumps(whole).encode()
    return b"\n".join(lines) + b"\n"
