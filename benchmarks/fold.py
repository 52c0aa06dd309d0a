"""A page folded down to the dials of one run: what they switch off is gone, their values stand in their place.

The page of all dials is read as it is written (libcst keeps comments and layout), and rewritten until nothing changes:

- `config.NAME` becomes its value, and what can be computed from values is; an `if` whose test is known becomes the
  branch that is taken, with its comment;
- a call of a neighbour becomes the neighbour's lines where they are few or needed once; others come along as
  functions of their own, folded too;
- a value that never changes stands where it is used; an assignment, a parameter, a function or an import that nothing
  uses goes; so does an argument that equals the default of what is called.

Nothing is left out for its meaning: every rule keeps what the page computes. That is proved by running folded pages,
`tests/test_eject.py`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import math
import operator
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import libcst as cst
import libcst.matchers as m
from ruff import find_ruff_bin

from shared.config import RunConfig
from shared.page import Page

WIDTH = 88
# Whose functions stand in the place of SameLoop's own where a page is shown or stands alone.
INSTEAD = (Path(__file__).with_name("standalone.py"), Path(__file__).parent.parent / "shared" / "determinism.py")
LOADING = ("load_data", "load_model", "load_tokenizer", "use_deterministic_algorithms")
# Neighbours that are longer than this are functions of their own, also where they are called once.
MOST_LINES = 8
# What may be left out, or put off, if nobody uses its result.
PURE_CALLS = {
    "DataCollatorWithPadding",
    "TrainingState",
    "distributed.get_rank",
    "int",
    "len",
    "math.ceil",
    "max",
    "min",
    "random_states",
    "torch.Generator",
    "torch.accelerator.is_available",
    "torch.tensor",
    "tqdm",
}
# Methods of what a page calls by this name.
METHODS = {"trainer.train": "Trainer.train"}
PURE_METHODS = {"detach", "item", "items", "parameters"}
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
    cst.In: lambda one, many: one in many,
    cst.NotIn: lambda one, many: one not in many,
}
NOTHING = object()
# An expression this short may stand where it is used, if that is the next line.
SHORT = 40
_CODE = cst.Module([])


class FoldError(ValueError):
    """A page says something that the fold does not know how to read."""


class Definition(NamedTuple):
    """Something that a module defines: a function, a class or a constant."""

    node: cst.BaseStatement
    module: str


# Values -------------------------------------------------------------------------------------------


def code_of(node: cst.CSTNode) -> str:
    """A node as text."""
    return _CODE.code_for_node(node).strip()


def value_of(node: cst.CSTNode | None) -> Any:
    """The value of a literal, also of a tuple of literals; `NOTHING` if it is none."""
    if isinstance(node, cst.Name):
        return {"True": True, "False": False, "None": None}.get(node.value, NOTHING)
    if isinstance(node, (cst.Integer, cst.Float, cst.SimpleString, cst.UnaryOperation, cst.Tuple)):
        try:
            return ast.literal_eval(code_of(node))
        except ValueError:
            return NOTHING
    return NOTHING


def literal(value: Any) -> cst.BaseExpression:
    """A value as an expression. A float that is whole stays one: `1.0` is not `1`."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return cst.parse_expression(text.replace("e-0", "e-") if isinstance(value, float) else text)


def _computed(compute: Callable, *values: Any) -> Any:
    """What comes out, `NOTHING` if an error does: then the page has it, too, and keeps it."""
    try:
        return compute(*values)
    except (ArithmeticError, TypeError):
        return NOTHING


def _is_atom(node: cst.CSTNode) -> bool:
    return isinstance(
        node, (cst.Name, cst.Integer, cst.Float, cst.SimpleString, cst.Call, cst.Attribute, cst.Subscript)
    )


