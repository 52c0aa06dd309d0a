"""A `compute_loss` of the user's own, a method of their Trainer, as a function of the loop with their own lines."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.port.text import parents_in, replace_nodes

if TYPE_CHECKING:
    from benchmarks.port.settings import Refusal, Settings

OWN_LOSS = '''
def model_loss(model, inputs, return_outputs=False, num_items_in_batch=None):
    """The loss that the model gives by itself, as Trainer.compute_loss takes it."""
    outputs = model(**inputs{items_argument})
    loss = outputs["loss"] if isinstance(outputs, dict) else outputs[0]
    return (loss, outputs) if return_outputs else loss

'''


@dataclass
class Override:
    """The method as a function.

    Attributes:
        source: its text, with a helper before it where it calls `super().compute_loss`.
        uses_items: whether it uses `num_items_in_batch`.
        extras: what it took from its Trainer, by name, which the function gets as arguments.
        refusals: what it does that a function cannot do.
    """

    source: str
    uses_items: bool = False
    extras: dict[str, Any] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    @classmethod
    def of(cls, owner: type, settings: Settings) -> Override:
        """Read the method from its class.

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
        args, trainer = function.args, settings.captured.trainer
        me, override = args.args[0], cls("")
        problems = [(1, f"uses {name}, a local name around it") for name in method.__code__.co_freevars]
        problems = [problem for problem in problems if "__class__" not in problem[1]]
        changes, parents = list[tuple[ast.AST, str]](), parents_in(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and _calls_super(node):
                changes.append((node.func, "model_loss"))
            elif isinstance(node, ast.Name) and node.id == me.arg:
                used = parents[node]
                value = _value_of(used, parents[used], trainer)
                if value is not None:
                    changes.append(value)
                elif isinstance(used, ast.Attribute) and used.attr == "model" and args.args[1:]:
                    # In a process with one device the Trainer's model is the one that compute_loss is given.
                    changes.append((used, args.args[1].arg))
                elif isinstance(used, ast.Attribute) and _is_the_users(used.attr, trainer):
                    override.extras[used.attr] = getattr(trainer, used.attr)
                    changes.append((used, used.attr))
                else:
                    problems.append(
                        (node.lineno, f"uses {ast.unparse(used if isinstance(used, ast.Attribute) else node)}")
                    )
        advice = "make it an argument of the class, or a name of the module"
        override.refusals = [Refusal(start + line - 1, f"compute_loss {text}", advice) for line, text in problems]
        used_names = {node.id for part in function.body for node in ast.walk(part) if isinstance(node, ast.Name)}
        override.uses_items = bool({"num_items_in_batch", args.kwarg.arg if args.kwarg else ""} & used_names)
        body = replace_nodes(source, changes).splitlines()[function.body[0].lineno - 1 :]
        args.args.pop(0)
        args.kwonlyargs += [ast.arg(name) for name in override.extras]
        args.kw_defaults += [None] * len(override.extras)
        items = ", num_items_in_batch=num_items_in_batch" if settings.probe.counts else ""
        own = OWN_LOSS.replace("{items_argument}", items) if any(new == "model_loss" for _, new in changes) else ""
        override.source = "\n".join([own, f"def compute_loss({ast.unparse(args)}):", *body])
        return override

    def arguments(self, with_outputs: bool, items: str) -> str:
        """The arguments with which the loop calls it, as text."""
        arguments = ["model", "batch", *(["return_outputs=True"] if with_outputs else [])]
        arguments += [f"num_items_in_batch={items}"] if items else []
        return ", ".join([*arguments, *(f"{name}={name}" for name in self.extras)])


def _calls_super(node: ast.Call) -> bool:
    return re.match(r"super\(.*\)\.compute_loss$", ast.unparse(node.func)) is not None


def _value_of(used: ast.AST, around: ast.AST, trainer: Any) -> tuple[ast.AST, str] | None:
    """`self.args.NAME` and the value that replaces it."""
    if isinstance(used, ast.Attribute) and used.attr == "args" and isinstance(around, ast.Attribute):
        value = getattr(trainer.args, around.attr, trainer)
        return (around, repr(value)) if isinstance(value, (bool, int, float, str, type(None))) else None
    # `super(MyTrainer, self)`: what it calls has another name in the loop.
    is_super = isinstance(used, ast.Call) and ast.unparse(used.func) == "super"
    return (used.args[-1], "") if is_super else None  # type: ignore[attr-defined]


def _is_the_users(name: str, trainer: Any) -> bool:
    """Whether the user's class has set an attribute, and not `Trainer` itself."""
    from transformers import Trainer

    return name in vars(trainer) and re.search(rf"self\.{name}\b", inspect.getsource(Trainer)) is None
