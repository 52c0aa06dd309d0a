"""A script's own lines around its loop: up to `Trainer(...)` as they are, in its place a call of `train`."""

from __future__ import annotations

import ast
import inspect
import shlex
from typing import NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from benchmarks.pages.fold import formatted
from benchmarks.port.loop import PLAIN, Loop
from benchmarks.port.side import Script

# What `Trainer` is built with, and what the loop's `train` calls it.
NAMES = {"processing_class": "tokenizer"}


class Written(NamedTuple):
    """A script that has been written.

    Attributes:
        source: its text.
        notes: what a reader must know, a line each.
    """

    source: str
    notes: list[str]


def written(loop: Loop, script: Script, name: str) -> Written:
    """The script with its loop by hand.

    Args:
        loop: of the script.
        script: whose lines are kept.
        name: what the new file will be called.
    """
    notes = [f"not carried over: {each}" for each in loop.settings.refusals]
    notes += [f"left out, it only looks on: the callback {each}" for each in loop.settings.only_looks_on]
    text, own = loop.source(), _own_lines(loop, script)
    if own is None:
        notes.append(
            f"the loop alone is written: where {script.file.name} builds its Trainer (line "
            f"{loop.settings.captured.built_at}) cannot be told apart; call train there"
        )
        own = ""
    head = _docstring(script, name, notes)
    return Written(formatted(f"{head}\n\n{_in_order(text, own)}"), notes)


def _docstring(script: Script, name: str, notes: list[str]) -> str:
    given = shlex.join(script.arguments)
    after = f" -- {given}" if given else ""
    lines = [
        f"What Trainer does in {script.file.name}, by hand, to the same weights bit for bit.",
        "",
        "Edit it, and see what that changes:",
        f"    sameloop compare --trainer {shlex.quote(str(script.file))} --loop {name}{after}",
        *(["", *(f"- {note}" for note in notes)] if notes else []),
    ]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""'


def _in_order(loop: str, own: str) -> str:
    """The loop's imports, then those of the script with its definitions, where they come before what runs."""
    return f"{loop}\n\n{own}"


def _own_lines(loop: Loop, script: Script) -> str | None:
    """The script's lines with the call of `train`; None where the two places cannot be found in its text."""
    captured = loop.settings.captured
    wrapper = MetadataWrapper(cst.parse_module(script.source))
    places = wrapper.resolve(PositionProvider)
    calls = [node for node in places if isinstance(node, cst.Call)]
    built = [each for each in calls if _is_at(places[each], captured.built_at) and _builds(each, loop)]
    trained = [each for each in calls if _is_at(places[each], captured.trained_at) and _trains(each)]
    # The innermost: the call that has the other ones around it may span the same line.
    built = [each for each in built if not any(other is not each and _holds(each, other) for other in built)]
    if len(built) != 1 or len(trained) != 1:
        return None
    given = _given(built[0], loop)
    if given is None:
        return None
    name = _assigned_name(wrapper.module, built[0])
    same = name is not None and _receiver(trained[0]) == name and _share_a_body(wrapper.module, built[0], trained[0])
    change = _Splice(built[0], trained[0], given, name if same else None, loop)
    module = wrapper.module.visit(change).visit(_Renaming(loop.names()))
    return _guarded(module)


def _is_at(place: object, line: int) -> bool:
    return place.start.line <= line <= place.end.line  # type: ignore[attr-defined]


def _holds(node: cst.CSTNode, other: cst.CSTNode) -> bool:
    return any(child is other or _holds(child, other) for child in node.children)


def _builds(node: cst.Call, loop: Loop) -> bool:
    """Whether a call makes the Trainer: by the name of its class, or of one that it was imported as."""
    name = cst.Module([]).code_for_node(node.func).rpartition(".")[2]
    found = loop.settings.captured.namespace.get(name)
    kinds = {each.__name__ for each in type(loop.trainer).__mro__}
    return name in kinds or (isinstance(found, type) and isinstance(loop.trainer, found))


def _trains(node: cst.Call) -> bool:
    return isinstance(node.func, cst.Attribute) and node.func.attr.value == "train"


def _receiver(node: cst.Call) -> str:
    assert isinstance(node.func, cst.Attribute)
    return cst.Module([]).code_for_node(node.func.value)


