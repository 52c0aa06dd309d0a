"""A script's own lines around its loop: up to `Trainer(...)` as they are, in its place a call of `train`."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import textwrap
from collections.abc import Collection
from typing import Any

from benchmarks.pages.fold import formatted
from benchmarks.port.loop import PLAIN, Loop
from benchmarks.port.side import Script
from benchmarks.port.text import names_in, parents_in, replaced

FUTURE = re.compile(r"^from __future__ import .*$", re.MULTILINE)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITION = (*FUNCTION, ast.ClassDef)
PLACE = (*FUNCTION, ast.Module)


def written(loop: Loop, script: Script, name: str) -> tuple[str, list[str]]:
    """The script with its manual loop, and what its reader must know, a sentence each.

    Args:
        loop: of the script.
        script: whose lines are kept.
        name: what the new file will be called.
    """
    settings = loop.settings
    notes = [f"not carried over: {each}" for each in settings.refusals]
    notes += [f"left out, for it only looks on: the callback {each}" for each in settings.only_looks_on]
    own, left_out = _own_lines(loop, script.source) or (None, [])
    if left_out:
        notes.append(
            f"left out, for they use the Trainer or what came of it: {_ranges(left_out)} of {script.file.name}"
        )
    if own is None:
        notes.append(
            f"the loop alone is written: call its train where {script.file.name} builds its Trainer (line "
            f"{settings.captured.built_at}), which could not be taken apart"
        )
    after = f" -- {shlex.join(script.arguments)}" if script.arguments else ""
    lines = [
        f"What Trainer does in {script.file.name}, by hand, to the same weights bit for bit.",
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
    spans = sorted((each.lineno, each.end_lineno or each.lineno) for each in statements)
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return ("line " if shown[1:] == [] and spans[0][0] == spans[0][1] else "lines ") + ", ".join(shown)


def _own_lines(loop: Loop, source: str) -> tuple[str, list[ast.stmt]] | None:
    """The script's lines with the call of `train`, and its statements that are left out.

    None where the two places, the Trainer's making and its training, cannot be told apart in its text.
    """
    captured, tree = loop.settings.captured, ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    built = [each for each in calls if _is_at(each, captured.built_at) and _builds(each, loop)]
    trained = [
        each for each in calls if _is_at(each, captured.trained_at) and ast.unparse(each.func).endswith(".train")
    ]
    if len(built) != 1 or len(trained) != 1 or (given := _given(built[0], loop, source)) is None:
        return None
    text, left_out = _spliced(source, tree, built[0], trained[0], given, loop)
    text = _renamed(text, loop.names())
    kinds = {each.__name__ for each in type(loop.trainer).__mro__}
    for _ in range(2):  # what asked for the arguments may be the class that goes
        text = _without_dead(text, kinds)
    return _guarded(text), left_out


def _is_at(node: ast.Call, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or 0)


def _builds(node: ast.Call, loop: Loop) -> bool:
    """Whether a call makes the Trainer: by the name of its class, or of one that it was imported as."""
    name = ast.unparse(node.func).rpartition(".")[2]
    found = loop.settings.captured.namespace.get(name)
    kinds = {each.__name__ for each in type(loop.trainer).__mro__}
    return name in kinds or (isinstance(found, type) and isinstance(loop.trainer, found))


def _given(node: ast.Call, loop: Loop, source: str) -> dict[str, str] | None:
    """What `train` is to be called with, by name, as text; None where the call of Trainer does not say it."""
    from transformers import Trainer

    own = inspect.signature(type(loop.trainer).__init__).parameters
    order = [name for name in own if name != "self"]
    if any(each.kind is each.VAR_POSITIONAL for each in own.values()):
        order = list(inspect.signature(Trainer.__init__).parameters)[1:]
    if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
        return None
    pairs = [*zip(order, node.args, strict=False), *((each.arg or "", each.value) for each in node.keywords)]
    found = {name: ast.get_source_segment(source, value) or "" for name, value in pairs}
    found["tokenizer"] = found.pop("processing_class", "None")
    if "model_init" in found:
        found["model"] = f"{found['model_init']}()"
    for name in loop.override.extras if loop.override else ():
        found[name] = _set_by_init(name, loop, found)
    if any(not found.get(name) for name in loop.extras):
        return None
    return {name: found.get(name, "None") for name in (*PLAIN, *loop.extras)}


def _set_by_init(name: str, loop: Loop, given: dict[str, str]) -> str:
    """What the user's class sets as `self.name`, by what it was made with; nothing where that cannot be said."""
    for owner in loop.settings.own_classes():
        init = vars(owner).get("__init__")
        if init is None:
            continue
        parameters = inspect.signature(init).parameters
        source = textwrap.dedent(inspect.getsource(init))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == [f"self.{name}"]:
                text = ast.get_source_segment(source, node.value) or ""
                used = [
                    each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Name) and each.id in parameters
                ]
                texts = {each.id: given.get(each.id, repr(parameters[each.id].default)) for each in used}
                is_told = not texts.keys() & {"self", "args", "kwargs"}
                return replaced(text, [(each, texts[each.id]) for each in used]) if is_told else ""
    return ""


