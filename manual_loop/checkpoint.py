"""Checkpoints of the manual loop: everything that the next step depends on, in a folder that is complete or absent.

That is the weights, the optimizer's averages, the schedule's position, the gradient scaler's factor, the state of
every random number generator, and the few numbers in `TrainingState`. The order of the batches is not saved: it is
drawn again from the epoch's seed, and the batches that are done are skipped.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_model as load_weights

from manual_loop.log import is_due
from manual_loop.processes import is_first_process, rank, world_size
from manual_loop.state import TrainingState
from manual_loop.wrapping import unwrap
from shared.config import RunConfig
from shared.determinism import random_states, restore_random_states
from shared.files import flush_to_disk, write_json
from shared.processes import settle_buckets, wait_for_all
from shared.running.checkpoints import STATE, read_state, rotate, seal, step_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = "model.safetensors"


def save_checkpoint(
    output_dir: Path,
    state: TrainingState,
    pretrained: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    parts: dict[str, Any],
    config: RunConfig,
) -> None:
    """Write everything to a folder under another name, flush it to the disk, and only then give it its name.

    Args:
        output_dir: gets `checkpoint-<step>`.
        pretrained: the model and the tokenizer, saved so that `from_pretrained` takes the checkpoint.
        parts: the optimizer, the scheduler and perhaps a scaler, by name.
    """
    # A checkpoint for a stop alone must not count: the run that is never stopped has none there.
    is_regular = is_due(config.save_strategy, config.save_steps, state, or_last=True)
    if is_regular and state.best_step == state.step:
        state.best_saved = state.step
    checkpoint = output_dir / f"checkpoint-{state.step}"
    unfinished = output_dir / f".{checkpoint.name}.unfinished"
    if is_first_process():
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for artifact in pretrained:
            artifact.save_pretrained(unfinished)
        for name, part in parts.items():
            if part is not None:
                torch.save(part.state_dict(), unfinished / f"{name}.pt")
        readable = {
            "global_step": state.step,
            "step_logged": state.step_logged,
            "best_metric": state.best_metric,
            "best_global_step": state.best_step,
            "best_model_checkpoint": state.best_saved and f"checkpoint-{state.best_saved}",
            "log_history": state.log_history,
        }
        write_json(unfinished / STATE, readable)
    wait_for_all()
    own = {"now": random_states(), "epoch_start": state.epoch_states, "total_loss": state.total_loss}
    torch.save(own, unfinished / f"rng_state_{rank()}.pth")
    wait_for_all()
    if is_first_process():
        seal(unfinished, config, world_size())
        # An existing one is damaged, or the same: this run has been resumed from an earlier checkpoint.
        if checkpoint.exists():
            shutil.rmtree(checkpoint)
        unfinished.rename(checkpoint)
        flush_to_disk(output_dir)
        rotate(output_dir, config.save_total_limit, state.best_saved)
    wait_for_all()


def load_checkpoint(
    checkpoint: Path, state: TrainingState, training_model: torch.nn.Module, parts: dict[str, Any]
) -> None:
    """Restore the state that `save_checkpoint` saved, in place."""
    load_weights(unwrap(training_model), checkpoint / WEIGHTS)
    settle_buckets(training_model)
    for name, part in parts.items():
        if part is not None:
            part.load_state_dict(torch.load(checkpoint / f"{name}.pt", map_location="cpu", weights_only=True))
    readable = read_state(checkpoint)
    state.step, state.step_logged = readable["global_step"], readable["step_logged"]
    state.best_metric, state.best_step = readable["best_metric"], readable["best_global_step"]
    best = readable["best_model_checkpoint"]
    state.best_saved = step_of(Path(best)) if best else None
    state.log_history = readable["log_history"]
    own = torch.load(checkpoint / f"rng_state_{rank()}.pth", map_location="cpu", weights_only=True)
    state.total_loss.copy_(own["total_loss"])
    state.epoch_states = own["epoch_start"]
    restore_random_states(own["now"])


def load_best_model(output_dir: Path, state: TrainingState, model: torch.nn.Module) -> None:
    """Load the weights of the best checkpoint, if there is one: evaluations without one are not remembered."""
    if state.best_saved is not None:
        load_weights(model, output_dir / f"checkpoint-{state.best_saved}" / WEIGHTS)