def _given(node: cst.Call, loop: Loop) -> dict[str, cst.BaseExpression] | None:
    """What `train` is to be called with, by name; None where the call of Trainer does not say it."""
    from transformers import Trainer

    order = list(inspect.signature(type(loop.trainer).__init__).parameters)[1:]
    if "args" in order and order.index("args") == 0 and "model" not in order:  # *args, which go on to Trainer
        order = list(inspect.signature(Trainer.__init__).parameters)[1:]
    found: dict[str, cst.BaseExpression] = {}
    for place, arg in enumerate(node.args):
        if arg.star:
            return None
        name = arg.keyword.value if arg.keyword else (order[place] if place < len(order) else "")
        found[NAMES.get(name, name)] = arg.value
    wanted = [*PLAIN, *loop.extras]
    if "model_init" in found:
        found["model"] = cst.Call(found["model_init"])
    if missing := [name for name in loop.extras if name not in found]:
        del missing
        return None
    return {name: found.get(name, cst.Name("None")) for name in wanted}


def _assigned_name(module: cst.Module, call: cst.Call) -> str | None:
    """The name or attribute that a call's value is given; None where it is another thing."""
    finder = _Assignment(call)
    module.visit(finder)
    return finder.name


class _Assignment(cst.CSTVisitor):
    def __init__(self, call: cst.Call) -> None:
        self.call, self.name = call, None

    def visit_Assign(self, node: cst.Assign) -> None:
        if node.value is self.call and len(node.targets) == 1:
            self.name = cst.Module([]).code_for_node(node.targets[0].target)


def _share_a_body(module: cst.Module, one: cst.CSTNode, other: cst.CSTNode) -> bool:
    """Whether two calls are in one function, or both in none."""
    finder = _Functions((one, other))
    module.visit(finder)
    return len({id(each) for each in finder.found.values()}) == 1


class _Functions(cst.CSTVisitor):
    """In which function each of some nodes is."""

    def __init__(self, nodes: tuple[cst.CSTNode, ...]) -> None:
        self.nodes, self.stack = nodes, [None]
        self.found: dict[int, object] = {}

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self.stack.append(node)  # type: ignore[arg-type]

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self.stack.pop()

    def visit_Call(self, node: cst.Call) -> None:
        if any(node is each for each in self.nodes):
            self.found[id(node)] = self.stack[-1]


class _Splice(cst.CSTTransformer):
    """Puts the call of `train` in its place, and takes out what came after it.

    What comes after the call stays, but for what uses the Trainer, or what came of it.

    Where the Trainer is made and trained in one function, the call has what it was made with. Elsewhere what makes the
    Trainer makes a dictionary of that, and the call takes it.
    """

    def __init__(
        self,
        built: cst.Call,
        trained: cst.Call,
        given: dict[str, cst.BaseExpression],
        name: str | None,
        loop: Loop,
    ) -> None:
        self.built, self.trained, self.name = built, trained, name
        self.arguments = [cst.Arg(value, cst.Name(keyword)) for keyword, value in given.items()]
        # Between the two the script may have drawn random numbers: then it seeds where Trainer does.
        is_fresh = getattr(loop.trainer, "_sameloop_is_fresh", True)
        seed = f"set_seed({loop.args.seed})"
        self.in_place: cst.BaseExpression = cst.parse_expression("None" if is_fresh else seed)
        # What the script has of its Trainer afterwards: what uses that, goes.
        self.dead = {_receiver(trained)}

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if original_node is self.built:
            return self.in_place if self.name else cst.Call(cst.Name("dict"), self.arguments)
        if original_node is self.trained:
            if self.name:
                return cst.Call(cst.Name("train"), self.arguments)
            receiver = updated_node.func.value  # type: ignore[union-attr]
            return cst.Call(cst.Name("train"), [cst.Arg(receiver, star="**")])
        return updated_node

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.RemovalSentinel:
        is_making = self.name and any(
            isinstance(each, cst.Assign) and each.value is self.built for each in original_node.body
        )
        if is_making and isinstance(self.in_place, cst.Name):
            return cst.RemoveFromParent()
        if is_making:
            return updated_node.with_changes(body=[cst.Expr(self.in_place)])
        return updated_node

    def leave_IndentedBlock(self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock) -> cst.BaseSuite:
        body = self._cut(original_node.body, updated_node.body)
        if not body:
            body = [cst.SimpleStatementLine([cst.Pass()])]
        return updated_node.with_changes(body=body)

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return updated_node.with_changes(body=self._cut(original_node.body, updated_node.body))

    def _cut(self, before: object, after: object) -> list[cst.BaseStatement]:
        """A block without what came after the statement with the call of `train`, where the script goes on."""
        original, updated = list(before), list(after)  # type: ignore[call-overload]
        place = next((n for n, each in enumerate(original) if _holds_call(each, self.trained)), None)
        if place is None or isinstance(original[place], (cst.FunctionDef, cst.ClassDef)) or _is_main(original[place]):
            return updated
        self.dead |= _bound_by(original[place])
        kept = []
        for each in original[place + 1 :]:
            if isinstance(each, (cst.FunctionDef, cst.ClassDef)) or not _mentions(each, self.dead):
                kept.append(each)
            else:
                self.dead |= _bound_by(each)
        return [*updated[: place + 1 - (len(original) - len(updated))], *kept]


