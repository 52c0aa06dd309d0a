"""Where a traced run is, and its events in order; calls are wrapped and put back.

`Tracer` (trace.py) says which calls are events, and of what.
"""

from __future__ import annotations

import linecache
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import accelerate
import transformers

from benchmarks.lesson.events import Call, Event, Frame, Trace
from shared.running import plain
from shared.running.script import LoopScript

TRANSFORMERS, ACCELERATE = Path(transformers.__file__).parent, Path(accelerate.__file__).parent
TRAINER_FILE = str(TRANSFORMERS / "trainer.py")
# Calls of these files are the tracer's own.
OWN_FILES = (__file__, str(Path(__file__).with_name("trace.py")))


class Timeline:
    """Context manager: the events of the run inside it, each with the part of the run that it is in.

    Whoever wraps calls does so before it is entered.

    Args:
        loop: `manual` or `trainer`.
        script: the loop's.
        module: the script, imported.

    Attributes:
        trace: the events and calls until now.
    """

    def __init__(self, loop: str, script: LoopScript, module: ModuleType) -> None:
        self.trace = Trace()
        self._is_manual, self._script, self._script_file = loop == "manual", script, script.paths[script.name]
        # The script and its helper modules as they are imported now.
        self._modules = [module] + [
            imported
            for imported in list(sys.modules.values())
            if imported is not module and script.display_name(str(getattr(imported, "__file__", None)))
        ]
        self._undo: list[Callable[[], None]] = []
        self._part, self._epoch, self._steps = "start", 0, 0
        self._activity = 0
        self._silent = 0
        self._evaluating = False
        self._entered = time.perf_counter()
        self._profile = _Profile(self)

    def __enter__(self) -> Timeline:
        self._previous_profile = sys.getprofile()
        if not self._is_manual:
            sys.setprofile(self._profile)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(self._previous_profile)
        for undo in reversed(self._undo):
            undo()
        self._enter(self._part)

    # Wrapping calls -------------------------------------------------------------------------------

    def _wrap(self, owner: Any, name: str, on_call: Callable) -> None:
        """As `_wrap_here`, also under any name by which one of the script's modules has imported it."""
        original = getattr(owner, name)
        self._wrap_here(owner, name, on_call)
        if isinstance(owner, ModuleType):
            importers = [*self._modules, plain, transformers.trainer]
            for module in importers:
                for own_name in [key for key, value in vars(module).items() if value is original]:
                    self._wrap_here(module, own_name, on_call)

    def _wrap_here(self, owner: Any, name: str, on_call: Callable) -> None:
        """Have `on_call(original, ...)` called in the place of `owner.name(...)`."""
        original, is_own = getattr(owner, name), name in vars(owner)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return on_call(original, *args, **kwargs)

        setattr(owner, name, wrapper)
        self._undo.append(partial(setattr, owner, name, original) if is_own else partial(delattr, owner, name))

    # Recording events -----------------------------------------------------------------------------

    def _event(
        self,
        phase: str,
        description: str,
        frames: tuple[Frame, ...] | None = None,
        part: str | None = None,
        is_idle: bool = False,
        **values: Any,
    ) -> None:
        if self._silent:
            return
        self._activity += 1
        phase = "evaluate" if self._evaluating else phase
        _, epoch, step = self.here
        self.trace.events.append(
            Event(part or self._part, epoch, step, phase, description, values, frames or self._frames(), is_idle)
        )

    @property
    def here(self) -> tuple[str, int, int]:
        """Part, epoch and step under way, as an event would be labelled now."""
        return (self._part, self._epoch, 0 if self._epoch == 0 else self._steps + (self._part == "step"))

    def _enter(self, part: str, epoch: int | None = None) -> None:
        """Begin another part; the time until now belongs to the one before."""
        now = time.perf_counter()
        self.trace.seconds[self.here] = self.trace.seconds.get(self.here, 0.0) + now - self._entered
        self._entered = now
        self._part, self._epoch = part, self._epoch if epoch is None else epoch

    def _repetition(self, description: str) -> None:
        self._activity += 1
        self.trace.repetitions.setdefault(description, self._frames())

    def _is_called_from_loop(self) -> bool:
        """Whether the wrapped call, three frames up, stands in the script or `trainer.py`."""
        code = sys._getframe(3).f_code
        # A user's own loss may contain any divisions and additions.
        return code.co_filename in (self._script_file, TRAINER_FILE) and code.co_name != "compute_loss"

    def _frames(self) -> tuple[Frame, ...]:
        frames: list[Frame] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            name = self._script.display_name(file) or display_name(file)
            if name and not frame.f_code.co_name.startswith("<"):
                frames.append(_frame(frame, name))
            frame = frame.f_back
        return tuple(reversed(frames))


class _Profile:
    """Python's own profiler hook: finds the calls of `trainer.py` without any event inside."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        # Calls under way: the frame, when it began, the events until then, and the finished calls inside.
        self._open: list[tuple[FrameType, float, int, list[Call]]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            caller = frame.f_back
            if (
                caller is not None
                and caller.f_code.co_filename == TRAINER_FILE
                and frame.f_code.co_filename not in OWN_FILES
                and not frame.f_code.co_name.startswith("<")
                and not self._timeline._silent
            ):
                self._open.append((frame, time.perf_counter(), self._timeline._activity, []))
        elif event == "return" and self._open and self._open[-1][0] is frame:
            _, started, activity, inside = self._open.pop()
            finished = inside
            code, caller = frame.f_code, frame.f_back
            if self._timeline._activity == activity and caller is not None:
                name = getattr(code, "co_qualname", code.co_name)
                where = _frame(caller, Path(TRAINER_FILE).name)
                finished = [Call(*self._timeline.here, name, code.co_filename, where, time.perf_counter() - started)]
            (self._open[-1][3] if self._open else self._timeline.trace.calls).extend(finished)


def display_name(file: str) -> str | None:
    """The name in a stack of a file that is not the script's; None for a file that is not shown."""
    path = Path(file)
    if file == plain.__file__:
        return "shared/running/plain.py"
    if path.parent == TRANSFORMERS and path.name.startswith("trainer"):
        return path.name
    return f"accelerate/{path.name}" if path.parent == ACCELERATE else None


def _frame(frame: FrameType, name: str) -> Frame:
    code = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return Frame(name, frame.f_lineno, frame.f_code.co_name, code)
