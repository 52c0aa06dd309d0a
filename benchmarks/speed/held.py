"""A loop that is held after each of its steps: what `sameloop speed` starts twice, each in a process of its own.

The pages know nothing of it: a process is held where the flight recorder sees the end of an optimizer step.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.speed.lockstep import PARTS
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.recording import recorder
from shared.recording.recorder import FlightRecorder
from shared.running.run import run_loop
from shared.running.script import script_of


def run_in_turn(arguments: Sequence[str]) -> int:
    """What each process does: run one loop, and wait after each step; the exit status.

    Args:
        arguments: the loop; its folder; the numbers of the pipes where it is told to go on, and where it says that it
            has; its settings as JSON.
    """
    loop, folder, to_hear, to_say, settings = arguments
    config = RunConfig.model_validate_json(settings)
    held = partial(HeldRecorder, to_hear=int(to_hear), to_say=int(to_say), cut_layers=not config.torch_compile)
    recorder.FlightRecorder = held  # type: ignore[misc, assignment]  # run_loop asks the module for its recorder
    try:
        run_loop(loop, script_of(loop, config), config, Path(folder), overwrite=True)
    except SameLoopError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


class HeldRecorder(FlightRecorder):
    """A flight recorder that says when a step is over, and waits until it is told to go on.

    It leaves `PARTS` in the run's folder. A part of a step ends with each gradient and, if `cut_layers`, with each
    layer that has none in it; what torch compiles into one cannot be cut.
    """

    def __init__(
        self, output_dir: Path, *given: Any, to_hear: int, to_say: int, cut_layers: bool, **named: Any
    ) -> None:
        super().__init__(output_dir, *given, **named)
        self._parts_file, self._to_hear, self._to_say, self._cut_layers = (
            output_dir / PARTS,
            to_hear,
            to_say,
            cut_layers,
        )

    def __enter__(self) -> HeldRecorder:
        self._waited = 0.0
        # Of each step after the first: when the one before ended, and each part of it.
        self._marks: list[list[float]] = []
        # The first is called before the recorder's own hook, the second after it.
        finish = register_optimizer_step_post_hook(self._finish)
        super().__enter__()
        self._handles: list[Any] = [finish, register_optimizer_step_post_hook(self._hold)]
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for handle in self._handles:
            handle.remove()
        # What follows the last step is no step.
        parts = [[end - begin for begin, end in pairwise(marks)] for marks in self._marks[:-1]]
        self._parts_file.write_text(json.dumps(parts), encoding="utf-8")

    def _finish(self, *called: Any) -> None:
        """A GPU may be behind: what it has still to do belongs to this step."""
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        if self._marks:
            self._mark()

    def _mark(self, *called: Any) -> None:
        """A part is over: by a clock that stands still while the recorder works, or waits."""
        self._marks[-1].append(time.perf_counter() - self._clock.own_seconds - self._waited)

    def _hold(self, *called: Any) -> None:
        if not self._marks:
            self._cut_into_parts()
        began = time.perf_counter()
        os.write(self._to_say, b".")
        if not os.read(self._to_hear, 1):
            raise SameLoopError("the process that measures is gone")
        waited = time.perf_counter() - began
        self._waited += waited
        self._clock.skip(waited)
        self._marks.append([])
        self._mark()

    def _cut_into_parts(self) -> None:
        for module in self._hooks.model.modules():
            if self._cut_layers and not list(module.children()):
                self._handles.append(module.register_forward_hook(self._mark))
            for parameter in module.parameters(recurse=False):
                if parameter.requires_grad:
                    self._handles.append(parameter.register_post_accumulate_grad_hook(self._mark))
