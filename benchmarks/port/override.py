"""A `compute_loss` of the user's own, a method of their Trainer, as a function of the loop with their own lines."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.port.settings import Refusal, Settings

OWN_LOSS = '''
def model_loss(model, inputs, return_outputs=False, num_items_in_batch=None):
    """The loss that the model gives by itself, as Trainer.compute_loss takes it."""
    outputs = model(**inputs{told})
    loss = outputs["loss"] if isinstance(outputs, dict) else outputs[0]
    return (loss, outputs) if return_outputs else loss
'''


@dataclass
class Override:
    """The method as a function.

    Attributes:
        source: its text, with a helper before it where it calls `super().compute_loss`.
        uses_items: whether it does anything with `num_items_in_batch`.
        extras: what it took from its Trainer, by name: the function is given it.
        refusals: what it does that a function cannot.
    """

    source: str
    uses_items: bool
    extras: dict[str, Any] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    @classmethod
    def of(cls, owner: type, settings: Settings) -> Override:
        """Read it where it stands.

        Args:
            owner: the user's class that has it.
            settings: of the script.
        """
        from benchmarks.port.settings import Refusal

        method: Any = vars(owner)["compute_loss"]
        try:
            lines, start = inspect.getsourcelines(method)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError):
            text = "the source of compute_loss cannot be found"
            return cls("", False, refusals=[Refusal(0, text, "write it into a file")])
        function: Any = tree.body[0]
        me = function.args.args[0].arg
        rewrite = _Rewrite(me, settings.captured.trainer)
        for free in method.__code__.co_freevars:
            if free != "__class__":
                rewrite.problems.append(
                    (1, f"compute_loss uses {free}, which is a local name of the function around it")
                )
        parameters = {each.arg for each in (*function.args.args, *function.args.kwonlyargs)} - {me}
        rest = function.args.kwarg.arg if function.args.kwarg else None
        read = {node.id for statement in function.body for node in ast.walk(statement) if isinstance(node, ast.Name)}
        function = rewrite.visit(function)
        function.args.args.pop(0)
        function.args.kwonlyargs += [ast.arg(name) for name in rewrite.extras]
        function.args.kw_defaults += [None for _ in rewrite.extras]
        function.decorator_list = []
        refusals = [
            Refusal(start + line - 1, what, "make it an argument or a name of the module")
            for line, what in rewrite.problems
        ]
        text = _with_comments(lines, function, rewrite)
        told = ", num_items_in_batch=num_items_in_batch" if settings.probe.counts else ""
        own = OWN_LOSS.replace("{told}", told) if rewrite.calls_super else ""
        uses = ("num_items_in_batch" in parameters and "num_items_in_batch" in read) or (
            rest is not None and rest in read
        )
        return cls(f"{own}\n\n{text}" if own else text, uses, rewrite.extras, refusals)

    def arguments(self, with_outputs: bool, items: str) -> str:
        """What the loop calls it with."""
        given = ["model", "batch", *(["return_outputs=True"] if with_outputs else [])]
        given += [f"num_items_in_batch={items}"] if items else []
        return ", ".join([*given, *(f"{name}={name}" for name in self.extras)])


class _Rewrite(ast.NodeTransformer):
    """What refers to the Trainer itself, put otherwise: its arguments' values, what it was given, and its own loss."""

    def __init__(self, me: str, trainer: Any) -> None:
        self.me, self.trainer = me, trainer
        self.extras: dict[str, Any] = {}
        self.problems: list[tuple[int, str]] = []
        self.calls_super = False
        self.changes: list[tuple[ast.AST, str]] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        is_super = (
            isinstance(function, ast.Attribute)
            and function.attr == "compute_loss"
            and isinstance(function.value, ast.Call)
            and isinstance(function.value.func, ast.Name)
            and function.value.func.id == "super"
        )
        if is_super:
            self.calls_super = True
            self.changes.append((function, "model_loss"))
            node.func = ast.copy_location(ast.Name("model_loss", ast.Load()), function)
            node.args = [self.visit(each) for each in node.args]
            node.keywords = [self.visit(each) for each in node.keywords]
            return node
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Attribute) and self._is_me(node.value.value) and node.value.attr == "args":
            value = getattr(self.trainer.args, node.attr, None)
            if isinstance(value, (bool, int, float, str, type(None))):
                self.changes.append((node, repr(value)))
                return ast.copy_location(ast.Constant(value), node)
        if self._is_me(node.value):
            return self._own(node)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == self.me:
            self.problems.append((node.lineno, f"compute_loss uses {self.me} itself"))
        return node

    def _is_me(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == self.me

    def _own(self, node: ast.Attribute) -> ast.AST:
        """`self.name`: of what the user's class has set itself, the value comes along; `Trainer`'s own does not."""
        value = vars(self.trainer).get(node.attr, self)
        if value is self or not isinstance(node.ctx, ast.Load) or _is_trainers_own(node.attr):
            self.problems.append((node.lineno, f"compute_loss uses {self.me}.{node.attr}"))
            return node
        self.extras[node.attr] = value
        self.changes.append((node, node.attr))
        return ast.copy_location(ast.Name(node.attr, ast.Load()), node)


def _is_trainers_own(name: str) -> bool:
    from transformers import Trainer

    return (
        hasattr(Trainer, name)
        or f"self.{name} " in inspect.getsource(Trainer)
        or f"self.{name}," in inspect.getsource(Trainer)
    )


def _with_comments(lines: list[str], function: Any, rewrite: _Rewrite) -> str:
    """The method's own text with what was changed put in its place; comments and layout stay."""
    text = textwrap.dedent("".join(lines)).splitlines()
    for node, new in sorted(rewrite.changes, key=lambda pair: (-pair[0].lineno, -pair[0].col_offset)):  # type: ignore[attr-defined]
        place: Any = node
        if place.lineno != place.end_lineno:
            return ast.unparse(ast.fix_missing_locations(function))
        line = text[place.lineno - 1].encode()
        text[place.lineno - 1] = (line[: place.col_offset] + new.encode() + line[place.end_col_offset :]).decode()
    # The head, with its own parameters in one line: the first of them has gone.
    head = ast.unparse(
        ast.fix_missing_locations(ast.FunctionDef(**{**vars(function), "body": [ast.Pass()]}))
    ).splitlines()[0]
    first = function.body[0].lineno
    return "\n".join([head, *text[first - 1 :]])
