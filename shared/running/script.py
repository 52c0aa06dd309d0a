"""Which script runs, and the code that a run keeps: decided here and nowhere else.

A loop's script is a file that binds `train`, together with the modules of its own that it imports: one of the
package's two loops with its helper modules, a file of the user's (`--loop`), or what a run has kept of either. Its
files are read once: exactly these texts are executed and kept, even if the files change meanwhile.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.util
import inspect
import linecache
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from shared.config import RunConfig
from shared.errors import SameLoopError, ScriptError
from shared.files import digest, read_json, write_json
from shared.progress import announce
from shared.running.binding import MUST, PLAIN_PARAMETERS, check_binding, parameters_of
from shared.running.imports import without_collector
from shared.running.notebooks import loop_of_notebook
from shared.sources.origin import USUAL_NAMES
from shared.starting.children import ROOT

PACKAGES = ("manual_loop", "trainer_loop")
MANUAL_SCRIPT = "manual_loop/train.py"
# What a run keeps: the files in a folder, what they were in a file beside it.
CODE_FOLDER, CODE_FILE = "code", "code.json"
# The name of a user's file as a module. No import statement can mean it, so it takes no other module's place.
OWN_MODULE = "--loop"
# They run inside the script's calls: an error of theirs is not the script's mistake.
INSTRUMENTS = tuple(f"{ROOT / name}{os.sep}" for name in ("shared/recording", "benchmarks/lesson", "benchmarks/port"))


@dataclass(frozen=True)
class LoopScript:
    """The script of a loop, read.

    Attributes:
        name: for display: `manual_loop/train.py`, or the name of a user's file.
        files: the content of the script and of each module of its own, by name.
        paths: where each file was read from: what tracebacks name.
        shared: the digest of the `shared` package's modules that it goes with.
        module: its module, where it is imported already and is to be taken as it is.
    """

    name: str
    files: Mapping[str, bytes]
    paths: Mapping[str, str]
    shared: str
    module: ModuleType | None = None

    @property
    def code(self) -> dict[str, str]:
        """What ran, for the header and the manifests: the script's name, its digest and that of `shared`."""
        return {"page": self.name, "digest": digest_of(self.files), "shared": self.shared}

    @property
    def is_own(self) -> bool:
        """Whether it is a user's file."""
        return not self.name.startswith(PACKAGES)

    @property
    def source(self) -> str:
        """The text of the script itself."""
        return importlib.util.decode_source(self.files[self.name])

    def display_name(self, path: str) -> str | None:
        """The name of one of the script's files that a traceback or a stack names; None for any other file."""
        return next((name for name, own in self.paths.items() if own == path), None)

    def keep(self, run_dir: Path) -> None:
        """Save the script's files in a run's folder, and next to them a description of them, `LoopScript.code`."""
        for name, content in self.files.items():
            path = run_dir / CODE_FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        write_json(run_dir / CODE_FILE, self.code)

    @contextmanager
    def loaded(self) -> Iterator[ModuleType]:
        """Inside, the script is imported, from the files as they were read.

        Another version of the same modules that the process has imported before is set aside meanwhile.

        Raises:
            Exception: any that the script raises while it is imported.
        """
        if self.module is not None:
            yield self.module
            return
        own = {_module_name(name).partition(".")[0] for name in self.files} | {OWN_MODULE}
        aside, arguments = _take_out(own), sys.argv
        importer = _Importer(self)
        sys.meta_path.insert(0, importer)
        if self.is_own:
            # A script that reads its own command line finds an empty one, not ours.
            sys.argv = [self.name]
        try:
            with without_collector():
                module = importlib.import_module(OWN_MODULE if self.is_own else _module_name(self.name))
            yield module
        finally:
            sys.argv = arguments
            sys.meta_path.remove(importer)
            _take_out(own)
            sys.modules.update(aside)

    def edited(self, right: str, wrong: str) -> LoopScript:
        """The same script with one piece of its text replaced.

        Raises:
            ValueError: the script does not hold the piece exactly once.
        """
        if self.source.count(right) != 1:
            raise ValueError(f"the script holds this piece {self.source.count(right)} times, not once: {right!r}")
        files = {**self.files, self.name: self.source.replace(right, wrong).encode()}
        return LoopScript(self.name, files, self.paths, self.shared)

    def mistake(self, error: BaseException) -> ScriptError | None:
        """One line for an exception that is the script's mistake; None for one that is not.

        It is the script's if its last frame is there; of a user's file, if it passed through the file at all.
        """
        if isinstance(error, SyntaxError) and (name := self.display_name(str(error.filename))):
            return _syntax_error(name, error)
        if type(error).__module__.partition(".")[0] in ("shared", "benchmarks"):
            return None
        frames = list(traceback.walk_tb(error.__traceback__))
        files = [frame.f_code.co_filename for frame, _ in frames]
        passed = [number for number, file in enumerate(files) if self.display_name(file)]
        if not passed or files[-1].startswith(INSTRUMENTS) or not (self.is_own or passed[-1] == len(files) - 1):
            return None
        file, line = files[passed[-1]], frames[passed[-1]][1]
        code = linecache.getline(file, line).strip()
        if isinstance(error, SystemExit):
            description = "it ends the process before the run is done"
        else:
            description = f"{type(error).__name__}: {error}"[:300].rstrip(": ") + _columns(error, frames)
        return ScriptError(f"{_called(self.display_name(file) or file)}, line {line}: {description} ({code})")


