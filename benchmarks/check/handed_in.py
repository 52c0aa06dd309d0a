"""What students hand in, as files that can be judged: notebooks and zip files become Python files."""

from __future__ import annotations

import ast
import json
import re
import shutil
import symtable
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from shared.errors import SameLoopError, shown
from shared.progress import announce

SUFFIXES = (".py", ".ipynb", ".zip")
# Of several files that bind `train` these are meant.
USUAL_NAMES = ("train.py", "loop.py")
# Of a zip file so much is unpacked: one that is small may unfold to gigabytes.
MOST_MEMBERS, MOST_BYTES = 5000, 200_000_000
# A cell whose first line is one of these is Python besides; %%writefile, which names a file, is dealt with apart.
PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%python", "%%python3")
# A line that IPython alone understands: a command, a magic, a question.
IPYTHON = re.compile(r"[!%?]|[\w, ]+= *[!%]|[\w.]+\?+\s*$")


class Submission(NamedTuple):
    """What somebody has handed in.

    Attributes:
        name: of the file without its suffix, or of the folder.
        file: the loop's; None: there is none.
        why: there is none, in a sentence.
        shown: the name of what was handed in, where `file` was made from it.
    """

    name: str
    file: Path | None
    why: str = ""
    shown: str = ""


def find_submissions(folder: Path, scratch: Path) -> list[Submission]:
    """What was handed in: every Python file, notebook, zip file and folder in a folder; by name.

    Args:
        folder: nothing is written into it.
        scratch: an empty folder, for what has to be unpacked or written anew.
    """
    if folder.is_file():
        unpack(folder, scratch / "class")
        folder = _within(scratch / "class")
    entries = _entries(folder)
    taken = [each for each in entries if each.is_dir() or (each.is_file() and each.suffix.lower() in SUFFIXES)]
    left_out = [each.name for each in entries if each not in taken]
    if left_out:
        names = shown(", ".join(left_out), 100)
        announce(f"left out, for a submission is a .py, .ipynb or .zip file, or a folder: {names}")
    # As file systems see them, some of which do not tell capitals.
    stems = Counter((each.name if each.is_dir() else each.stem).casefold() for each in taken)
    found = []
    for number, each in enumerate(taken):
        name = each.name if each.is_dir() or stems[each.stem.casefold()] > 1 else each.stem
        found.append(find_loop(each, scratch / str(number))._replace(name=name))
    return found


def _entries(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.iterdir()) if is_meant(Path(each.name))]


def _within(folder: Path) -> Path:
    """A folder, or the one that lies in it alone: somebody has packed or handed in the folder, not what is in it."""
    while len(entries := _entries(folder)) == 1 and entries[0].is_dir():
        folder = entries[0]
    return folder


def find_loop(place: Path, scratch: Path) -> Submission:
    """The loop of one submission: of a folder, or a zip file, the file that binds `train`, or of several the one so
    named; a notebook only if no Python file does.

    Args:
        place: a file or a folder.
        scratch: a folder that is not there yet, for what has to be unpacked or written anew.
    """
    name, suffix = place.name, place.suffix.lower()
    try:
        if place.is_file() and suffix == ".py":
            return Submission(name, place)
        scratch.mkdir(parents=True)
        if place.is_file() and suffix == ".ipynb":
            return Submission(name, _written_anew(place, scratch), shown=name)
        if place.is_file():
            unpack(place, scratch / "zip")
            place = scratch / "zip"
    except SameLoopError as error:
        return Submission(name, None, str(error))
    entries = _entries(_within(place))
    files = [each for each in entries if each.is_file() and each.suffix == ".py"]
    notebooks = [each for each in entries if each.is_file() and each.suffix == ".ipynb"]
    return _chosen(files, notebooks, scratch)._replace(name=name)


def _chosen(files: list[Path], notebooks: list[Path], scratch: Path) -> Submission:
    if not files and not notebooks:
        return Submission("", None, "there is no Python file and no notebook")
    binding = files if len(files) == 1 and not notebooks else [each for each in files if binds_train(each)]
    if not binding and notebooks:
        for each in files:  # what it imports
            shutil.copy(each, scratch / each.name)
        try:
            written = [_written_anew(each, scratch) for each in notebooks]
        except SameLoopError as error:
            return Submission("", None, str(error))
        binding = written if len(written) == 1 and not files else [each for each in written if binds_train(each)]
    if not binding:
        return Submission("", None, "no file binds a function `train`")
    named = [each for usual in USUAL_NAMES for each in binding if each.name == usual]
    if len(binding) > 1 and not named:
        several = ", ".join(each.name for each in binding)
        return Submission("", None, f"several files bind a function `train` ({several}): call one of them train.py")
    file = (named or binding)[0]
    return Submission("", file, shown="" if file in files else f"{file.stem}.ipynb")


