"""What a loop's file must define: a function `train` that can be called in one of the supported ways."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from shared.errors import ScriptError

OWN_PARAMETERS = ("config", "output_dir", "checkpoint")
PLAIN_PARAMETERS = ("model", "tokenizer", "train_dataset", "eval_dataset", "config")
# What loops elsewhere get as arguments, and build for themselves here; a parameter of such a name is no dataset.
OTHER_OBJECTS = ("loader", "optim", "sched", "criterion", "loss_f", "device", "epoch")
MUST = (
    f"a loop's file defines a function train({', '.join(OWN_PARAMETERS)}=None), or the plain "
    f"train({', '.join(PLAIN_PARAMETERS)}), with or without config"
)


def check_binding(tree: ast.Module, name: str) -> None:
    """Refuse a file that binds no `train`, or a wrong one, if that is clear without running it."""
    bound: dict[str, ast.stmt] = {}
    for statement in _statements(tree.body):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound[statement.name] = statement
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            bound.update({(alias.asname or alias.name): statement for alias in statement.names})
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            bound.update({node.id: statement for node in ast.walk(statement) if isinstance(node, ast.Name)})
    train = bound.get("train")
    if train is None and "*" not in bound:
        raise ScriptError(f"{name} binds no function `train`: {MUST}")
    if isinstance(train, ast.FunctionDef) and not train.decorator_list:
        parameters_of(_signature(train), name)


def _statements(body: list) -> Iterator[ast.stmt]:
    """A module's statements, those inside its `if`, `try` and `with` too, not those inside functions."""
    for statement in body:
        yield statement
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for part in ("body", "orelse", "handlers", "finalbody"):
                yield from _statements(getattr(statement, part, []))


def _signature(function: ast.FunctionDef) -> inspect.Signature:
    """The signature of a function that was only parsed, from a function with the same parameters that does nothing."""
    arguments = copy.deepcopy(function.args)
    arguments.defaults = [ast.Constant(None) for _ in arguments.defaults]
    arguments.kw_defaults = [default and ast.Constant(None) for default in arguments.kw_defaults]
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    empty = copy.copy(function)
    empty.args, empty.body, empty.returns = arguments, [ast.Pass()], None
    names: dict[str, Any] = {}
    tree = ast.fix_missing_locations(ast.Module([empty], []))
    exec(compile(tree, "<signature>", "exec", dont_inherit=True), names)
    return inspect.signature(names["train"])


def parameters_of(signature: inspect.Signature, name: str) -> tuple[str, ...]:
    """The parameters that a `train` is called with: the model and the data, or the settings and the folder.

    Raises:
        ScriptError: it can be called in neither way.
    """
    known = {*PLAIN_PARAMETERS, *OWN_PARAMETERS}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [parameter.name for parameter in signature.parameters.values() if parameter.kind not in variable]
    for expected, own in zip(PLAIN_PARAMETERS, names, strict=False):
        if own not in known and any(word in own.lower() for word in OTHER_OBJECTS):
            raise ScriptError(
                f"{name}: the parameters of train are ({', '.join(PLAIN_PARAMETERS)}); yours has {own} in the place "
                f"of {expected}, which is another object: build it inside train"
            )
    for parameters in (PLAIN_PARAMETERS, OWN_PARAMETERS, PLAIN_PARAMETERS[:-1]):
        # Parameters of other names are matched by their number; one of these names must be at its place.
        at_their_places = all(name == own or name not in known for name, own in zip(names, parameters, strict=False))
        with suppress(TypeError):
            signature.bind(*parameters)
            if at_their_places:
                return parameters
    raise ScriptError(f"{name}: train{signature} cannot be called: {MUST}")
