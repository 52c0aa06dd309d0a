"""Tidying a specialized block: unused names removed, short lines joined, a loop's last act moved after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst
import libcst.matchers as m

from benchmarks.pages.expressions import NOTHING, code_of, in_parentheses, is_pure, value_of
from benchmarks.pages.names import Names, holds, is_name, names_in, targets_of
from benchmarks.pages.statements import (
    WIDTH,
    assignment,
    is_line_of,
    line_of,
    name_and_value,
    taking_over,
    target_and_value,
    with_blocks,
    with_body,
    with_lines,
)

# An expression this short may stand where it is used, if that is the next line.
SHORT = 40
# `for number, batch in enumerate(loader, start=1)`
COUNTED = m.For(
    target=m.Tuple([m.Element(m.Name()), m.Element(m.Name())]),
    iter=m.Call(m.Name("enumerate"), [m.Arg(m.Name()), m.Arg(m.Integer("1"))]),
)


def without_dead(statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Without assignments to names that nothing reads."""
    read = set(names_in(statements).read)

    def cleaned(block: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
        output: list[cst.BaseStatement] = []
        lines: list[cst.EmptyLine] = []
        for number, statement in enumerate(block):
            statement, lines = taking_over(lines, statement), []
            new = _without_dead(with_blocks(statement, cleaned), block[number + 1 :], read)
            if new is None:
                lines = list(statement.leading_lines)
            else:
                output.append(new)
        return output

    return cleaned(statements)


def _without_dead(
    statement: cst.BaseStatement, later: Sequence[cst.BaseStatement], read: set[str]
) -> cst.BaseStatement | None:
    """A statement, or what it does apart from assigning to names that nothing reads; None where that is nothing."""
    if isinstance(statement, cst.If):
        is_empty = is_line_of(statement.body.body[0], cst.Pass) and statement.orelse is None
        return None if is_empty and is_pure(statement.test) else statement
    if is_line_of(statement, cst.AugAssign):
        target, value = statement.body[0].target, statement.body[0].value
    elif pair := target_and_value(statement):
        target, value = pair
    else:
        return statement
    base = target.value if isinstance(target, cst.Subscript) else target
    names = targets_of(base)
    if not names or (set(names) & read and not _is_overwritten(base, later)):
        return statement
    if is_pure(value):
        return None
    is_plain = is_line_of(statement, cst.Assign)
    return statement.with_changes(body=[cst.Expr(value)]) if is_plain else statement


def _is_overwritten(target: cst.BaseExpression, later: Sequence[cst.BaseStatement]) -> bool:
    """Whether a name gets another value before anything reads it."""
    if not isinstance(target, cst.Name):
        return False
    for statement in later:
        used = names_in(statement)
        if used.read[target.value]:
            return False
        if used.written[target.value]:
            return (pair := name_and_value(statement)) is not None and pair[0] == target.value
    return False


def with_short(statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Short expressions that are only used in the next line are moved there."""
    used = names_in(statements)

    def joined(block: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
        output: list[cst.BaseStatement] = []
        for statement in block:
            statement = with_blocks(statement, joined)
            if output and (new := _joined_line(output[-1], statement, used)):
                statement = new.with_changes(leading_lines=output.pop().leading_lines)
            output.append(statement)
        return output

    return joined(statements)


def _joined_line(first: cst.BaseStatement, second: cst.BaseStatement, used: Names) -> cst.BaseStatement | None:
    """Two lines as one, where the second only continues with the value that the first has named."""
    pair = name_and_value(first)
    if pair is None or not isinstance(second, cst.SimpleStatementLine) or second.leading_lines:
        return None
    name, value = pair
    goes_on = m.Assign([m.AssignTarget(m.Name(name))], m.Call(m.Attribute(m.Name(name))))
    if m.matches(second.body[0], goes_on) and names_in(second).read[name] == 1:
        new = m.replace(second, m.Name(name), in_parentheses(value))
        new = new.with_changes(body=[new.body[0].with_changes(targets=second.body[0].targets)])
        return new if len(code_of(new)) < WIDTH - 8 else None
    if used.read[name] != 1 or used.written[name] != 1 or names_in(second).read[name] != 1:
        return None
    is_attribute = m.matches(second.body[0], m.Assign(value=m.Attribute(m.Name(name))))
    is_plain = m.matches(value, m.Call(m.Attribute(m.Name()), args=[])) or (
        m.matches(value, m.Call(m.Name()))
        and all(value_of(arg.value) is not NOTHING or isinstance(arg.value, cst.Name) for arg in value.args)
    )
    if not (is_attribute or (is_plain and len(code_of(value)) <= SHORT)):
        return None
    new = m.replace(second, m.Name(name), in_parentheses(value))
    return new if len(code_of(new)) < WIDTH - 4 else None


def after_loops(statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Move what a loop over batches does with its last batch after the loop.

    In `for number, batch in enumerate(loader, start=1)` that is what the loop's end does `if number == len(loader)`,
    if the loop has no `break`. A `continue` skips the end only where a step continues with the next batch.
    """
    output: list[cst.BaseStatement] = []
    for statement in statements:
        statement = with_blocks(statement, after_loops)
        is_counted = m.matches(statement, COUNTED) and not holds(statement, cst.Break)
        output += _split_loop(statement) if is_counted else [statement]
    return output


def _split_loop(loop: cst.For) -> list[cst.BaseStatement]:
    """A loop, and what it does with its last batch after it."""
    number, batch = (element.value for element in loop.target.elements)
    loader = loop.iter.args[0].value
    is_last = f"{number.value} == len({loader.value})"
    body, after = list(loop.body.body), list[cst.BaseStatement]()
    ends = {pair[0] for pair in map(name_and_value, body) if pair and code_of(pair[1]) == is_last}
    while (
        body
        and isinstance(body[-1], cst.If)
        and body[-1].orelse is None
        and code_of(body[-1].test) in {is_last, *ends}
    ):
        last = body.pop()
        inner = list(last.body.body)
        inner[0] = with_lines(inner[0], last.leading_lines)
        after = inner + after
    # What is computed at a step's end and used only after the loop.
    moved: list[cst.BaseStatement] = []
    read_inside = names_in(body).read
    for statement in list(body):
        if pair := name_and_value(statement):
            name, value = pair
            is_for_later = not read_inside[name] and names_in(after).read[name] and is_pure(value)
            if is_for_later and number.value in names_in(statement).read:
                body.remove(statement)
                moved.append(statement.with_changes(leading_lines=[]))
    count = cst.parse_expression(f"len({loader.value})")
    after = [m.replace(statement, m.Name(number.value), count) for statement in [*moved, *after]]
    if not names_in(body).read[number.value]:
        loop = loop.with_changes(target=batch.with_changes(lpar=[], rpar=[]), iter=loader)
    return [with_body(loop, body), *after]


def with_locals(statements: list[cst.BaseStatement], classes: Mapping[str, cst.ClassDef]) -> list[cst.BaseStatement]:
    """Replace an object that only holds values, and is used for nothing else, by plain names.

    Args:
        statements: of a whole function.
        classes: of which it may be, by name.
    """
    for number, statement in enumerate(statements):
        pair = name_and_value(statement)
        if pair is None or not m.matches(pair[1], m.Call(m.Name())):
            continue
        name, call = pair
        if call.func.value not in classes:
            continue
        finder = _Held(name)
        for later in statements[number + 1 :]:
            later.visit(finder)
        if finder.escapes or finder.is_set_first.keys() & set(names_in(statements).written):
            continue
        # A field that is set before it is read needs no first value.
        first = [
            (cst.Name(attribute), value)
            for attribute, value in _field_values(classes[call.func.value], call).items()
            if not finder.is_set_first.get(attribute, True)
        ]
        computed = [pair for pair in first if holds(pair[1], cst.Call)]
        plain = [pair for pair in first if pair not in computed]
        first_lines = [line_of(assignment([pair])) for pair in computed] + [line_of(assignment(plain))] * bool(plain)
        if first_lines:
            around = {"leading_lines": statement.leading_lines, "trailing_whitespace": statement.trailing_whitespace}
            first_lines[0] = first_lines[0].with_changes(**around)
        attribute = m.Attribute(m.Name(name))
        rest = [m.replace(later, attribute, lambda node, _: node.attr) for later in statements[number + 1 :]]
        return [*statements[:number], *first_lines, *rest]
    return statements


class _Held(cst.CSTVisitor):
    """How an object is used: whether each attribute is set before it is read, and whether it is used otherwise."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.escapes = name, False
        self.is_set_first: dict[str, bool] = {}

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        if m.matches(node.target, m.Attribute(m.Name(self.name))):
            self.is_set_first.setdefault(node.target.attr.value, True)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        if is_name(node.value, self.name):
            self.is_set_first.setdefault(node.attr.value, False)
        else:
            node.value.visit(self)
        return False

    def visit_Name(self, node: cst.Name) -> None:
        self.escapes = self.escapes or node.value == self.name


def _field_values(node: cst.ClassDef, call: cst.Call) -> dict[str, cst.BaseExpression]:
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


def without_parameters(statements: list[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Without parameters that a function does not use, and without their arguments."""
    while True:
        for node in statements:
            if not isinstance(node, cst.FunctionDef) or node.name.value == "train":
                continue
            read = names_in(node.body).read
            params = [param.name.value for param in node.params.params]
            unused = [number for number, name in enumerate(params) if not read[name]]
            if unused:
                drop = _DropParameter(node.name.value, unused[-1], params[unused[-1]])
                statements = [function.visit(drop) for function in statements]
                break
        else:
            return statements


class _DropParameter(cst.CSTTransformer):
    def __init__(self, function: str, position: int, name: str) -> None:
        super().__init__()
        self.function, self.position, self.name = function, position, name

    def leave_FunctionDef(self, old: cst.FunctionDef, new: cst.FunctionDef) -> cst.FunctionDef:
        if old.name.value != self.function:
            return new
        params = [param for number, param in enumerate(new.params.params) if number != self.position]
        return new.with_changes(params=new.params.with_changes(params=_without_last_comma(params)))

    def leave_Call(self, old: cst.Call, new: cst.Call) -> cst.Call:
        if not is_name(new.func, self.function):
            return new
        args = [
            arg
            for number, arg in enumerate(new.args)
            if not (arg.keyword.value == self.name if arg.keyword else number == self.position)
        ]
        return new.with_changes(args=_without_last_comma(args))


def _without_last_comma(nodes: list) -> list:
    if nodes:
        nodes[-1] = nodes[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return nodes
