"""Methods of the user's own Trainer as functions of the loop, with their own lines."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from benchmarks.port.settings import CARRIED, Refusal, Settings
from benchmarks.port.text import filler, parents_in, place, replace_nodes

# What another method takes from `self`, and what the loop calls it.
NAMES = {
    **{name: name for name in ("train_dataset", "eval_dataset", "data_collator", "model", "optimizer")},
    "processing_class": "tokenizer",
    "tokenizer": "tokenizer",
    "model_wrapped": "model",
    "lr_scheduler": "scheduler",
}
# What a method takes from `self.state`, and what the loop calls it.
STATE = {"global_step": "step", "max_steps": "max_steps"}
# What a method sets in `self`: the function's result.
RESULTS = {"create_optimizer": "optimizer", "create_scheduler": "scheduler"}

# What `super()` does in these methods: functions of the loop, which its template has.
OF_TRAINER = {"compute_loss": "model_loss", "training_step": "model_step"}
# The names of the loop's other functions.
OF_LOOP = ("train", "evaluate", "one_ahead", "steps_of", "without", *OF_TRAINER.values())


@dataclass
class Override:
    """A method as a function.

    Attributes:
        name: of the method.
        others: all methods that become functions, by name.
        source: the function's text.
        uses_items: whether it uses `num_items_in_batch`.
        values: what the loop gives it, by parameter, as text.
        extras: what it took from its Trainer, by name, which the function gets as arguments.
        state: what it also sets there, by name, with its first value.
        of_script: the names of the script that it uses.
        refusals: what it does that a function cannot do.
    """

    name: str
    others: dict[str, Override] = field(repr=False)
    source: str = ""
    uses_items: bool = False
    values: dict[str, str] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    of_script: set[str] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, settings: Settings, overrides: dict[str, Override]) -> Override:
        """Read a method from the user's class that has it.

        Args:
            name: of the method, one of `CARRIED` or a helper that one of these calls.
            settings: of the script.
            overrides: get it, and its helpers, by name.
        """
        override, method = cls(name, overrides), vars(settings.override_of(name))[name]
        overrides[name] = override
        try:
            lines, start = inspect.getsourcelines(method)
        except (OSError, TypeError):
            override.refusals = [Refusal(0, f"the source of {name} cannot be found", "write it into a file")]
            return override
        source = textwrap.dedent("".join(lines))
        function: Any = ast.parse(source).body[0]
        names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        override.of_script = names & settings.captured.namespace.keys()
        changes, problems = override._without_self(function, settings)
        around = [free for free in inspect.unwrap(method).__code__.co_freevars if free != "__class__"]
        problems += [(1, f"uses {free}, a local name around it") for free in around]
        advice = "make it an argument of the class, or a name of the module"
        override.refusals = [Refusal(start + line - 1, f"{name} {text}", advice) for line, text in problems]
        override._write(function, source, changes)
        return override

    def _without_self(
        self, function: Any, settings: Settings
    ) -> tuple[list[tuple[ast.AST, str]], list[tuple[int, str]]]:
        """What replaces each use of `self`; and the uses that nothing replaces, with their lines."""
        args, trainer = function.args.args, settings.captured.trainer
        parents, is_set = parents_in(function), settings.set_by_methods
        # In a process with one device the Trainer's model is the one that the method is given.
        names = NAMES if self.name not in OF_TRAINER else {"model": args[1].arg} if args[1:] else {}

        def is_result(attribute: str) -> bool:
            return names.get(attribute) == RESULTS.get(self.name, "")

        changes, problems, replaced = list[tuple[ast.AST, str]](), list[tuple[int, str]](), set[ast.AST]()
        for node in ast.walk(function):
            if _only_logs(node, args[0].arg):
                changes.append((node, filler(node, parents)))
                replaced.update(ast.walk(node))
            if node in replaced:
                continue
            if isinstance(node, ast.Call) and (new := self._call(node, args[0].arg, names, settings)):
                changes += new
                replaced.update(ast.walk(node if new[0][0] is node else node.func))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "super":
                problems.append((node.lineno, f"uses {ast.unparse(parents[node])}"))
            if not isinstance(node, ast.Name) or node.id != args[0].arg:
                continue
            used = parents[node]
            attribute = used.attr if isinstance(used, ast.Attribute) else ""
            if (value := _value_of(used, parents[used], trainer)) is not None:
                changes.append(value)
            elif attribute == "state" and (name := STATE.get(getattr(parents[used], "attr", ""))):
                changes.append((parents[used], name))
                self.values[name] = name
            elif attribute not in is_set and (constant := settings.constant(attribute)) is not None:
                changes.append((used, repr(constant)))
            elif attribute in is_set and isinstance(vars(trainer).get(attribute), (int, float, str)):
                self.state[attribute] = vars(trainer)[attribute]
                self.values["own"] = "own"
                changes.append((used, f"own.{attribute}"))
            elif isinstance(used, ast.Attribute) and not isinstance(used.ctx, ast.Load) and not is_result(attribute):
                problems.append((node.lineno, f"sets {ast.unparse(used)}"))
            elif attribute in names:
                changes.append((used, names[attribute]))
                if names[attribute] not in [parameter.arg for parameter in args]:
                    self.values[names[attribute]] = names[attribute]
            elif attribute and attribute not in is_set and _is_the_users(attribute, trainer):
                self.extras[attribute] = getattr(trainer, attribute)
                changes.append((used, attribute))
            else:
                problems.append((node.lineno, f"uses {ast.unparse(used if attribute else node)}"))
        return changes, problems

    def _call(self, node: ast.Call, me: str, names: dict[str, str], settings: Settings) -> list[tuple[ast.AST, str]]:
        """What replaces a call of a method of Trainer; nothing where the loop has nothing for it."""
        called = ast.unparse(node.func)
        of_self = called.removeprefix(f"{me}.") if called.startswith(f"{me}.") else ""
        if re.match(rf"super\(.*\)\.{self.name}$", called) and self.name in OF_TRAINER:
            return [(node.func, OF_TRAINER[self.name])]
        if self.name == "training_step" and of_self == "compute_loss":
            own = self.others.get("compute_loss")
            return [] if own and own.by_name else [(node.func, "compute_loss" if own else "model_loss")]
        if settings.is_helper(of_self):
            override = self.others.get(of_self) or Override.of(of_self, settings, self.others)
            return self._helper_call(node, override, names)
        if of_self == "compute_loss_context_manager":
            # Trainer runs the model's own forward in 16 bits, and gives nothing else but this there.
            return [(node, "contextlib.nullcontext()")]
        if called.endswith(".get_optimizer_cls_and_kwargs"):
            kind, arguments = settings.optimizer()
            return [(node, f"({name_of(kind)}, {arguments!r})")]
        if of_self == "args.get_warmup_steps":
            return [(node, repr(settings.args.get_warmup_steps(settings.max_steps)))]
        unused = settings.probe.unused.get("eval_dataset" if "eval" in self.name else "train_dataset", [])
        # Trainer's prepare gives the loader another random order, which the loop does itself.
        around = {
            "accelerator.prepare": ("(", ")"),
            "accelerator.backward": ("(", ").backward()"),
            "_prepare_inputs": ("(", ")"),
            "_remove_unused_columns": ("(", f").remove_columns({unused})" if unused else ")"),
            "get_decay_parameter_names": ("transformers.Trainer.get_decay_parameter_names(None, ", ")"),
        }.get(of_self)
        if around is None or len(node.args) != 1:
            return []
        argument: Any = node.args[0]
        if isinstance(argument, ast.Name):
            around = (around[0].rstrip("("), around[1].lstrip(")"))
        before = place(node.lineno, node.col_offset, argument.lineno, argument.col_offset)
        after = place(argument.end_lineno, argument.end_col_offset, node.end_lineno or 0, node.end_col_offset or 0)
        return list(zip((before, after), around, strict=True))

    def _helper_call(self, node: ast.Call, helper: Override, names: dict[str, str]) -> list[tuple[ast.AST, str]]:
        """The call of another method of the user's class: a function, which gets what it took from `self`, too."""
        self.extras |= helper.extras
        self.values |= {name: name for name in helper.values if names.get(name, name) == name}
        last: Any = ([*node.args, *(word.value for word in node.keywords)] or [node.func])[-1]
        end = place(last.end_lineno, last.end_col_offset, node.end_lineno or 0, node.end_col_offset or 0)
        words = [f"{name}={names.get(name, name)}" for name in (*helper.values, *helper.extras)]
        start = "(" if last is node.func else ", " if words else ""
        return [(node.func, helper.function), (end, f"{start}{', '.join(words)})")]

    def _write(self, function: Any, source: str, changes: list[tuple[ast.AST, str]]) -> None:
        """Make the function's text, with what it took from `self` as its parameters."""
        args, body, result = function.args, function.body, RESULTS.get(self.name, "")
        used = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Name)]
        self.uses_items = bool(
            {"num_items_in_batch", args.kwarg.arg if args.kwarg else ""} & {node.id for node in used}
        )
        args.args.pop(0)
        own = [parameter.arg for parameter in args.args]
        if self.name in CARRIED and self.name not in OF_TRAINER:
            loops = {"num_training_steps": "max_steps", **{name: name for name in NAMES.values()}}
            self.values |= {name: loops[name] for name in own if name in loops and name != result}
        self.values.pop(result, "")
        # What the method sets is None before.
        uses = [node for node, text in changes if text == result and isinstance(node, ast.Attribute)]
        first_use = min(uses, key=lambda node: (node.lineno, node.col_offset), default=None)
        before = f"{result} = None\n    " if first_use and isinstance(first_use.ctx, ast.Load) else ""
        new = [name for name in (*self.extras, *self.values) if name not in own]
        args.kwonlyargs += [ast.arg(name) for name in new]
        args.kw_defaults += [None] * len(new)
        decorators = "".join(f"@{ast.unparse(decorator)}\n" for decorator in function.decorator_list)
        header = f"{decorators}def {self.function}({ast.unparse(args)}):\n    {before}"
        first = place(1, 0, body[0].lineno, body[0].col_offset)
        self.source = _without_idle(replace_nodes(source, [*changes, (first, header)]).rstrip())
        if result and not isinstance(body[-1], ast.Return):
            self.source += f"\n    return {result}"

    @property
    def function(self) -> str:
        """The function's name."""
        return self.name.lstrip("_")

    @property
    def call(self) -> str:
        """The call of the function in the loop, as text, where Trainer gives it no batch."""
        return f"{self.function}({', '.join(self.by_name)})"

    def step_call(self, items: str) -> str:
        """The call of `training_step` in the loop, as text."""
        return f"training_step({', '.join(['model', 'batch', items or 'None', *self.by_name])})"

    @property
    def by_name(self) -> list[str]:
        """The arguments that the function has in place of `self`, as text."""
        return [f"{name}={value}" for name, value in {**self.values, **{name: name for name in self.extras}}.items()]

    def loss_arguments(self, with_outputs: bool, items: str) -> str:
        """The arguments with which the loop calls `compute_loss`, as text."""
        arguments = ["model", "batch", *(["return_outputs=True"] if with_outputs else [])]
        arguments += [f"num_items_in_batch={items}"] if items else []
        return ", ".join([*arguments, *self.by_name])


