"""What is known of a run before its page is folded."""

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
        left_out: arguments that are given in any case and change no number.
        no_ops: calls of which nothing is left.
        kept_arguments: arguments that stay, whatever their default.
        with_defaults: calls of which what they would do by themselves is shown, too, as the twin of what is done by hand.
        kept_calls: functions that stay calls, though they could be spelled out.
        names: what names stand for in every function of the page.
        release: of transformers, as far as it matters by hand.
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
        """What the settings say, how many processes there are, and whether `accelerate` does what it can."""
        settings, left_out = dict(config.settings), set[str]()
        if accelerate:
            settings |= {"mixed_precision": "bf16" if config.bf16 else None, "bf16": False}
        # A terminal is assumed, and that nobody asks a folded page to stop.
        calls: dict[str, Any] = {"stop_requested": None, "sys.stderr.isatty": True}
        calls |= {"world_size": world_size, "launched_world_size": world_size}
        if world_size > 1:
            return cls(settings, {**calls, "distributed.is_initialized": True}, left_out)
        # What a single process needs on Trainer's page only under some settings, though no `if` there says so.
        if config.gradient_accumulation_steps == 1:
            # Where a step learns from one batch, the remedy has nothing to mend.
            settings["trainer_defaults"] = True
        if not config.bf16 and not config.use_cpu:
            left_out.add("use_cpu")
        return cls(settings, {**calls, "rank": 0}, left_out)
