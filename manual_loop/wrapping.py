"""Wrappers for training a model: several processes, a compiler, a scaler for 16-bit gradients."""

import torch
from torch.nn.parallel import DistributedDataParallel

from manual_loop.processes import world_size
from shared.config import RunConfig
from shared.releases import CHECKPOINTS_ACTIVATIONS


def wrap(model: torch.nn.Module, config: RunConfig) -> torch.nn.Module:
    """The model to train through; the weights are `model`'s own.

    With several processes, a backward pass averages the gradients over all of them.
    """
    if config.gradient_checkpointing:
        if CHECKPOINTS_ACTIVATIONS:
            model.activation_checkpointing_enable()
        else:
            model.gradient_checkpointing_enable()
    training_model = model
    if world_size() > 1:
        training_model = DistributedDataParallel(training_model)
    if config.torch_compile:
        training_model = torch.compile(training_model)
    return training_model


def unwrap(training_model: torch.nn.Module) -> torch.nn.Module:
    """The model that `wrap` was given."""
    model = getattr(training_model, "_orig_mod", training_model)
    return model.module if isinstance(model, DistributedDataParallel) else model


def sync_gradients(training_model: torch.nn.Module, step_ends: bool, config: RunConfig) -> None:
    """Let the processes average their gradients once per step, with its last batch; until then they accumulate.

    It sets what `DistributedDataParallel.no_sync` sets for the passes inside it.
    """
    if world_size() > 1 and config.gradient_accumulation_steps > 1:
        getattr(training_model, "_orig_mod", training_model).require_backward_grad_sync = step_ends


def scaled_step(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer, config: RunConfig) -> bool:
    """Update the weights with gradients that the scaler has scaled; returns whether the schedule takes a step.

    After an overflow the scaler skips the step, and the schedule waits. The fused AdamW is called even then and skips
    by itself, which Trainer does not notice: its schedule takes a step.
    """
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    return scaler.get_scale() >= scale or config.optim == "adamw_torch_fused"