def _spliced(
    source: str, tree: ast.Module, built: ast.Call, trained: ast.Call, given: dict[str, str], loop: Loop
) -> tuple[str, list[ast.stmt]]:
    """The call of `train` in its place, without the statements that use the Trainer, or what came of it: these, too.

    Where the Trainer is made and trained in one function, the call has what it was made with. Elsewhere what makes the
    Trainer makes a dictionary of that, and the call takes it.
    """
    parents = parents_in(tree)
    making, training = (_around(each, ast.stmt, parents) for each in (built, trained))
    receiver = ast.unparse(trained.func.value)  # type: ignore[attr-defined]
    listed = ", ".join(f"{name}={value}" for name, value in given.items())
    is_together = (
        isinstance(making, ast.Assign)
        and making.value is built
        and [ast.unparse(each) for each in making.targets] == [receiver]
        and _around(making, PLACE, parents) is _around(training, PLACE, parents)
    )
    changes: list[tuple[ast.AST, str]] = []
    if is_together:
        # Where the script draws random numbers between the two, it seeds where Trainer does.
        seed = "" if loop.is_fresh else f"set_seed({loop.args.seed})"
        changes += [
            (making, seed or ("pass" if len(_block(making, parents)) == 1 else "")),
            (trained, f"train({listed})"),
        ]
    elif built is trained.func.value:  # type: ignore[attr-defined]
        changes += [(trained, f"train({listed})")]
    else:
        changes += [(built, f"dict({listed})"), (trained, f"train(**{receiver})")]
    gone, kept = _left_out(tree, making, training, receiver, is_together)
    begins, folder = "", _folder(kept, tree, loop)
    if folder:
        # What comes after it writes to where Trainer has made a folder.
        call, text = (ast.get_source_segment(source, each) or "" for each in (trained, training))
        text = text.replace(call, dict(changes)[trained])
        changes = [each for each in changes if each[0] is not trained]
        changes.append((training, f"os.makedirs({folder}, exist_ok=True)\n{' ' * training.col_offset}{text}"))
        begins = "import os\n"
    places = [(each, _nothing(each, parents, gone)) for each in gone]
    return begins + replaced(source, [*changes, *places]), gone


def _left_out(
    tree: ast.Module, making: ast.stmt, training: ast.stmt, receiver: str, is_together: bool
) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements that use the Trainer or what came of it, and those after the training that do not."""
    parents = parents_in(tree)
    around = [_around(each, PLACE, parents) for each in (making, training)]
    gone = []
    if is_together:
        later = _after(making, parents)
        before = [each for each in later if each.lineno < training.lineno and training not in ast.walk(each)]
        gone += _using({receiver}, before)
    if "." in receiver:
        others = [each for each in ast.walk(tree) if isinstance(each, FUNCTION) and each not in around]
        gone += [each for function in others for each in _using({receiver}, function.body)]
    dead = {receiver, *_bound_by(training), *(name for each in gone for name in _bound_by(each) if is_together)}
    after = _after(training, parents)
    gone += (using := _using(dead, after))
    return gone, [each for each in after if each not in using]


def _after(node: ast.stmt, parents: dict[ast.AST, ast.AST]) -> list[ast.stmt]:
    """The statements that come after one in its function, or in the file: its block's, then those around that."""
    after: list[ast.stmt] = []
    place: Any = node
    while not isinstance(place, (*DEFINITION, ast.Module)):
        block = _block(place, parents)
        after += block[block.index(place) + 1 :]
        place = parents[place]
    return after


def _using(names: set[str], statements: list[ast.stmt]) -> list[ast.stmt]:
    """Those of some statements that mention one of these names, or what one of them binds."""
    using, dead = [], set(names)
    for each in statements:
        if not isinstance(each, DEFINITION) and not _is_main(each) and names_in(each) & dead:
            using.append(each)
            dead |= _bound_by(each)
    return using


def _folder(kept: list[ast.stmt], tree: ast.Module, loop: Loop) -> str:
    """How lines after the training call `output_dir`; nothing where they do not."""
    names = set().union(*map(names_in, kept))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Arguments"):
            given = [each.value for each in node.keywords if each.arg == "output_dir"] or node.args[:1]
            if given and (text := ast.unparse(given[0])) in names:
                return text
    texts = [each.value for one in kept for each in ast.walk(one) if isinstance(each, ast.Constant)]
    if any(isinstance(text, str) and text.startswith(loop.args.output_dir) for text in texts):
        return repr(loop.args.output_dir)
    return next((name for name in sorted(names) if name.endswith(".output_dir")), "")


