"""A loop specialized for the settings of one run: what they switch off is gone, their values stand in their place.

The full loop is read as it is written (libcst keeps comments and layout), and rewritten until nothing changes:

- `config.NAME` becomes its value, and what can be computed from values is; an `if` whose test is known becomes the
  branch that is taken, with its comment;
- a call of a helper function becomes the function's lines where they are few or needed once; others come along as
  functions of their own, specialized too;
- a value that never changes stands where it is used; an assignment, a parameter, a function or an import that nothing
  uses goes; so does an argument that equals the default of what is called.

Every rule keeps what the loop computes; the meaning of a line is never a reason to leave it out. That is proved by
running specialized loops, `tests/pages/test_eject.py`.
"""

from __future__ import annotations

import ast
import subprocess
import textwrap
from collections.abc import Sequence
from functools import lru_cache

import libcst as cst
from ruff.__main__ import find_ruff_bin  # here in every release

from benchmarks.pages.blocks import Blocks
from benchmarks.pages.expressions import code_of
from benchmarks.pages.helpers import HelperModules
from benchmarks.pages.names import names_in, parsed
from benchmarks.pages.run_facts import RunFacts
from benchmarks.pages.simplify import SpecializeError
from benchmarks.pages.statements import WIDTH, is_docstring, line_of, name_of, with_body, without_docstring
from benchmarks.pages.tidy import after_loops, with_locals, with_short, without_dead, without_parameters
from shared.config import RunConfig
from shared.running.script import LoopScript

LOADING = {"load_data", "load_model", "load_tokenizer", "use_deterministic_algorithms"}


class Specializer:
    """Specializes one script for one run.

    Args:
        script: with its helper modules.
        facts: what is known of the run.

    Attributes:
        script: as it is written.
        helpers: its helper modules.

    Raises:
        SpecializeError: from `module`, something in the script cannot be specialized.
    """

    def __init__(self, script: LoopScript, facts: RunFacts) -> None:
        self.script = parsed(script.files[script.name])
        self.helpers = HelperModules(script, facts.kept_calls, facts.release)
        self._facts = facts

    def function(self, node: cst.FunctionDef) -> cst.FunctionDef:
        """A function, specialized; its parameters stay."""
        docstring = [statement for statement in node.body.body[:1] if is_docstring(statement)]
        body: list[cst.BaseStatement] = list(without_docstring(node.body.body))
        known = dict(self._facts.names)
        if node.name.value == "train":
            known["checkpoint"] = cst.Name("None")
        while True:
            before, used = "".join(map(code_of, body)), names_in(body)
            body = Blocks(self._facts, self.helpers, used).body(body, known)
            body = without_dead(with_locals(body, self.helpers.classes))
            body = with_short(after_loops(body))
            if "".join(map(code_of, body)) == before:
                return with_body(node, [*docstring, *body])

    def module(self, functions: Sequence[cst.FunctionDef] | None = None) -> list[cst.BaseStatement]:
        """The script's functions, specialized, and the helper functions that they still call, without imports.

        Args:
            functions: take these for the script's.
        """
        specialized: dict[str, cst.BaseStatement] = {}
        if functions is None:
            functions = [statement for statement in self.script.body if isinstance(statement, cst.FunctionDef)]
        pending: list[cst.BaseStatement] = list(functions)
        while pending:
            node = pending.pop(0)
            name = name_of(node)
            if name in specialized:
                continue
            specialized[name] = self.function(node) if isinstance(node, cst.FunctionDef) else node
            for used in names_in(specialized[name]).read:
                if used in self.helpers.library and used not in specialized:
                    pending.append(_brief(self.helpers.library[used].node))
        # Definitions that are no functions come first, because others use them.
        return without_parameters(sorted(specialized.values(), key=lambda node: isinstance(node, cst.FunctionDef)))


def _brief(node: cst.BaseStatement) -> cst.BaseStatement:
    """A helper function with the first paragraph of its docstring only."""
    if not isinstance(node, (cst.FunctionDef, cst.ClassDef)):
        return node
    first = node.body.body[0]
    if not is_docstring(first):
        return node
    text = ast.literal_eval(first.body[0].value.value).partition("\n\n")[0].strip()
    text = "\n    ".join(textwrap.wrap(text, WIDTH - 10))
    line = line_of(cst.Expr(cst.SimpleString(f'"""{text}"""')))
    return with_body(node, [line, *node.body.body[1:]])


def formatted(source: str) -> str:
    """Source text as ruff formats it, its imports sorted and without those that nothing uses."""
    for options in (
        ["check", "--isolated", "--quiet", "--select", "I,F401", "--fix", "-"],
        ["format", "--isolated", "--quiet", "--line-length", str(WIDTH), "-"],
    ):
        ran = subprocess.run([find_ruff_bin(), *options], input=source, capture_output=True, text=True, check=False)
        source = ran.stdout or source
    return source


def folded_source(script: LoopScript, config: RunConfig, world_size: int = 1, accelerate: bool = False) -> str:
    """Either loop's script, or that with `accelerate`, specialized for these settings, for display; a file of the
    user's stays as it is.
    """
    if script.is_own:
        return script.source
    try:
        return _folded_source(script.name, tuple(script.files.items()), config, world_size, accelerate)
    except (SpecializeError, cst.ParserSyntaxError):  # a script that the user has changed
        return script.source


@lru_cache(maxsize=100)
def _folded_source(
    name: str, files: tuple[tuple[str, bytes], ...], config: RunConfig, world_size: int, accelerate: bool
) -> str:
    """As `folded_source`, from the script's name and files; cached, as a report shows it and counts its lines."""
    script = LoopScript(name, dict(files), {}, "")
    facts = RunFacts.of(config, world_size, accelerate)
    # Loading stays a call, saving is shortened.
    facts.kept_calls |= LOADING
    facts.with_defaults.add("TrainingArguments")
    steps = {"logging_steps": config.logging_strategy, "save_steps": config.save_strategy}
    facts.left_out |= {name for name, strategy in steps.items() if strategy != "steps"}
    specializer = Specializer(script, facts)
    statements = specializer.module()
    imports = specializer.helpers.imports(statements)
    # Without its docstring, which is about the whole file.
    return formatted(f"{imports}\n\n\n{cst.Module(statements).code}")
