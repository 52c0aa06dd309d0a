"""The x-ray of a script's job: its loop and its Trainer are traced behind the script's door and compared.

It is `benchmarks.lesson.xray` with another way to run both sides. Nothing is shortened, because the script has built
everything itself: each side trains up to the end of the epoch in which the step lies. Checkpoints are not traced.
"""

from __future__ import annotations

import builtins
import pickle
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from benchmarks.lesson.events import Trace
from benchmarks.lesson.trace import Traced, Tracer
from benchmarks.lesson.xray import XRay, paired
from benchmarks.port.compare import run_side, words_for
from benchmarks.port.side import Side
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.progress import announce
from shared.recording.record import MEASURED
from shared.running.folder import LOOPS
from shared.running.script import LoopScript

if TYPE_CHECKING:
    from benchmarks.port.job import Training

FILE_NAME = "trace.pickle"


class JobTracer(Tracer):
    """Traces a run of any model, data and collator.

    Args:
        loop, loop_script, module, until_step: as in `Tracer`.
        kind: the class of the model that is trained.
    """

    examples = "examples"

    def __init__(self, loop: str, loop_script: LoopScript, module: ModuleType, until_step: int, kind: type) -> None:
        super().__init__(loop, loop_script, module, until_step)
        self._kind = kind
        # Trainer placed it when it was made.
        self._model_is_placed = True

    def _install_at_the_ends(self) -> None:
        """The script has made the job, and only Trainer saves anything on the way."""
        if self._is_manual:
            self._wrap_here(builtins, "print", self._on_print)

    def _is_model(self, module: torch.nn.Module) -> bool:
        return type(module) is self._kind

    def _on_seed(self, original: Callable, seed: int) -> Any:
        # Trainer seeded when it was made, which is not traced: seeding once more changes nothing.
        before = torch.get_rng_state()
        self._silent += 1
        seeded = original(seed)
        self._silent -= 1
        self._event("seed", "torch seeded", is_idle=torch.equal(before, torch.get_rng_state()), seed=seed)
        return seeded

    def _on_determinism(self, original: Callable, mode: bool, **options: Any) -> None:
        is_so = torch.are_deterministic_algorithms_enabled() == mode
        self._event("determinism", "deterministic algorithms only", is_idle=is_so, mode=mode)
        return original(mode, **options)

    def _on_loader(self, original: Callable, loader: DataLoader, *args: Any, **kwargs: Any) -> None:
        super()._on_loader(original, loader, *args, **kwargs)
        collate = loader.collate_fn
        # accelerate makes a loader from a loader, with the same collator.
        if not (isinstance(collate, partial) and collate.func == self._on_collate):
            loader.collate_fn = partial(self._on_collate, collate)

    def _on_forward(self, module: torch.nn.Module, args: tuple) -> None:
        if self._model is not None or self._is_model(module):
            super()._on_forward(module, args)

    def _logged_names(self, values: Mapping[str, Any]) -> list[str]:
        metrics = [name for name in values if name.startswith("eval_") and not name.endswith(MEASURED)]
        return ["loss", "grad_norm", "learning_rate", *sorted(metrics)]

    def _on_print(self, original: Callable, *args: Any, **kwargs: Any) -> None:
        """A loop that prints a dictionary logs it."""
        is_line = len(args) == 1 and isinstance(args[0], dict)
        (partial(self._on_log, original) if is_line else original)(*args, **kwargs)

    def _on_evaluate(self, original: Callable, *args: Any, **kwargs: Any) -> Any:
        # For several evaluation sets, Trainer.evaluate calls itself once for each.
        several = isinstance(getattr(args[0], "eval_dataset", None), dict) if args else False
        if several and len(args) == 1 and kwargs.get("eval_dataset") is None:
            return original(*args, **kwargs)
        return super()._on_evaluate(original, *args, **kwargs)


def trace_side(task: dict[str, Any], header: dict[str, Any], training: Training, kind: type) -> None:
    """Train while a tracer watches, and leave its trace in the side's folder.

    Args:
        task: what this process is to do.
        header: the first line of a record of this side.
        training: the side.
        kind: the class of the model.

    Raises:
        SameLoopError: batches are made in worker processes, where they cannot be traced.
    """
    if header["config"]["dataloader_num_workers"]:
        raise SameLoopError("the x-ray cannot trace worker processes: set dataloader_num_workers=0 in the script")
    loop = "manual" if task["does"] == "loop" else "trainer"
    announce(f"x-ray: {task['name']}")
    quiet = StringIO()
    tracer = JobTracer(loop, training.loop_script, training.module, task["until_step"], kind)
    with redirect_stdout(quiet), redirect_stderr(quiet), tracer, suppress(Traced):
        training.train(lambda model: None)
    result = RunConfig(**{**header["config"], "loop": training.loop_script.name}), tracer.trace
    (Path(task["folder"]) / FILE_NAME).write_bytes(pickle.dumps(result))


def xray_sides(sides: tuple[Side, Side], step: int = 1) -> XRay:
    """Run both sides and trace them.

    Args:
        sides: a loop and a Trainer, on one script's job.
        step: look into this optimizer step, counted from 1.

    Raises:
        SameLoopError: a side did not finish, the sides are not a loop and a Trainer, or there is no such step.
    """
    if not (sides[0].is_loop and not sides[1].is_loop and sides[0].script == sides[1].script):
        raise SameLoopError("the x-ray compares a loop and a Trainer on one script's job: name these two")
    results: dict[str, tuple[RunConfig, Trace]] = {}
    with tempfile.TemporaryDirectory(prefix="sameloop-xray-") as folder:
        for role, side in zip(LOOPS, sides, strict=True):
            (Path(folder) / role).mkdir()
            run_side(role, side, Path(folder) / role, words=words_for(sides, Path(folder)), until_step=step)
            # Our own file, written a moment ago.
            results[role] = pickle.loads((Path(folder) / role / FILE_NAME).read_bytes())
    config, traces = results[LOOPS[0]][0], {role: trace for role, (_, trace) in results.items()}
    last = max((event.step for trace in traces.values() for event in trace.events), default=0)
    if not 1 <= step <= last:
        raise SameLoopError(f"--step {step}: this run has the steps 1 to {last}")
    return XRay(config, step, str(config.loop), traces, paired(*(traces[role].events for role in LOOPS)))