def _in_parentheses(node: cst.BaseExpression) -> cst.BaseExpression:
    if _is_atom(node) or node.lpar:
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def _instead(old: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
    """`new` in the place of `old`, with parentheses if `old` had some and `new` needs them."""
    return _in_parentheses(new) if old.lpar else new


def is_pure(node: cst.CSTNode) -> bool:
    """Whether computing it does nothing else."""
    for call in m.findall(node, m.Call()):
        name = code_of(call.func)
        method = call.func.attr.value if isinstance(call.func, cst.Attribute) else ""
        if name not in PURE_CALLS and method not in PURE_METHODS:
            return False
    return not m.findall(node, m.Yield() | m.Await() | m.NamedExpr())


# Expressions --------------------------------------------------------------------------------------


class _Simplify(cst.CSTTransformer):
    """Puts values in and computes what can be computed.

    Args:
        fold: the fold, for the dials and for calls that become expressions.
        known: what names stand for: literals, or other names.
    """

    def __init__(self, fold: Fold, known: Mapping[str, cst.BaseExpression]) -> None:
        super().__init__()
        self.fold, self.known = fold, dict(known)
        self.hidden: Counter[str] = Counter()

    # Names that are no variables of ours are not looked at.
    def visit_Attribute_attr(self, node: cst.Attribute) -> None:
        self.hidden.update([node.attr.value])

    def leave_Attribute_attr(self, node: cst.Attribute) -> None:
        self.hidden.subtract([node.attr.value])

    def visit_Arg(self, node: cst.Arg) -> None:
        if node.keyword:
            self.hidden.update([node.keyword.value])

    def leave_Arg(self, old: cst.Arg, new: cst.Arg) -> cst.Arg:
        if old.keyword:
            self.hidden.subtract([old.keyword.value])
        if not isinstance(new.value, (cst.Tuple, cst.GeneratorExp, cst.NamedExpr, cst.ConcatenatedString)):
            new = new.with_changes(value=new.value.with_changes(lpar=[], rpar=[])) if new.value.lpar else new
        if (
            old.star == "**"
            and isinstance(old.value, cst.Name)
            and isinstance(held := self.known.get(old.value.value), cst.Dict)
        ):
            return new.with_changes(value=held.deep_clone())
        return new

    def visit_Arg_value(self, node: cst.Arg) -> None:
        if node.keyword:
            self.hidden.subtract([node.keyword.value])

    def leave_Arg_value(self, node: cst.Arg) -> None:
        if node.keyword:
            self.hidden.update([node.keyword.value])

    def visit_Lambda(self, node: cst.Lambda) -> None:
        self.hidden.update(each.name.value for each in node.params.params)

    def leave_Lambda(self, old: cst.Lambda, new: cst.Lambda) -> cst.Lambda:
        self.hidden.subtract(each.name.value for each in old.params.params)
        return new.with_changes(params=old.params)

    def leave_Name(self, old: cst.Name, new: cst.Name) -> cst.BaseExpression:
        held = self.known.get(old.value)
        if held is None or self.hidden[old.value] > 0 or isinstance(held, cst.Dict):
            return new
        return held.deep_clone()

    def leave_Attribute(self, old: cst.Attribute, new: cst.Attribute) -> cst.BaseExpression:
        if m.matches(new, m.Attribute(m.Name("config"), m.Name())):
            name = new.attr.value
            if name not in self.fold.dials:
                raise FoldError(f"the page reads config.{name}, which is no dial")
            return literal(self.fold.dials[name])
        return new

    def leave_Comparison(self, old: cst.Comparison, new: cst.Comparison) -> cst.BaseExpression:
        left, truth = value_of(new.left), True
        for target in new.comparisons:
            right = self.fold.constant(target.comparator)
            if left is NOTHING or right is NOTHING:
                return new
            truth = truth and _computed(COMPARISONS[type(target.operator)], left, right)
            left = right
        return new if truth is NOTHING else literal(bool(truth))

    def leave_UnaryOperation(self, old: cst.UnaryOperation, new: cst.UnaryOperation) -> cst.BaseExpression:
        value = value_of(new.expression)
        return literal(not value) if isinstance(new.operator, cst.Not) and value is not NOTHING else new

    def leave_BooleanOperation(self, old: cst.BooleanOperation, new: cst.BooleanOperation) -> cst.BaseExpression:
        left, right, is_and = value_of(new.left), value_of(new.right), isinstance(new.operator, cst.And)
        if left is not NOTHING:
            return _instead(old, new.right if bool(left) == is_and else new.left)
        # `x and True`, `x or False` stand where a truth is asked for.
        if right is is_and:
            return _instead(old, new.left)
        return literal(right) if right is (not is_and) and is_pure(new.left) else new

    def leave_BinaryOperation(self, old: cst.BinaryOperation, new: cst.BinaryOperation) -> cst.BaseExpression:
        left, right, kind = value_of(new.left), value_of(new.right), type(new.operator)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)) and kind in BINARY:
            value = _computed(BINARY[kind], left, right)
            return new if value is NOTHING else literal(value)
        if right == 1 and kind in (cst.Divide, cst.Multiply):
            return _instead(old, new.left)
        if left == 1 and kind is cst.Multiply:
            return _instead(old, new.right)
        if left == 0 and kind in (cst.FloorDivide, cst.Modulo, cst.Multiply) and is_pure(new.right):
            return literal(0)
        if right == 1 and kind is cst.Modulo and is_pure(new.left):
            return literal(0)
        if kind is cst.Divide and code_of(new.left) == code_of(new.right) and is_pure(new.left):
            return literal(1)
        return new

    def leave_IfExp(self, old: cst.IfExp, new: cst.IfExp) -> cst.BaseExpression:
        test = value_of(new.test)
        return new if test is NOTHING else _instead(old, new.body if test else new.orelse)

    def leave_Subscript(self, old: cst.Subscript, new: cst.Subscript) -> cst.BaseExpression:
        if isinstance(new.value, cst.Tuple) and m.matches(new, m.Subscript(slice=[m.SubscriptElement(m.Index())])):
            index = value_of(new.slice[0].slice.value)
            if isinstance(index, int):
                return new.value.elements[index].value
        return new

    def leave_FormattedString(self, old: cst.FormattedString, new: cst.FormattedString) -> cst.BaseExpression:
        parts: list[cst.BaseFormattedStringContent] = []
        for part in new.parts:
            if isinstance(part, cst.FormattedStringExpression) and not part.format_spec:
                value = value_of(part.expression)
                part = cst.FormattedStringText(value) if isinstance(value, str) else part
            parts.append(part)
        if all(isinstance(part, cst.FormattedStringText) for part in parts):
            return literal("".join(part.value for part in parts))
        return new.with_changes(parts=parts)

    def leave_Call(self, old: cst.Call, new: cst.Call) -> cst.BaseExpression:
        name = code_of(new.func)
        if not new.args and name in self.fold.calls:
            return literal(self.fold.calls[name])
        computed = self._computed(name, new)
        if computed is not None:
            return _instead(old, computed)
        new = self._without_defaults(name, self._spread(new))
        inlined = self.fold.as_expression(name, new)
        return new if inlined is None else _instead(old, _in_parentheses(inlined))

    @staticmethod
    def _computed(name: str, call: cst.Call) -> cst.BaseExpression | None:
        """Whole numbers and ranges."""
        values = [value_of(arg.value) for arg in call.args]
        if name == "str" and isinstance(values[0], str):
            return call.args[0].value
        if name in ("math.ceil", "int") and len(call.args) == 1:
            inner = call.args[0].value
            if isinstance(values[0], (int, float)):
                return literal({"int": int, "math.ceil": math.ceil}[name](values[0]))
            if m.matches(inner, m.Call(m.Name("len"))):
                return inner
            if m.matches(inner, m.BinaryOperation(operator=m.Multiply(), right=m.Name())):
                # So many epochs of so many steps.
                factor = value_of(inner.left)
                if factor is not NOTHING and factor % 1 == 0:
                    return inner.right if factor == 1 else inner.with_changes(left=literal(int(factor)))
            if m.matches(inner, m.Name("steps_per_epoch")):
                return inner
        if name == "range" and len(call.args) == 2 and values[0] == 0:
            return call.with_changes(args=[call.args[1]])
        if name == "enumerate" and value_of(call.args[-1].value) == 0 and len(call.args) == 2:
            return call.with_changes(args=[call.args[0].with_changes(comma=cst.MaybeSentinel.DEFAULT)])
        return None

    @staticmethod
    def _spread(call: cst.Call) -> cst.Call:
        """`f(**{"a": 1})` as `f(a=1)`."""
        args: list[cst.Arg] = []
        for arg in call.args:
            if arg.star == "**" and isinstance(arg.value, cst.Dict):
                for element in arg.value.elements:
                    key = value_of(element.key)
                    args.append(cst.Arg(element.value, keyword=cst.Name(key), equal=cst.AssignEqual()))
            else:
                args.append(arg)
        return call.with_changes(args=args) if len(args) != len(call.args) or args != list(call.args) else call

    def _without_defaults(self, name: str, call: cst.Call) -> cst.Call:
        """Without keyword arguments that the function that is called would take by itself."""
        if not any(arg.keyword for arg in call.args):
            return call
        defaults = self.fold.defaults(name)

        def is_needed(arg: cst.Arg) -> bool:
            keyword, value = arg.keyword and arg.keyword.value, value_of(arg.value)
            if keyword in self.fold.left_out:
                return False
            if value is NOTHING or keyword not in defaults:
                return True
            return value != defaults[keyword] or isinstance(value, bool) != isinstance(defaults[keyword], bool)

        needed = [is_needed(arg) for arg in call.args]
        return call if all(needed) else _with_args(call, needed)


