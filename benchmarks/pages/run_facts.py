"""What is known of a run before its script is specialized."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import libcst as cst

from shared.config import RunConfig
from shared.releases import INSTALLED, Release


@dataclass
class RunFacts:
    """What is known.

    Attributes:
        settings: each setting's value by its name, and what else `config` has.
        calls: what calls without arguments return.
        left_out: arguments that the loop always passes and that change no number.
        no_ops: calls that are removed.
        kept_arguments: arguments that stay, even if they equal the default.
        with_defaults: calls whose default arguments are shown, too, to match lines of the manual loop.
        kept_calls: functions that stay calls, though they could be spelled out.
        names: what names stand for in every function of the script.
        release: of transformers, as far as the manual loop depends on it.
    """

    settings: dict[str, Any]
    calls: dict[str, Any]
    left_out: set[str]
    no_ops: set[str] = field(default_factory=lambda: {"stop_after_checkpoint", "trainer.add_callback"})
    # A student looks for the learning rate, also where it is the optimizer's own default.
    kept_arguments: set[str] = field(default_factory=lambda: {"lr", "learning_rate"})
    with_defaults: set[str] = field(default_factory=set)
    kept_calls: set[str] = field(default_factory=lambda: {"random_states"})
    names: dict[str, cst.BaseExpression] = field(default_factory=dict)
    release: Release = INSTALLED

    @classmethod
    def of(cls, config: RunConfig, world_size: int = 1, accelerate: bool = False) -> RunFacts:
        """From the settings, the number of processes, and whether the loop uses `accelerate`."""
        settings, left_out = dict(config.settings), set[str]()
        if accelerate:
            settings |= {"mixed_precision": "bf16" if config.bf16 else None, "bf16": False}
        # A terminal is assumed, and that no specialized script is asked to stop.
        calls: dict[str, Any] = {"stop_requested": None, "sys.stderr.isatty": True}
        calls |= {"world_size": world_size, "launched_world_size": world_size}
        if world_size > 1:
            return cls(settings, {**calls, "distributed.is_initialized": True}, left_out)
        # What a single process needs in the Trainer loop only under some settings, though there is no `if` for it.
        if config.gradient_accumulation_steps == 1:
            # Where a step has only one batch, the workaround has nothing to fix.
            settings["trainer_defaults"] = True
        if not config.bf16 and not config.use_cpu:
            left_out.add("use_cpu")
        return cls(settings, {**calls, "rank": 0}, left_out)
