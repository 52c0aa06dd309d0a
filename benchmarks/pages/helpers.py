"""What a script uses: the functions of its helper modules, its imports, and the defaults of the functions it calls."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import libcst as cst

from benchmarks.pages.expressions import NOTHING, code_of, value_of
from benchmarks.pages.names import names_in, parsed, walk
from benchmarks.pages.statements import name_and_value, name_of
from shared.releases import RENAMINGS, SINCE, Release
from shared.running.script import LoopScript

# Modules whose functions replace SameLoop's own where a script is shown or stands alone.
SHARED = Path(__file__).parents[2] / "shared"
INSTEAD = (Path(__file__).with_name("standalone.py"), SHARED / "determinism.py", SHARED / "early_stopping.py")
OURS = ("shared", "manual_loop", "trainer_loop")
# What a loop imports from `shared.releases`, and an ejected script from transformers.
TRANSFORMERS_OWN = ("shared.releases", "TrainingArguments")
# Methods that a script calls under these names.
METHODS = {"trainer.train": "Trainer.train"}


class Definition(NamedTuple):
    """A function, class or constant that a module defines; and whether it replaces one of ours."""

    node: cst.BaseStatement
    is_instead: bool


class HelperModules:
    """The helper modules of a script.

    Args:
        script: with its helper modules.
        called: names of functions that stay calls.
        release: of transformers, as far as the manual loop depends on it.

    Attributes:
        library: what the helper modules define, and what replaces the script's imports, by name.
    """

    def __init__(self, script: LoopScript, called: Collection[str], release: Release) -> None:
        self._release = release
        self.library: dict[str, Definition] = {}
        self._imports: dict[str, tuple[str, str | None]] = {}
        self._calls_of: dict[str, Counter[str]] = {}
        self._read(parsed(script.files[script.name]))
        package = script.name.rpartition("/")[0]
        for name, content in script.files.items():
            if name != script.name and name.startswith(package):
                self._read(parsed(content), is_instead=False)
        for path in INSTEAD:
            self._read(parsed(path.read_bytes()), is_instead=True)
        for name in called:
            self.library.pop(name, None)

    @property
    def classes(self) -> dict[str, cst.ClassDef]:
        """Those that the helper modules define, by name."""
        return {name: entry.node for name, entry in self.library.items() if isinstance(entry.node, cst.ClassDef)}

    def _read(self, module: cst.Module, is_instead: bool | None = None) -> None:
        """Read a module's definitions and imports; `is_instead` is None for the script itself."""
        for statement in module.body:
            for imported, origin in _imported_by(statement):
                if origin == TRANSFORMERS_OWN:
                    origin = ("transformers", imported)
                if not origin[0].startswith("__"):
                    self._imports.setdefault(imported, origin)
            defined = statement.name.value if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) else ""
            self._calls_of[defined] = _calls_in(statement)
            name = defined or (name_and_value(statement) or ("",))[0]
            if is_instead is not None and name:
                self.library[name] = Definition(statement, is_instead)

    def constant(self, node: cst.BaseExpression) -> Any:
        """The value of a literal, or of a name that a module of ours binds to one."""
        value = value_of(node)
        if value is NOTHING and isinstance(node, cst.Name) and node.value in self._imports:
            module, name = self._imports[node.value]
            if module.startswith("shared.") and name is not None and node.value.isupper():
                return getattr(importlib.import_module(module), name)
        return value

    def fact(self, name: str) -> Any:
        """A constant of `shared.releases` for this release of transformers; `NOTHING` for any other name."""
        return SINCE[name] <= self._release if name in SINCE else NOTHING

    def defaults(self, name: str) -> dict[str, Any]:
        """The default values of the parameters of what a dotted name stands for; none if it is not a library's."""
        first, *others = METHODS.get(name, name).split(".")
        module, attribute = self._imports.get(first, ("", None))
        if not module or first in self.library or module.partition(".")[0] in OURS:
            return {}
        renamed = {renaming.today: renaming.default for renaming in RENAMINGS if renaming.owner == name}
        return _defaults_of(module, *([attribute] if attribute else []), *others) | renamed

    def places(self, name: str, on_the_way: tuple[str, ...] = ()) -> int:
        """How many times a helper function would be written out, if those that call it are written out, too."""
        way = (*on_the_way, name)
        return sum(
            calls[name] * (self.places(caller, way) if caller in self.library else 1)
            for caller, calls in self._calls_of.items()
            if calls[name] and caller not in way
        )

    def imports(self, statements: Collection[cst.BaseStatement]) -> str:
        """The import statements that some statements need, as text."""
        lines = []
        for name in sorted(set(names_in(statements).read) - {name_of(statement) for statement in statements}):
            if name in self._imports:
                module, attribute = self._imports[name]
                line = f"import {module}" if attribute is None else f"from {module} import {attribute}"
                bound = attribute or module.partition(".")[0]
                lines.append(line + ("" if name == bound else f" as {name}"))
        return "\n".join(lines)


@lru_cache(maxsize=1000)
def _defaults_of(module: str, *attributes: str) -> dict[str, Any]:
    """The default values of the parameters of something in a module; none where they are not known."""
    target: Any = importlib.import_module(module)
    for attribute in attributes:
        target = getattr(target, attribute)
    # The signature of tqdm's class lacks its parameters; that of its constructor has them.
    called = inspect.unwrap(target.__init__) if module == "tqdm" else target
    try:
        parameters = inspect.signature(called).parameters.values()
    except ValueError:  # written in C, without one
        return {}
    return {param.name: param.default for param in parameters if param.default is not inspect.Parameter.empty}


@lru_cache(maxsize=1000)
def _calls_in(statement: cst.BaseStatement) -> Counter[str]:
    """How often a statement calls each plain name; cached like `_imported_by`, as it is needed often."""
    calls = (node for node in walk(statement) if isinstance(node, cst.Call))
    return Counter(call.func.value for call in calls if isinstance(call.func, cst.Name))


@lru_cache(maxsize=1000)
def _imported_by(statement: cst.BaseStatement) -> list[tuple[str, tuple[str, str | None]]]:
    """The names that an import statement binds, with their modules, and their names there (None for a module)."""
    pairs: list[tuple[str, tuple[str, str | None]]] = []
    for node in walk(statement):
        for alias in node.names if isinstance(node, (cst.Import, cst.ImportFrom)) else ():
            name = code_of(alias.name)
            bound = code_of(alias.asname.name) if alias.asname else name.partition(".")[0]
            pairs.append((bound, (code_of(node.module), name) if isinstance(node, cst.ImportFrom) else (name, None)))
    return pairs
