"""Notebooks as Python: all of their code, or the loop in one."""

from __future__ import annotations

import ast
import json
import re
import symtable
from collections.abc import Iterator

from shared.errors import SameLoopError

# A cell whose first line is one of these is Python otherwise; %%writefile, which names a file, is handled separately.
PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%python", "%%python3")
# A line that IPython alone understands: a command, a magic, a question.
IPYTHON = re.compile(r"[!%?]|[\w, ]+= *[!%]|[\w.]+\?+\s*$")


def code_of_notebook(content: bytes, name: str) -> str:
    """The Python text of all code cells of a notebook; what IPython alone understands is left out, line by line.

    Args:
        content: of the file.
        name: the file's, for the error.

    Raises:
        SameLoopError: it is no notebook.
    """
    return "\n".join(map(_python, _cells(content, name))) + "\n"


def loop_of_notebook(content: bytes, name: str) -> str:
    """The Python text of the loop in a notebook: `train`, with the imports and what it uses of the other cells.

    What is not used is left out: cells also load data, train and draw, which the loop does not need. Each line
    keeps its place among the code cells' lines. A cell that writes a file (%%writefile) with a `train` in it is that
    file.

    Arguments and errors as `code_of_notebook`.
    """
    for text in _cells(content, name):
        first, _, rest = text.lstrip().partition("\n")
        if first.startswith("%%writefile") and re.search(r"^def train\b|^train\s*=", rest, re.MULTILINE):
            return rest
    return _used(code_of_notebook(content, name))


def _cells(content: bytes, name: str) -> list[str]:
    try:
        cells = json.loads(content.decode("utf-8-sig"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SameLoopError(f"{name} is no notebook that can be read: save it again, or give a .py") from None


def _python(cell: str) -> str:
    """A cell's text without what IPython alone understands: as many lines."""
    first, _, _ = cell.lstrip().partition("\n")
    if first.startswith("%%") and not first.startswith(PYTHON_CELLS):
        return "\n" * cell.count("\n")
    lines = cell.split("\n")
    if parsed(cell) is not None:
        return cell
    going_on = False
    for number, line in enumerate(lines):
        code = line.lstrip()
        if going_on or IPYTHON.match(code):
            going_on = line.endswith("\\")
            # A block that has nothing else needs a statement.
            lines[number] = line[: len(line) - len(code)] + "pass" if line != code else ""
    text = "\n".join(lines)
    # A cell that is still not Python is left out, unless it has the loop: then the check names the line.
    has_loop = re.search(r"^def train\b", text, re.MULTILINE)
    return text if has_loop or parsed(text) is not None else "\n" * cell.count("\n")


def parsed(text: str) -> ast.Module | None:
    """A text as Python; None if it is none."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _used(text: str) -> str:
    """A text with only those of its statements that import, or bind what `train` uses; the others' lines are empty."""
    tree = parsed(text)
    if tree is None:
        return text
    wanted, kept = {"train"}, set()
    changed = True
    while changed:
        changed = False
        for statement in tree.body:
            imports = isinstance(statement, (ast.Import, ast.ImportFrom))
            if statement not in kept and (imports or wanted & set(_bound(statement))):
                kept.add(statement)
                wanted |= names_used_by(ast.unparse(statement))
                changed = True
    lines = text.split("\n")
    keeps = set()
    for used_statement in kept:
        decorators = getattr(used_statement, "decorator_list", [])
        first = min([used_statement.lineno, *(decorator.lineno for decorator in decorators)])
        keeps |= set(range(first - 1, used_statement.end_lineno or first))
    return "\n".join(line if number in keeps else "" for number, line in enumerate(lines))


def names_used_by(text: str) -> set[str]:
    """The module's names, and built-in ones, that a piece of code uses: not a function's own variables."""
    module = symtable.symtable(text, "a cell", "exec")
    names = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}
    inner = list(module.get_children())
    while inner:
        table = inner.pop()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        inner += table.get_children()
    return names


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module binds, or changes."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif not isinstance(statement, ast.Expr):
        yield from (
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )
