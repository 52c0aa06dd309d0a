"""The sides of a comparison: a side is a file that trains, a loop or a Trainer script, on our job or a script's."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

from shared.errors import SameLoopError, ScriptError
from shared.running.notebooks import code_of_notebook
from shared.running.script import digest_of, own_script

# As transformers names it.
TOKENIZER_FILE = "tokenizer.json"


class Script(NamedTuple):
    """A user's Trainer script.

    Attributes:
        file: a Python file, or a notebook.
        arguments: its own command line.
    """

    file: Path
    arguments: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Its text; for a notebook the code cells, without the lines that only IPython understands.

        Raises:
            SameLoopError: it cannot be read, or is not Python.
        """
        try:
            content = self.file.read_bytes()
        except OSError as error:
            raise SameLoopError(f"--trainer {self.file}: it cannot be read ({error.strerror}); name a file") from None
        try:
            text = (
                code_of_notebook(content, self.file.name)
                if self.file.suffix == ".ipynb"
                else importlib.util.decode_source(content)
            )
            ast.parse(text, self.file.name)
        except SyntaxError as error:
            raise ScriptError(f"{self.file.name}, line {error.lineno}: it is not Python: {error.msg}") from None
        except ValueError:
            raise ScriptError(f"{self.file.name} is not text in UTF-8") from None
        return text

    @property
    def digest(self) -> str:
        """The digest of its text and of the user's modules that it imports; for a notebook, of its code alone."""
        is_notebook = self.file.suffix == ".ipynb"
        return digest_of(
            {self.file.name: self.source.encode()} if is_notebook else own_script(self.file, is_loop=False).files
        )


class Side(NamedTuple):
    """One side of a comparison: what trains.

    Attributes:
        script: whose job it is: the script runs up to its `Trainer.train`, and gives what it has built; None:
            the job of our settings.
        loop: a file with a `train` that gets this job; None: the script's own Trainer trains, or, with `is_ejected`,
            the loop that `eject` writes for it.
        is_ejected: see `loop`.
    """

    script: Script | None
    loop: Path | None = None
    is_ejected: bool = False

    @property
    def is_loop(self) -> bool:
        """Whether a loop trains, and not a Trainer."""
        return self.loop is not None or self.is_ejected

    @property
    def name(self) -> str:
        """The name in tables and charts."""
        if self.is_ejected and self.script is not None:
            return f"the loop for {self.script.file.name}"
        file = self.loop or (self.script and self.script.file)
        return file.name if file else "Trainer"


def sides_of(
    trainer: Path | None, loop: Path | None, against: Path | None, arguments: tuple[str, ...]
) -> tuple[Side, Side]:
    """The two sides that `--trainer`, `--loop` and `--against` name.

    Raises:
        SameLoopError: a file is missing or is neither, or the options do not make two sides.
    """
    script = Script(trainer, arguments) if trainer else None
    if against is None:
        return Side(script, loop, is_ejected=loop is None), Side(script)
    if loop is None and script is None:
        raise SameLoopError(f"--against {against}: it needs a second side; give --loop FILE, or --trainer FILE, too")
    if is_loop(against):
        return (Side(script, loop), Side(script, against)) if loop else (Side(script, against), Side(script))
    other = Script(against, arguments)
    if loop is not None and script is not None:
        raise SameLoopError(
            f"--against {against}: these are three sides; leave out --loop to compare both scripts, or --trainer"
        )
    return (Side(other, loop) if loop else Side(script)), Side(other)


def has_trainer(source: str) -> bool:
    """Whether code builds a Trainer, or a class of its own that is one."""
    return re.search(r"Trainer\(|^class .*Trainer\)", source, re.MULTILINE) is not None


def is_loop(file: Path) -> bool:
    """Whether a file binds a `train` that can be called as a loop, and builds no Trainer of its own.

    Raises:
        SameLoopError: it cannot be read.
    """
    source = Script(file).source
    if file.suffix == ".ipynb" or has_trainer(source):
        return False
    own_script(file)
    return True
