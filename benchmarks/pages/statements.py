"""Statements: their kinds, and new ones made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import libcst as cst

from benchmarks.pages.expressions import NOTHING, code_of, value_of
from benchmarks.pages.names import names_in, walk

WIDTH = 88


def mentions(name: str, value: cst.BaseExpression, changed: set[str]) -> bool:
    """Whether a name, or a value that it has, is among those that are changed."""
    return name in changed or bool(set(names_in(value).read) & changed)


def assignment(pairs: Sequence[tuple[cst.BaseExpression, cst.BaseExpression]]) -> cst.Assign:
    """One statement that assigns values to targets."""
    names, values = ([pair[side] for pair in pairs] for side in (0, 1))
    if len(pairs) == 1:
        return cst.Assign([cst.AssignTarget(names[0])], values[0])
    target, value = (cst.Tuple([cst.Element(member) for member in side], lpar=[], rpar=[]) for side in (names, values))
    return cst.Assign([cst.AssignTarget(target)], value)


def pairs_of(
    target: cst.BaseExpression, value: cst.BaseExpression
) -> list[tuple[cst.BaseExpression, cst.BaseExpression]]:
    """A tuple's targets, each with its value; none where one of them is no tuple, or something is starred."""
    if not (isinstance(target, cst.Tuple) and isinstance(value, cst.Tuple)):
        return []
    ones, others = target.elements, value.elements
    if len(ones) != len(others) or any(isinstance(element, cst.StarredElement) for element in (*ones, *others)):
        return []
    return [(target_part.value, value_part.value) for target_part, value_part in zip(ones, others, strict=True)]


def can_be_split(pairs: Sequence[tuple[cst.BaseExpression, cst.BaseExpression]]) -> bool:
    """Whether targets can be given their values one after the other: no later value reads an earlier target."""
    return not any(
        isinstance(node, cst.BaseExpression) and code_of(node) == code_of(target)
        for number, (target, _) in enumerate(pairs)
        for _, later in pairs[number + 1 :]
        for node in walk(later)
    )


def is_alias(value: cst.BaseExpression) -> bool:
    """Whether a value is another variable."""
    return isinstance(value, cst.Name) and value_of(value) is NOTHING


def is_line_of(statement: cst.BaseStatement, *kinds: type[cst.BaseSmallStatement]) -> bool:
    """Whether a statement is a line of one of these kinds."""
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], kinds)


def target_and_value(statement: cst.BaseStatement) -> tuple[cst.BaseExpression, cst.BaseExpression] | None:
    """The target and the value, if a statement assigns to a single target."""
    if not is_line_of(statement, cst.Assign) or len(statement.body[0].targets) > 1:
        return None
    return statement.body[0].targets[0].target, statement.body[0].value


def name_and_value(statement: cst.BaseStatement) -> tuple[str, cst.BaseExpression] | None:
    """The name and the value, if that target is a name."""
    pair = target_and_value(statement)
    return (pair[0].value, pair[1]) if pair and isinstance(pair[0], cst.Name) else None


def is_docstring(statement: cst.BaseStatement) -> bool:
    return is_line_of(statement, cst.Expr) and isinstance(statement.body[0].value, cst.SimpleString)


def is_return(statement: cst.BaseStatement) -> bool:
    return is_line_of(statement, cst.Return)


def ends_block(statement: cst.BaseStatement) -> bool:
    return is_line_of(statement, cst.Return, cst.Continue, cst.Break, cst.Raise)


def line_of(statement: cst.BaseSmallStatement) -> cst.SimpleStatementLine:
    return cst.SimpleStatementLine([statement])


def with_body(node: Any, body: Sequence[cst.BaseStatement], **changes: Any) -> Any:
    """A statement, or an `else`, with another block; `pass` if the block is empty."""
    return node.with_changes(body=node.body.with_changes(body=body or [line_of(cst.Pass())]), **changes)


def with_blocks(
    statement: cst.BaseStatement, change: Callable[[Sequence[cst.BaseStatement]], list[cst.BaseStatement]]
) -> cst.BaseStatement:
    """A loop, a `with` or an `if` with its block changed, and its `else`, which is removed if it is empty."""
    if not isinstance(statement, (cst.For, cst.With, cst.If)):
        return statement
    statement = with_body(statement, change(statement.body.body))
    if isinstance(statement, cst.If) and isinstance(statement.orelse, cst.Else):
        rest = change(statement.orelse.body.body)
        statement = statement.with_changes(orelse=with_body(statement.orelse, rest) if rest else None)
    return statement


def name_of(node: cst.BaseStatement) -> str:
    if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
        return node.name.value
    return node.body[0].targets[0].target.value


def without_docstring(body: Sequence[cst.BaseStatement]) -> Sequence[cst.BaseStatement]:
    return body[1:] if is_docstring(body[0]) else body


def with_lines(statement: cst.BaseStatement, lines: Sequence[cst.EmptyLine]) -> cst.BaseStatement:
    return statement.with_changes(leading_lines=[*lines, *statement.leading_lines]) if lines else statement


def taking_over(lines: Sequence[cst.EmptyLine], statement: cst.BaseStatement) -> cst.BaseStatement:
    """A statement with the comment of a block whose first lines are gone, unless it begins a block of its own."""
    if not lines:
        return statement
    if not statement.leading_lines and not isinstance(statement, cst.For) and not ends_block(statement):
        return statement.with_changes(leading_lines=lines)
    # A whole block that is gone leaves a blank line.
    if any(line.comment is None for line in lines) and not any(
        line.comment is None for line in statement.leading_lines
    ):
        return statement.with_changes(leading_lines=[cst.EmptyLine(indent=False), *statement.leading_lines])
    return statement
