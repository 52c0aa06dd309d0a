"""The surroundings of a run that might override its settings: variables of accelerate and launchers, the machine.

The settings alone decide. What contradicts them is refused by name, before any time is spent.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

from shared.config import RunConfig
from shared.errors import SameLoopError, shown
from shared.progress import announce

# Values that switch nothing on.
NEUTRAL = ("", "0", "no", "none", "off", "false", "n", "f")
# Variables that `Trainer` and accelerate read, too (accelerate 1.15, `state.py` and `accelerator.py`);
# `accelerate launch` sets them from the user's `accelerate config`.
ACCELERATE = (
    "ACCELERATE_MIXED_PRECISION",
    "ACCELERATE_USE_CPU",
    "ACCELERATE_DYNAMO_BACKEND",
    "ACCELERATE_DOWNCAST_BF16",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
    "ACCELERATE_TORCH_DEVICE",
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
    "ACCELERATE_USE_SAGEMAKER",
)


def settle(config: RunConfig) -> RunConfig:
    """The settings that apply here: on a Mac's own GPU only on request.

    Call it where a user's settings come in, before torch is imported.

    Raises:
        SameLoopError: a variable of the environment asks for something else than the settings, or this machine cannot
            follow them.
    """
    _check_accelerate(config, os.environ)
    if not is_apple_silicon():
        if config.use_mps:
            raise SameLoopError("--use-mps: this is no Mac with Apple Silicon; leave it out")
        return config
    if config.use_mps:
        # There the embedding's gradient adds up in another order in every run: pytorch/pytorch#195404.
        announce("note: on Apple's GPU two runs may differ in the last bits, with any loop: --use-cpu avoids it")
        return config
    if not config.use_cpu:
        announce("on the CPU: on Apple's GPU no two runs are equal bit for bit; --use-mps trains there nevertheless")
    return config.model_copy(update={"use_cpu": True})


def is_apple_silicon() -> bool:
    """Whether torch would train on MPS here."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _check_accelerate(config: RunConfig, environment: Mapping[str, str]) -> None:
    agrees = {
        "ACCELERATE_MIXED_PRECISION": "bf16" if config.bf16 else "fp16" if config.fp16 else "no",
        "ACCELERATE_USE_CPU": config.use_cpu,
        "ACCELERATE_DYNAMO_BACKEND": config.torch_compile,
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": str(config.gradient_accumulation_steps),
    }
    for name in ACCELERATE:
        value = environment.get(name, "").strip().lower()
        if value in NEUTRAL or agrees.get(name) is True or agrees.get(name) == value:
            continue
        raise SameLoopError(
            f"the environment sets {name}={shown(value)}, which Trainer would follow against this run's settings; "
            f"`unset {name}` (`accelerate launch` sets it from `accelerate config`), and use SameLoop's options"
        )
