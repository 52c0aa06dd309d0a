"""A script's own lines around its loop: unchanged up to `Trainer(...)`, which a call of `train` replaces."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import textwrap
from collections.abc import Mapping
from typing import Any

from benchmarks.pages.fold import formatted
from benchmarks.port.loop import PLAIN, Loop
from benchmarks.port.side import Script
from benchmarks.port.text import block_of, filler, names_in, parents_in, place, replace_nodes

FUTURE = re.compile(r"^from __future__ import .*$", re.MULTILINE)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITION = (*FUNCTION, ast.ClassDef)
PLACE = (*FUNCTION, ast.Module)


def script_with_loop(loop: Loop, script: Script, name: str) -> tuple[str, list[str]]:
    """The script with its manual loop, and notes for its reader, a sentence each.

    Args:
        loop: of the script.
        script: whose lines are kept.
        name: what the new file will be called.
    """
    settings = loop.settings
    notes = [f"not carried over: {refusal}" for refusal in settings.refusals]
    notes += [f"left out, because it changes nothing: the callback {callback}" for callback in settings.only_looks_on]
    if settings.adds_to_evaluate:
        notes.append("left out, because what it adds is not trained on: your evaluate")
    notes += [f"left out, because nothing calls it: {method}" for method in settings.never_called]
    own, left_out = _own_lines(loop, script.source) or (None, [])
    if left_out:
        notes.append(
            f"left out, because they use the Trainer or its results: {_ranges(left_out)} of {script.file.name}"
        )
    if own is None:
        notes.append(
            f"only the loop is written: call its train where {script.file.name} builds its Trainer (line "
            f"{settings.captured.built_at}), because its lines could not be rewritten"
        )
    after = f" -- {shlex.join(script.arguments)}" if script.arguments else ""
    lines = [
        f"What Trainer does in {script.file.name} as a manual loop, with the same weights bit for bit.",
        "",
        "Edit it, and see what that changes:",
        f"    sameloop compare --trainer {shlex.quote(str(script.file))} --loop {name}{after}",
        *(["", *(f"- {note}" for note in notes)] if notes else []),
    ]
    head = "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")
    # These must come first in a file.
    futures = "\n".join(FUTURE.findall(own or ""))
    own = FUTURE.sub("", own or "")
    return formatted(f'"""{head}\n"""\n\n{futures}\n\n{loop.source()}\n\n{own}'), notes


def _ranges(statements: list[ast.stmt]) -> str:
    """`line 12`, or `lines 12, 30-34`."""
    spans = sorted((statement.lineno, statement.end_lineno or statement.lineno) for statement in statements)
    ranges = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    text = ", ".join(ranges)
    return f"line {text}" if text.isdigit() else f"lines {text}"


def _own_lines(loop: Loop, source: str) -> tuple[str, list[ast.stmt]] | None:
    """The script's lines with the call of `train`, and the statements that are left out.

    None where the two calls that make the Trainer and train it are not found in its text.
    """
    captured, tree = loop.settings.captured, ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    built = [call for call in calls if _is_at(call, captured.built_at) and _builds(call, loop)]
    trained = [
        call for call in calls if _is_at(call, captured.trained_at) and ast.unparse(call.func).endswith(".train")
    ]
    if len(built) != 1 or len(trained) != 1 or (arguments := _train_arguments(built[0], loop, source)) is None:
        return None
    text, left_out = _splice_call(source, tree, built[0], trained[0], arguments, loop)
    text = _rename_taken(text, loop.names())
    kinds = {cls.__name__ for cls in type(loop.trainer).__mro__}
    for _ in range(2):  # the class that is removed may be what used the arguments
        text = _without_dead(text, kinds)
    return _guard_main(text), left_out


def _is_at(node: ast.Call, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or 0)


def _builds(node: ast.Call, loop: Loop) -> bool:
    """Whether a call makes the Trainer: by the name of its class, or of one that it was imported as."""
    name = ast.unparse(node.func).rpartition(".")[2]
    value = loop.settings.captured.namespace.get(name)
    kinds = {cls.__name__ for cls in type(loop.trainer).__mro__}
    return name in kinds or (isinstance(value, type) and isinstance(loop.trainer, value))


def _train_arguments(node: ast.Call, loop: Loop, source: str) -> dict[str, str] | None:
    """The arguments for `train`, by name, as text; None where the call of Trainer does not say them."""
    from transformers import Trainer

    own = inspect.signature(type(loop.trainer).__init__).parameters
    order = [name for name in own if name != "self"]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in own.values()):
        order = list(inspect.signature(Trainer.__init__).parameters)[1:]
    if any(isinstance(value, ast.Starred) for value in node.args) or any(word.arg is None for word in node.keywords):
        return None
    pairs = [*zip(order, node.args, strict=False), *((word.arg or "", word.value) for word in node.keywords)]
    arguments = {name: ast.get_source_segment(source, value) or "" for name, value in pairs}
    arguments["tokenizer"] = arguments.pop("processing_class", "None")
    if "model_init" in arguments:
        arguments["model"] = f"{arguments['model_init']}()"
    for name in (name for override in loop.overrides.values() for name in override.extras):
        arguments[name] = _set_by_init(name, loop, arguments)
    if any(not arguments.get(name) for name in loop.extras):
        return None
    return {name: arguments.get(name, "None") for name in (*PLAIN, *loop.extras)}


def _set_by_init(name: str, loop: Loop, arguments: dict[str, str]) -> str:
    """What the user's class sets as `self.name`, from its own arguments; empty where that is unknown."""
    for owner in loop.settings.own_classes():
        init = vars(owner).get("__init__")
        if init is None:
            continue
        source = textwrap.dedent(inspect.getsource(init))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and (value := _assigned(node, f"self.{name}")):
                text = ast.get_source_segment(source, value) or ""
                return _outside_init(text, inspect.signature(init).parameters, arguments)
    return ""


