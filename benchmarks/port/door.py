"""Run a user's script up to the door: its first `Trainer.train`, behind which one of the two sides trains.

The script runs as `python FILE` would run it, as `__main__`, with its own arguments, in a process of its own. What it
would do after `train` is not done. Nothing is pushed or reported to a service, and checkpoints go to our folder.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import random
import runpy
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.port.side import Script, has_trainer
from shared.errors import ScriptError

# Both sides must draw the same random numbers before the script seeds: for a new head, for a split of its data.
SEED = 0


class Capture(NamedTuple):
    """What a script has built when it reaches its door.

    Attributes:
        trainer: the `Trainer`, built and not trained.
        arguments: the arguments that it was built with, by name.
        built_at, trained_at: the lines of the script where it is built, and where `train` is called.
        namespace: the script's own names.
        file: of the script's code, as tracebacks name it.
    """

    trainer: Any
    arguments: dict[str, Any]
    built_at: int
    trained_at: int
    namespace: dict[str, Any]
    file: str


class BehindTheDoor(BaseException):
    """The work behind the door is done: the script goes no further; `except Exception` does not catch this."""


def run_to_the_door(script: Script, behind: Callable[[Capture], None], words: Path | None = None) -> None:
    """Run a script, and call `behind` in the place of its first `Trainer.train`.

    Args:
        script: runs in this process, which should not be used for anything else afterwards.
        behind: trains, or examines what the script has built.
        words: the `tokenizer.json` of the other side's run, where there is one: see `_take_words_of`.

    Raises:
        SameLoopError: the script fails before, ends without calling `train`, or is no Python script.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = _as_file(script, Path(folder))
        at_the_door: list[BaseException | None] = []
        _install_door(file, behind, at_the_door)
        if words is not None and words.is_file():
            _take_words_of(words)
        _seed()
        sys.argv = [str(script.file), *script.arguments]
        sys.path.insert(0, str(script.file.resolve().parent))
        try:
            runpy.run_path(file, run_name="__main__")
        except BehindTheDoor:
            pass
        except SystemExit as error:
            if not at_the_door:
                raise _ended(script, error) from error
        except Exception as error:
            if not at_the_door:
                raise script_error(script, file, error) from error
        if at_the_door and at_the_door[0] is not None:
            raise at_the_door[0]
        if not at_the_door:
            raise ScriptError(f"{script.file.name} has ended without a call of Trainer.train{_hint(script)}")


def _as_file(script: Script, folder: Path) -> str:
    """The file that is run: the script itself, or the code of a notebook."""
    source = script.source
    if script.file.suffix != ".ipynb":
        return str(script.file.resolve())
    file = folder / f"{script.file.stem}.py"
    file.write_text(source, encoding="utf-8")
    return str(file)


def _install_door(file: str, behind: Callable[[Capture], None], at_the_door: list[BaseException | None]) -> None:
    """Have `Trainer` note what it is built with, report to no service, and stop at `train`.

    `at_the_door` gets one entry when `train` is called: what went wrong behind it, or None.
    """
    import transformers.trainer
    from transformers import Trainer

    from shared.recording.evidence import rng_digests

    original_init, original_train = Trainer.__init__, Trainer.train
    names = list(inspect.signature(original_init).parameters)[1:]

    @functools.wraps(original_init)
    def built(self: Any, *args: Any, **kwargs: Any) -> None:
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        line = _line_in(file, self)
        original_init(self, *args, **kwargs)
        self._sameloop_built = (arguments, line, rng_digests())

    def train(self: Any, *args: Any, **kwargs: Any) -> None:
        if not at_the_door:
            at_the_door.append(None)
            arguments, line, state = getattr(self, "_sameloop_built", ({}, 0, None))
            captured = Capture(self, arguments, line, _line_in(file, self), sys.modules["__main__"].__dict__, file)
            self._sameloop_train = original_train
            self._sameloop_is_fresh = state == rng_digests()
            try:
                behind(captured)
            except BaseException as error:  # whatever the script does with it
                at_the_door[0] = error
        raise BehindTheDoor

    trainer: Any = Trainer
    trainer.__init__, trainer.train = built, train
    trainer.init_hf_repo = lambda self, *args, **kwargs: None
    module: Any = transformers.trainer
    module.get_reporting_integration_callbacks = lambda report_to: []


def _take_words_of(file: Path) -> None:
    """Replace a tokenizer that has about the same words as this file by the file's tokenizer.

    A tokenizer that the script trains orders words that are equally frequent in another way each time: the library
    tokenizers counts them in a hash table with a random key. The two sides would have different data.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    original_init, reference = PreTrainedTokenizerFast.__init__, Tokenizer.from_file(str(file))

    @functools.wraps(original_init)
    def built(self: Any, *args: Any, **kwargs: Any) -> None:
        original_init(self, *args, **kwargs)
        words, others = self._tokenizer.get_vocab(), reference.get_vocab()
        if words != others and len(words) == len(others) < 2 * len(words.keys() & others.keys()):
            self._tokenizer = Tokenizer.from_file(str(file))

    tokenizer: Any = PreTrainedTokenizerFast
    tokenizer.__init__ = built


def _seed() -> None:
    import numpy as np
    import torch

    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)


def _line_in(file: str, trainer: Any) -> int:
    """The line of the script that is being run, outside the Trainer's own methods; 0 where none is."""
    for frame, line in traceback.walk_stack(sys._getframe(1)):
        first = frame.f_code.co_varnames[:1] if frame.f_code.co_argcount else ()
        if frame.f_code.co_filename == file and all(frame.f_locals.get(name) is not trainer for name in first):
            return line
    return 0


def script_error(script: Script, file: str, error: BaseException, when: str = "fails before it trains") -> ScriptError:
    """One line for what the script raises, with the line of the script that raised it."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    where, code = (f", line {lines[-1]}", linecache.getline(file, lines[-1]).strip()) if lines else ("", "")
    problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return ScriptError(f"{script.file.name}{where} {when}: {problem}" + (f" ({code})" if code else ""))


def _ended(script: Script, error: SystemExit) -> ScriptError:
    arguments = " ".join(map(str, script.arguments)) or "none"
    return ScriptError(
        f"{script.file.name} ends (exit status {error.code if error.code is not None else 0}) before it trains; it "
        f"was given these arguments: {arguments}. Put the script's arguments after `--`, as in -- --output_dir out"
    )


def _hint(script: Script) -> str:
    source = script.source
    if not has_trainer(source):
        return ": it builds no Trainer; give the script that does"
    if "do_train" in source and "--do_train" not in script.arguments:
        return "; if it asks for --do_train, give it that after `--`"
    return "; check that it reaches its training, or put the arguments with which it trains after `--`"
