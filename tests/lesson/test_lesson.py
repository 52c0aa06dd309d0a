"""The lesson's notebook: as it lies in the repository, run by its first half, and (slow) as a whole with its page."""

from __future__ import annotations

import ast
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.proofs.documents import SHOWN_LOOPS
from benchmarks.proofs.notebook import NOTEBOOK, PAGE, document_of, read_notebook, run_notebook
from shared.starting.children import ROOT

if TYPE_CHECKING:
    from nbformat import NotebookNode

TEXT = NOTEBOOK.read_text(encoding="utf-8")
CELLS = json.loads(TEXT)["cells"]
SOURCES = {cell["id"]: "".join(cell["source"]) for cell in CELLS}
CODE = {cell["id"]: SOURCES[cell["id"]] for cell in CELLS if cell["cell_type"] == "code"}
# The last cell of the first half: everything through the comparison and its numbers.
HALF = "difference"


def _said(notebook: NotebookNode, cell_id: str) -> str:
    """All that a cell has shown, as text; of HTML what one reads."""
    (cell,) = (cell for cell in notebook.cells if cell["id"] == cell_id)
    parts = []
    for output in cell["outputs"]:
        output_data = {"text/plain": output["text"]} if output["output_type"] == "stream" else output["data"]
        parts += [_read(text) if kind == "text/html" else text for kind, text in output_data.items()]
    return "\n".join(parts)


def _read(page: str) -> str:
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL))


def test_it_lies_here_without_outputs_and_can_be_read_as_a_file() -> None:
    content = json.loads(TEXT)
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert json.dumps(content, indent=1, ensure_ascii=False) + "\n" == TEXT
    assert len(SOURCES) == len(CELLS)
    for cell in CELLS:
        assert isinstance(cell["source"], list) and all(len(line) <= 121 for line in cell["source"]), cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, cell["id"]
    read_notebook()


def test_its_two_pages_are_the_files() -> None:
    for cell, name in zip(("by-hand", "through-trainer"), SHOWN_LOOPS, strict=True):
        magic, _, source = CODE[cell].partition("\n")
        assert magic.startswith("%%writefile lesson/")
        assert source + "\n" == (ROOT / name).read_text(encoding="utf-8")


def test_its_sections_take_90_minutes() -> None:
    rows = re.findall(r"^\| (\d) \| (.+) \| (\d+) \|$", SOURCES["title"], flags=re.MULTILINE)
    assert sum(int(minutes) for _, _, minutes in rows) == 90
    markdown = "\n".join(SOURCES.values())
    headings = re.findall(r"^## (\d)\. (.+)$", markdown, flags=re.MULTILINE)
    assert [number for number, _ in headings] == [number for number, _, _ in rows]
    assert markdown.count("<details>") == markdown.count("</details>") == markdown.count("<summary>") >= 7


def test_the_lines_to_break_are_in_the_page_once() -> None:
    page = (ROOT / SHOWN_LOOPS[0]).read_text(encoding="utf-8")
    calls = [
        node.args[0].value
        for cell in CODE.values()
        if not cell.startswith("%%")
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "without"
    ]
    assert len(calls) == 3
    for line in calls:
        assert page.count(line) == 1, line
        ast.parse(page.replace(line, "pass"))


def test_without_sameloop_it_says_what_to_do_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sameloop", None)
    with pytest.raises(RuntimeError, match="write its repository's address into REPOSITORY") as raised:
        exec(CODE["install"], {})
    assert raised.value.__suppress_context__


def test_the_page_shows_the_notebook_as_it_is() -> None:
    """The page is made by `make notebook-page`; this finds one that was not made again."""
    page = _read(PAGE.read_text(encoding="utf-8"))
    for cell_id, source in CODE.items():
        assert source.strip() in page, f"{cell_id}: run `make notebook-page`"


def test_its_first_half_runs(tmp_path: Path) -> None:
    """The pages and the comparison, in a kernel of its own; 15 to 40 seconds."""
    notebook = run_notebook(read_notebook(), tmp_path, until=HALF)
    printed = _said(notebook, "run-both")
    assert "identical: all 32 steps, every evaluation and every weight are equal" in printed
    # One bar per loop, as it stood at the end.
    assert [line.split("|")[-1].split("[")[0].strip() for line in printed.splitlines() if "100%" in line] == [
        "32/32 steps"
    ] * 2
    assert _said(notebook, HALF).strip() == "largest difference: 0.0"
    assert [path.name for path in tmp_path.iterdir()] == ["lesson"]


@pytest.mark.slow
def test_the_whole_runs_and_its_page_needs_nothing_else(tmp_path: Path) -> None:
    """About 2 minutes, 4 on a busy machine."""
    notebook = run_notebook(read_notebook(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lesson"]
    assert "diverged at step 2, grad_norm" in _said(notebook, "zero-grad-run")
    assert "diverged at step 1, mode" in _said(notebook, "train-mode-run")
    assert re.search(r"diverged at step \d+, grad_norm: .*\nlikely cause: the clip", _said(notebook, "clip-run"))
    # "With the tiny model, no: the accuracies are the same in all tables."
    tables = "\n".join(_said(notebook, f"{name}-run") for name in ("zero-grad", "train-mode", "clip"))
    accuracies = re.findall(r"^(?:16|32) .* (0\.\d{6})  (0\.\d{6})$", tables, flags=re.MULTILINE)
    assert len(accuracies) == 6 and len({accuracy for pair in accuracies for accuracy in pair}) == 1
    assert "7 repairs, with all of them identical" in _said(notebook, "ladder")
    assert "loss / min(4, len(train_loader)" in _said(notebook, "eject")
    assert "NotImplementedError: Seed: this gap is still to be filled" in _said(notebook, "check-gaps")
    assert "identical; 15 of 15 points" in _said(notebook, "check-solution")
    assert "different; 14 of 15 points" in _said(notebook, "check-mistake")
    page = document_of(notebook)
    assert len(page.encode()) < 3_000_000
    assert not re.search(r'<script|@import|(src|href)="(?!data:|#)', page)
    assert page.count("<details>") >= 7 and page.count("<img ") == page.count(" alt=")
