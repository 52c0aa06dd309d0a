"""Specializing keeps what code computes, whatever is written in a script."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.mistakes.catalogue import MISTAKES
from benchmarks.mistakes.mistake import Pieces, edited
from benchmarks.mistakes.rewrites import REWRITES
from benchmarks.pages.fold import folded_source
from shared.config import RunConfig
from shared.running.script import package_script

PIECES = {
    "a swap": "a, b = 1, 2\na, b = b, a\nreturn a, b",
    "a loop that changes what was known": "a = 0\nfor n in range(3):\n    a += n\n    b = a\nreturn a, b",
    "known only before the loop": "a, out = 1, []\nfor n in range(3):\n    out.append(a)\n    a = n\nreturn out",
    "two names, one list": "a = b = []\na.append(config.seed)\nreturn b",
    "an alias that parts": "a = [1]\nb = a\na = [2]\nreturn a, b",
    "a lambda sees later values": "a = 1\nf = lambda: a\na = 2\nreturn f()",
    "a lambda's own name": "step = 5\nf = lambda step: step + 1\nreturn f(1), step",
    "items": 'd = {"x": 1}\nd["y"] = 2\nd["y"] = 3\nreturn dict(**d, z=4)',
    "items of a list": "a = [1, 2]\na[0] = 3\nreturn a",
    "an if in every form": (
        "if config.bf16: return 1\nelif config.seed == 42 and not config.fp16: b = 2; b += 1\nelse: b = 3\nreturn b"
    ),
    "the else that is left": "if config.bf16:\n    b = 1\nelse:\n    b = 2\nreturn b",
    "a value and a truth": "a = config.bf16 or 7\nb = config.seed and 8\nreturn a, b, not config.bf16",
    "numbers": "return 7 // 2, 7 % 1, 0 * 5, 5 / 1, 1 * 5, 2.0 * 3, 1 - 0.1, -3 % 2",
    "calls without arguments": "return str(), int(), list(), str(3), list(enumerate('a', 0)), list(enumerate('a'))",
    "chains": "a = 0.5\nreturn 0 < a < 1, 0 < a < 0.2, 1 in (1, 2), a is None",
    "an error stays where it is": "try:\n    a = 1 / 0\nexcept ZeroDivisionError:\n    a = 'caught'\nreturn a",
    "only for what it does": "out = []\nunused = out.append(1)\nalso_unused = len(out)\nreturn out",
    "not computed twice": (
        "out = []\ndef f():\n    out.append(1)\n    return len(out)\na = f()\nb = a + a\nreturn b, out"
    ),
    "comprehensions": "x = 5\na = [x for x in range(3)]\nb = [x + n for n in range(2)]\nreturn a, b, x",
    "what a loop does last": (
        "out, loader = [], ['p', 'q', 'r']\nfor number, batch in enumerate(loader, start=1):\n    out.append(batch)\n"
        "    last = number == len(loader)\n    if last:\n        out.append(number)\nreturn out"
    ),
    "what a loop does last, with a break": (
        "out, loader = [], ['p', 'q', 'r']\nfor number, batch in enumerate(loader, start=1):\n    out.append(batch)\n"
        "    if batch == 'q':\n        break\n    if number == len(loader):\n        out.append(number)\nreturn out"
    ),
    "while, with, match": (
        "import contextlib\nn = 0\nwhile n < 3:\n    n += 1\nwith contextlib.nullcontext(n) as m:\n    m += 1\n"
        "match m:\n    case 4:\n        m = 'four'\nreturn n, m"
    ),
    "starred": "first, *rest = 1, 2, 3\nreturn [first, *rest], {**{'a': 1}, 'b': rest}",
    "texts": 'name = "x"\nreturn f"eval_{name}", f"{name!r:>5}", f"{config.seed}"',
    "an attribute called like a name": "import math\nseed = 3\nreturn config.seed, math.pi > seed",
}


def run(source: str) -> Any:
    names: dict[str, Any] = {}
    exec(compile(source, "<page>", "exec"), names)
    return names["train"](RunConfig.build("tiny"))


def script_with(source: str) -> Any:
    script = package_script("manual")
    return replace(script, files={**script.files, script.name: source.encode()})


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
def test_what_is_folded_computes_the_same(piece: str) -> None:
    source = f"def train(config):\n{textwrap.indent(piece, '    ')}\n"
    folded = folded_source(script_with(source), RunConfig.build("tiny"))
    assert run(folded) == run(source), folded


EDITS = [*REWRITES.values(), *(m.whole for m in MISTAKES.values() if m.whole and not m.compared.stopped)]


@pytest.mark.parametrize("pieces", EDITS[::4])
def test_a_page_that_somebody_has_edited_is_folded_too(pieces: Pieces) -> None:
    """Every fourth edit; all of them were tried."""
    source = folded_source(edited(package_script("manual"), pieces), RunConfig.build("tiny"))
    compile(source, "<page>", "exec")
    assert "config.gradient_accumulation_steps" not in source


@pytest.mark.parametrize("source", ["def train(config:\n", "def train(config):\n    return config.no_such_dial\n"])
def test_what_cannot_be_folded_is_shown_as_it_is(source: str) -> None:
    assert folded_source(script_with(source), RunConfig.build("tiny")) == source
