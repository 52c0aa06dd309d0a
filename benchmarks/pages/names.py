"""Which names a piece of code reads and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import libcst as cst
import libcst.matchers as m


class Names(cst.CSTVisitor):
    """Counts the names that are read, and those that are written, lambdas' and comprehensions' own left out."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.own: list[set[str]] = []

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        node.value.visit(self)
        return False

    def visit_Arg(self, node: cst.Arg) -> bool:
        node.value.visit(self)
        return False

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        self.own.append({each.name.value for each in node.params.params})
        node.body.visit(self)
        self.own.pop()
        return False

    def _visit_comprehension(self, node: Any) -> bool:
        self.own.append(set(names_of_loops(node)))
        for part in ("elt", "key", "value"):
            if hasattr(node, part):
                getattr(node, part).visit(self)
        each = node.for_in
        while each is not None:
            each.iter.visit(self)
            for test in each.ifs:
                test.test.visit(self)
            each = each.inner_for_in
        self.own.pop()
        return False

    visit_GeneratorExp = visit_ListComp = visit_SetComp = visit_DictComp = _visit_comprehension  # noqa: N815

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        for decorator in node.decorators:
            decorator.visit(self)
        for param in node.params.params:
            if param.annotation:
                param.annotation.visit(self)
            if param.default:
                param.default.visit(self)
        if node.returns:
            node.returns.visit(self)
        self.own.append({param.name.value for param in node.params.params})
        node.body.visit(self)
        self.own.pop()
        return False

    def visit_AssignTarget(self, node: cst.AssignTarget) -> bool:
        self._write(node.target)
        return False

    def visit_AnnAssign(self, node: cst.AnnAssign) -> bool:
        self._write(node.target)
        node.annotation.visit(self)
        if node.value:
            node.value.visit(self)
        return False

    def visit_AugAssign(self, node: cst.AugAssign) -> bool:
        self._write(node.target)
        node.value.visit(self)
        return False

    def visit_For(self, node: cst.For) -> bool:
        self._write(node.target)
        node.iter.visit(self)
        node.body.visit(self)
        return False

    def visit_WithItem(self, node: cst.WithItem) -> bool:
        node.item.visit(self)
        if node.asname:
            self._write(node.asname.name)
        return False

    def _write(self, target: cst.BaseExpression) -> None:
        names = targets_of(target)
        self.written.update(names)
        if m.matches(target, m.Subscript(m.Name())):
            self.written[target.value.value] += 1
            for element in target.slice:
                element.visit(self)
        elif not names:  # an attribute of something
            target.visit(self)

    def visit_Name(self, node: cst.Name) -> None:
        if not any(node.value in names for names in self.own):
            self.read[node.value] += 1


def names_in(nodes: cst.CSTNode | Iterable[cst.CSTNode]) -> Names:
    """The names that are read and written in nodes."""
    if isinstance(nodes, cst.CSTNode):
        return _names_in(nodes)
    found = Names()
    for node in nodes:
        one = _names_in(node)
        found.read.update(one.read)
        found.written.update(one.written)
    return found


@lru_cache(maxsize=10_000)
def _names_in(node: cst.CSTNode) -> Names:
    """A node never changes, and is asked for often."""
    found = Names()
    node.visit(found)
    return found


@lru_cache(maxsize=100)
def parsed(source: bytes) -> cst.Module:
    """A module with every statement on a line of its own: `if a: b; c` takes three."""
    return cst.parse_module(source).visit(_OneByOne())


class _OneByOne(cst.CSTTransformer):
    def leave_SimpleStatementSuite(
        self, old: cst.SimpleStatementSuite, new: cst.SimpleStatementSuite
    ) -> cst.IndentedBlock:
        return cst.IndentedBlock([cst.SimpleStatementLine([_alone(each)]) for each in new.body])

    def leave_SimpleStatementLine(
        self, old: cst.SimpleStatementLine, new: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel:
        if len(new.body) == 1:
            return new.with_changes(body=[_alone(new.body[0])])
        first, *others = (cst.SimpleStatementLine([_alone(each)]) for each in new.body)
        return cst.FlattenSentinel([first.with_changes(leading_lines=new.leading_lines), *others])


def _alone(statement: cst.BaseSmallStatement) -> cst.BaseSmallStatement:
    return statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)


def names_of_loops(comprehension: Any) -> list[str]:
    """The names that a comprehension's loops give values to; they are its own."""
    names, each = [], comprehension.for_in
    while each is not None:
        names += targets_of(each.target)
        each = each.inner_for_in
    return names


def targets_of(target: cst.BaseExpression) -> list[str]:
    if isinstance(target, cst.StarredElement):
        target = target.value
    if isinstance(target, cst.Name):
        return [target.value]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [name for element in target.elements for name in targets_of(element.value)]
    return []
