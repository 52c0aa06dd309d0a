"""A `compute_loss` of the user's own, a method of their Trainer, as a function of the loop with their own lines."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.port.text import parents_in, replaced

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
    uses_items: bool = False
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
        except (OSError, TypeError):
            return cls("", refusals=[Refusal(0, "the source of compute_loss cannot be found", "write it into a file")])
        source = textwrap.dedent("".join(lines))
        function: Any = ast.parse(source).body[0]
        given, trainer = function.args, settings.captured.trainer
        me, found = given.args[0], cls("")
        problems = [(1, f"uses {name}, a local name around it") for name in method.__code__.co_freevars]
        problems = [each for each in problems if "__class__" not in each[1]]
        changes, parents = list[tuple[ast.AST, str]](), parents_in(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and _calls_super(node):
                changes.append((node.func, "model_loss"))
            elif isinstance(node, ast.Name) and node.id == me.arg:
                used = parents[node]
                value = _value_of(used, parents[used], trainer)
                if value is not None:
                    changes.append(value)
                elif isinstance(used, ast.Attribute) and used.attr == "model" and given.args[1:]:
                    # Of a process with one device the Trainer's model is the one that compute_loss is given.
                    changes.append((used, given.args[1].arg))
                elif isinstance(used, ast.Attribute) and _is_the_users(used.attr, trainer):
                    found.extras[used.attr] = getattr(trainer, used.attr)
                    changes.append((used, used.attr))
                else:
                    problems.append(
                        (node.lineno, f"uses {ast.unparse(used if isinstance(used, ast.Attribute) else node)}")
                    )
        advice = "make it an argument of the class, or a name of the module"
        found.refusals = [Refusal(start + line - 1, f"compute_loss {what}", advice) for line, what in problems]
        read = {node.id for each in function.body for node in ast.walk(each) if isinstance(node, ast.Name)}
        found.uses_items = bool({"num_items_in_batch", given.kwarg.arg if given.kwarg else ""} & read)
        body = replaced(source, changes).splitlines()[function.body[0].lineno - 1 :]
        given.args.pop(0)
        given.kwonlyargs += [ast.arg(name) for name in found.extras]
        given.kw_defaults += [None] * len(found.extras)
        told = ", num_items_in_batch=num_items_in_batch" if settings.probe.counts else ""
        own = OWN_LOSS.replace("{told}", told) if any(new == "model_loss" for _, new in changes) else ""
        found.source = "\n".join([own, f"def compute_loss({ast.unparse(given)}):", *body])
        return found

    def arguments(self, with_outputs: bool, items: str) -> str:
        """What the loop calls it with."""
        given = ["model", "batch", *(["return_outputs=True"] if with_outputs else [])]
        given += [f"num_items_in_batch={items}"] if items else []
        return ", ".join([*given, *(f"{name}={name}" for name in self.extras)])


def _calls_super(node: ast.Call) -> bool:
    return re.match(r"super\(.*\)\.compute_loss$", ast.unparse(node.func)) is not None


def _value_of(used: ast.AST, around: ast.AST, trainer: Any) -> tuple[ast.AST, str] | None:
    """`self.args.NAME` and the value that stands in its place."""
    if isinstance(used, ast.Attribute) and used.attr == "args" and isinstance(around, ast.Attribute):
        value = getattr(trainer.args, around.attr, trainer)
        return (around, repr(value)) if isinstance(value, (bool, int, float, str, type(None))) else None
    # `super(MyTrainer, self)`: what it calls has another name in the loop.
    is_super = isinstance(used, ast.Call) and ast.unparse(used.func) == "super"
    return (used.args[-1], "") if is_super else None  # type: ignore[attr-defined]


def _is_the_users(name: str, trainer: Any) -> bool:
    """Whether the user's class has set it, and not `Trainer` itself."""
    from transformers import Trainer

    return name in vars(trainer) and re.search(rf"self\.{name}\b", inspect.getsource(Trainer)) is None