def _nothing(node: ast.stmt, parents: dict[ast.AST, ast.AST], gone: Collection[ast.stmt] = ()) -> str:
    """What stands in a statement's place when it goes, where `gone` go, too."""
    block = _block(node, parents)
    return "pass" if node is block[0] and all(each is node or each in gone for each in block) else ""


def _around(node: ast.AST, kinds: Any, parents: dict[ast.AST, ast.AST]) -> Any:
    """The innermost node of one of these kinds that holds a node, or the node itself."""
    while not isinstance(node, kinds):
        node = parents[node]
    return node


def _block(node: ast.stmt, parents: dict[ast.AST, ast.AST]) -> list[ast.stmt]:
    """The statements among which one stands."""
    blocks = (getattr(parents[node], part, []) for part in ("body", "orelse", "finalbody", "handlers"))
    return next((block for block in blocks if isinstance(block, list) and node in block), [node])


def _bound_by(node: ast.stmt) -> set[str]:
    """The names and dotted names that a statement binds."""
    named = (each for each in ast.walk(node) if isinstance(each, (ast.Name, ast.Attribute)))
    return {ast.unparse(each) for each in named if isinstance(each.ctx, ast.Store)}


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _renamed(source: str, taken: set[str]) -> str:
    """The script's own names that the loop has, too, get another one.

    A function that has such a parameter keeps it, but for the one that calls the loop.
    """
    tree = ast.parse(source)
    # The call that has come in the Trainer's place.
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "train" and node.keywords
    ]
    kept: set[ast.AST] = {call.func for call in calls if call.keywords[0].arg in (None, PLAIN[0])}
    changes: list[tuple[ast.AST, str]] = []
    for function in (each for each in ast.walk(tree) if isinstance(each, FUNCTION)):
        parameters = [each for each in ast.walk(function.args) if isinstance(each, ast.arg) and each.arg in taken]
        if not kept.intersection(ast.walk(function)):
            kept |= set(ast.walk(function)) if parameters else set()
            continue
        named = {each.arg for each in parameters}
        called = [each for each in ast.walk(tree) if isinstance(each, ast.Call)]
        called = [each for each in called if ast.unparse(each.func).rpartition(".")[2] == function.name]
        words: list[Any] = [*parameters, *(each for call in called for each in call.keywords if each.arg in named)]
        changes += [(_word(each), f"own_{each.arg}") for each in words]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in taken and node not in kept:
            changes.append((node, f"own_{node.id}"))
    lines = replaced(source, changes).split("\n")
    for node in ast.walk(tree):
        if isinstance(node, DEFINITION) and node.name in taken and node in tree.body:
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(f" {node.name}", f" own_{node.name}", 1)
    return "\n".join(lines)


def _word(node: Any) -> ast.Name:
    """The place of a parameter's or keyword's own name, without annotation or value."""
    end = node.col_offset + len(node.arg.encode())
    place = (node.lineno, node.col_offset, node.lineno, end)
    names = ("lineno", "col_offset", "end_lineno", "end_col_offset")
    return ast.Name(node.arg, **dict(zip(names, place, strict=True)))


def _without_dead(source: str, kinds: set[str]) -> str:
    """Without the user's Trainer and its arguments, where nothing asks for them any more."""
    tree = ast.parse(source)
    parents = parents_in(tree)
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    def is_dead(node: ast.AST) -> bool:
        if isinstance(node, ast.ClassDef):
            return node.name in kinds - read
        is_made = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and not _bound_by(node) & read
        return is_made and ast.unparse(node.value.func).endswith("TrainingArguments")  # type: ignore[attr-defined]

    dead: list[Any] = [each for each in ast.walk(tree) if is_dead(each)]
    return replaced(source, [(each, _nothing(each, parents)) for each in dead])


def _guarded(source: str) -> str:
    """What runs stands under `if __name__ == "__main__":`, so that the file can be imported for its loop."""
    tree = ast.parse(source)
    if any(map(_is_main, tree.body)):
        return source
    calm = (ast.Import, ast.ImportFrom, *DEFINITION)
    runs = [each for each in tree.body if not isinstance(each, calm) and not isinstance(each, ast.Expr)]
    runs += [each for each in tree.body if isinstance(each, ast.Expr) and not isinstance(each.value, ast.Constant)]
    if not runs:
        return source
    lines = source.splitlines()
    start = min(each.lineno for each in runs) - 1
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    # The lines within a string of several lines stay where they begin.
    inside = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Constant, ast.JoinedStr))
        for line in range(node.lineno, node.end_lineno or 0)
    }
    body = [line if number in inside else textwrap.indent(line, "    ") for number, line in enumerate(lines)]
    return "\n".join([*lines[:start], 'if __name__ == "__main__":', *body[start:]]) + "\n"
