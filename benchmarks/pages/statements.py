"""Statements: what they are, and others made of them."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst
import libcst.matchers as m

from benchmarks.pages.expressions import NOTHING, value_of
from benchmarks.pages.names import names_in

WIDTH = 88


def field_values(node: cst.ClassDef, call: cst.Call) -> dict[str, cst.BaseExpression]:
    """What the fields of a dataclass hold after a call of it."""
    values: dict[str, cst.BaseExpression] = {}
    for line in node.body.body:
        if m.matches(line, m.SimpleStatementLine([m.AnnAssign(m.Name())])):
            default = line.body[0].value
            if m.matches(default, m.Call(m.Name("field"))):
                factory = default.args[0].value
                is_list = m.matches(factory, m.Name("list"))
                default = cst.List([]) if is_list else cst.Call(factory)
            values[line.body[0].target.value] = default
    for position, arg in enumerate(call.args):
        values[arg.keyword.value if arg.keyword else list(values)[position]] = arg.value
    return values


def mentions(name: str, value: cst.BaseExpression, changed: set[str]) -> bool:
    return name in changed or bool(set(names_in(value).read) & changed)


def assignment(pairs: Sequence[tuple[cst.BaseExpression, cst.BaseExpression]]) -> cst.Assign:
    """Names given values, in one statement."""
    names, values = ([each[side] for each in pairs] for side in (0, 1))
    if len(pairs) == 1:
        return cst.Assign([cst.AssignTarget(names[0])], values[0])
    target, value = (cst.Tuple([cst.Element(each) for each in side], lpar=[], rpar=[]) for side in (names, values))
    return cst.Assign([cst.AssignTarget(target)], value)


def is_alias(value: cst.BaseExpression) -> bool:
    return isinstance(value, cst.Name) and value_of(value) is NOTHING


def is_line_of(statement: cst.BaseStatement, *kinds: type[cst.BaseSmallStatement]) -> bool:
    """Whether a statement is a line of one of these kinds."""
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], kinds)


def assigned(statement: cst.BaseStatement) -> tuple[cst.BaseExpression, cst.BaseExpression] | None:
    """The target and the value, if a statement gives one target a value."""
    if not is_line_of(statement, cst.Assign) or len(statement.body[0].targets) > 1:
        return None
    return statement.body[0].targets[0].target, statement.body[0].value


def name_given(statement: cst.BaseStatement) -> tuple[str, cst.BaseExpression] | None:
    """The name and the value, if that target is a name."""
    given = assigned(statement)
    return (given[0].value, given[1]) if given and isinstance(given[0], cst.Name) else None


def is_docstring(statement: cst.BaseStatement) -> bool:
    return is_line_of(statement, cst.Expr) and isinstance(statement.body[0].value, cst.SimpleString)


def is_return(statement: cst.BaseStatement) -> bool:
    return is_line_of(statement, cst.Return)


def ends_block(statement: cst.BaseStatement) -> bool:
    return is_line_of(statement, cst.Return, cst.Continue, cst.Break, cst.Raise)


def line_of(statement: cst.BaseSmallStatement) -> cst.SimpleStatementLine:
    return cst.SimpleStatementLine([statement])


def pass_line() -> cst.SimpleStatementLine:
    return line_of(cst.Pass())


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
    # Of a whole block that is gone, a blank line is left.
    if any(line.comment is None for line in lines) and not any(
        line.comment is None for line in statement.leading_lines
    ):
        return statement.with_changes(leading_lines=[cst.EmptyLine(indent=False), *statement.leading_lines])
    return statement
