"""`sameloop xray`: both loops event by event, with the line of the manual loop and the calls inside `Trainer`.

Each loop runs for real, watched by a `Tracer`; the two sequences of events, with their values, must be equal. For a
look at everything in seconds, the run is shortened: a few of the subset's reviews, two epochs of a few steps.
"""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

from benchmarks.lesson.events import Call, Event, Frame, Trace
from benchmarks.lesson.timeline import ACCELERATE, TRANSFORMERS
from benchmarks.lesson.trace import PUT_TOGETHER, Traced, Tracer
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.progress import announce
from shared.running.folder import LOOPS
from shared.running.run import run_loop
from shared.running.script import LoopScript, scripts_of

# A subset this large has reviews of both classes, as the data's own check asks for.
LEAST_REVIEWS = 16
# Calls of Trainer's that took less in all are counted together.
WORTH_A_LINE = 100e-6
BOOKKEEPING = {
    "step": "In a step",
    "after": "After a step: log, save",
    "evaluation": "In an evaluation",
    "epoch": "As an epoch begins",
}
# Phases that no event shows, and why.
UNSEEN = {
    "page": "text",
    "imports": "done before the run begins",
    "function": "the frame that every stack begins with",
    "arguments": "the lines of the Trainer loop that most stacks go through",
    "wrapping": "scaler, autocast and processes do nothing unless a setting switches them on",
    "epoch": "counting: in Trainer `_inner_training_loop`, which every stack of a step goes through",
    "progress": "a bar, on a terminal only",
}
# Other calls of Trainer, and what the manual loop does in plain lines, where there is nothing to hook.
BY_HAND = {
    "Trainer._prepare_inputs": "the batch is moved once only",
    "Trainer.get_train_dataloader": "the loader is built once only",
    "Trainer.get_eval_dataloader": "the loader is built once, at the start",
    "Trainer._get_learning_rate": 'optimizer.param_groups[0]["lr"]',
    "Accelerator.gather_for_metrics": "gather(...)",
    "EvalLoopContainer.add": "losses.append(...)",
    "EvalLoopContainer.get_arrays": "torch.cat(...)",
    "compute_metrics": "(predictions == labels)...mean()",
    "nested_gather": "gather(...)",
    "Trainer.set_initial_training_values": "max_steps = ...",
    "CallbackHandler.on_save": "rotate(...)",
    "TrainerState.save_to_json": "write_json(...)",
    "Trainer.compute_loss_context_manager": "torch.autocast(...)",
    "Trainer._determine_best_metric": "state.remember_best(...)",
}

PARTS = {
    "start": "Before the first epoch",
    "epoch": "Epoch {epoch} begins",
    "step": "Step {step}",
    "after": "{phases} after step {step}",
    "evaluation": "Evaluation after step {step} (one batch of it is shown)",
    "end": "At the end",
}


class Pair(NamedTuple):
    """One event in both loops; None where a loop has none at this place."""

    manual: Event | None
    trainer: Event | None

    @property
    def either(self) -> Event:
        """The event, that of the manual loop where both have it."""
        return next(event for event in self if event is not None)

    @property
    def equal(self) -> bool:
        """Whether both loops do the same; what changes nothing may be missing in one of them."""
        if self.manual is None or self.trainer is None:
            return self.either.is_idle
        return self.manual.same == self.trainer.same

    @property
    def numbers(self) -> str:
        """The numbers of the event: once where both loops have the same, else each side's."""
        events = [event for event in self if event is not None]
        texts = [values_text(event.values) for event in events]
        if self.equal or len(events) == 1 or not any(texts):
            return texts[0]
        if texts[0] == texts[1]:  # they differ after the digits that are shown
            texts = [", ".join(f"{name} {value}" for name, value in event.values.items()) for event in events]
        return f"manual {texts[0]}; Trainer {texts[1]}"


class Bookkeeping(NamedTuple):
    """What only `Trainer` does in one part of the run.

    Attributes:
        title: the part.
        rows: the calls worth a line, as `XRay.bookkeeping` describes them.
        others: how many calls are not.
        seconds: what all of them take, in one such part.
        whole: how long such a part takes.
    """

    title: str
    rows: list[dict[str, Any]]
    others: int
    seconds: float
    whole: float


