"""The optimizers that the `optim` dial offers."""

import torch
from transformers import Adafactor

from shared.config import RunConfig


def make_optimizer(groups: list[dict], config: RunConfig) -> torch.optim.Optimizer:
    """The optimizer over parameter groups, each with its own `weight_decay`.

    AdamW is Loshchilov and Hutter 2019; `fused` does the whole update in one kernel and rounds otherwise than the
    plain one. Adafactor (Shazeer and Stern 2018) runs with an external learning rate, as `Trainer` runs it.
    """
    if config.optim == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate)
    if config.optim == "adafactor":
        return Adafactor(groups, lr=config.learning_rate, scale_parameter=False, relative_step=False)
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True if config.optim == "adamw_torch_fused" else None,
    )