def _with_args(call: cst.Call, needed: Sequence[bool]) -> cst.Call:
    """A call with some of its arguments; a comment between them stays if something of its block does."""
    above = [call.whitespace_before_args, *map(_space_after, call.args[:-1])]
    args: list[cst.Arg] = []
    spaces: list[cst.BaseParenthesizableWhitespace] = []
    waiting: cst.BaseParenthesizableWhitespace | None = None
    for arg, space, is_needed in zip(call.args, above, needed, strict=True):
        if waiting is None or _has_comment(space):
            waiting = space
        if is_needed:
            args.append(arg)
            spaces.append(waiting)
            waiting = None
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


# Which names a piece of code uses -----------------------------------------------------------------


class _Names(cst.CSTVisitor):
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
        names, each = set(), node.for_in
        while each is not None:
            names |= set(_targets(each.target))
            each = each.inner_for_in
        self.own.append(names)
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
        names = _targets(target)
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


def names_in(nodes: cst.CSTNode | Iterable[cst.CSTNode]) -> _Names:
    """The names that are read and written in nodes."""
    if isinstance(nodes, cst.CSTNode):
        return _names_in(nodes)
    found = _Names()
    for node in nodes:
        one = _names_in(node)
        found.read.update(one.read)
        found.written.update(one.written)
    return found


@lru_cache(maxsize=10_000)
def _names_in(node: cst.CSTNode) -> _Names:
    """A node never changes, and is asked for often."""
    found = _Names()
    node.visit(found)
    return found


_parsed = lru_cache(maxsize=100)(cst.parse_module)


def _targets(target: cst.BaseExpression) -> list[str]:
    if isinstance(target, cst.Name):
        return [target.value]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [name for element in target.elements for name in _targets(element.value)]
    return []


# Statements ---------------------------------------------------------------------------------------


