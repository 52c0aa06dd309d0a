"""A script's job as a record holds it: its arguments as our settings, and further facts about its Trainer."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from benchmarks.port.arguments import valid_settings
from benchmarks.port.settings import Settings
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.running.run import header
from shared.running.script import LoopScript

# No example is truncated here: the script has made its tokens.
LONGEST = 1_000_000
Watch = Callable[[Any], None]


class Training(NamedTuple):
    """One side, ready to train.

    Attributes:
        loop_script, module: the file that trains, and the module that it was imported as.
        train: trains, after it has named the model to watch; returns the log.
        explained: turns an exception into an error of one line, or None where it is not the file's mistake.
        settings: of the script.
    """

    loop_script: LoopScript
    module: ModuleType
    train: Callable[[Watch], list[dict[str, Any]]]
    explained: Callable[[BaseException], SameLoopError | None]
    settings: Settings


def header_of(task: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The record's first line.

    Args:
        task: what this process is to do: the side's name and role, and the files.
        settings: of the script.
    """
    first = header(task["role"], config_of(settings, task), None, None)
    return {
        **first,
        "steps_per_epoch": settings.steps_per_epoch,
        "job": {
            "script": task["script"],
            "arguments": task["arguments"],
            "code": task["code"],
            "side": task["name"],
            "is_loop": task["does"] == "loop",
            **_job_facts(settings),
            # Not for the script's own Trainer, which could not train any more afterwards.
            "set": settings.changed_arguments if task["does"] == "loop" else {},
        },
    }


def config_of(settings: Settings, task: dict[str, Any]) -> RunConfig:
    """The script's arguments as settings, where these exist; a value that a setting cannot have is left out."""
    args, trainer = settings.args, settings.captured.trainer
    arguments: dict[str, Any] = {
        "dataset": task["script"],
        "model": type(trainer.model).__name__,
        "train_size": len(trainer.train_dataset),
        "eval_size": _size(trainer.eval_dataset),
        "max_length": LONGEST,
        # What is written for the script reports all that its Trainer does; a loop of the user's may report less.
        "loop": task["loop"],
    }
    names = [name for name in RunConfig.model_fields if hasattr(args, name) and name not in arguments]
    theirs = {name: getattr(value := getattr(args, name), "value", value) for name in names}
    return RunConfig.build("tiny", **arguments, **valid_settings("tiny", theirs, arguments))


def _size(sets: Any) -> int:
    if isinstance(sets, dict):
        return sum(map(_size, sets.values())) or 1
    return len(sets) if sets is not None and len(sets) else 1


def _job_facts(settings: Settings) -> dict[str, Any]:
    """Further facts about the script's Trainer, from which `benchmarks.verdict.facts` makes sentences."""
    import transformers

    trainer, args, probe = settings.captured.trainer, settings.args, settings.probe
    makes_loader = settings.override_of("get_train_dataloader") is not None
    return {
        "model": type(trainer.model).__name__,
        "per_step": args.gradient_accumulation_steps,
        "batches_per_epoch": settings.batches_per_epoch,
        "batch_size": args.train_batch_size,
        "examples": len(trainer.train_dataset),
        "drop_last": args.dataloader_drop_last and probe.batches is None,
        "is_divided": settings.is_divided,
        "counts": probe.counts,
        "share": probe.share,
        "unused_columns": [] if makes_loader else probe.unused.get("train_dataset", []),
        "labels_per_example": probe.labels_per_example,
        "eval_cut": settings.eval_cut,
        "never_called": settings.never_called,
        "transformers": transformers.__version__,
        "is_own_function": trainer.compute_loss_func is not None,
        "weighs_as_full": args.eval_batch_size if settings.weighs_as_full else None,
        "max_grad_norm": args.max_grad_norm,
    }
