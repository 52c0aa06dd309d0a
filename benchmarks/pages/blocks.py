"""A function specialized block by block: known values replace their names, and helper functions are written out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import libcst as cst
import libcst.matchers as m

from benchmarks.pages.expressions import NOTHING, code_of, is_pure, value_of
from benchmarks.pages.helpers import HelperModules
from benchmarks.pages.names import Names, holds, names_in, targets_of
from benchmarks.pages.run_facts import RunFacts
from benchmarks.pages.simplify import Simplify
from benchmarks.pages.statements import (
    assignment,
    can_be_split,
    ends_block,
    is_alias,
    is_return,
    line_of,
    mentions,
    pairs_of,
    taking_over,
    target_and_value,
    with_body,
    with_lines,
    without_docstring,
)
from benchmarks.pages.tidy import without_dead

# Helper functions that are longer than this stay functions, even where they are called only once.
MOST_LINES = 8
VALUED = (cst.AnnAssign, cst.Assign, cst.AugAssign, cst.Expr, cst.Return)


class Blocks:
    """Specializes the blocks of a function, which reads and writes the names in `used`, once from top to bottom."""

    def __init__(self, facts: RunFacts, helpers: HelperModules, used: Names) -> None:
        self._facts, self._helpers, self._used = facts, helpers, used
        self._underway: list[str] = []
        # The statements of helper functions, by their call.
        self._done_by: dict[tuple[str, ...], list[cst.BaseStatement] | None] = {}

    def body(
        self,
        statements: Sequence[cst.BaseStatement],
        known: Mapping[str, cst.BaseExpression],
        taken: Iterable[str] = (),
    ) -> list[cst.BaseStatement]:
        """A block, specialized; `known`: what names stand for when it begins; `taken`: other names in the function."""
        known, taken = dict(known), set(taken) | set(names_in(statements).written)
        output: list[cst.BaseStatement] = []
        pending = list(statements)
        lines: list[cst.EmptyLine] = []
        while pending:
            statement = taking_over(lines, pending.pop(0))
            lines = []
            replaced = self._statement(statement, known, taken)
            if isinstance(replaced, cst.BaseStatement):
                _learn(replaced, known)
                output.append(replaced)
            elif replaced:
                pending = [with_lines(replaced[0], statement.leading_lines), *replaced[1:], *pending]
            else:
                lines = list(statement.leading_lines)
            if output and ends_block(output[-1]):
                break
        return output

    def _statement(
        self, statement: cst.BaseStatement, known: dict[str, cst.BaseExpression], taken: set[str]
    ) -> cst.BaseStatement | list[cst.BaseStatement]:
        """A specialized statement; or a list, perhaps empty, of its replacements, which are not specialized yet."""
        if isinstance(statement, cst.If):
            return self._if(statement, known, taken)
        if isinstance(statement, cst.For):
            changed = set(names_in(statement).written)
            inside = {name: value for name, value in known.items() if not mentions(name, value, changed)}
            body = self.body(statement.body.body, inside, taken)
            return with_body(statement, body, iter=self._simplified(statement.iter, known))
        if isinstance(statement, cst.With):
            items = [item.with_changes(item=self._simplified(item.item, known)) for item in statement.items]
            return with_body(statement, self.body(statement.body.body, known, taken), items=items)
        if isinstance(statement, cst.SimpleStatementLine):
            return self._simple(statement, known, taken)
        return statement

    def _if(self, statement: cst.If, known: dict, taken: set[str]) -> cst.BaseStatement | list[cst.BaseStatement]:
        test = self._simplified(statement.test, known)
        value = value_of(test)
        otherwise = statement.orelse
        if value is not NOTHING:
            if value:
                return list(statement.body.body)
            if otherwise is None:
                return []
            return [otherwise] if isinstance(otherwise, cst.If) else list(otherwise.body.body)
        body = self.body(statement.body.body, known, taken)
        if isinstance(otherwise, cst.If):
            # An `elif` whose test is known leaves an `else`, or nothing.
            rest = self.body([otherwise.with_changes(leading_lines=[])], known, taken)
            is_elif = len(rest) == 1 and isinstance(rest[0], cst.If)
            otherwise = rest[0] if is_elif else cst.Else(cst.IndentedBlock(rest)) if rest else None
        elif otherwise is not None:
            rest = self.body(otherwise.body.body, known, taken)
            otherwise = with_body(otherwise, rest) if rest else None
        if not body and otherwise is None and is_pure(test):
            return []
        new = with_body(statement, body, test=test, orelse=otherwise)
        for name in names_in(new).written:
            known.pop(name, None)
        return new

    def _simple(
        self, line: cst.SimpleStatementLine, known: dict, taken: set[str]
    ) -> cst.BaseStatement | list[cst.BaseStatement]:
        (statement,) = line.body
        if isinstance(statement, cst.Pass):
            return []
        if not isinstance(statement, VALUED) or statement.value is None:
            return line
        value = self._simplified(statement.value, known)
        if isinstance(statement, cst.Expr):
            if isinstance(value, cst.Call) and code_of(value.func) in self._facts.no_ops:
                return []
            if inlined := self._inlined(value, taken):
                return inlined[0]
            if is_pure(value):
                return []
        elif pair := target_and_value(line):
            return self._assign(line, pair[0], value, taken)
        return _with_value(line, value)

    def _assign(
        self, line: cst.SimpleStatementLine, target: cst.BaseExpression, value: cst.BaseExpression, taken: set[str]
    ) -> cst.BaseStatement | list[cst.BaseStatement]:
        if code_of(target) == code_of(value):
            return []
        # A tuple's values are assigned one after the other where that allows further simplification.
        pairs = pairs_of(target, value)
        if (apart := [pair for pair in pairs if self._is_removable(*pair)]) and can_be_split(pairs):
            rest = [pair for pair in pairs if pair not in apart]
            lines = [line_of(assignment([pair])) for pair in apart]
            # The comment behind the line stays with what is left of it.
            return [*lines, line.with_changes(leading_lines=[], body=[assignment(rest)])] if rest else lines
        if inlined := self._inlined(value, taken - set(targets_of(target))):
            body, returned = inlined
            return [*body, _with_value(line.with_changes(leading_lines=[]), returned or cst.Name("None"))]
        return _with_value(line, value)

    def _is_removable(self, target: cst.BaseExpression, value: cst.BaseExpression) -> bool:
        """Whether an assignment of this value to this name can be removed."""
        if not isinstance(target, cst.Name):
            return False
        is_known = value_of(value) is not NOTHING or is_alias(value)
        written, read = self._used.written[target.value], self._used.read[target.value]
        return (is_known and written == 1) or (written > 0 and not read)

    def _simplified(self, node: cst.BaseExpression, known: Mapping[str, cst.BaseExpression]) -> cst.BaseExpression:
        """An expression with values in it, computed; the very same one if there is nothing to compute."""
        while True:
            simplify = Simplify(self._facts, self._helpers, known, self._used.written, self._as_expression)
            new = node.visit(simplify)
            if not simplify.has_changed or new.deep_equals(node):
                return node
            node = new

    # Calls of helper modules ---------------------------------------------------------------------------

    def _as_expression(self, name: str, call: cst.Call) -> cst.BaseExpression | None:
        """A call of a helper function as the expression that it returns, if it does nothing else."""
        body = self._called(name, call)
        if body is None or len(body) != 1 or not is_return(body[0]):
            return None
        return body[0].body[0].value or cst.Name("None")

    def _called(self, name: str, call: cst.Call) -> list[cst.BaseStatement] | None:
        """A helper function's statements for this call; None if they cannot be written in the call's place."""
        way = (name, code_of(call), *self._underway)
        if way not in self._done_by:
            self._done_by[way] = self._specialized_call(name, call)
        return self._done_by[way]

    def _specialized_call(self, name: str, call: cst.Call) -> list[cst.BaseStatement] | None:
        definition = self._helpers.library.get(name)
        if definition is None or not isinstance(definition.node, cst.FunctionDef) or name in self._underway:
            return None
        params = definition.node.params
        if params.star_kwarg or params.kwonly_params or any(arg.star for arg in call.args):
            return None
        arguments: dict[str, cst.BaseExpression] = {
            param.name.value: param.default for param in params.params if param.default is not None
        }
        for position, arg in enumerate(call.args):
            arguments[arg.keyword.value if arg.keyword else params.params[position].name.value] = arg.value
        body = without_docstring(definition.node.body.body)
        used = names_in(body)
        if any(used.written[param_name] or isinstance(value, cst.Dict) for param_name, value in arguments.items()):
            return None
        self._underway.append(name)
        folded = self.body(body, arguments)
        self._underway.pop()
        for value in arguments.values():
            # What was computed once must still be computed exactly once.
            if not is_pure(value) and sum(code_of(node).count(code_of(value)) for node in folded) != 1:
                return None
        return folded

    def _inlined(self, value: cst.BaseExpression, taken: set[str]) -> tuple[list, cst.BaseExpression | None] | None:
        """The statements, and the value returned, of a call that is a statement of its own."""
        if not isinstance(value, cst.Call) or not isinstance(value.func, cst.Name):
            return None
        name = value.func.value
        body = self._called(name, value)
        if body is None:
            return None
        body, returned = without_dead(body), None
        if body and is_return(body[-1]):
            returned = body.pop().body[0].value
        if any(holds(node, cst.Return) for node in body):
            return None
        lines = sum(len(code_of(node).splitlines()) for node in body)
        is_long = lines > MOST_LINES and not self._helpers.library[name].is_instead
        # As a function it would take as many lines, its head, and an empty line or two.
        if is_long or lines * self._helpers.places(name) > lines + 4:
            return None
        return None if set(names_in(body).written) & taken else (body, returned)


def _learn(statement: cst.BaseStatement, known: dict[str, cst.BaseExpression]) -> None:
    """What names stand for after a statement."""
    pair = target_and_value(statement)
    if pair and m.matches(pair[0], m.Subscript(m.Name(), [m.SubscriptElement(m.Index())])):
        target, value = pair
        entries = known.pop(target.value.value, None)
        if isinstance(entries, cst.Dict):
            key = target.slice[0].slice.value
            others = [entry for entry in entries.elements if not key.deep_equals(getattr(entry, "key", entries))]
            known[target.value.value] = entries.with_changes(elements=[*others, cst.DictElement(key, value)])
        return
    changed = set(names_in(statement).written)
    for name in [name for name, value in known.items() if mentions(name, value, changed)]:
        del known[name]
    if pair is None:
        return
    target, value = pair
    known |= {
        target_name.value: known_value
        for target_name, known_value in pairs_of(target, value)
        if isinstance(target_name, cst.Name) and value_of(known_value) is not NOTHING
    }
    if isinstance(target, cst.Name):
        is_value = value_of(value) is not NOTHING
        is_next = m.matches(value, m.BinaryOperation(m.Name(), m.Add(), m.Integer()))
        if is_value or is_next or (is_alias(value) and value.value != target.value) or isinstance(value, cst.Dict):
            known[target.value] = value


def _with_value(line: cst.SimpleStatementLine, value: cst.BaseExpression) -> cst.SimpleStatementLine:
    """A line with another value; the very same object, whose results are cached, if the value is the same."""
    (statement,) = line.body
    return line if value is statement.value else line.with_changes(body=[statement.with_changes(value=value)])