class _Renaming(cst.CSTTransformer):
    """Gives the script's own names that the loop has, too, another one; keywords and attributes stay.

    Of a function with such a parameter nothing is changed: there it is this parameter.
    """

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.kept: set[int] = set()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        names = {each.name.value for each in (*node.params.params, *node.params.kwonly_params)}
        return not names & self.taken

    def visit_Attribute(self, node: cst.Attribute) -> None:
        self.kept.add(id(node.attr))

    def visit_Arg(self, node: cst.Arg) -> None:
        self.kept.add(id(node.keyword))

    def visit_Call(self, node: cst.Call) -> None:
        # The call that takes the Trainer's place is the loop's.
        if isinstance(node.func, cst.Name) and node.func.value == "train" and _is_the_loops(node):
            self.kept.add(id(node.func))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        if original_node.value not in self.taken or id(original_node) in self.kept:
            return updated_node
        return updated_node.with_changes(value=f"own_{original_node.value}")


def _is_the_loops(node: cst.Call) -> bool:
    first = node.args[0] if node.args else None
    return first is not None and (first.star == "**" or (first.keyword is not None and first.keyword.value == PLAIN[0]))


def _holds_call(node: cst.CSTNode, call: cst.CSTNode) -> bool:
    return node is call or _holds(node, call)


def _mentions(node: cst.CSTNode, names: set[str]) -> bool:
    if isinstance(node, (cst.Name, cst.Attribute)) and cst.Module([]).code_for_node(node) in names:
        return True
    return any(_mentions(child, names) for child in node.children)


def _bound_by(node: cst.CSTNode) -> set[str]:
    """The names that a statement's own assignments bind."""
    found = set()
    for each in node.body if isinstance(node, cst.SimpleStatementLine) else ():
        for target in each.targets if isinstance(each, cst.Assign) else ():
            found.add(cst.Module([]).code_for_node(target.target))
    return found


def _is_main(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.If) and "__name__" in cst.Module([]).code_for_node(node.test)


def _guarded(module: cst.Module) -> str:
    """The lines, those that run under `if __name__ == "__main__":`, so that the file can be imported for its loop."""
    source = module.code
    tree = ast.parse(source)
    if any(isinstance(each, ast.If) and "__name__" in ast.unparse(each.test) for each in tree.body):
        return source
    lines = source.splitlines()
    calm = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    first = next((each for each in tree.body if not isinstance(each, calm) and not _is_docstring(each)), None)
    if first is None:
        return source
    start = first.lineno - 1
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    inside = _strings(tree)
    body = [line if number + 1 in inside or not line else f"    {line}" for number, line in enumerate(lines)][start:]
    return "\n".join([*lines[:start], 'if __name__ == "__main__":', *body]) + "\n"


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _strings(tree: ast.Module) -> set[int]:
    """The lines that lie inside a string of several lines, and must stay where they begin."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and (node.end_lineno or 0) > node.lineno:
            found |= set(range(node.lineno + 1, (node.end_lineno or 0) + 1))
    return found
