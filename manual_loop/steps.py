"""How many steps there are, and which batches make up one.

Batches are numbered from 1 in every epoch, as the loop counts them. Where a step learns from several, an epoch's last
step may have fewer.
"""

import math

from torch.utils.data import DataLoader

from shared.config import RunConfig


def duration(steps_per_epoch: int, config: RunConfig) -> tuple[int, int, bool]:
    """How many steps and epochs there are, and whether the last epoch may end early."""
    if config.max_steps > 0:
        return config.max_steps, math.ceil(config.max_steps / steps_per_epoch), True
    epochs = config.num_train_epochs
    return math.ceil(epochs * steps_per_epoch), math.ceil(epochs), epochs % 1 > 0


def ends_step(number: int, train_loader: DataLoader, batches_per_step: int) -> bool:
    """Whether batch `number` of the epoch is the last one of its step."""
    return number % batches_per_step == 0 or number == len(train_loader)


def batches_of_step(number: int, train_loader: DataLoader, batches_per_step: int) -> int:
    """By how many batches the loss of batch `number` of the epoch is divided: all batches of its step."""
    if batches_per_step == 1:
        return batches_per_step
    return min(batches_per_step, len(train_loader) - (number - 1) // batches_per_step * batches_per_step)
