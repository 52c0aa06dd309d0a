"""Turn what students hand in into files that can be judged: notebooks and zip files become Python files."""

from __future__ import annotations

import ast
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from shared.errors import SameLoopError, shown
from shared.progress import announce
from shared.running.notebooks import loop_of_notebook, parsed

SUFFIXES = (".py", ".ipynb", ".zip")
# The names that are preferred among several files that define `train`.
USUAL_NAMES = ("train.py", "loop.py")
# Limits on what is unpacked: a small zip file may expand to gigabytes.
MOST_MEMBERS, MOST_BYTES = 5000, 200_000_000


class Submission(NamedTuple):
    """What one student has handed in.

    Attributes:
        name: of the file without its suffix, or of the folder.
        file: the loop's; None if there is none.
        why: the reason why there is none, in a sentence.
        original_name: the name of the file that was handed in, if `file` was made from it.
    """

    name: str
    file: Path | None
    why: str = ""
    original_name: str = ""


def find_submissions(folder: Path, scratch: Path) -> list[Submission]:
    """The submissions in a folder, sorted by name: every Python file, notebook, zip file and folder.

    Args:
        folder: or a zip file; nothing is written into it.
        scratch: an empty folder, for files that are unpacked or converted.
    """
    if folder.is_file():
        unpack(folder, scratch / "class")
        folder = _inner_folder(scratch / "class")
    entries = _entries(folder)
    submitted = [path for path in entries if path.is_dir() or (path.is_file() and path.suffix.lower() in SUFFIXES)]
    left_out = [path.name for path in entries if path not in submitted]
    if left_out:
        names = shown(", ".join(left_out), 100)
        announce(f"left out, because a submission is a .py, .ipynb or .zip file, or a folder: {names}")
    # Compared without case, as some file systems do.
    stems = Counter((path.name if path.is_dir() else path.stem).casefold() for path in submitted)
    submissions = []
    for number, path in enumerate(submitted):
        name = path.name if path.is_dir() or stems[path.stem.casefold()] > 1 else path.stem
        submissions.append(find_loop(path, scratch / str(number))._replace(name=name))
    return submissions


def _entries(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if is_relevant(Path(path.name))]


def _inner_folder(folder: Path) -> Path:
    """The folder, or the only folder in it: often the folder itself was packed, not the files in it."""
    while len(entries := _entries(folder)) == 1 and entries[0].is_dir():
        folder = entries[0]
    return folder


def find_loop(place: Path, scratch: Path) -> Submission:
    """The loop of one submission. In a folder or a zip file it is the file that defines `train`; if several do, the
    one with a usual name; a notebook only if no Python file does.

    Args:
        place: a file or a folder.
        scratch: a folder that does not exist yet, for files that are unpacked or converted.
    """
    name, suffix = place.name, place.suffix.lower()
    try:
        if place.is_file() and suffix == ".py":
            return Submission(name, place)
        scratch.mkdir(parents=True)
        if place.is_file() and suffix == ".ipynb":
            return Submission(name, _write_loop(place, scratch), original_name=name)
        if place.is_file():
            unpack(place, scratch / "zip")
            place = scratch / "zip"
        entries = _entries(_inner_folder(place))
        files = [path for path in entries if path.is_file() and path.suffix == ".py"]
        notebooks = [path for path in entries if path.is_file() and path.suffix == ".ipynb"]
        file = _choose_loop(files, notebooks, scratch)
    except SameLoopError as error:
        return Submission(name, None, str(error))
    return Submission(name, file, original_name="" if file in files else f"{file.stem}.ipynb")


def _choose_loop(files: list[Path], notebooks: list[Path], scratch: Path) -> Path:
    if not files and not notebooks:
        raise SameLoopError("there is no Python file and no notebook")
    binding = files if len(files) == 1 and not notebooks else [file for file in files if defines_train(file)]
    if not binding and notebooks:
        for file in files:  # what it imports
            shutil.copy(file, scratch / file.name)
        written = [_write_loop(notebook, scratch) for notebook in notebooks]
        binding = written if len(written) == 1 and not files else [file for file in written if defines_train(file)]
    if not binding:
        raise SameLoopError("no file defines a function `train`")
    usually_named = [file for name in USUAL_NAMES for file in binding if file.name == name]
    if len(binding) > 1 and not usually_named:
        names = ", ".join(file.name for file in binding)
        raise SameLoopError(f"several files define a function `train` ({names}): call one of them train.py")
    return (usually_named or binding)[0]


def _write_loop(notebook: Path, scratch: Path) -> Path:
    file = scratch / f"{notebook.stem}.py"
    file.write_text(loop_of_notebook(notebook.read_bytes(), notebook.name), encoding="utf-8")
    return file


def defines_train(file: Path) -> bool:
    """Whether a file seems to define `train`; the file is read, but not run."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if (tree := parsed(text)) is None:
        return re.search(r"^def train\b", text, re.MULTILINE) is not None
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "train":
            return True
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "train" for target in targets):
            return True
    return False


def is_relevant(path: PurePosixPath | Path) -> bool:
    """Whether a file is not one of those that systems and editors add, such as `__MACOSX`."""
    return not any(part.startswith((".", "__")) for part in path.parts)


def unpack(file: Path, folder: Path) -> None:
    """Unpack the files of a zip file that may be a loop or one of its modules.

    Raises:
        SameLoopError: it is not a zip file, is encrypted, or holds too much.
    """
    folder.mkdir()
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            wanted = [member for member in members if member.filename.lower().endswith(SUFFIXES)]
            wanted = [member for member in wanted if is_relevant(PurePosixPath(member.filename))]
            if len(wanted) > MOST_MEMBERS or sum(member.file_size for member in wanted) > MOST_BYTES:
                raise SameLoopError(f"{file.name} holds more than a submission does; unpack it yourself")
            for member in wanted:
                archive.extract(member, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise SameLoopError(f"{file.name} cannot be unpacked ({error}); unpack it yourself") from None