def _columns(error: BaseException, frames: list[tuple[FrameType, int]]) -> str:
    """Which columns the datasets have, where a usual name of a column is what was not found; else empty."""
    names = {name for names in USUAL_NAMES.values() for name in names}
    if not isinstance(error, (KeyError, ValueError)) or not names & set(re.findall(r"'(\w+)'", str(error))):
        return ""
    for frame, _ in frames:
        for value in frame.f_locals.values():
            if isinstance(columns := getattr(value, "column_names", None), list):
                return f"; the columns of the datasets are {', '.join(columns)}"
    return ""


def digest_of(files: Mapping[str, bytes]) -> str:
    """A digest of names and contents."""
    return digest(f"{name}\0{len(files[name])}\0".encode() + files[name] for name in sorted(files))


# Where scripts come from --------------------------------------------------------------------------


def script_of(loop: str, config: RunConfig) -> LoopScript:
    """The script that a run of `loop` under these settings has: the package's, or the user's file as the manual loop.

    Raises:
        SameLoopError: `--loop` names no file that can be a loop.
    """
    return own_script(Path(config.loop)) if loop == "manual" and config.loop else package_script(loop)


def scripts_of(config: RunConfig) -> dict[str, LoopScript]:
    """Both loops' scripts under these settings, as `script_of`."""
    return {loop: script_of(loop, config) for loop in ("manual", "trainer")}


def package_script(loop: str, module: ModuleType | None = None) -> LoopScript:
    """The package's own script of a loop.

    Args:
        loop: `manual` or `trainer`.
        module: take this module for it, imported already, perhaps with something replaced in it.

    Raises:
        ScriptError: a file of it is not Python, or it binds no `train`.
    """
    name, files = f"{loop}_loop/train.py", _package_files(f"{loop}_loop")
    if module is None:
        trees = {file: _parsed(file, content) for file, content in files.items()}
        check_binding(trees[name], name)
    return LoopScript(name, files, _paths(files, ROOT), shared_digest(), module)


def own_script(file: Path, is_loop: bool = True) -> LoopScript:
    """A user's file, or the loop in a user's notebook, with the modules of its own that it imports.

    Those lie in its folder and can be imported from nowhere else: it can shadow nothing. A script binds no `train`.

    Raises:
        SameLoopError: there is no such file, it is not Python, binds no `train`, or one with another signature.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SameLoopError(f"--loop {file}: it cannot be read ({error.strerror}); give a Python file") from None
    folder, script = file.resolve().parent, file.name
    if file.suffix == ".ipynb":
        content, script = loop_of_notebook(content, file.name).encode(), f"{file.stem}.py"
    files, paths, unread = {script: content}, {script: str(file.resolve())}, [script]
    while unread:
        name = unread.pop()
        tree = _parsed(name, files[name])
        if name == script and is_loop:
            check_binding(tree, name)
        for module in _imported(tree):
            if module in PACKAGES:
                module_files, root = _package_files(module), ROOT
            else:
                module_files, root = _own_module(module, folder), folder
            new = {name: content for name, content in module_files.items() if name not in files}
            files.update(new)
            paths.update(_paths(new, root))
            unread += [] if module in PACKAGES else new
    return LoopScript(script, files, paths, shared_digest())


def kept_script(run_dir: Path) -> LoopScript:
    """The script that the run in `run_dir` had, from what it has kept.

    Raises:
        SameLoopError: it has kept none, or what it kept has been changed since.
    """
    code = kept_code(run_dir)
    if code is None:
        raise SameLoopError(f"{run_dir} keeps no code (an older version made it): run it again")
    folder = (run_dir / CODE_FOLDER).resolve()
    try:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in _python_files(folder)}
        if code["page"] not in files:
            files[code["page"]] = (folder / code["page"]).read_bytes()
    except OSError as error:
        raise SameLoopError(f"the code in {folder} cannot be read ({error.strerror}): run it again") from None
    if digest_of(files) != code["digest"]:
        raise SameLoopError(f"the code in {run_dir / CODE_FOLDER} is not what ran, it has been changed: run it again")
    if code["shared"] != shared_digest():
        announce(f"note: SameLoop's own modules have changed since the run in {run_dir}; only its loop is as it was")
    return LoopScript(code["page"], files, _paths(files, folder), code["shared"])


def kept_scripts(output_dir: Path) -> dict[str, LoopScript]:
    """Both loops of the comparison in `output_dir`, as `kept_script`."""
    return {loop: kept_script(output_dir / loop) for loop in ("manual", "trainer")}


def kept_code(run_dir: Path) -> dict[str, str] | None:
    """What ran in a folder, as `LoopScript.code` describes it; None if it is not known."""
    try:
        code = read_json(run_dir / CODE_FILE)
        return {name: str(code[name]) for name in ("page", "digest", "shared")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def what_changed(then: Mapping[str, str] | None, now: Mapping[str, str]) -> str | None:
    """What is not the code any more that ran then, as `kept_code` gives it, in a few words; None if all of it is."""
    if then is None:
        return "an older version made it, and kept no code"
    if then["page"] != now["page"]:
        return f"it ran the loop's file {then['page']}, not {now['page']}"
    if then["digest"] != now["digest"]:
        return f"the file {now['page']} has changed since"
    return "SameLoop's own modules have changed since" if then["shared"] != now["shared"] else None


@cache
def shared_digest() -> str:
    """The digest of the `shared` package's modules, as they are when this process first asks."""
    return digest_of(_package_files("shared"))