class Fold:
    """Folds one page to one set of dials.

    Args:
        page: with the neighbours that it has.
        config: the dials.
        world_size: how many processes the run has.
        instead: modules whose functions take the place of functions that the page imports, by their names.
        called: functions that stay calls, whatever `instead` says of them.
        values: what else `config` has in `instead`, or another value of a dial.

    Raises:
        FoldError: from `module`, something on the page is beyond the fold.
    """

    def __init__(
        self,
        page: Page,
        config: RunConfig,
        world_size: int = 1,
        *,
        instead: Mapping[str, bytes] | None = None,
        called: Collection[str] = (),
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self.dials = {**config.dials, **(values or {})}
        # A terminal is assumed, and that nobody asks a folded page to stop.
        self.calls: dict[str, Any] = {
            "world_size": world_size,
            "launched_world_size": world_size,
            "stop_requested": None,
            "sys.stderr.isatty": True,
        }
        if world_size == 1:
            self.calls["rank"] = 0
        else:
            self.calls["distributed.is_initialized"] = True
        self.no_ops = {"stop_after_checkpoint"}
        # Arguments that are given in any case and change no number.
        self.left_out: set[str] = set()
        self.page = _parsed(page.files[page.name])
        package = page.name.rpartition("/")[0]
        neighbours = {
            name: content for name, content in page.files.items() if name != page.name and name.startswith(package)
        }
        if world_size == 1:
            self._spare_remedies(config)
        self._imports: dict[str, tuple[str, str | None]] = {}
        self._library: dict[str, Definition] = {}
        self._calls_of: dict[str, Counter[str]] = {}
        self._instead = set(instead or {})
        self._read(page.name, self.page, is_page=True)
        for name, content in {**neighbours, **(instead or {})}.items():
            self._read(name, _parsed(content))
        for name in {"random_states", *called}:
            self._library.pop(name, None)
        self._underway: list[str] = []
        self._read_names: Counter[str] = Counter()
        self._written_names: Counter[str] = Counter()
        # What names stand for in every function of the page.
        self.known: dict[str, cst.BaseExpression] = {}
        self._defaults: dict[str, dict[str, Any]] = {}

    def _spare_remedies(self, config: RunConfig) -> None:
        """What a single process needs on Trainer's page only under some dials, though no `if` there says so."""
        if config.gradient_accumulation_steps == 1:
            # Where a step learns from one batch, the remedy has nothing to mend.
            self.dials["trainer_defaults"] = True
        if not config.bf16 and not config.use_cpu:
            self.left_out.add("use_cpu")

    def _read(self, name: str, module: cst.Module, is_page: bool = False) -> None:
        for statement in module.body:
            for imported, origin in _imported_by(statement):
                if not origin[0].startswith("__"):
                    self._imports.setdefault(imported, origin)
            if not is_page and isinstance(statement, (cst.FunctionDef, cst.ClassDef)):
                self._library[statement.name.value] = Definition(statement, name)
            elif not is_page and m.matches(statement, m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())])])):
                self._library[statement.body[0].targets[0].target.value] = Definition(statement, name)
            caller = statement.name.value if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) else ""
            self._calls_of[caller] = Counter(call.func.value for call in m.findall(statement, m.Call(m.Name())))

    # What the simplifier asks ---------------------------------------------------------------------

    def constant(self, node: cst.BaseExpression) -> Any:
        """The value of a literal, or of a name that a module of ours binds to one."""
        value = value_of(node)
        if value is NOTHING and isinstance(node, cst.Name) and node.value in self._imports:
            module, name = self._imports[node.value]
            if module.startswith("shared.") and name is not None and node.value.isupper():
                return getattr(importlib.import_module(module), name)
        return value

    def defaults(self, name: str) -> dict[str, Any]:
        """The default values of the parameters of what a dotted name stands for; none if it is not a library's."""
        if name not in self._defaults:
            self._defaults[name] = self._found_defaults(name)
        return self._defaults[name]

    def _found_defaults(self, name: str) -> dict[str, Any]:
        first, *others = METHODS.get(name, name).split(".")
        if first not in self._imports or first in self._library:
            return {}
        module, attribute = self._imports[first]
        if module.partition(".")[0] in ("shared", "manual_loop", "trainer_loop"):
            return {}
        found: Any = importlib.import_module(module)
        for each in ([attribute] if attribute else []) + others:
            found = getattr(found, each)
        # tqdm's class says nothing of its parameters, its constructor does.
        called = inspect.unwrap(found.__init__) if module == "tqdm" else found
        try:
            parameters = inspect.signature(called).parameters.values()
        except ValueError:  # written in C, without one
            return {}
        return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}

    def as_expression(self, name: str, call: cst.Call) -> cst.BaseExpression | None:
        """A call of a neighbour as the expression that it returns, if it does nothing else."""
        body = self._called(name, call)
        if body is None or len(body) != 1 or not _is_return(body[0]):
            return None
        return body[0].body[0].value or cst.Name("None")

    def _called(self, name: str, call: cst.Call) -> list[cst.BaseStatement] | None:
        """What a neighbour does when it is called like this; None if that cannot be written in the call's place."""
        found = self._library.get(name)
        if found is None or not isinstance(found.node, cst.FunctionDef) or name in self._underway:
            return None
        params = found.node.params
        if params.star_kwarg or params.kwonly_params or any(arg.star for arg in call.args):
            return None
        given: dict[str, cst.BaseExpression] = {
            each.name.value: each.default for each in params.params if each.default is not None
        }
        for position, arg in enumerate(call.args):
            given[arg.keyword.value if arg.keyword else params.params[position].name.value] = arg.value
        body = _without_docstring(found.node.body.body)
        used = names_in(body)
        if any(used.written[each] for each in given):
            return None
        self._underway.append(name)
        folded = self.body(body, given)
        self._underway.pop()
        if any(isinstance(value, cst.Dict) for value in given.values()):
            return None
        for value in given.values():
            # Something that is computed must be computed once, as it was.
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
        body = self.without_dead(body, keep=set()) if name in self._library else body
        returned = None
        if body and _is_return(body[-1]):
            body, returned = body[:-1], body[-1].body[0].value
        if any(m.findall(each, m.Return()) for each in body):
            return None
        lines = sum(len(code_of(each).splitlines()) for each in body)
        is_long = lines > MOST_LINES and self._library[name].module not in self._instead
        # As a function it would take as many lines, its head, and an empty line or two.
        if is_long or lines * self._places(name) > lines + 4:
            return None
        clashes = set(names_in(body).written) & taken
        return None if clashes else (list(body), returned)

    def _places(self, name: str, on_the_way: tuple[str, ...] = ()) -> int:
        """How many times a neighbour would be written out, if those that call it are written out, too."""
        way = (*on_the_way, name)
        return sum(
            calls[name] * (self._places(caller, way) if caller in self._library else 1)
            for caller, calls in self._calls_of.items()
            if calls[name] and caller not in way
        )

    # Blocks ---------------------------------------------------------------------------------------

    def body(
        self,
        statements: Sequence[cst.BaseStatement],
        known: Mapping[str, cst.BaseExpression],
        taken: Iterable[str] = (),
    ) -> list[cst.BaseStatement]:
        """A block folded.

        Args:
            statements: the block.
            known: what names stand for when it begins.
            taken: names that the function uses besides.
        """
        known, taken = dict(known), set(taken) | set(names_in(statements).written)
        done: list[cst.BaseStatement] = []
        waiting = list(statements)
        lines: list[cst.EmptyLine] = []
        while waiting:
            statement = _taking_over(lines, waiting.pop(0))
            lines = []
            replaced = self._statement(statement, known, taken)
            if isinstance(replaced, _Done):
                self._learn(replaced[0], known)
                done.append(replaced[0])
            elif replaced:
                waiting = [_with_lines(replaced[0], statement.leading_lines), *replaced[1:], *waiting]
            else:
                lines = list(statement.leading_lines)
            if done and _ends_block(done[-1]):
                break
        return done

    def _statement(
        self, statement: cst.BaseStatement, known: dict[str, cst.BaseExpression], taken: set[str]
    ) -> list[cst.BaseStatement]:
        """What takes a statement's place: nothing, itself folded (`_Done`), or others that are still to be folded."""
        if isinstance(statement, cst.If):
            return self._if(statement, known, taken)
        if isinstance(statement, cst.For):
            changed = set(names_in(statement).written)
            inside = {name: value for name, value in known.items() if not _mentions(name, value, changed)}
            body = self.body(statement.body.body, inside, taken)
            new_iter = self.simplified(statement.iter, known)
            block = statement.body.with_changes(body=body or [_pass()])
            return _Done([statement.with_changes(iter=new_iter, body=block)])
        if isinstance(statement, cst.With):
            items = [item.with_changes(item=self.simplified(item.item, known)) for item in statement.items]
            body = self.body(statement.body.body, known, taken)
            return _Done([statement.with_changes(items=items, body=statement.body.with_changes(body=body))])
        if isinstance(statement, cst.SimpleStatementLine):
            return self._simple(statement, known, taken)
        return _Done([statement])

    def _if(self, statement: cst.If, known: dict, taken: set[str]) -> list[cst.BaseStatement]:
        test = self.simplified(statement.test, known)
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
            otherwise = otherwise.with_changes(body=otherwise.body.with_changes(body=rest)) if rest else None
        if not body and otherwise is None and is_pure(test):
            return []
        new = statement.with_changes(
            test=test, body=statement.body.with_changes(body=body or [_pass()]), orelse=otherwise
        )
        for name in names_in(new).written:
            known.pop(name, None)
        return _Done([new])

    def _simple(self, line: cst.SimpleStatementLine, known: dict, taken: set[str]) -> list[cst.BaseStatement]:
        (statement,) = line.body
        if isinstance(statement, cst.Pass):
            return []
        if isinstance(statement, cst.Assign):
            (target,) = (each.target for each in statement.targets)
            value = self.simplified(statement.value, known)
            if code_of(target) == code_of(value):
                return []
            both = isinstance(target, cst.Tuple) and isinstance(value, cst.Tuple)
            if both and self._is_to_be_split(target, value):
                pairs = [(one.value, other.value) for one, other in zip(target.elements, value.elements, strict=True)]
                apart = [pair for pair in pairs if self._is_foldable(*pair)]
                rest = [pair for pair in pairs if pair not in apart]
                done = [_line(_assignment([pair])) for pair in apart]
                # The comment behind the line stays with what is left of it.
                return [*done, line.with_changes(leading_lines=[], body=[_assignment(rest)])] if rest else done
            if inlined := self._inlined(value, taken - set(_targets(target))):
                body, returned = inlined
                result = statement.with_changes(value=returned or cst.Name("None"))
                return [*body, line.with_changes(leading_lines=[], body=[result])]
            return _Done([line.with_changes(body=[statement.with_changes(value=value)])])
        if isinstance(statement, cst.Expr):
            value = self.simplified(statement.value, known)
            if isinstance(value, cst.Call) and code_of(value.func) in self.no_ops:
                return []
            if inlined := self._inlined(value, taken):
                return inlined[0]
            if is_pure(value):
                return []
            return _Done([line.with_changes(body=[statement.with_changes(value=value)])])
        if isinstance(statement, (cst.Return, cst.AugAssign, cst.AnnAssign)) and statement.value is not None:
            value = self.simplified(statement.value, known)
            return _Done([line.with_changes(body=[statement.with_changes(value=value)])])
        return _Done([line])

    def _is_to_be_split(self, target: cst.Tuple, value: cst.Tuple) -> bool:
        """Whether assigning a tuple's values one after the other shows what can be folded further."""
        if not _can_be_split(target, value):
            return False
        pairs = zip(target.elements, value.elements, strict=True)
        return any(self._is_foldable(one.value, other.value) for one, other in pairs)

    def _is_foldable(self, target: cst.BaseExpression, value: cst.BaseExpression) -> bool:
        """Whether a name that is given this value need not be there."""
        if not isinstance(target, cst.Name):
            return False
        is_known = value_of(value) is not NOTHING or _is_alias(value)
        written, read = self._written_names[target.value], self._read_names[target.value]
        return (is_known and written == 1) or (written > 0 and not read)

    def simplified(self, node: cst.BaseExpression, known: Mapping[str, cst.BaseExpression]) -> cst.BaseExpression:
        """An expression with values in it, computed."""
        while True:
            new = node.visit(_Simplify(self, known))
            if new.deep_equals(node):
                return new
            node = new

    @staticmethod
    def _learn(statement: cst.BaseStatement, known: dict[str, cst.BaseExpression]) -> None:
        """What names stand for after a statement."""
        item = m.AssignTarget(m.Subscript(m.Name(), [m.SubscriptElement(m.Index())]))
        if m.matches(statement, m.SimpleStatementLine([m.Assign([item])])):
            target, value = statement.body[0].targets[0].target, statement.body[0].value
            held = known.pop(target.value.value, None)
            if isinstance(held, cst.Dict):
                element = cst.DictElement(target.slice[0].slice.value, value)
                known[target.value.value] = held.with_changes(elements=[*held.elements, element])
            return
        changed = set(names_in(statement).written)
        for name in [name for name, value in known.items() if _mentions(name, value, changed)]:
            del known[name]
        both = m.Assign([m.AssignTarget(m.Tuple())], m.Tuple())
        if m.matches(statement, m.SimpleStatementLine([both])):
            pairs = zip(statement.body[0].targets[0].target.elements, statement.body[0].value.elements, strict=False)
            for one, other in pairs:
                if isinstance(one.value, cst.Name) and value_of(other.value) is not NOTHING:
                    known[one.value.value] = other.value
        elif m.matches(statement, m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())])])):
            target, value = statement.body[0].targets[0].target, statement.body[0].value
            is_value = value_of(value) is not NOTHING
            is_next = m.matches(value, m.BinaryOperation(m.Name(), m.Add(), m.Integer()))
            if (
                is_value
                or is_next
                or (_is_alias(value) and value.value != target.value)
                or isinstance(value, cst.Dict)
            ):
                known[target.value] = value

    # What nobody uses -----------------------------------------------------------------------------

    def without_dead(self, statements: Sequence[cst.BaseStatement], keep: set[str]) -> list[cst.BaseStatement]:
        """Without assignments to names that nothing reads, `keep` excepted."""
        read = set(names_in(statements).read) | keep

        def cleaned(block: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
            done, lines = [], []
            for number, statement in enumerate(block):
                statement, lines = _taking_over(lines, statement), []
                new = self._without_dead(statement, block[number + 1 :], read, cleaned)
                if new is None:
                    lines = list(statement.leading_lines)
                else:
                    done.append(new)
            return done

        return cleaned(statements)

    @staticmethod
    def _without_dead(
        statement: cst.BaseStatement, later: Sequence[cst.BaseStatement], read: set[str], cleaned: Callable
    ) -> cst.BaseStatement | None:
        if isinstance(statement, cst.SimpleStatementLine):
            (inner,) = statement.body
            if isinstance(inner, (cst.Assign, cst.AugAssign)):
                target = inner.targets[0].target if isinstance(inner, cst.Assign) else inner.target
                base = target.value if m.matches(target, m.Subscript(m.Name())) else target
                names = _targets(base)
                if names and (not set(names) & read or _is_overwritten(base, later)):
                    if is_pure(inner.value):
                        return None
                    if isinstance(inner, cst.Assign):
                        return statement.with_changes(body=[cst.Expr(inner.value)])
            return statement
        if isinstance(statement, (cst.For, cst.With, cst.If)):
            body = cleaned(statement.body.body)
            if isinstance(statement, cst.If):
                orelse = statement.orelse
                if isinstance(orelse, cst.Else):
                    rest = cleaned(orelse.body.body)
                    orelse = orelse.with_changes(body=orelse.body.with_changes(body=rest)) if rest else None
                if not body and orelse is None and is_pure(statement.test):
                    return None
                statement = statement.with_changes(orelse=orelse)
            return statement.with_changes(body=statement.body.with_changes(body=body or [_pass()]))
        return statement

    @staticmethod
    def with_short(statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
        """Short expressions that are only used in the next line stand there."""
        used = names_in(statements)

        def joined(block: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
            done: list[cst.BaseStatement] = []
            for statement in block:
                if isinstance(statement, (cst.For, cst.With, cst.If)):
                    body = statement.body.with_changes(body=joined(statement.body.body))
                    statement = statement.with_changes(body=body)
                    if isinstance(statement, cst.If) and isinstance(statement.orelse, cst.Else):
                        rest = statement.orelse.body.with_changes(body=joined(statement.orelse.body.body))
                        statement = statement.with_changes(orelse=statement.orelse.with_changes(body=rest))
                if done and (new := _joined(done[-1], statement, used)):
                    statement = new.with_changes(leading_lines=done.pop().leading_lines)
                done.append(statement)
            return done

        return joined(statements)

    def with_locals(self, statements: list[cst.BaseStatement]) -> list[cst.BaseStatement]:
        """An object that only holds values, and of which nothing but these values is used, as plain names."""
        for number, statement in enumerate(statements):
            if not m.matches(
                statement, m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())], m.Call(m.Name()))])
            ):
                continue
            name, call = statement.body[0].targets[0].target.value, statement.body[0].value
            found = self._library.get(call.func.value)
            if found is None or not isinstance(found.node, cst.ClassDef):
                continue
            finder = _Held(name)
            for each in statements[number + 1 :]:
                each.visit(finder)
            if finder.escapes or finder.attributes & set(names_in(statements).written):
                continue
            values = _field_values(found.node, call)
            # What is set before it is read needs no first value.
            first = [
                (cst.Name(attribute), values[attribute])
                for attribute in values
                if attribute in finder.attributes and not finder.is_set_first[attribute]
            ]
            computed = [pair for pair in first if m.findall(pair[1], m.Call())]
            plain = [pair for pair in first if pair not in computed]
            made = [_line(_assignment([pair])) for pair in computed] + [_line(_assignment(plain))] * bool(plain)
            if made:
                made[0] = made[0].with_changes(leading_lines=statement.leading_lines)
            rest = [each.visit(_AsLocals(name)) for each in statements[number + 1 :]]
            return [*statements[:number], *made, *rest]
        return statements

    # Functions and modules ------------------------------------------------------------------------

    def function(self, node: cst.FunctionDef) -> cst.FunctionDef:
        """A function folded; its parameters stay."""
        docstring = node.body.body[: len(node.body.body) - len(_without_docstring(node.body.body))]
        body: list[cst.BaseStatement] = list(_without_docstring(node.body.body))
        known = dict(self.known)
        if node.name.value == "train":
            known["checkpoint"] = cst.Name("None")
        while True:
            before, used = "".join(map(code_of, body)), names_in(body)
            self._read_names, self._written_names = used.read, used.written
            body = self.body(body, known)
            body = self.without_dead(self.with_locals(body), keep=set())
            body = self.with_short(_after_loops(body))
            if "".join(map(code_of, body)) == before:
                return node.with_changes(body=node.body.with_changes(body=[*docstring, *body]))

    def module(self, functions: Sequence[cst.FunctionDef] | None = None) -> list[cst.BaseStatement]:
        """The page's functions, folded, and what of the neighbours they still call, without imports.

        Args:
            functions: take these for the page's.
        """
        done: dict[str, cst.BaseStatement] = {}
        order: list[str] = []
        if functions is None:
            functions = [each for each in self.page.body if isinstance(each, cst.FunctionDef)]
        waiting: list[cst.BaseStatement] = list(functions)
        while waiting:
            node = waiting.pop(0)
            name = _name_of(node)
            if name in done:
                continue
            done[name] = self.function(node) if isinstance(node, cst.FunctionDef) else node
            order.append(name)
            for used in names_in(done[name]).read:
                if used in self._library and used not in done:
                    waiting.append(_brief(self._library[used].node))
        # What is used by others stands before them, if it is no function.
        first = [done[name] for name in order if not isinstance(done[name], cst.FunctionDef)]
        functions = [done[name] for name in order if isinstance(done[name], cst.FunctionDef)]
        return _without_parameters([*first, *functions])

    def imports(self, statements: Sequence[cst.BaseStatement]) -> list[str]:
        """The import statements that some statements need."""
        defined = {_name_of(each) for each in statements}
        lines = []
        for name in sorted(set(names_in(statements).read) - defined):
            if name in self._imports:
                module, attribute = self._imports[name]
                if attribute is None:
                    lines.append(f"import {module}" + ("" if name == module.partition(".")[0] else f" as {name}"))
                else:
                    lines.append(f"from {module} import {attribute}" + ("" if name == attribute else f" as {name}"))
        return lines


