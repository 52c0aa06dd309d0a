"""The documents use the words of PyTorch's and Hugging Face's documentation, not words of our own.

`PLACES` is what is read. To hold another folder to the same words, as `manual_loop/*.py`, add it there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What is not written, and the plain word for it.
PLAIN = {
    r"dials?": "argument (of Trainer), setting (of a run)",
    r"pages?": "script, loop; document",
    r"(un)?fold(s|ed|ing)?": "specialize, specialized for its settings",
    r"neighbou?rs?": "helper module",
    r"(loop|page|line|lines) by hand": "manual loop",
    r"slices?": "subset; training set, validation set",
    r"told right": "classified correctly; accuracy",
    r"length groups": "grouped by length",
    r"parts? from|runs? parts?|loops? parts?": "diverges from",
    r"rungs?|climb(s|ed|ing)?": "step",
    r"repair(s|ed)?": "fix",
    r"tapes?": "recording",
    r"twins?": "matching lines",
    r"anew": "again",
    r"besides": "also",
    r"thus far": "so far",
    r"wherefrom": "from where",
    r"chance does not do": "within seed-to-seed variation",
    r"before they are thrown": "before the new head is initialized",
    r"put it off": "switched it off",
}
WORD = re.compile(rf"(?<![\w/-])(?:{'|'.join(PLAIN)})(?![\w-])", re.IGNORECASE)
LOOPS = ("manual_loop/*.py", "trainer_loop/*.py")
PLACES = ("README.md", "SECURITY.md", "docs/*.md", "docs/*.ipynb", "benchmarks/proofs/templates/*.md", *LOOPS)
# What stays as it is wherever it stands, and why.
ALLOWED = {
    "--kind dials": "a kind of `sameloop plot`",
    "overview, confusion, dials": "the same",
    'picture("dials")': "the same",
    "gotcha slice": "the name of a gotcha",
    "page faults": "the operating system's word",
    "installation page": "a page of PyTorch's site",
}
# Documents that commands make of texts in the code, which is not held to these words yet.
OF_CODE = {
    "docs/lesson.md": "benchmarks/judge/phases.py and benchmarks/lesson/whatif.py",
    "docs/settings.md": "shared/config.py",
    "docs/gallery.md": "benchmarks/mistakes/catalogue.py",
    "docs/versions.md": "benchmarks/proofs/versions.py and benchmarks/stacks.jsonl",
}
FILES = sorted({path for place in PLACES for path in ROOT.glob(place)})


def words_of_ours(text: str) -> list[str]:
    """The words of `PLAIN` that a text has, those that are allowed apart."""
    for phrase in ALLOWED:
        text = text.replace(phrase, " ")
    return [match.group() for match in WORD.finditer(" ".join(text.split()))]


def text_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_has_no_words_of_ours(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in OF_CODE:
        assert words_of_ours(text_of(path)) == []


def test_a_word_of_ours_would_be_found() -> None:
    assert {path.name for path in FILES} >= {"README.md", "SECURITY.md", "lesson.ipynb", "index.md"}
    words = words_of_ours("The dials of this Page, folded anew;\nthe loop\nby hand. `--dial NAME` has page faults.")
    assert words == ["dials", "Page", "folded", "anew", "loop by hand"]
    assert words_of_ours("homepage, scaffold, my_page, docs/pages, sandial, party") == []
