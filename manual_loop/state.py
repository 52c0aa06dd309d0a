"""The state of the training: what changes from step to step, apart from the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader

from shared.config import METRIC_SCHEDULES, RunConfig
from shared.determinism import random_states, restore_random_states


@dataclass
class TrainingState:
    """The state of the training.

    Attributes:
        total_loss: the training losses added up since the last log line, a scalar; each process has its own.
        step: optimizer steps done.
        epochs_done: passes over the training reviews, a fraction in the middle of one.
        ends, epoch_ends: whether the training, or the epoch, ends with this step.
        step_logged: the step of the last log line.
        log_history: what has been logged.
        best_metric, best_step: the best evaluation so far and its step.
        best_saved: the last step that was the best when its checkpoint was made; not every evaluation has one.
        epoch_states: of every random number generator, at the start of the epoch.
    """

    total_loss: torch.Tensor
    step: int = 0
    epochs_done: float = 0.0
    ends: bool = False
    epoch_ends: bool = False
    step_logged: int = 0
    log_history: list[dict] = field(default_factory=list)
    best_metric: float | None = None
    best_step: int | None = None
    best_saved: int | None = None
    epoch_states: dict[str, Any] = field(default_factory=random_states)


def batches_left(train_loader: DataLoader, done: int, state: TrainingState) -> Iterable[dict[str, torch.Tensor]]:
    """The epoch's batches without the first `done`; there are such only after a checkpoint in mid-epoch.

    The loader then draws from the generators as it did when the epoch began; afterwards they are back at the
    checkpoint.
    """
    if not done:
        state.epoch_states = random_states()
        return train_loader
    return _later_batches(train_loader, done, state)


def _later_batches(train_loader: DataLoader, done: int, state: TrainingState) -> Iterator[dict[str, torch.Tensor]]:
    now = random_states()
    restore_random_states(state.epoch_states)
    batches = iter(train_loader)
    for _ in range(done):
        next(batches)
    restore_random_states(now)
    return batches


def follow(metrics: dict[str, float], state: TrainingState, scheduler: Any, config: RunConfig) -> None:
    """Apply an evaluation: the learning rate of some schedules, and which weights are the best so far."""
    metric = metrics[f"eval_{config.metric_for_best_model or 'loss'}"]
    if config.lr_scheduler_type in METRIC_SCHEDULES:
        scheduler.step(metric)
    if config.load_best_model_at_end and is_better(metric, state.best_metric, config):
        state.best_metric, state.best_step = metric, state.step


def is_better(metric: float, best: float | None, config: RunConfig) -> bool:
    """Whether an evaluation is better than the best before it: an accuracy higher, a loss lower."""
    if config.metric_for_best_model == "accuracy":
        return best is None or metric > best
    return best is None or metric < best