def _written_anew(notebook: Path, scratch: Path) -> Path:
    file = scratch / f"{notebook.stem}.py"
    file.write_text(loop_of_notebook(notebook), encoding="utf-8")
    return file


def binds_train(file: Path) -> bool:
    """Whether a file seems to hold a loop, told by reading it only."""
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return re.search(r"^def train\b", text, re.MULTILINE) is not None
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "train":
            return True
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(each, ast.Name) and each.id == "train" for each in targets):
            return True
    return False


def is_meant(path: PurePosixPath | Path) -> bool:
    """Whether a file's name is none of those that systems and editors leave beside what is handed in."""
    return not any(part.startswith((".", "__")) for part in path.parts)


def unpack(file: Path, folder: Path) -> None:
    """Unpack what may be a loop, or one of its modules, from a zip file.

    Raises:
        SameLoopError: it is no zip file, is locked, or holds too much.
    """
    folder.mkdir()
    try:
        with zipfile.ZipFile(file) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            wanted = [each for each in members if each.filename.lower().endswith(SUFFIXES)]
            wanted = [each for each in wanted if is_meant(PurePosixPath(each.filename))]
            if len(wanted) > MOST_MEMBERS or sum(each.file_size for each in wanted) > MOST_BYTES:
                raise SameLoopError(f"{file.name} holds more than a submission does: unpack it by hand")
            for each in wanted:
                archive.extract(each, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise SameLoopError(f"{file.name} cannot be unpacked ({error}): unpack it by hand") from None


def loop_of_notebook(file: Path) -> str:
    """The Python text of the loop in a notebook: `train`, with the imports and what it uses of the other cells.

    What is not used stays out: cells load data, train and draw, which a check has no use for. Each line keeps its
    place among the code cells' lines. A cell that writes a file (%%writefile) with a `train` in it is that file.

    Raises:
        SameLoopError: it is no notebook.
    """
    try:
        cells = json.loads(file.read_text(encoding="utf-8-sig"))["cells"]
        texts = ["".join(each["source"]) for each in cells if each["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SameLoopError(f"{file.name} is no notebook that can be read: save it again, or hand in a .py") from None
    for text in texts:
        first, _, rest = text.lstrip().partition("\n")
        if first.startswith("%%writefile") and re.search(r"^def train\b|^train\s*=", rest, re.MULTILINE):
            return rest
    return _used("\n".join(_python(text) for text in texts) + "\n")


def _python(cell: str) -> str:
    """A cell's text without what IPython alone understands: as many lines."""
    first, _, _ = cell.lstrip().partition("\n")
    if first.startswith("%%") and not first.startswith(PYTHON_CELLS):
        return "\n" * cell.count("\n")
    lines = cell.split("\n")
    if _parsed(cell) is not None:
        return cell
    going_on = False
    for number, line in enumerate(lines):
        code = line.lstrip()
        if going_on or IPYTHON.match(code):
            going_on = line.endswith("\\")
            # In a block that has nothing else, something must stand.
            lines[number] = line[: len(line) - len(code)] + "pass" if line != code else ""
    text = "\n".join(lines)
    # One that is wrong still is left out, unless it has the loop: then the check says where.
    has_loop = re.search(r"^def train\b", text, re.MULTILINE)
    return text if has_loop or _parsed(text) is not None else "\n" * cell.count("\n")


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _used(text: str) -> str:
    """A text with only those of its statements that import, or bind what `train` uses; the others' lines are empty."""
    tree = _parsed(text)
    if tree is None:
        return text
    wanted, kept = {"train"}, set()
    found = True
    while found:
        found = False
        for statement in tree.body:
            imports = isinstance(statement, (ast.Import, ast.ImportFrom))
            if statement not in kept and (imports or wanted & set(_bound(statement))):
                kept.add(statement)
                wanted |= _asked_for(statement)
                found = True
    lines = text.split("\n")
    keeps = set()
    for each in kept:
        decorators = getattr(each, "decorator_list", [])
        first = min([each.lineno, *(decorator.lineno for decorator in decorators)])
        keeps |= set(range(first - 1, each.end_lineno or first))
    return "\n".join(line if number in keeps else "" for number, line in enumerate(lines))


def _asked_for(statement: ast.stmt) -> set[str]:
    """The module's names that a statement uses: not a function's own variables."""
    module = symtable.symtable(ast.unparse(statement), "a cell", "exec")
    names = {each.get_name() for each in module.get_symbols() if each.is_referenced()}
    inner = list(module.get_children())
    while inner:
        table = inner.pop()
        names |= {each.get_name() for each in table.get_symbols() if each.is_global()}
        inner += table.get_children()
    return names


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module binds, or changes."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif not isinstance(statement, ast.Expr):
        yield from (
            each.id for each in ast.walk(statement) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        )
