"""A function of a notebook as a file: its own source, and what it uses from the notebook.

A check runs a loop in a process of its own, which gets nothing but a file.
"""

from __future__ import annotations

import inspect
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.errors import SameLoopError
from shared.running.notebooks import names_used_by

NAME = "train"
# Values that are written as they print.
PLAIN = (bool, int, float, str, bytes, type(None))


def source_of(function: Callable[..., Any]) -> str | Path:
    """The file of a function that was imported; for one that a notebook or a script defines, the text of a file.

    The text has the function, the functions that it uses, the imports of what else it uses, and plain numbers and
    strings; no other line of the notebook runs.

    Raises:
        SameLoopError: it is not a function called `train`, or it uses something that a file cannot hold.
    """
    if not isinstance(function, types.FunctionType) or function.__name__ != NAME:
        name = getattr(function, "__name__", type(function).__name__)
        raise SameLoopError(f"a check takes a file, the text of one, or a function called {NAME}, not {name}")
    if function.__module__ != "__main__":
        return Path(inspect.getsourcefile(function) or "")
    heads: dict[str, str] = {}
    functions: dict[str, str] = {}
    _gather(NAME, function, heads, functions)
    return "\n\n\n".join(["\n".join(heads.values()), *functions.values()]).lstrip() + "\n"


def _gather(name: str, function: types.FunctionType, heads: dict[str, str], functions: dict[str, str]) -> None:
    """Add a function's source and what it needs.

    Args:
        name: its name where it is used.
        heads: by name, the imports and the plain values.
        functions: by name, their sources.
    """
    if function.__closure__:
        raise SameLoopError(f"{name} is made inside another function: define it in a cell of its own")
    if function.__name__ != name:
        raise SameLoopError(f"{name} is another name for {function.__name__}: use the name that it was defined with")
    try:
        text = textwrap.dedent(inspect.getsource(function)).strip()
    except (OSError, TypeError):
        raise SameLoopError(f"the source of {name} is not known: define it in a cell, or write it to a file") from None
    functions[name] = ""  # it may use itself
    names = names_used_by(text)
    # A name that is defined nowhere is an error of the loop, and the check reports it.
    for used, value in function.__globals__.items():
        if used not in names or used in heads or used in functions:
            continue
        if isinstance(value, types.FunctionType) and value.__module__ == "__main__":
            _gather(used, value, heads, functions)
        else:
            heads[used] = _line(used, value, name)
    functions[name] = text


def _line(name: str, value: Any, user: str) -> str:
    """The line of a file that binds `name` to `value`.

    Raises:
        SameLoopError: no line can do that.
    """
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
    module, own = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if module not in (None, "__main__") and own and "." not in own:
        return f"from {module} import {own}" if own == name else f"from {module} import {own} as {name}"
    if type(value) in PLAIN:
        return f"{name} = {value!r}"
    kind = "a class" if isinstance(value, type) else f"a {type(value).__name__}"
    raise SameLoopError(
        f"{user} uses {name}, {kind} of the notebook, which a check cannot take along: make it inside {user}, or "
        "write the loop to a file (%%writefile my_loop.py)"
    )
