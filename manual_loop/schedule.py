"""The schedules, apart from the linear one without warm-up."""

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from shared.config import RunConfig


def make_schedule(optimizer: torch.optim.Optimizer, max_steps: int, config: RunConfig) -> Any:
    """A schedule with a warm-up: the learning rate first rises linearly; a warm-up below 1 is a share of all steps."""
    warmup = int(config.warmup_steps)
    if 0 < config.warmup_steps < 1:
        warmup = math.ceil(config.warmup_steps * max_steps)
    if config.lr_scheduler_type != "linear":
        own = config.lr_scheduler_kwargs
        return get_scheduler(config.lr_scheduler_type, optimizer, warmup, max_steps, scheduler_specific_kwargs=own)
    # Up to 1 in the warm-up, then down to 0.
    fall = max(1, max_steps - warmup)
    return LambdaLR(optimizer, lambda step: step / warmup if step < warmup else (max_steps - step) / fall)
