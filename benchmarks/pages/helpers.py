"""What a page stands on: the functions of its helper modules, what it imports, and the defaults of what it calls."""

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

# Whose functions stand in the place of SameLoop's own where a page is shown or stands alone.
SHARED = Path(__file__).parents[2] / "shared"
INSTEAD = (Path(__file__).with_name("standalone.py"), SHARED / "determinism.py", SHARED / "early_stopping.py")
OURS = ("shared", "manual_loop", "trainer_loop")
# What a page has from `shared.releases`, and a script from where it is.
TRANSFORMERS_OWN = ("shared.releases", "TrainingArguments")
# Methods of what a page calls by this name.
METHODS = {"trainer.train": "Trainer.train"}


class Definition(NamedTuple):
    """Something that a module defines, a function, a class or a constant; and whether it stands for one of ours."""

    node: cst.BaseStatement
    is_instead: bool


class HelperModules:
    """The modules that a page has around it.

    Args:
        page: with the helper modules that it has.
        called: of whose functions nothing is known, so that they stay calls.
        release: of transformers, as far as it matters by hand.

    Attributes:
        library: what the helper modules define, and what stands in the place of what the page imports, by name.
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
        """Take in what a module has; `is_instead` is None for the script itself, whose functions are no helpers."""
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
            if module == "shared.releases" and name in SINCE:
                return SINCE[name] <= self._release
            if module.startswith("shared.") and name is not None and node.value.isupper():
                return getattr(importlib.import_module(module), name)
        return value

    def fact(self, name: str) -> Any:
        """What the release of transformers does, where a name stands for that."""
        return self.constant(cst.Name(name)) if name in SINCE else NOTHING

    def defaults(self, name: str) -> dict[str, Any]:
        """The default values of the parameters of what a dotted name stands for; none if it is not a library's."""
        first, *others = METHODS.get(name, name).split(".")
        module, attribute = self._imports.get(first, ("", None))
        if not module or first in self.library or module.partition(".")[0] in OURS:
            return {}
        renamed = {renaming.today: renaming.default for renaming in RENAMINGS if renaming.owner == name}
        return _defaults_of(module, *([attribute] if attribute else []), *others) | renamed

    def places(self, name: str, on_the_way: tuple[str, ...] = ()) -> int:
        """How many times a neighbour would be written out, if those that call it are written out, too."""
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
    """The default values of the parameters of something in a module; none where it does not tell them."""
    target: Any = importlib.import_module(module)
    for attribute in attributes:
        target = getattr(target, attribute)
    # tqdm's class says nothing of its parameters, its constructor does.
    called = inspect.unwrap(target.__init__) if module == "tqdm" else target
    try:
        parameters = inspect.signature(called).parameters.values()
    except ValueError:  # written in C, without one
        return {}
    return {param.name: param.default for param in parameters if param.default is not inspect.Parameter.empty}


@lru_cache(maxsize=1000)
def _calls_in(statement: cst.BaseStatement) -> Counter[str]:
    """How often a statement calls what by a plain name. As `_imported_by`, asked for in every fold of a page."""
    calls = (node for node in walk(statement) if isinstance(node, cst.Call))
    return Counter(call.func.value for call in calls if isinstance(call.func, cst.Name))


@lru_cache(maxsize=1000)
def _imported_by(statement: cst.BaseStatement) -> list[tuple[str, tuple[str, str | None]]]:
    """What an import statement binds, and from where: module, and name in it or None for the module itself."""
    pairs: list[tuple[str, tuple[str, str | None]]] = []
    for node in walk(statement):
        for alias in node.names if isinstance(node, (cst.Import, cst.ImportFrom)) else ():
            name = code_of(alias.name)
            bound = code_of(alias.asname.name) if alias.asname else name.partition(".")[0]
            pairs.append((bound, (code_of(node.module), name) if isinstance(node, cst.ImportFrom) else (name, None)))
    return pairs
