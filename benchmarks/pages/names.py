"""Which names a piece of code reads and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from functools import cache, lru_cache
from typing import Any, ClassVar

import libcst as cst

# Fields that only describe the layout of the code.
LAYOUT = {
    *("comma", "equal", "footer", "header", "indent", "leading_lines", "lines_after_decorators", "semicolon"),
    *("lbrace", "lbracket", "lpar", "rbrace", "rbracket", "rpar", "trailing_whitespace"),
}


class Names:
    """Counts the names that are read, and those that are written, lambdas' and comprehensions' own left out.

    Attributes:
        read, written: how often each name is.
    """

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self._own: list[set[str]] = []

    def count(self, node: cst.CSTNode) -> None:
        """Count what is in a node."""
        special = self.SPECIAL.get(type(node))
        if special is not None:
            special(self, node)
            return
        for part in parts_of(node):
            self.count(part)

    def _only_value(self, node: cst.Attribute | cst.Arg) -> None:
        """Neither an attribute's own name nor a keyword is a name that is read."""
        self.count(node.value)

    def _lambda(self, node: cst.Lambda) -> None:
        self._inside({param.name.value for param in node.params.params}, node.body)

    def _inside(self, own: set[str], *nodes: cst.CSTNode) -> None:
        self._own.append(own)
        for node in nodes:
            self.count(node)
        self._own.pop()

    def _comprehension(self, node: Any) -> None:
        parts = [getattr(node, part) for part in ("elt", "key", "value") if hasattr(node, part)]
        for loop in _loops_of(node):
            parts += [loop.iter, *(test.test for test in loop.ifs)]
        self._inside(set(names_of_loops(node)), *parts)

    def _function(self, node: cst.FunctionDef) -> None:
        around = [part for param in node.params.params for part in (param.annotation, param.default)]
        for part in filter(None, [*node.decorators, *around, node.returns]):
            self.count(part)
        self._inside({param.name.value for param in node.params.params}, node.body)

    def _gives(self, node: cst.AssignTarget | cst.AnnAssign | cst.AugAssign | cst.For) -> None:
        self._write(node.target)
        for part in parts_of(node):
            if part is not node.target:
                self.count(part)

    def _with_item(self, node: cst.WithItem) -> None:
        self.count(node.item)
        if node.asname:
            self._write(node.asname.name)

    def _write(self, target: cst.BaseExpression) -> None:
        names = targets_of(target)
        self.written.update(names)
        if isinstance(target, cst.Subscript) and isinstance(target.value, cst.Name):
            self.written[target.value.value] += 1
            for element in target.slice:
                self.count(element)
        elif not names:  # an attribute of something
            self.count(target)

    def _name(self, node: cst.Name) -> None:
        if not any(node.value in names for names in self._own):
            self.read[node.value] += 1

    SPECIAL: ClassVar[dict[type, Callable[[Names, Any], None]]] = {
        **dict.fromkeys((cst.Attribute, cst.Arg), _only_value),
        **dict.fromkeys((cst.DictComp, cst.GeneratorExp, cst.ListComp, cst.SetComp), _comprehension),
        **dict.fromkeys((cst.AnnAssign, cst.AssignTarget, cst.AugAssign, cst.For), _gives),
        cst.FunctionDef: _function,
        cst.Lambda: _lambda,
        cst.Name: _name,
        cst.WithItem: _with_item,
    }


def parts_of(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """What a node consists of, without its layout; libcst's own `children` copies the node to find them."""
    for name in _fields_of(node.__class__):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from value


@cache
def _fields_of(kind: type[cst.CSTNode]) -> list[str]:
    names = [field.name for field in fields(kind)]
    return [name for name in names if name not in LAYOUT and not name.startswith("whitespace")]


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """A node and all that it consists of, without its layout."""
    yield node
    for part in parts_of(node):
        yield from walk(part)


def is_name(node: cst.CSTNode, name: str) -> bool:
    """Whether a node is this name."""
    return isinstance(node, cst.Name) and node.value == name


def holds(node: cst.CSTNode, *kinds: type[cst.CSTNode]) -> bool:
    """Whether a node, or anything in it, is of one of these kinds."""
    return any(isinstance(part, kinds) for part in walk(node))


def names_in(nodes: cst.CSTNode | Iterable[cst.CSTNode]) -> Names:
    """The names that are read and written in nodes."""
    if isinstance(nodes, cst.CSTNode):
        return _names_in(nodes)
    total = Names()
    for node in nodes:
        names = _names_in(node)
        total.read.update(names.read)
        total.written.update(names.written)
    return total


@lru_cache(maxsize=10_000)
def _names_in(node: cst.CSTNode) -> Names:
    """The same of one node; cached, because a node never changes and is needed often."""
    names = Names()
    names.count(node)
    return names


@lru_cache(maxsize=100)
def parsed(source: bytes) -> cst.Module:
    """A module with every statement on a line of its own: `if a: b; c` takes three."""
    return cst.parse_module(source).visit(_OneByOne())


class _OneByOne(cst.CSTTransformer):
    def leave_SimpleStatementSuite(
        self, old: cst.SimpleStatementSuite, new: cst.SimpleStatementSuite
    ) -> cst.IndentedBlock:
        return cst.IndentedBlock([cst.SimpleStatementLine([_alone(statement)]) for statement in new.body])

    def leave_SimpleStatementLine(
        self, old: cst.SimpleStatementLine, new: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel:
        if len(new.body) == 1:
            return new.with_changes(body=[_alone(new.body[0])])
        first, *others = (cst.SimpleStatementLine([_alone(statement)]) for statement in new.body)
        return cst.FlattenSentinel([first.with_changes(leading_lines=new.leading_lines), *others])


def _alone(statement: cst.BaseSmallStatement) -> cst.BaseSmallStatement:
    return statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)


def _loops_of(comprehension: Any) -> Iterator[cst.CompFor]:
    loop = comprehension.for_in
    while loop is not None:
        yield loop
        loop = loop.inner_for_in


def names_of_loops(comprehension: Any) -> list[str]:
    """The names that a comprehension's loops give values to; they are its own."""
    return [name for loop in _loops_of(comprehension) for name in targets_of(loop.target)]


def targets_of(target: cst.BaseExpression) -> list[str]:
    """The names that a target gives values to."""
    if isinstance(target, cst.StarredElement):
        target = target.value
    if isinstance(target, cst.Name):
        return [target.value]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [name for element in target.elements for name in targets_of(element.value)]
    return []