def _package_files(package: str) -> dict[str, bytes]:
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in _python_files(ROOT / package)}


def _python_files(folder: Path) -> list[Path]:
    """All Python files, sorted; a folder may have such a name, too."""
    return sorted(path for path in folder.rglob("*.py") if path.is_file())


def _paths(files: Mapping[str, bytes], root: Path) -> dict[str, str]:
    return {name: str(root / name) for name in files}


def _own_module(module: str, folder: Path) -> dict[str, bytes]:
    """The files of a module that lies in a user's folder, if it can be imported from nowhere else."""
    file = folder / f"{module}.py"
    files = [file] if file.is_file() else _python_files(folder / module)
    if not files:
        return {}
    elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    for finder in sys.meta_path:
        spec = PathFinder.find_spec(module, elsewhere) if finder is PathFinder else finder.find_spec(module, None)
        if spec is not None and spec.origin is not None and folder not in Path(spec.origin).parents:
            return {}
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# Importing ----------------------------------------------------------------------------------------


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a script's modules from the files that were read."""

    def __init__(self, script: LoopScript) -> None:
        self._script = script
        self._names = {_module_name(name): name for name in script.files}
        if script.is_own:
            self._names[OWN_MODULE] = script.name

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        name = self._names[fullname]
        return importlib.util.spec_from_file_location(
            fullname,
            self._script.paths[name],
            loader=self,
            submodule_search_locations=[] if Path(name).name == "__init__.py" else None,
        )

    def exec_module(self, module: ModuleType) -> None:
        name = self._names[module.__name__]
        path, content = self._script.paths[name], self._script.files[name]
        # For tracebacks and stacks: the lines that ran, even if the file has changed.
        lines = importlib.util.decode_source(content).splitlines(keepends=True)
        linecache.cache[path] = (len(content), None, lines, path)
        exec(compile(content, path, "exec", dont_inherit=True), module.__dict__)


def _module_name(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def _take_out(packages: set[str]) -> dict[str, ModuleType]:
    """Have the process forget these modules and all in them; returns them."""
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}


# What a script must be ----------------------------------------------------------------------------


def train_of(module: ModuleType, script: LoopScript) -> tuple[Callable, bool]:
    """A script's `train`, and whether it is a plain one.

    Raises:
        SameLoopError: it binds none, or one with another signature.
    """
    train = getattr(module, "train", None)
    if not callable(train):
        raise ScriptError(f"{script.name} binds no function `train`: {MUST}")
    parameters = parameters_of(inspect.signature(train), script.name)
    if parameters == PLAIN_PARAMETERS[:-1]:
        # An ejected script has its settings in it.
        return lambda *arguments: train(*arguments[:-1]), True
    return train, parameters == PLAIN_PARAMETERS


def _parsed(name: str, content: bytes) -> ast.Module:
    try:
        importlib.util.decode_source(content)
    except (UnicodeDecodeError, SyntaxError):
        raise ScriptError(f"{name} is not text in UTF-8, nor in an encoding that it names: save it as UTF-8") from None
    try:
        return ast.parse(content, name)
    except SyntaxError as error:
        raise _syntax_error(name, error) from None
    except ValueError as error:  # a byte that no source can hold
        raise ScriptError(f"{name} is not Python: {error}") from None


def _called(name: str) -> str:
    return "your loop" if name == MANUAL_SCRIPT else name


def _syntax_error(name: str, error: SyntaxError) -> ScriptError:
    line = f" ({error.text.strip()})" if error.text else ""
    where = f", line {error.lineno}" if error.lineno else ""
    return ScriptError(f"{_called(name)}{where}: {type(error).__name__}: {error.msg}{line}")


def _imported(tree: ast.Module) -> list[str]:
    """The first part of every module's name that a file imports, also inside its functions."""
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.append(node.module)
    return sorted({name.partition(".")[0] for name in modules})
