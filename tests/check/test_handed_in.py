"""What students hand in: files, notebooks and zip files, as they and the systems of universities make them."""

from __future__ import annotations

import io
import json
import zipfile
from itertools import count
from pathlib import Path

import pytest

from benchmarks.check import handed_in
from benchmarks.check.check import check_script
from benchmarks.check.handed_in import find_loop, find_submissions
from benchmarks.check.rubric import IDENTICAL
from benchmarks.check.start import notebook_text
from benchmarks.check.submissions import check_folder
from benchmarks.cli import main
from benchmarks.mistakes.mistake import MINIMAL
from shared.errors import SameLoopError
from shared.running.notebooks import loop_of_notebook
from shared.running.script import own_script

LOOP = "def train(model, tokenizer, train_dataset, eval_dataset, config):\n    return []\n"
IMPORTS, BODY = MINIMAL.read_text(encoding="utf-8").split("\n\n\ndef train")
# Like a course's notebook: the cells around the loop need things that a check does not have.
CELLS = (
    "!pip install torch \\\n  transformers\n%matplotlib inline",
    "%%bash\nls",
    IMPORTS,
    "files = !ls\nmodel = load_the_model()\nmodel?\nif files:\n    !ls",
    "RATE = 1e-3  # asked for by nobody\nnot Python at all",
    "def unused():\n    return load_the_model()",
    f"%%time\ndef train{BODY}",
    "train(model, 2, 3, 4, 5)",
)


def notebook(*cells: str) -> str:
    code_cells = [{"cell_type": "code", "source": text.splitlines(keepends=True)} for text in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "# Mine"}, *code_cells], "nbformat": 4})


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.fixture
def loop_of(tmp_path: Path):
    """Find the loop of one submission; each call has its own folder for files that are converted."""
    numbers = count()
    return lambda place: find_loop(place, tmp_path / f"scratch-{next(numbers)}")


def test_a_submission_is_the_file_that_defines_train(tmp_path: Path, loop_of) -> None:
    def folder(name: str, *files: str, **contents: str) -> Path:
        (tmp_path / "hw" / name).mkdir(parents=True)
        for file in files:
            (tmp_path / "hw" / name / file).write_text("x = 1\n")
        for file, content in contents.items():
            (tmp_path / "hw" / name / f"{file}.py").write_text(content)
        return tmp_path / "hw" / name

    assert loop_of(folder("one", "helper.py", mine=LOOP)).file.name == "mine.py"
    assert loop_of(folder("named", a=LOOP, train=LOOP, loop=LOOP)).file.name == "train.py"
    assert loop_of(folder("broken", "helper.py", mine="def train(:\n")).file.name == "mine.py"
    assert loop_of(folder("bound", "helper.py", mine="train = print\n")).file.name == "mine.py"
    assert loop_of(folder("alone", "helper.py")).file.name == "helper.py"
    assert loop_of(folder("outer/inner", mine=LOOP).parent).file.name == "mine.py"
    assert "several files" in loop_of(folder("two", a=LOOP, b=LOOP)).why
    assert "no file defines" in loop_of(folder("none", "a.py", "b.py")).why
    assert "no Python file" in loop_of(folder("empty")).why


def test_a_notebook_is_its_loop_and_what_that_uses(tmp_path: Path, loop_of) -> None:
    file = tmp_path / "Ann Müller.ipynb"
    file.write_text(notebook(*CELLS), encoding="utf-8")
    submission = loop_of(file)
    assert (submission.file.name, submission.original_name) == ("Ann Müller.py", file.name)
    text = submission.file.read_text(encoding="utf-8")
    assert "load_the_model" not in text and "RATE" not in text and "pip" not in text
    # A line's number is its number among the lines of the code cells.
    before = sum(cell.count("\n") + 1 for cell in CELLS[:-2])
    assert text.split("\n")[before + 1].startswith("def train(")
    assert check_script(own_script(submission.file)).verdict == IDENTICAL