def _assigned(node: ast.Assign, name: str) -> ast.expr | None:
    """What a statement assigns to a name, which may be one of several: `self.a, self.b = 1, 2`."""
    for target in node.targets:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=False))
        for part, value in pairs:
            if ast.unparse(part) == name:
                return value
    return None


def _outside_init(text: str, parameters: Mapping[str, inspect.Parameter], arguments: dict[str, str]) -> str:
    """An expression in `__init__` with the texts that its call has for what it uses; empty where these are unknown."""
    tree = ast.parse(text)
    # `self.model` is what the Trainer was built with, if its text is a name, which can stand twice.
    of_self = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    ]
    texts: dict[ast.AST, str] = {node: arguments.get(node.attr, "") for node in of_self}
    if not all(re.fullmatch(r"[\w.]+", value) for value in texts.values()):
        return ""
    objects = {node.value for node in of_self}
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in parameters]
    used = [node for node in used if node not in objects]
    texts |= {node: arguments.get(node.id, repr(parameters[node.id].default)) for node in used}
    is_known = not {node.id for node in used} & {"self", "args", "kwargs"}
    return replace_nodes(text, texts.items()) if is_known else ""


def _splice_call(
    source: str, tree: ast.Module, built: ast.Call, trained: ast.Call, arguments: dict[str, str], loop: Loop
) -> tuple[str, list[ast.stmt]]:
    """The text with the call of `train` and without the statements that use the Trainer or its results; these, too.

    Where the Trainer is made and trained in one function, the call gets the Trainer's arguments. Elsewhere the call
    that makes the Trainer makes a dictionary of them, and the call of `train` takes it.
    """
    parents = parents_in(tree)
    making, training = (_around(call, ast.stmt, parents) for call in (built, trained))
    receiver = ast.unparse(trained.func.value)  # type: ignore[attr-defined]
    listed = ", ".join(f"{name}={value}" for name, value in arguments.items())
    is_together = (
        isinstance(making, ast.Assign)
        and making.value is built
        and [ast.unparse(target) for target in making.targets] == [receiver]
        and _around(making, PLACE, parents) is _around(training, PLACE, parents)
    )
    gone, kept = _left_out(parents, making, training, receiver, is_together)
    changes: list[tuple[ast.AST, str]] = []
    if is_together:
        # Where the script draws random numbers between the two, it seeds where Trainer does.
        seed = "" if loop.is_fresh else f"set_seed({loop.args.seed})"
        changes += [(making, seed or filler(making, parents, gone)), (trained, f"train({listed})")]
    elif built is trained.func.value:  # type: ignore[attr-defined]
        changes += [(trained, f"train({listed})")]
    else:
        changes += [(built, f"dict({listed})"), (trained, f"train(**{receiver})")]
    begins, folder = "", _folder(kept, tree, loop)
    if folder:
        # The statements after it write to the folder that Trainer makes.
        call, text = (ast.get_source_segment(source, node) or "" for node in (trained, training))
        text = text.replace(call, dict(changes)[trained])
        changes = [change for change in changes if change[0] is not trained]
        changes.append((training, f"os.makedirs({folder}, exist_ok=True)\n{' ' * training.col_offset}{text}"))
        begins = "import os\n"
    places = [(statement, filler(statement, parents, gone)) for statement in gone]
    return begins + replace_nodes(source, [*changes, *places]), gone