def overrides_of(settings: Settings) -> dict[str, Override]:
    """The user's own methods that the loop has as functions, by name; what they need is added to the settings."""
    overrides: dict[str, Override] = {}
    # A step may call the loss.
    for name in sorted(CARRIED):
        if settings.override_of(name) is not None:
            Override.of(name, settings, overrides)
    taken = {*OF_LOOP, *(override.function for override in overrides.values())}
    for override in overrides.values():
        settings.refusals += override.refusals
        for name in sorted(taken & override.of_script):
            description = (
                f"your {override.name} uses {name} of the script, a name that the loop has for something else"
            )
            settings.refusals.append(Refusal(0, description, "give it another name"))
        settings.extras |= override.extras
    return overrides


def _only_logs(node: ast.AST, me: str) -> TypeGuard[ast.stmt]:
    """Whether a statement only adds a line to the log that is no line of Trainer's own, which has a `loss`."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    return ast.unparse(node.value.func) == f"{me}.log" and "'loss'" not in ast.unparse(node.value)


def _value_of(used: ast.AST, around: ast.AST, trainer: Any) -> tuple[ast.AST, str] | None:
    """`self.args.NAME` and the value that replaces it; likewise the batch size that Trainer keeps."""
    if isinstance(used, ast.Attribute) and used.attr == "_train_batch_size":
        return used, repr(trainer.args.train_batch_size)
    if isinstance(used, ast.Attribute) and used.attr == "args" and isinstance(around, ast.Attribute):
        value = getattr(trainer.args, around.attr, trainer)
        value = getattr(value, "value", value)  # of an enumeration
        return (around, repr(value)) if isinstance(value, (bool, int, float, str, type(None))) else None
    return None


def _without_idle(source: str) -> str:
    """Without statements such as `model = model`, which were `model = self.model`."""
    tree = ast.parse(source)
    parents = parents_in(tree)
    idle = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and [ast.unparse(target) for target in node.targets] == [ast.unparse(node.value)]
    ]
    return replace_nodes(source, [(node, filler(node, parents)) for node in idle])


def name_of(kind: type) -> str:
    """The name of an optimizer's class, as a script that imports torch and transformers writes it."""
    module = "torch.optim" if kind.__module__.startswith("torch.optim") else "transformers"
    return f"{module}.{kind.__name__}"


def _is_the_users(name: str, trainer: Any) -> bool:
    """Whether the user's class has set an attribute, and not `Trainer` itself."""
    from transformers import Trainer

    return name in vars(trainer) and re.search(rf"self\.{name}\b", inspect.getsource(Trainer)) is None
