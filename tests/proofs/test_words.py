"""Documents, comments and messages use the words of PyTorch's and Hugging Face's documentation, not words of our own.

Read are `PLACES` as a whole, and of the code (`CODE`) the comments and strings.
"""

from __future__ import annotations

import io
import json
import re
import tokenize
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
    "`dials`": "the same",
    "folder confusion, dials": "the same",
    "`fold.py`": "a module's name",
    ".slice(": "a method of JavaScript's",
    "two folds": "of a cross-validation",
    "page faults": "the operating system's word",
    "installation page": "a page of PyTorch's site",
}
CODE = ("shared/**/*.py", "benchmarks/**/*.py", "benchmarks/**/templates/*.*", "sameloop.py")
# In these, and in templates of HTML with its style and script, a page is an HTML page, a page of memory, a key of a
# record, or a folder's name, and no script.
OF_PAGES = {
    *("benchmarks/charts/canvas.py", "benchmarks/charts/styles.py", "benchmarks/lesson/pictures.py"),
    *("benchmarks/lesson/report.py", "benchmarks/lesson/steps.py", "benchmarks/mistakes/ladder.py"),
    *("benchmarks/mistakes/show.py", "benchmarks/proofs/notebook.py", "shared/memory.py", "shared/running/script.py"),
}
FILES = sorted({path for place in PLACES for path in ROOT.glob(place)})
SOURCES = sorted({path for place in CODE for path in ROOT.glob(place)})
# Python 3.12 and newer take an f-string apart.
STRINGS = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
# A string that is one name: a key, a fixture, a module.
ONE_NAME = re.compile(r"""[rbf]*["'][\w.]+["']""")


def words_of_ours(text: str) -> list[str]:
    """The words of `PLAIN` that a text has, those that are allowed apart."""
    for phrase in ALLOWED:
        text = text.replace(phrase, " ")
    return [match.group() for match in WORD.finditer(" ".join(text.split()))]


def text_of(path: Path) -> str:
    """All of a document; of a Python file below `CODE` the comments and strings, without names in them."""
    text = path.read_text(encoding="utf-8")
    if path in SOURCES and path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        texts = [token.string for token in tokens if token.type in (tokenize.COMMENT, *STRINGS)]
        return "\n".join(re.sub(r"\{[^{}]*\}", " ", each) for each in texts if not ONE_NAME.fullmatch(each))
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_has_no_words_of_ours(path: Path) -> None:
    assert words_of_ours(text_of(path)) == []


def test_comments_and_messages_have_no_words_of_ours() -> None:
    words = {str(path.relative_to(ROOT)): words_of_ours(text_of(path)) for path in SOURCES}
    for name in words:
        if name in OF_PAGES or not name.endswith((".py", ".jinja")):
            words[name] = [word for word in words[name] if word.lower() not in ("page", "pages")]
    assert {name: found for name, found in words.items() if found} == {}


def test_a_word_of_ours_would_be_found() -> None:
    assert {path.name for path in FILES} >= {"README.md", "SECURITY.md", "lesson.ipynb", "index.md"}
    words = words_of_ours("The dials of this Page, folded anew;\nthe loop\nby hand. `--dial NAME` has page faults.")
    assert words == ["dials", "Page", "folded", "anew", "loop by hand"]
    assert words_of_ours("homepage, scaffold, my_page, docs/pages, sandial, party") == []