def test_what_a_loop_uses_comes_along_however_far_away_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.ipynb"
    used = ("import math", "RATE = half(2)", "def half(x):\n    return x / TWO", "TWO = 2")
    file.write_text(notebook(*used, "OTHER = 3", LOOP + "    RATE"))
    text = loop_of_notebook(file.read_bytes(), file.name)
    assert all(line in text for line in used) and "OTHER" not in text


def test_the_notebook_of_start_is_the_file_that_it_writes(tmp_path: Path) -> None:
    file = tmp_path / "my_loop.ipynb"
    file.write_text(notebook_text(), encoding="utf-8")
    text = loop_of_notebook(file.read_bytes(), file.name)
    assert "def train(" in text and "!sameloop" not in text and "%%" not in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ipynb", b"not JSON", "is no notebook"),
        ("a.ipynb", b'{"cells": 3}', "is no notebook"),
        ("a.ipynb", b"[" * 100_000, "is no notebook"),
        ("a.zip", b"no zip file", "cannot be unpacked"),
        ("a.zip", zipped(**{"a.txt": "x"}), "no Python file"),
    ],
)
def test_an_unreadable_file_is_one_line(name: str, content: bytes, message: str, tmp_path: Path, loop_of) -> None:
    (tmp_path / name).write_bytes(content)
    submission = loop_of(tmp_path / name)
    assert submission.file is None and message in submission.why and "\n" not in submission.why


def test_a_zip_file_gives_its_loop_and_nothing_outside(tmp_path: Path, loop_of, monkeypatch) -> None:
    files = {"hw1/train.py": LOOP, "__MACOSX/hw1/train.py": "x", "hw1/.ipynb_checkpoints/train.py": "x", "a.txt": "x"}
    (tmp_path / "a.zip").write_bytes(zipped(**files))
    assert loop_of(tmp_path / "a.zip").file.read_text() == LOOP
    (tmp_path / "b.zip").write_bytes(zipped(**{"../../out.py": LOOP, "/abs/notes.md": "x"}))
    assert loop_of(tmp_path / "b.zip").file is None and not list(tmp_path.parent.rglob("out.py"))
    monkeypatch.setattr(handed_in, "MOST_BYTES", 10)
    assert "more than a submission" in loop_of(tmp_path / "a.zip").why


def test_every_file_of_a_class_has_a_row_or_is_named(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "hw"
    (folder / "empty").mkdir(parents=True)
    (folder / "__MACOSX").mkdir()
    (folder / "Zoë Lee_12_assignsubmission_file_").mkdir()
    (folder / "Zoë Lee_12_assignsubmission_file_" / "train.py").write_text(LOOP)
    for name in ("Bob.py", "bob.ipynb", "cid.ZIP", "notes.txt"):
        (folder / name).write_text(LOOP)
    (tmp_path / "scratch").mkdir()
    submissions = find_submissions(folder, tmp_path / "scratch")
    names = ["Bob.py", "Zoë Lee_12_assignsubmission_file_", "bob.ipynb", "cid", "empty"]
    assert [submission.name for submission in submissions] == names
    assert [submission.file is None for submission in submissions] == [False, False, True, True, True]
    assert "notes.txt" in capsys.readouterr().err


def test_a_class_may_come_as_a_zip_file(tmp_path: Path, capsys) -> None:
    options = {"points": None, "seconds": 1.0, "megabytes": 1}
    with pytest.raises(SameLoopError, match="cannot be unpacked"):
        (tmp_path / "no.zip").write_bytes(b"x")
        check_folder(tmp_path / "no.zip", tmp_path / "out", {}, **options)
    (tmp_path / "hw.zip").write_bytes(zipped(**{"hw/ann/a.py": "x", "hw/ann/b.py": "x", "hw/c.zip": ""}))
    results = check_folder(tmp_path / "hw.zip", tmp_path / "out", {}, **options)
    assert list(results) == ["ann", "c"] and {result.verdict for result in results.values()} == {"failed"}


def test_a_notebook_that_is_none_is_wrong_input(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.ipynb").write_text("{}")
    assert main(["check", str(tmp_path / "a.ipynb")]) == 2
    assert "is no notebook" in capsys.readouterr().err