class _Done(list):
    """A statement that is folded, alone in a list."""


class _Held(cst.CSTVisitor):
    """How an object is used: its attributes, and whether it is used in any other way."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.attributes, self.escapes = name, set(), False
        self.is_set_first: dict[str, bool] = {}

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        if m.matches(node.target, m.Attribute(m.Name(self.name))):
            self.is_set_first.setdefault(node.target.attr.value, True)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        if m.matches(node.value, m.Name(self.name)):
            self.attributes.add(node.attr.value)
            self.is_set_first.setdefault(node.attr.value, False)
        else:
            node.value.visit(self)
        return False

    def visit_Name(self, node: cst.Name) -> None:
        self.escapes = self.escapes or node.value == self.name


class _AsLocals(cst.CSTTransformer):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def leave_Attribute(self, old: cst.Attribute, new: cst.Attribute) -> cst.BaseExpression:
        return new.attr if m.matches(new.value, m.Name(self.name)) else new


class _Replace(cst.CSTTransformer):
    """Puts an expression in the place of a name, or of any expression with a certain text."""

    def __init__(self, text: str, new: cst.BaseExpression) -> None:
        super().__init__()
        self.text, self.new = text, new

    def on_leave(self, old: cst.CSTNode, new: cst.CSTNode) -> Any:
        new = super().on_leave(old, new)
        if isinstance(new, cst.BaseExpression) and code_of(new) == self.text:
            return self.new.deep_clone()
        return new


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


def _after_loops(statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """What a loop over batches does with its last one stands after the loop.

    In `for number, batch in enumerate(loader, start=1)` that is what the loop's end does `if number == len(loader)`,
    if nothing breaks off the loop. A `continue` passes over the end only where a step goes on with the next batch.
    """
    done: list[cst.BaseStatement] = []
    for statement in statements:
        after: list[cst.BaseStatement] = []
        if isinstance(statement, (cst.For, cst.If, cst.With)):
            statement = statement.with_changes(
                body=statement.body.with_changes(body=_after_loops(statement.body.body))
            )
        if m.matches(
            statement,
            m.For(
                target=m.Tuple([m.Element(m.Name()), m.Element(m.Name())]),
                iter=m.Call(m.Name("enumerate"), [m.Arg(m.Name()), m.Arg(m.Integer("1"))]),
            ),
        ) and not m.findall(statement, m.Break()):
            statement, after = _split_loop(statement)
        done += [statement, *after]
    return done


def _split_loop(loop: cst.For) -> tuple[cst.For, list[cst.BaseStatement]]:
    number, batch = (each.value for each in loop.target.elements)
    loader = loop.iter.args[0].value
    is_last = f"{number.value} == len({loader.value})"
    body, after = list(loop.body.body), []
    ends = {
        each.body[0].targets[0].target.value
        for each in body
        if m.matches(each, m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())])]))
        and code_of(each.body[0].value) == is_last
    }
    while (
        body
        and isinstance(body[-1], cst.If)
        and body[-1].orelse is None
        and code_of(body[-1].test) in {is_last, *ends}
    ):
        last = body.pop()
        inner = list(last.body.body)
        inner[0] = _with_lines(inner[0], last.leading_lines)
        after = inner + after
    # Only after the loop, of what is computed at a step's end.
    moved: list[cst.BaseStatement] = []
    read_inside = names_in(body).read
    for each in list(body):
        if m.matches(each, m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())])])):
            name = each.body[0].targets[0].target.value
            if (
                not read_inside[name]
                and names_in(after).read[name]
                and is_pure(each.body[0].value)
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


def _joined(one: cst.BaseStatement, two: cst.BaseStatement, used: _Names) -> cst.BaseStatement | None:
    """Two lines as one, where the second only goes on with what the first has named."""
    if not m.matches(one, m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())])])):
        return None
    if not isinstance(two, cst.SimpleStatementLine) or two.leading_lines:
        return None
    name, value = one.body[0].targets[0].target.value, one.body[0].value
    goes_on = m.Assign([m.AssignTarget(m.Name(name))], m.Call(m.Attribute(m.Name(name))))
    if m.matches(two.body[0], goes_on) and names_in(two).read[name] == 1:
        new = two.visit(_Replace(name, _in_parentheses(value)))
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
    new = two.visit(_Replace(name, _in_parentheses(value)))
    return new if len(code_of(new)) < WIDTH - 4 else None


def _can_be_split(target: cst.Tuple, value: cst.Tuple) -> bool:
    """Whether a tuple's values can be assigned one after the other: no later one reads an earlier target."""
    targets = [code_of(each.value) for each in target.elements]
    values = [each.value for each in value.elements]
    if len(targets) != len(values) or any(isinstance(each, cst.StarredElement) for each in value.elements):
        return False
    return not any(
        m.findall(
            later,
            m.MatchIfTrue(lambda node, name=name: isinstance(node, cst.BaseExpression) and code_of(node) == name),
        )
        for number, name in enumerate(targets)
        for later in values[number + 1 :]
    )


