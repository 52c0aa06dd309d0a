"""Simplifying expressions once the settings are known."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import libcst as cst
import libcst.matchers as m

from benchmarks.pages.expressions import NOTHING, code_of, in_parentheses, in_place_of, is_pure, literal, value_of
from benchmarks.pages.helpers import HelperModules
from benchmarks.pages.names import is_name, names_of_loops
from benchmarks.pages.run_facts import RunFacts

BINARY = {
    cst.Add: operator.add,
    cst.Subtract: operator.sub,
    cst.Multiply: operator.mul,
    cst.Divide: operator.truediv,
    cst.FloorDivide: operator.floordiv,
    cst.Modulo: operator.mod,
}
COMPARISONS = {
    cst.Equal: operator.eq,
    cst.NotEqual: operator.ne,
    cst.LessThan: operator.lt,
    cst.LessThanEqual: operator.le,
    cst.GreaterThan: operator.gt,
    cst.GreaterThanEqual: operator.ge,
    cst.Is: operator.is_,
    cst.IsNot: operator.is_not,
    cst.In: lambda item, many: item in many,
    cst.NotIn: lambda item, many: item not in many,
}


class SpecializeError(ValueError):
    """A script has something that cannot be specialized."""


class Simplify(cst.CSTTransformer):
    """Puts values in and computes what can be computed.

    Args:
        helpers: for constants and defaults.
        known: what names stand for: literals, or other names.
        written: how often the function gives each name a value.
        as_expression: a call of a helper function as the expression that it returns; None if it does more, or is none.
    """

    def __init__(
        self,
        facts: RunFacts,
        helpers: HelperModules,
        known: Mapping[str, cst.BaseExpression],
        written: Counter[str],
        as_expression: Callable[[str, cst.Call], cst.BaseExpression | None],
    ) -> None:
        super().__init__()
        self.facts, self.helpers, self.known = facts, helpers, dict(known)
        self.written, self.as_expression = written, as_expression
        self.hidden: Counter[str] = Counter()
        self.no_variables: set[cst.Name | None] = set()
        self.has_changed = False

    def on_leave(self, old: cst.CSTNode, new: cst.CSTNode) -> Any:
        result = super().on_leave(old, new)
        self.has_changed |= result is not new
        return result

    # Names that are no variables of ours are not looked at.
    def visit_Attribute(self, node: cst.Attribute) -> None:
        self.no_variables.add(node.attr)

    def visit_Arg(self, node: cst.Arg) -> None:
        self.no_variables.add(node.keyword)

    def leave_Arg(self, old: cst.Arg, new: cst.Arg) -> cst.Arg:
        keeps_parentheses = isinstance(new.value, (cst.Tuple, cst.GeneratorExp, cst.NamedExpr, cst.ConcatenatedString))
        if new.value.lpar and not keeps_parentheses:
            new = new.with_changes(value=new.value.with_changes(lpar=[], rpar=[]))
        known_value = self.known.get(old.value.value) if old.star == "**" and isinstance(old.value, cst.Name) else None
        return new.with_changes(value=known_value) if isinstance(known_value, cst.Dict) else new

    def _own_names(self, node: Any) -> list[str]:
        """A comprehension's names; a lambda's parameters, and names that may have another value when it is called."""
        if not isinstance(node, cst.Lambda):
            return names_of_loops(node)
        params = node.params
        own = [*params.posonly_params, *params.params, *params.kwonly_params]
        own += [param for param in (params.star_arg, params.star_kwarg) if isinstance(param, cst.Param)]
        return [param.name.value for param in own] + [name for name in self.known if self.written[name] > 1]

    def _hide(self, node: Any) -> None:
        self.hidden.update(self._own_names(node))

    def _show(self, old: Any, new: Any) -> Any:
        self.hidden.subtract(self._own_names(old))
        return new.with_changes(params=old.params) if isinstance(new, cst.Lambda) else new

    visit_Lambda = visit_GeneratorExp = visit_ListComp = visit_SetComp = visit_DictComp = _hide  # noqa: N815
    leave_Lambda = leave_GeneratorExp = leave_ListComp = leave_SetComp = leave_DictComp = _show  # noqa: N815

    def leave_Name(self, old: cst.Name, new: cst.Name) -> cst.BaseExpression:
        if old in self.no_variables:
            return new
        known_value = self.known.get(old.value)
        if known_value is None and (fact := self.helpers.fact(old.value)) is not NOTHING:
            return literal(fact)
        if known_value is None or self.hidden[old.value] > 0 or isinstance(known_value, cst.Dict):
            return new
        return known_value

    def leave_Attribute(self, old: cst.Attribute, new: cst.Attribute) -> cst.BaseExpression:
        if is_name(new.value, "config"):
            name = new.attr.value
            if name not in self.facts.settings:
                raise SpecializeError(f"the script reads config.{name}, which is not a setting")
            return literal(self.facts.settings[name])
        return new

    def leave_Comparison(self, old: cst.Comparison, new: cst.Comparison) -> cst.BaseExpression:
        left, truth = value_of(new.left), True
        for target in new.comparisons:
            right = self.helpers.constant(target.comparator)
            if left is NOTHING or right is NOTHING:
                return new
            truth = truth and _result(COMPARISONS[type(target.operator)], left, right)
            left = right
        return new if truth is NOTHING else literal(bool(truth))

    def leave_UnaryOperation(self, old: cst.UnaryOperation, new: cst.UnaryOperation) -> cst.BaseExpression:
        value = value_of(new.expression)
        return literal(not value) if isinstance(new.operator, cst.Not) and value is not NOTHING else new

    def leave_BooleanOperation(self, old: cst.BooleanOperation, new: cst.BooleanOperation) -> cst.BaseExpression:
        left, right, is_and = value_of(new.left), value_of(new.right), isinstance(new.operator, cst.And)
        if left is not NOTHING:
            return in_place_of(old, new.right if bool(left) == is_and else new.left)
        # `x and True`, `x or False` stand where a truth is asked for.
        if right is is_and:
            return in_place_of(old, new.left)
        return literal(right) if right is (not is_and) and is_pure(new.left) else new

    def leave_BinaryOperation(self, old: cst.BinaryOperation, new: cst.BinaryOperation) -> cst.BaseExpression:
        left, right, kind = value_of(new.left), value_of(new.right), type(new.operator)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)) and kind in BINARY:
            value = _result(BINARY[kind], left, right)
            return new if value is NOTHING else literal(value)
        if right == 1 and kind in (cst.Divide, cst.Multiply):
            return in_place_of(old, new.left)
        if left == 1 and kind is cst.Multiply:
            return in_place_of(old, new.right)
        if left == 0 and kind in (cst.FloorDivide, cst.Modulo, cst.Multiply) and is_pure(new.right):
            return literal(0)
        if right == 1 and kind is cst.Modulo and is_pure(new.left):
            return literal(0)
        if kind is cst.Divide and code_of(new.left) == code_of(new.right) and is_pure(new.left):
            return literal(1)
        return new

    def leave_IfExp(self, old: cst.IfExp, new: cst.IfExp) -> cst.BaseExpression:
        test = value_of(new.test)
        return new if test is NOTHING else in_place_of(old, new.body if test else new.orelse)

    def leave_FormattedString(self, old: cst.FormattedString, new: cst.FormattedString) -> cst.BaseExpression:
        parts: list[cst.BaseFormattedStringContent] = []
        for part in new.parts:
            if isinstance(part, cst.FormattedStringExpression) and not part.format_spec:
                value = value_of(part.expression)
                part = cst.FormattedStringText(value) if isinstance(value, str) else part
            parts.append(part)
        if all(isinstance(part, cst.FormattedStringText) for part in parts):
            return literal("".join(part.value for part in parts))
        return new if parts == list(new.parts) else new.with_changes(parts=parts)

    def leave_Call(self, old: cst.Call, new: cst.Call) -> cst.BaseExpression:
        name = code_of(new.func)
        if not new.args and name in self.facts.calls:
            return literal(self.facts.calls[name])
        computed = self._computed(name, new)
        if computed is not None:
            return in_place_of(old, computed)
        new = self._without_defaults(name, self._spread(new))
        inlined = self.as_expression(name, new)
        return new if inlined is None else in_place_of(old, in_parentheses(inlined))

    @staticmethod
    def _computed(name: str, call: cst.Call) -> cst.BaseExpression | None:
        """Whole numbers and ranges."""
        values = [value_of(arg.value) for arg in call.args]
        if name == "str" and len(values) == 1 and isinstance(values[0], str):
            return call.args[0].value
        if name in ("math.ceil", "int") and len(call.args) == 1:
            inner = call.args[0].value
            if isinstance(values[0], (int, float)):
                return literal(int(values[0]) if name == "int" else math.ceil(values[0]))
            if m.matches(inner, m.Call(m.Name("len"))):
                return inner
            if m.matches(inner, m.BinaryOperation(operator=m.Multiply(), right=m.Name())):
                # A number of epochs times the steps of an epoch.
                factor = value_of(inner.left)
                if factor is not NOTHING and factor % 1 == 0:
                    return inner.right if factor == 1 else inner.with_changes(left=literal(int(factor)))
            if m.matches(inner, m.Name("steps_per_epoch")):
                return inner
        if name == "range" and len(call.args) == 2 and values[0] == 0:
            return call.with_changes(args=[call.args[1]])
        return None

    @staticmethod
    def _spread(call: cst.Call) -> cst.Call:
        """`f(**{"a": 1})` as `f(a=1)`."""
        args: list[cst.Arg] = []
        for arg in call.args:
            if arg.star == "**" and _has_names(arg.value):
                for element in arg.value.elements:
                    key = value_of(element.key)
                    args.append(cst.Arg(element.value, keyword=cst.Name(key), equal=cst.AssignEqual()))
            else:
                args.append(arg)
        return call if args == list(call.args) else call.with_changes(args=args)

    def _without_defaults(self, name: str, call: cst.Call) -> cst.Call:
        """Without keyword arguments that the function that is called would take by itself."""
        if not any(arg.keyword for arg in call.args):
            return call
        defaults = self.helpers.defaults(name)

        def is_needed(arg: cst.Arg) -> bool:
            keyword, value = arg.keyword and arg.keyword.value, value_of(arg.value)
            if keyword in self.facts.left_out:
                return False
            if keyword in self.facts.kept_arguments or value is NOTHING or keyword not in defaults:
                return True
            if name in self.facts.with_defaults and value and value != -1:
                return True
            return value != defaults[keyword] or isinstance(value, bool) != isinstance(defaults[keyword], bool)

        needed = [is_needed(arg) for arg in call.args]
        return call if all(needed) else _with_args(call, needed)


def _has_names(value: cst.BaseExpression) -> bool:
    """Whether it is a dictionary whose keys could be written as keywords."""
    return isinstance(value, cst.Dict) and all(
        isinstance(element, cst.DictElement) and isinstance(key := value_of(element.key), str) and key.isidentifier()
        for element in value.elements
    )


def _with_args(call: cst.Call, needed: Sequence[bool]) -> cst.Call:
    """A call with some of its arguments; a comment between them stays if something of its block does."""
    above = [call.whitespace_before_args, *map(_space_after, call.args[:-1])]
    args: list[cst.Arg] = []
    spaces: list[cst.BaseParenthesizableWhitespace] = []
    pending: cst.BaseParenthesizableWhitespace | None = None
    for arg, space, is_needed in zip(call.args, above, needed, strict=True):
        if pending is None or _has_comment(space):
            pending = space
        if is_needed:
            args.append(arg)
            spaces.append(pending)
            pending = None
    # The comment behind an argument stays with it.
    for number, arg in enumerate(args):
        if number + 1 < len(args):
            args[number] = arg.with_changes(comma=_comma(arg, spaces[number + 1]))
        elif isinstance(arg.comma, cst.Comma):
            args[number] = arg.with_changes(comma=call.args[-1].comma)
    return call.with_changes(args=args, whitespace_before_args=spaces[0] if spaces else cst.SimpleWhitespace(""))


def _space_after(arg: cst.Arg) -> cst.BaseParenthesizableWhitespace:
    return arg.comma.whitespace_after if isinstance(arg.comma, cst.Comma) else cst.SimpleWhitespace(" ")


def _comma(arg: cst.Arg, space: cst.BaseParenthesizableWhitespace) -> cst.Comma:
    own = arg.comma.whitespace_after if isinstance(arg.comma, cst.Comma) else None
    if isinstance(own, cst.ParenthesizedWhitespace) and isinstance(space, cst.ParenthesizedWhitespace):
        space = space.with_changes(first_line=own.first_line)
    elif not isinstance(space, cst.ParenthesizedWhitespace):
        space = cst.SimpleWhitespace(" ")
    return cst.Comma(whitespace_after=space)


def _has_comment(space: cst.BaseParenthesizableWhitespace) -> bool:
    return isinstance(space, cst.ParenthesizedWhitespace) and any(line.comment for line in space.empty_lines)


def _result(compute: Callable, *values: Any) -> Any:
    """The result, or `NOTHING` after an error: then the script raises it, too, and keeps the expression."""
    try:
        return compute(*values)
    except (ArithmeticError, TypeError):
        return NOTHING
