"""A page folded down to the dials of one run: what they switch off is gone, their values stand in their place.

The page of all dials is read as it is written (libcst keeps comments and layout), and rewritten until nothing changes:

- `config.NAME` becomes its value, and what can be computed from values is; an `if` whose test is known becomes the
  branch that is taken, with its comment;
- a call of a neighbour becomes the neighbour's lines where they are few or needed once; others come along as
  functions of their own, folded too;
- a value that never changes stands where it is used; an assignment, a parameter, a function or an import that nothing
  uses goes; so does an argument that equals the default of what is called.

Nothing is left out for its meaning: every rule keeps what the page computes. That is proved by running folded pages,
`tests/pages/test_eject.py`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import libcst as cst
import libcst.matchers as m
from ruff.__main__ import find_ruff_bin  # here in every release

from benchmarks.pages.expressions import (
    NOTHING,
    FoldError,
    code_of,
    is_pure,
    value_of,
)
from benchmarks.pages.names import holds, names_in, parsed, targets_of, walk
from benchmarks.pages.simplify import Simplify
from benchmarks.pages.statements import (
    WIDTH,
    assigned,
    assignment,
    ends_block,
    field_values,
    is_alias,
    is_docstring,
    is_return,
    line_of,
    mentions,
    name_given,
    name_of,
    pass_line,
    taking_over,
    with_lines,
    without_docstring,
)
from benchmarks.pages.tidy import (
    AsLocals,
    Held,
    after_loops,
    can_be_split,
    is_overwritten,
    joined_line,
    without_parameters,
)
from shared.config import RunConfig
from shared.releases import RENAMINGS
from shared.running.page import Page

# Whose functions stand in the place of SameLoop's own where a page is shown or stands alone.
INSTEAD = (Path(__file__).with_name("standalone.py"), Path(__file__).parents[2] / "shared" / "determinism.py")


LOADING = ("load_data", "load_model", "load_tokenizer", "use_deterministic_algorithms")


# Neighbours that are longer than this are functions of their own, also where they are called once.
MOST_LINES = 8


# What a page has from `shared.releases`, and a script from where it is.
TRANSFORMERS_OWN = {("shared.releases", name) for name in ("Trainer", "TrainingArguments")}


# Methods of what a page calls by this name.
METHODS = {"trainer.train": "Trainer.train"}


class Definition(NamedTuple):
    """Something that a module defines: a function, a class or a constant."""

    node: cst.BaseStatement
    module: str


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
        # Arguments that stay, whatever their default.
        self.kept: set[str] = set()
        self.page = parsed(page.files[page.name])
        package = page.name.rpartition("/")[0]
        neighbours = {
            name: content for name, content in page.files.items() if name != page.name and name.startswith(package)
        }
        # Calls of which what they would do by themselves is shown, too, as the twin of what is done by hand.
        self.shown: set[str] = set()
        if world_size == 1:
            self._spare_remedies(config)
        self._imports: dict[str, tuple[str, str | None]] = {}
        self._library: dict[str, Definition] = {}
        self._calls_of: dict[str, Counter[str]] = {}
        self._instead = set(instead or {})
        self._read(page.name, self.page, is_page=True)
        for name, content in {**neighbours, **(instead or {})}.items():
            self._read(name, parsed(content))
        for name in {"random_states", *called}:
            self._library.pop(name, None)
        self._underway: list[str] = []
        self._read_names: Counter[str] = Counter()
        self._written_names: Counter[str] = Counter()
        # What names stand for in every function of the page.
        self.known: dict[str, cst.BaseExpression] = {}
        self._defaults: dict[str, dict[str, Any]] = {}
        # What the neighbours do in this pass over a function, by their call.
        self._done_by: dict[tuple[str, ...], list[cst.BaseStatement] | None] = {}

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
                if origin in TRANSFORMERS_OWN:
                    origin = ("transformers", imported)
                if not origin[0].startswith("__"):
                    self._imports.setdefault(imported, origin)
            if not is_page and isinstance(statement, (cst.FunctionDef, cst.ClassDef)):
                self._library[statement.name.value] = Definition(statement, name)
            elif not is_page and (given := name_given(statement)):
                self._library[given[0]] = Definition(statement, name)
            caller = statement.name.value if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) else ""
            self._calls_of[caller] = _calls_in(statement)

    # What the simplifier asks ---------------------------------------------------------------------

    def changes(self, name: str) -> bool:
        """Whether the function that is folded gives a name more than one value."""
        return self._written_names[name] > 1

    def constant(self, node: cst.BaseExpression) -> Any:
        """The value of a literal, or of a name that a module of ours binds to one."""
        value = value_of(node)
        if value is NOTHING and isinstance(node, cst.Name) and node.value in self._imports:
            module, name = self._imports[node.value]
            if module.startswith("shared.") and name is not None and node.value.isupper():
                return getattr(importlib.import_module(module), name)
        return value

    def fact(self, name: str) -> Any:
        """What the installed release of transformers does, where a name stands for that."""
        if name.isupper() and self._imports.get(name, ("",))[0] == "shared.releases":
            return self.constant(cst.Name(name))
        return NOTHING

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
        renamed = {each.today: each.default for each in RENAMINGS if each.owner == name}
        return {
            each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty
        } | renamed

    def as_expression(self, name: str, call: cst.Call) -> cst.BaseExpression | None:
        """A call of a neighbour as the expression that it returns, if it does nothing else."""
        body = self._called(name, call)
        if body is None or len(body) != 1 or not is_return(body[0]):
            return None
        return body[0].body[0].value or cst.Name("None")

    def _called(self, name: str, call: cst.Call) -> list[cst.BaseStatement] | None:
        """What a neighbour does when it is called like this; None if that cannot be written in the call's place."""
        way = (name, code_of(call), *self._underway)
        if way not in self._done_by:
            self._done_by[way] = self._folded_call(name, call)
        return self._done_by[way]

    def _folded_call(self, name: str, call: cst.Call) -> list[cst.BaseStatement] | None:
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
        body = without_docstring(found.node.body.body)
        used = names_in(body)
        if any(used.written[each] or isinstance(value, cst.Dict) for each, value in given.items()):
            return None
        self._underway.append(name)
        folded = self.body(body, given)
        self._underway.pop()
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
        body = self.without_dead(body)
        returned = None
        if body and is_return(body[-1]):
            body, returned = body[:-1], body[-1].body[0].value
        if any(holds(each, cst.Return) for each in body):
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
            statement = taking_over(lines, waiting.pop(0))
            lines = []
            replaced = self._statement(statement, known, taken)
            if isinstance(replaced, _Done):
                self._learn(replaced[0], known)
                done.append(replaced[0])
            elif replaced:
                waiting = [with_lines(replaced[0], statement.leading_lines), *replaced[1:], *waiting]
            else:
                lines = list(statement.leading_lines)
            if done and ends_block(done[-1]):
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
            inside = {name: value for name, value in known.items() if not mentions(name, value, changed)}
            body = self.body(statement.body.body, inside, taken)
            new_iter = self.simplified(statement.iter, known)
            block = statement.body.with_changes(body=body or [pass_line()])
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
            test=test, body=statement.body.with_changes(body=body or [pass_line()]), orelse=otherwise
        )
        for name in names_in(new).written:
            known.pop(name, None)
        return _Done([new])

    def _simple(self, line: cst.SimpleStatementLine, known: dict, taken: set[str]) -> list[cst.BaseStatement]:
        (statement,) = line.body
        if isinstance(statement, cst.Pass):
            return []
        if isinstance(statement, cst.Assign):
            value = self.simplified(statement.value, known)
            if len(statement.targets) > 1:
                return _Done([_with_value(line, value)])
            target = statement.targets[0].target
            if code_of(target) == code_of(value):
                return []
            both = isinstance(target, cst.Tuple) and isinstance(value, cst.Tuple)
            if both and self._is_to_be_split(target, value):
                pairs = [(one.value, other.value) for one, other in zip(target.elements, value.elements, strict=True)]
                apart = [pair for pair in pairs if self._is_foldable(*pair)]
                rest = [pair for pair in pairs if pair not in apart]
                done = [line_of(assignment([pair])) for pair in apart]
                # The comment behind the line stays with what is left of it.
                return [*done, line.with_changes(leading_lines=[], body=[assignment(rest)])] if rest else done
            if inlined := self._inlined(value, taken - set(targets_of(target))):
                body, returned = inlined
                result = statement.with_changes(value=returned or cst.Name("None"))
                return [*body, line.with_changes(leading_lines=[], body=[result])]
            return _Done([_with_value(line, value)])
        if isinstance(statement, cst.Expr):
            value = self.simplified(statement.value, known)
            if isinstance(value, cst.Call) and code_of(value.func) in self.no_ops:
                return []
            if inlined := self._inlined(value, taken):
                return inlined[0]
            if is_pure(value):
                return []
            return _Done([_with_value(line, value)])
        if isinstance(statement, (cst.Return, cst.AugAssign, cst.AnnAssign)) and statement.value is not None:
            return _Done([_with_value(line, self.simplified(statement.value, known))])
        return _Done([line])

    def _is_to_be_split(self, target: cst.Tuple, value: cst.Tuple) -> bool:
        """Whether assigning a tuple's values one after the other shows what can be folded further."""
        if not can_be_split(target, value):
            return False
        pairs = zip(target.elements, value.elements, strict=True)
        return any(self._is_foldable(one.value, other.value) for one, other in pairs)

    def _is_foldable(self, target: cst.BaseExpression, value: cst.BaseExpression) -> bool:
        """Whether a name that is given this value need not be there."""
        if not isinstance(target, cst.Name):
            return False
        is_known = value_of(value) is not NOTHING or is_alias(value)
        written, read = self._written_names[target.value], self._read_names[target.value]
        return (is_known and written == 1) or (written > 0 and not read)

    def simplified(self, node: cst.BaseExpression, known: Mapping[str, cst.BaseExpression]) -> cst.BaseExpression:
        """An expression with values in it, computed; the very same one if there is nothing to compute."""
        while True:
            simplify = Simplify(self, known)
            new = node.visit(simplify)
            if not simplify.has_changed or new.deep_equals(node):
                return node
            node = new

    @staticmethod
    def _learn(statement: cst.BaseStatement, known: dict[str, cst.BaseExpression]) -> None:
        """What names stand for after a statement."""
        target, value = assigned(statement) or (None, None)
        if m.matches(target, m.Subscript(m.Name(), [m.SubscriptElement(m.Index())])):
            held = known.pop(target.value.value, None)
            if isinstance(held, cst.Dict):
                key = target.slice[0].slice.value
                others = [each for each in held.elements if not key.deep_equals(getattr(each, "key", held))]
                known[target.value.value] = held.with_changes(elements=[*others, cst.DictElement(key, value)])
            return
        changed = set(names_in(statement).written)
        for name in [name for name, value in known.items() if mentions(name, value, changed)]:
            del known[name]
        if isinstance(target, cst.Tuple) and isinstance(value, cst.Tuple):
            ones, others = target.elements, value.elements
            is_plain = len(ones) == len(others) and not holds(statement, cst.StarredElement)
            for one, other in zip(ones, others, strict=True) if is_plain else ():
                if isinstance(one.value, cst.Name) and value_of(other.value) is not NOTHING:
                    known[one.value.value] = other.value
        elif isinstance(target, cst.Name):
            is_value = value_of(value) is not NOTHING
            is_next = m.matches(value, m.BinaryOperation(m.Name(), m.Add(), m.Integer()))
            if is_value or is_next or (is_alias(value) and value.value != target.value) or isinstance(value, cst.Dict):
                known[target.value] = value

    # What nobody uses -----------------------------------------------------------------------------

    def without_dead(self, statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
        """Without assignments to names that nothing reads."""
        read = set(names_in(statements).read)

        def cleaned(block: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
            done, lines = [], []
            for number, statement in enumerate(block):
                statement, lines = taking_over(lines, statement), []
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
            if isinstance(inner, cst.AugAssign) or (isinstance(inner, cst.Assign) and len(inner.targets) == 1):
                target = inner.targets[0].target if isinstance(inner, cst.Assign) else inner.target
                base = target.value if isinstance(target, cst.Subscript) else target
                names = targets_of(base)
                if names and (not set(names) & read or is_overwritten(base, later)):
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
            return statement.with_changes(body=statement.body.with_changes(body=body or [pass_line()]))
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
                if done and (new := joined_line(done[-1], statement, used)):
                    statement = new.with_changes(leading_lines=done.pop().leading_lines)
                done.append(statement)
            return done

        return joined(statements)

    def with_locals(self, statements: list[cst.BaseStatement]) -> list[cst.BaseStatement]:
        """An object that only holds values, and of which nothing but these values is used, as plain names."""
        for number, statement in enumerate(statements):
            given = name_given(statement)
            if given is None or not m.matches(given[1], m.Call(m.Name())):
                continue
            name, call = given
            found = self._library.get(call.func.value)
            if found is None or not isinstance(found.node, cst.ClassDef):
                continue
            finder = Held(name)
            for each in statements[number + 1 :]:
                each.visit(finder)
            if finder.escapes or finder.attributes & set(names_in(statements).written):
                continue
            values = field_values(found.node, call)
            # What is set before it is read needs no first value.
            first = [
                (cst.Name(attribute), values[attribute])
                for attribute in values
                if attribute in finder.attributes and not finder.is_set_first[attribute]
            ]
            computed = [pair for pair in first if holds(pair[1], cst.Call)]
            plain = [pair for pair in first if pair not in computed]
            made = [line_of(assignment([pair])) for pair in computed] + [line_of(assignment(plain))] * bool(plain)
            if made:
                made[0] = made[0].with_changes(leading_lines=statement.leading_lines)
            rest = [each.visit(AsLocals(name)) for each in statements[number + 1 :]]
            return [*statements[:number], *made, *rest]
        return statements

    # Functions and modules ------------------------------------------------------------------------

    def function(self, node: cst.FunctionDef) -> cst.FunctionDef:
        """A function folded; its parameters stay."""
        docstring = node.body.body[: len(node.body.body) - len(without_docstring(node.body.body))]
        body: list[cst.BaseStatement] = list(without_docstring(node.body.body))
        known = dict(self.known)
        if node.name.value == "train":
            known["checkpoint"] = cst.Name("None")
        while True:
            before, used = "".join(map(code_of, body)), names_in(body)
            self._read_names, self._written_names = used.read, used.written
            self._done_by.clear()
            body = self.body(body, known)
            body = self.without_dead(self.with_locals(body))
            body = self.with_short(after_loops(body))
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
            name = name_of(node)
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
        return without_parameters([*first, *functions])

    def imports(self, statements: Sequence[cst.BaseStatement]) -> list[str]:
        """The import statements that some statements need."""
        defined = {name_of(each) for each in statements}
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


def _with_value(line: cst.SimpleStatementLine, value: cst.BaseExpression) -> cst.SimpleStatementLine:
    """A line with another value; the very same one, of which much is known already, if it is not another."""
    (statement,) = line.body
    return line if value is statement.value else line.with_changes(body=[statement.with_changes(value=value)])


def _brief(node: cst.BaseStatement) -> cst.BaseStatement:
    """A neighbour with the first paragraph of its docstring only."""
    if not isinstance(node, (cst.FunctionDef, cst.ClassDef)):
        return node
    first = node.body.body[0]
    if not is_docstring(first):
        return node
    text = ast.literal_eval(first.body[0].value.value).partition("\n\n")[0].strip()
    text = "\n    ".join(textwrap.wrap(text, WIDTH - 10))
    line = line_of(cst.Expr(cst.SimpleString(f'"""{text}"""')))
    return node.with_changes(body=node.body.with_changes(body=[line, *node.body.body[1:]]))


@lru_cache(maxsize=1000)
def _calls_in(statement: cst.BaseStatement) -> Counter[str]:
    """How often a statement calls what by a plain name. As `_imported_by`, asked for in every fold of a page."""
    calls = (node for node in walk(statement) if isinstance(node, cst.Call))
    return Counter(call.func.value for call in calls if isinstance(call.func, cst.Name))


@lru_cache(maxsize=1000)
def _imported_by(statement: cst.BaseStatement) -> list[tuple[str, tuple[str, str | None]]]:
    """What an import statement binds, and from where: module, and name in it or None for the module itself."""
    found = []
    for node in walk(statement):
        for alias in node.names if isinstance(node, (cst.Import, cst.ImportFrom)) else ():
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
        ["check", "--isolated", "--quiet", "--select", "I,F401", "--fix", "-"],
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
        return _folded_source(page.name, tuple(page.files.items()), config, world_size)
    except (FoldError, cst.ParserSyntaxError):  # somebody tries things out on the page
        return page.source


@lru_cache(maxsize=100)
def _folded_source(name: str, files: tuple[tuple[str, bytes], ...], config: RunConfig, world_size: int) -> str:
    """As `folded_source`, of the page's name and its files: kept, for a report shows a page and counts its lines."""
    page = Page(name, dict(files), {}, "")
    # What it loads stays a call, what it saves is told in short.
    instead = {file.name: file.read_bytes() for file in INSTEAD}
    fold = Fold(page, config, world_size, instead=instead, called=LOADING)
    fold.no_ops.add("trainer.add_callback")
    fold.shown.add("TrainingArguments")
    steps = {"logging_steps": config.logging_strategy, "save_steps": config.save_strategy}
    fold.left_out |= {name for name, strategy in steps.items() if strategy != "steps"}
    statements = fold.module()
    is_described = len(without_docstring(fold.page.body)) < len(fold.page.body)
    docstring = cst.Module([fold.page.body[0]]).code if is_described else ""
    imports = "\n".join(fold.imports(statements))
    return formatted(f"{docstring}\n{imports}\n\n\n{cst.Module(statements).code}")
