"""A folded block made tidy: without what nobody uses, with short lines joined, and a loop's last act after it."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst
import libcst.matchers as m

from benchmarks.pages.expressions import NOTHING, code_of, in_parentheses, is_pure, value_of
from benchmarks.pages.names import Names, holds, is_name, names_in, walk
from benchmarks.pages.statements import WIDTH, name_given, with_lines

# An expression this short may stand where it is used, if that is the next line.
SHORT = 40


class Held(cst.CSTVisitor):
    """How an object is used: its attributes, and whether it is used in any other way."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.attributes, self.escapes = name, set(), False
        self.is_set_first: dict[str, bool] = {}

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        if m.matches(node.target, m.Attribute(m.Name(self.name))):
            self.is_set_first.setdefault(node.target.attr.value, True)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        if is_name(node.value, self.name):
            self.attributes.add(node.attr.value)
            self.is_set_first.setdefault(node.attr.value, False)
        else:
            node.value.visit(self)
        return False

    def visit_Name(self, node: cst.Name) -> None:
        self.escapes = self.escapes or node.value == self.name


class AsLocals(cst.CSTTransformer):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def leave_Attribute(self, old: cst.Attribute, new: cst.Attribute) -> cst.BaseExpression:
        return new.attr if is_name(new.value, self.name) else new


class _Replace(cst.CSTTransformer):
    """Puts an expression in the place of a name."""

    def __init__(self, name: str, new: cst.BaseExpression) -> None:
        super().__init__()
        self.name, self.new = name, new

    def leave_Name(self, old: cst.Name, new: cst.Name) -> cst.BaseExpression:
        return self.new if new.value == self.name else new


def after_loops(statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """What a loop over batches does with its last one stands after the loop.

    In `for number, batch in enumerate(loader, start=1)` that is what the loop's end does `if number == len(loader)`,
    if nothing breaks off the loop. A `continue` passes over the end only where a step goes on with the next batch.
    """
    done: list[cst.BaseStatement] = []
    for statement in statements:
        after: list[cst.BaseStatement] = []
        if isinstance(statement, (cst.For, cst.If, cst.With)):
            statement = statement.with_changes(body=statement.body.with_changes(body=after_loops(statement.body.body)))
        if m.matches(
            statement,
            m.For(
                target=m.Tuple([m.Element(m.Name()), m.Element(m.Name())]),
                iter=m.Call(m.Name("enumerate"), [m.Arg(m.Name()), m.Arg(m.Integer("1"))]),
            ),
        ) and not holds(statement, cst.Break):
            statement, after = _split_loop(statement)
        done += [statement, *after]
    return done


def _split_loop(loop: cst.For) -> tuple[cst.For, list[cst.BaseStatement]]:
    number, batch = (each.value for each in loop.target.elements)
    loader = loop.iter.args[0].value
    is_last = f"{number.value} == len({loader.value})"
    body, after = list(loop.body.body), []
    ends = {given[0] for given in map(name_given, body) if given and code_of(given[1]) == is_last}
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
    # Only after the loop, of what is computed at a step's end.
    moved: list[cst.BaseStatement] = []
    read_inside = names_in(body).read
    for each in list(body):
        if given := name_given(each):
            name, value = given
            if (
                not read_inside[name]
                and names_in(after).read[name]
                and is_pure(value)
                and (number.value in names_in(each).read)
            ):
                body.remove(each)
                moved.append(each.with_changes(leading_lines=[]))
    after = [
        each.visit(_Replace(number.value, cst.parse_expression(f"len({loader.value})"))) for each in [*moved, *after]
    ]
    if not names_in(body).read[number.value]:
        loop = loop.with_changes(target=batch.with_changes(lpar=[], rpar=[]), iter=loader)
    return loop.with_changes(body=loop.body.with_changes(body=body)), after


def joined_line(one: cst.BaseStatement, two: cst.BaseStatement, used: Names) -> cst.BaseStatement | None:
    """Two lines as one, where the second only goes on with what the first has named."""
    given = name_given(one)
    if given is None or not isinstance(two, cst.SimpleStatementLine) or two.leading_lines:
        return None
    name, value = given
    goes_on = m.Assign([m.AssignTarget(m.Name(name))], m.Call(m.Attribute(m.Name(name))))
    if m.matches(two.body[0], goes_on) and names_in(two).read[name] == 1:
        new = two.visit(_Replace(name, in_parentheses(value)))
        new = new.with_changes(body=[new.body[0].with_changes(targets=two.body[0].targets)])
        return new if len(code_of(new)) < WIDTH - 8 else None
    if used.read[name] != 1 or used.written[name] != 1 or names_in(two).read[name] != 1:
        return None
    is_attribute = m.matches(two.body[0], m.Assign(value=m.Attribute(m.Name(name))))
    is_plain = m.matches(value, m.Call(m.Attribute(m.Name()), args=[])) or (
        m.matches(value, m.Call(m.Name()))
        and all(value_of(arg.value) is not NOTHING or isinstance(arg.value, cst.Name) for arg in value.args)
    )
    if not (is_attribute or (is_plain and len(code_of(value)) <= SHORT)):
        return None
    new = two.visit(_Replace(name, in_parentheses(value)))
    return new if len(code_of(new)) < WIDTH - 4 else None


def can_be_split(target: cst.Tuple, value: cst.Tuple) -> bool:
    """Whether a tuple's values can be assigned one after the other: no later one reads an earlier target."""
    targets = [code_of(each.value) for each in target.elements]
    values = [each.value for each in value.elements]
    if len(targets) != len(values) or any(isinstance(each, cst.StarredElement) for each in value.elements):
        return False
    return not any(
        isinstance(node, cst.BaseExpression) and code_of(node) == name
        for number, name in enumerate(targets)
        for later in values[number + 1 :]
        for node in walk(later)
    )


def is_overwritten(target: cst.BaseExpression, later: Sequence[cst.BaseStatement]) -> bool:
    """Whether a name gets another value before anything reads it."""
    if not isinstance(target, cst.Name):
        return False
    for statement in later:
        used = names_in(statement)
        if used.read[target.value]:
            return False
        if used.written[target.value]:
            return (given := name_given(statement)) is not None and given[0] == target.value
    return False


def without_parameters(statements: list[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Without parameters that a function does not use, and what they are called with."""
    while True:
        for node in statements:
            if not isinstance(node, cst.FunctionDef) or node.name.value == "train":
                continue
            read = names_in(node.body).read
            params = [each.name.value for each in node.params.params]
            unused = [number for number, name in enumerate(params) if not read[name]]
            if unused:
                drop = _DropParameter(node.name.value, unused[-1], params[unused[-1]])
                statements = [each.visit(drop) for each in statements]
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
        params = [each for number, each in enumerate(new.params.params) if number != self.position]
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
