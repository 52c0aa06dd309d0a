"""A loop that waits after each of its steps: `sameloop speed` starts two, each in a process of its own.

The loops need no change for it: a process waits where the flight recorder sees the end of an optimizer step.
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
    """The work of each process: run one loop, and wait after each step; returns the exit status.

    Args:
        arguments: the loop; its folder; the file descriptors of the pipe that tells it to go on, and of the pipe that
            tells that a step is over; its settings as JSON.
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
    """A flight recorder that signals the end of a step, and waits for the signal to go on.

    It writes `PARTS` into the run's folder. A part of a step ends with each gradient and, if `cut_layers`, with each
    layer that contains no other layers; layers that torch compiles into one cannot be separated.
    """

    def __init__(
        self, output_dir: Path, *args: Any, to_hear: int, to_say: int, cut_layers: bool, **kwargs: Any
    ) -> None:
        super().__init__(output_dir, *args, **kwargs)
        self._parts_file, self._cut_layers = output_dir / PARTS, cut_layers
        self._to_hear, self._to_say = to_hear, to_say

    def __enter__(self) -> HeldRecorder:
        self._waited = 0.0
        # For each step after the first: when the previous step ended, and when each part of it ended.
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
        # The time after the last step is not a step.
        parts = [[end - begin for begin, end in pairwise(marks)] for marks in self._marks[:-1]]
        self._parts_file.write_text(json.dumps(parts), encoding="utf-8")

    def _finish(self, *hook_arguments: Any) -> None:
        """End a step: a GPU may still be working on it, and this work belongs to this step."""
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        if self._marks:
            self._mark()

    def _mark(self, *hook_arguments: Any) -> None:
        """Note the end of a part, by a clock that stops while the recorder works or waits."""
        self._marks[-1].append(time.perf_counter() - self._clock.own_seconds - self._waited)

    def _hold(self, *hook_arguments: Any) -> None:
        if not self._marks:
            self._cut_into_parts()
        began = time.perf_counter()
        os.write(self._to_say, b".")
        if not os.read(self._to_hear, 1):
            raise SameLoopError("the process that measures has ended")
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
