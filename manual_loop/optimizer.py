"""The optimizers and their parameter groups."""

import re
from typing import Any

import torch
from torch.optim import SGD, AdamW
from transformers import Adafactor

from shared.config import RunConfig

# Parts of names of parameters that never decay, as in Trainer.
NEVER_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|\.)norm($|\.)|_norm($|\.)")


def parameter_groups(model: torch.nn.Module, config: RunConfig) -> Any:
    """The parameters that are trained; if weights decay, in two groups: those that do, and biases and norms."""
    if config.weight_decay == 0 and not config.freeze_body:
        return model.parameters()
    if config.weight_decay == 0:
        return [parameter for parameter in model.parameters() if parameter.requires_grad]
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    spared = {parameter for norm in norms for parameter in norm.parameters()}
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            never = parameter in spared or NEVER_DECAY.search(name.lower())
            (others if never else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others}]


def adamw_settings(config: RunConfig) -> dict[str, Any]:
    """AdamW's, Loshchilov and Hutter 2019. torch's own default would let weights decay, by 0.01."""
    return {
        "lr": config.learning_rate,
        "betas": (config.adam_beta1, config.adam_beta2),
        "eps": config.adam_epsilon,
        "weight_decay": 0,
    }


def make_optimizer(parameters: Any, config: RunConfig) -> torch.optim.Optimizer:
    """The other optimizers.

    AdamW that is not fused rounds otherwise. Adafactor (Shazeer and Stern 2018) runs with an external learning rate,
    as `Trainer` runs it.
    """
    if config.optim == "sgd":
        return SGD(parameters, lr=config.learning_rate)
    if config.optim == "adafactor":
        return Adafactor(parameters, lr=config.learning_rate, scale_parameter=False, relative_step=False)
    return AdamW(parameters, **adamw_settings(config))