def _is_overwritten(target: cst.BaseExpression, later: Sequence[cst.BaseStatement]) -> bool:
    """Whether a name gets another value before anything reads it."""
    if not isinstance(target, cst.Name):
        return False
    for statement in later:
        used = names_in(statement)
        if used.read[target.value]:
            return False
        if used.written[target.value]:
            return m.matches(statement, m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name(target.value))])]))
    return False


def _without_parameters(statements: list[cst.BaseStatement]) -> list[cst.BaseStatement]:
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
        if not m.matches(new.func, m.Name(self.function)):
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


def _brief(node: cst.BaseStatement) -> cst.BaseStatement:
    """A neighbour with the first paragraph of its docstring only."""
    if not isinstance(node, (cst.FunctionDef, cst.ClassDef)):
        return node
    first = node.body.body[0]
    if not m.matches(first, m.SimpleStatementLine([m.Expr(m.SimpleString())])):
        return node
    text = ast.literal_eval(first.body[0].value.value).partition("\n\n")[0].strip()
    line = _line(cst.Expr(cst.SimpleString(f'"""{text}"""')))
    return node.with_changes(body=node.body.with_changes(body=[line, *node.body.body[1:]]))


def _mentions(name: str, value: cst.BaseExpression, changed: set[str]) -> bool:
    return name in changed or bool(set(names_in(value).read) & changed)