def _left_out(
    parents: dict[ast.AST, ast.AST], making: ast.stmt, training: ast.stmt, receiver: str, is_together: bool
) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements that use the Trainer or its results, and those after the training that do not."""
    before: list[ast.stmt] = []
    if is_together:
        later = _after(making, parents)
        between = [node for node in later if node.lineno < training.lineno and training not in ast.walk(node)]
        before = _using({receiver}, between)
    after = _after(training, parents)
    using = _using({receiver}.union(*map(_bound_by, (training, *before))), after)
    elsewhere: list[ast.stmt] = []
    if "." in receiver:
        # Methods of the same object; what they bind is theirs.
        around = [_around(node, PLACE, parents) for node in (making, training)]
        functions = [node for node in parents if isinstance(node, FUNCTION) and node not in around]
        elsewhere = [node for function in functions for node in _using({receiver}, function.body)]
    return [*before, *elsewhere, *using], [node for node in after if node not in using]


def _after(node: ast.stmt, parents: dict[ast.AST, ast.AST]) -> list[ast.stmt]:
    """The statements after a node in its function, or in the file: of its own block, then of the blocks around it."""
    after: list[ast.stmt] = []
    place: Any = node
    while not isinstance(place, (*DEFINITION, ast.Module)):
        block = block_of(place, parents)
        after += block[block.index(place) + 1 :]
        place = parents[place]
    return after


def _using(names: set[str], statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that mention one of these names, or a name that such a statement binds."""
    using, dead = [], set(names)
    for node in statements:
        if not isinstance(node, DEFINITION) and not _is_main(node) and names_in(node) & dead:
            using.append(node)
            dead |= _bound_by(node)
    return using


def _folder(kept: list[ast.stmt], tree: ast.Module, loop: Loop) -> str:
    """The name that lines after the training use for `output_dir`; empty where they do not use it."""
    names = set().union(*map(names_in, kept))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Arguments"):
            values = [keyword.value for keyword in node.keywords if keyword.arg == "output_dir"] or node.args[:1]
            if values and (text := ast.unparse(values[0])) in names:
                return text
    texts = [child.value for node in kept for child in ast.walk(node) if isinstance(child, ast.Constant)]
    if any(isinstance(text, str) and text.startswith(loop.args.output_dir) for text in texts):
        return repr(loop.args.output_dir)
    return next((name for name in sorted(names) if name.endswith(".output_dir")), "")