class XRay(NamedTuple):
    """What the x-ray shows.

    Attributes:
        config: the settings of the run that was watched.
        step: the optimizer step that is looked into, counted from 1.
        script: the name of the manual loop's file, or of the user's.
        traces: of both loops, by name.
        pairs: every event of the whole run.
    """

    config: RunConfig
    step: int
    script: str
    traces: dict[str, Trace]
    pairs: list[Pair]

    @property
    def first_difference(self) -> Pair | None:
        """The first place where the sequences diverge; None if they are equal."""
        return next((pair for pair in self.pairs if not pair.equal), None)

    @property
    def common_stack(self) -> tuple[Frame, ...]:
        """The calls that every stack of a step in `Trainer` begins with."""
        return common_frames(
            [pair.trainer.frames for pair in self.pairs if pair.trainer and pair.trainer.part == "step"]
        )

    def titled_parts(self) -> list[tuple[str, list[Pair]]]:
        """The parts worth a look, each with its title: the start, the step, and what surrounds its epoch's end.

        Of an evaluation one batch.
        """
        steps = [pair.either for pair in self.pairs if pair.either.part == "step"]
        epoch = next(event.epoch for event in steps if event.step == self.step)
        ends_at = max(event.step for event in steps if event.epoch == epoch)
        wanted = {
            "start": lambda event: True,
            "epoch": lambda event: event.epoch in (epoch, epoch + 1),
            "step": lambda event: event.step == self.step,
            "after": lambda event: event.step in (self.step, ends_at),
            "evaluation": lambda event: event.step in (self.step, ends_at),
            "end": lambda event: True,
        }
        parts = []
        for (part, number, step), group in groupby(self.pairs, key=lambda pair: pair.either[:3]):
            pairs = list(group)
            if wanted[part](pairs[0].either):
                phases = " and ".join(dict.fromkeys(pair.either.phase for pair in pairs)).capitalize()
                title = PARTS[part].format(epoch=number, step=step, phases=phases)
                parts.append((title, _one_batch(pairs) if part == "evaluation" else pairs))
        return parts

    def seconds_of(self, loop: str, part: str) -> float | None:
        """How long such a part of the run took, the median; None if there was none."""
        seconds = [spent for key, spent in self.traces[loop].seconds.items() if key[0] == part]
        return statistics.median(seconds) if seconds else None

    def bookkeeping(self) -> list[dict[str, Any]]:
        """The calls of `Trainer` without any event inside, by part of the run, the longest first.

        Each with how often it happens in one such part (a step, an evaluation, ...), and the median of the seconds
        that it takes there in all; what the manual loop does instead, where it does; and where it is called.
        """
        trainer = self.traces["trainer"]
        rows = []
        for part in PARTS:
            occasions = [key for key in trainer.seconds if key[0] == part]
            by_function: dict[str, list[Call]] = {}
            for call in trainer.calls:
                if call.part == part:
                    by_function.setdefault(call.function, []).append(call)
            for function, calls in by_function.items():
                seconds = [sum(call.seconds for call in calls if call[:3] == key) for key in occasions]
                rows.append(
                    {
                        "part": part,
                        "function": function,
                        "calls": round(len(calls) / len(occasions), 2),
                        "seconds": statistics.median(seconds),
                        "is_trainers_own": is_trainers_own(calls[0].file),
                        "line": calls[0].frame.line,
                        "code": calls[0].frame.code,
                        "by_hand": BY_HAND.get(function, ""),
                    }
                )
        return sorted(rows, key=lambda row: (list(PARTS).index(row["part"]), -row["seconds"]))

    def bookkeeping_by_part(self) -> list[Bookkeeping]:
        """The same for display: the calls worth a line, and the rest in one number."""
        summaries, calls = [], self.bookkeeping()
        for part, title in BOOKKEEPING.items():
            rows = [row for row in calls if row["part"] == part]
            whole = self.seconds_of("trainer", part)
            if rows and whole:
                large = [row for row in rows if row["seconds"] >= WORTH_A_LINE and row["is_trainers_own"]]
                spent = sum(row["seconds"] for row in rows)
                summaries.append(Bookkeeping(title, large, len(rows) - len(large), spent, whole))
        return summaries

    def as_dict(self) -> dict[str, Any]:
        """All of it, in types that JSON supports, as `--json` prints it."""
        repetitions = self.traces["trainer"].repetitions
        return {
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "config": self.config.model_dump(),
            "step": self.step,
            "equal": self.first_difference is None,
            "events": [_pair_as_dict(pair) for pair in self.pairs],
            "seconds": {loop: {part: self.seconds_of(loop, part) for part in PARTS} for loop in LOOPS},
            "bookkeeping": self.bookkeeping(),
            "repetitions": {text: [frame._asdict() for frame in frames] for text, frames in repetitions.items()},
            "batches_ahead": {loop: self.traces[loop].batches_ahead for loop in LOOPS},
        }


def shortened(config: RunConfig) -> RunConfig:
    """The same run with a few reviews: two epochs of at least two steps, an evaluation of two batches.

    Batches are made in the process itself, where they can be traced, and nothing is compiled.
    """
    group = config.per_device_train_batch_size * config.gradient_accumulation_steps
    sizes = {
        "train_size": min(config.train_size, max(2 * group, LEAST_REVIEWS)),
        "eval_size": min(config.eval_size, max(2 * config.per_device_eval_batch_size, 1)),
    }
    whole = {"num_train_epochs": 2, "max_steps": -1, "dataloader_num_workers": 0, "torch_compile": False}
    return RunConfig(**{**config.model_dump(), **sizes, **whole})