def _assignment(pairs: Sequence[tuple[cst.BaseExpression, cst.BaseExpression]]) -> cst.Assign:
    """Names given values, in one statement."""
    names, values = ([each[side] for each in pairs] for side in (0, 1))
    if len(pairs) == 1:
        return cst.Assign([cst.AssignTarget(names[0])], values[0])
    target, value = (cst.Tuple([cst.Element(each) for each in side], lpar=[], rpar=[]) for side in (names, values))
    return cst.Assign([cst.AssignTarget(target)], value)


def _is_alias(value: cst.BaseExpression) -> bool:
    return isinstance(value, cst.Name) and value_of(value) is NOTHING


def _is_return(statement: cst.BaseStatement) -> bool:
    return m.matches(statement, m.SimpleStatementLine([m.Return()]))


def _ends_block(statement: cst.BaseStatement) -> bool:
    return m.matches(statement, m.SimpleStatementLine([m.Return() | m.Continue() | m.Break() | m.Raise()]))


def _line(statement: cst.BaseSmallStatement) -> cst.SimpleStatementLine:
    return cst.SimpleStatementLine([statement])


def _pass() -> cst.SimpleStatementLine:
    return _line(cst.Pass())


def _name_of(node: cst.BaseStatement) -> str:
    if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
        return node.name.value
    return node.body[0].targets[0].target.value