def _around(node: ast.AST, kinds: Any, parents: dict[ast.AST, ast.AST]) -> Any:
    """The innermost node of one of these kinds that contains a node, or the node itself."""
    while not isinstance(node, kinds):
        node = parents[node]
    return node


def _bound_by(node: ast.stmt) -> set[str]:
    """The names and dotted names that a statement binds."""
    named = (target for target in ast.walk(node) if isinstance(target, (ast.Name, ast.Attribute)))
    return {ast.unparse(target) for target in named if isinstance(target.ctx, ast.Store)}


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _rename_taken(source: str, taken: set[str]) -> str:
    """Rename the script's own names that the loop uses, too.

    A function that has such a parameter keeps it, except the function that calls the loop.
    """
    tree = ast.parse(source)
    # The call that has replaced the Trainer.
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "train" and node.keywords
    ]
    kept: set[ast.AST] = {call.func for call in calls if call.keywords[0].arg in (None, PLAIN[0])}
    changes: list[tuple[ast.AST, str]] = []
    for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTION)):
        parameters = [child for child in ast.walk(function.args) if isinstance(child, ast.arg) and child.arg in taken]
        if not kept.intersection(ast.walk(function)):
            kept |= set(ast.walk(function)) if parameters else set()
            continue
        named = {parameter.arg for parameter in parameters}
        called = [call for call in ast.walk(tree) if isinstance(call, ast.Call)]
        called = [call for call in called if ast.unparse(call.func).rpartition(".")[2] == function.name]
        words: list[Any] = [*parameters, *(word for call in called for word in call.keywords if word.arg in named)]
        changes += [(_word(word), f"own_{word.arg}") for word in words]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in taken and node not in kept:
            changes.append((node, f"own_{node.id}"))
    lines = replace_nodes(source, changes).split("\n")
    for node in ast.walk(tree):
        if isinstance(node, DEFINITION) and node.name in taken and node in tree.body:
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(f" {node.name}", f" own_{node.name}", 1)
    return "\n".join(lines)


def _word(node: Any) -> ast.Name:
    """The position of a parameter's or keyword's own name, without annotation or value."""
    return place(node.lineno, node.col_offset, node.lineno, node.col_offset + len(node.arg.encode()))


def _without_dead(source: str, kinds: set[str]) -> str:
    """Without the user's Trainer and its arguments, where nothing uses them any more."""
    tree = ast.parse(source)
    parents = parents_in(tree)
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    def is_dead(node: ast.AST) -> bool:
        if isinstance(node, ast.ClassDef):
            return node.name in kinds - loaded
        is_made = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and not _bound_by(node) & loaded
        return is_made and ast.unparse(node.value.func).endswith("TrainingArguments")  # type: ignore[attr-defined]

    dead: list[Any] = [node for node in ast.walk(tree) if is_dead(node)]
    return replace_nodes(source, [(node, filler(node, parents)) for node in dead])


def _guard_main(source: str) -> str:
    """Put statements that run under `if __name__ == "__main__":`, so that the file can be imported for its loop."""
    tree = ast.parse(source)
    if any(map(_is_main, tree.body)):
        return source
    calm = (ast.Import, ast.ImportFrom, *DEFINITION)
    runs = [node for node in tree.body if not isinstance(node, calm) and not isinstance(node, ast.Expr)]
    runs += [node for node in tree.body if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)]
    if not runs:
        return source
    lines = source.splitlines()
    start = min(node.lineno for node in runs) - 1
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    # The lines within a string of several lines are not indented.
    inside = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Constant, ast.JoinedStr))
        for line in range(node.lineno, node.end_lineno or 0)
    }
    body = [line if number in inside else textwrap.indent(line, "    ") for number, line in enumerate(lines)]
    return "\n".join([*lines[:start], 'if __name__ == "__main__":', *body[start:]]) + "\n"