def xray(config: RunConfig, step: int | None = None, scripts: Mapping[str, LoopScript] | None = None) -> XRay:
    """Run both loops and trace them.

    Args:
        config: the settings.
        scripts: both loops'; None: those that these settings have today.
        step: look into this optimizer step of the run at its full length, and stop after the epoch boundary that
            follows it. None: the first step of the shortened run.

    Raises:
        SameLoopError: as `run_loop`, there is no such step, both are loops, or a loop does what cannot be traced.
    """
    config = shortened(config) if step is None else config
    last = config.total_steps(1)
    if step is not None and not 1 <= step <= last:
        raise SameLoopError(f"--step {step}: this run has the steps 1 to {last}")
    if config.dataloader_num_workers or config.torch_compile:
        raise SameLoopError("the x-ray cannot look into workers or compiled code; leave out --step, or those settings")
    scripts = scripts or scripts_of(config)
    if scripts["trainer"].is_own:
        raise SameLoopError("the x-ray looks into a loop and Trainer, and these are two loops")
    traces = {loop: trace(loop, scripts[loop], config, step) for loop in LOOPS}
    return XRay(config, step or 1, scripts["manual"].name, traces, paired(*(traces[loop].events for loop in LOOPS)))


def trace(loop: str, script: LoopScript, config: RunConfig, until_step: int | None = None) -> Trace:
    """Run a loop in a folder of its own, without record or output, and trace it.

    Raises:
        SameLoopError: as `run_loop`, or the loop does what cannot be traced.
    """
    announce(f"x-ray: the {loop} loop")
    quiet = io.StringIO()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            redirect_stdout(quiet),
            redirect_stderr(quiet),
            script.loaded() as module,
            Tracer(loop, script, module, until_step) as tracer,
            suppress(Traced),
        ):
            run_loop(loop, replace(script, module=module), config, Path(folder) / "run", record=False)
    except SameLoopError:
        raise
    except Exception as error:
        problem = script.mistake(error)
        description = f"{type(error).__name__}: {error}"[:300]
        raise problem or SameLoopError(f"{script.name} cannot be x-rayed ({description})") from error
    return tracer.trace


def paired(ours: list[Event], theirs: list[Event]) -> list[Pair]:
    """The two sequences of events side by side; what only one of them has stands alone."""
    our_keys, their_keys = ([event[:5] for event in events] for events in (ours, theirs))
    pairs: list[Pair] = []
    for kind, a, b, c, d in SequenceMatcher(None, our_keys, their_keys, autojunk=False).get_opcodes():
        if kind == "equal":
            pairs += map(Pair, ours[a:b], theirs[c:d])
        else:
            pairs += [Pair(event, None) for event in ours[a:b]] + [Pair(None, event) for event in theirs[c:d]]
    return pairs


def is_trainers_own(file: str) -> bool:
    """Whether a file is `Trainer`'s, with its callbacks and arguments, or accelerate's, not python's own."""
    path = Path(file)
    return ACCELERATE in path.parents or (
        path.parent == TRANSFORMERS and path.name.startswith(("trainer", "training"))
    )


def _one_batch(pairs: list[Pair]) -> list[Pair]:
    """An evaluation with its first batch only: the others do the same."""
    beginnings = ("padded to", PUT_TOGETHER)
    begins = [number for number, pair in enumerate(pairs) if any(text in pair.either.what for text in beginnings)]
    if len(begins) < 2 or not all(pair.equal for pair in pairs):
        return pairs
    return pairs[: begins[1]] + [pair for pair in pairs[begins[1] :] if pair.either.what == "logged"]


def _pair_as_dict(pair: Pair) -> dict[str, Any]:
    event = pair.either
    stacks = {loop: side and [frame._asdict() for frame in side.frames] for loop, side in pair._asdict().items()}
    described = {name: getattr(event, name) for name in ("part", "epoch", "step", "phase", "what", "values")}
    other = {} if pair.equal or pair.trainer is None else {"values_in_trainer": pair.trainer.values}
    return {**described, **other, "equal": pair.equal, **stacks}


def common_frames(stacks: list[tuple[Frame, ...]]) -> tuple[Frame, ...]:
    """The calls that all stacks begin with, and that end none of them."""
    calls = zip(*(stack[:-1] for stack in stacks), strict=False)
    return tuple(same[0] for same in takewhile(lambda same: len(set(same)) == 1, calls))


def stack_text(frames: tuple[Frame, ...], without: tuple[Frame, ...] = ()) -> str:
    """A stack in one line: `trainer.py:2082 training_step > :2164 compute_loss`.

    Args:
        frames: outermost first.
        without: left out where the stack begins with it.
    """
    if frames[: len(without)] == without:
        frames = frames[len(without) :]
    texts, file = [], None
    for frame in frames:
        texts.append(f"{'' if frame.file == file else frame.file}:{frame.line} {frame.function}")
        file = frame.file
    return " > ".join(texts)


def script_frame(event: Event, script: str) -> Frame | None:
    """The innermost line of the script of this name that led to the event; None if it happened outside the script."""
    return next((frame for frame in reversed(event.frames) if frame.file == script), None)


def values_text(values: dict[str, Any]) -> str:
    """An event's numbers, rounded for reading."""
    texts = (
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
    return ", ".join(texts)