def _without_docstring(body: Sequence[cst.BaseStatement]) -> Sequence[cst.BaseStatement]:
    has_one = m.matches(body[0], m.SimpleStatementLine([m.Expr(m.SimpleString())]))
    return body[1:] if has_one else body


def _with_lines(statement: cst.BaseStatement, lines: Sequence[cst.EmptyLine]) -> cst.BaseStatement:
    return statement.with_changes(leading_lines=[*lines, *statement.leading_lines]) if lines else statement


def _taking_over(lines: Sequence[cst.EmptyLine], statement: cst.BaseStatement) -> cst.BaseStatement:
    """A statement with the comment of a block whose first lines are gone, unless it begins a block of its own."""
    if not lines:
        return statement
    if not statement.leading_lines and not isinstance(statement, cst.For) and not _ends_block(statement):
        return statement.with_changes(leading_lines=lines)
    # Of a whole block that is gone, a blank line is left.
    if any(line.comment is None for line in lines) and not any(
        line.comment is None for line in statement.leading_lines
    ):
        return statement.with_changes(leading_lines=[cst.EmptyLine(indent=False), *statement.leading_lines])
    return statement


def _imported_by(statement: cst.BaseStatement) -> list[tuple[str, tuple[str, str | None]]]:
    """What an import statement binds, and from where: module, and name in it or None for the module itself."""
    found = []
    for node in m.findall(statement, m.Import() | m.ImportFrom()):
        for alias in node.names:
            name = code_of(alias.name)
            bound = code_of(alias.asname.name) if alias.asname else name.partition(".")[0]
            if isinstance(node, cst.ImportFrom):
                found.append((bound, (code_of(node.module), name)))
            else:
                found.append((bound, (name, None)))
    return found


def formatted(source: str) -> str:
    """Source text as ruff formats it, its imports sorted and without those that nothing uses."""
    for options in (
        ["check", "--isolated", "--quiet", "--select", "I,F401,F841", "--fix", "--unsafe-fixes", "-"],
        ["format", "--isolated", "--quiet", "--line-length", str(WIDTH), "-"],
    ):
        command = [find_ruff_bin(), options[0], *options[1:]]
        ran = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
        source = ran.stdout or source
    return source


def folded_source(page: Page, config: RunConfig, world_size: int = 1) -> str:
    """A page as these dials leave it, for whoever shows it; a file of the user's stays as it is.

    Args:
        page: either loop's.
        config: the dials.
        world_size: how many processes the run has.
    """
    if page.is_own:
        return page.source
    try:
        return _folded_source(page, config, world_size)
    except FoldError:  # somebody tries things out on the page
        return page.source


def _folded_source(page: Page, config: RunConfig, world_size: int) -> str:
    # What it loads stays a call, what it saves is told in short.
    instead = {file.name: file.read_bytes() for file in INSTEAD}
    fold = Fold(page, config, world_size, instead=instead, called=LOADING)
    fold.no_ops.add("trainer.add_callback")
    statements = fold.module()
    docstring = cst.Module([fold.page.body[0]]).code
    imports = "\n".join(fold.imports(statements))
    return formatted(f"{docstring}\n{imports}\n\n\n{cst.Module(statements).code}")
