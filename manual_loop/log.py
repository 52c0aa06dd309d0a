"""When something is due, and the log."""

import torch
from tqdm import tqdm

from manual_loop.processes import average, is_first_process
from manual_loop.state import TrainingState


def progress_bar(step: int, max_steps: int) -> tqdm:
    """A bar over the steps, on a terminal, in the first process."""
    return tqdm(total=max_steps, initial=step, disable=None if is_first_process() else True)


def is_due(strategy: str, every: int, state: TrainingState, or_last: bool = False) -> bool:
    """Whether to log, evaluate or save after this step.

    Args:
        strategy: `no`, every so many `steps`, or at the end of an `epoch`.
        every: so many steps.
        or_last: with `steps`, after the very last one, too.
    """
    if strategy == "steps":
        return state.step % every == 0 or (or_last and state.ends)
    return strategy == "epoch" and state.epoch_ends


def log_training(state: TrainingState, grad_norm: torch.Tensor, rate: float) -> None:
    """Log the mean loss since the last such line, this step's norm and learning rate."""
    mean = average(state.total_loss).item() / (state.step - state.step_logged)
    values = {"loss": mean, "grad_norm": grad_norm.item(), "learning_rate": rate}
    log(state.log_history, values, state.epochs_done, state.step)
    state.total_loss.zero_()
    state.step_logged = state.step


def log(log_history: list, values: dict, epoch: float, step: int) -> None:
    """Append a line to the log and print it, without disturbing the progress bar."""
    log_history.append({**values, "epoch": epoch, "step": step})
    if is_first_process():
        rounded = {name: f"{value:.4g}" for name, value in values.items()}
        tqdm.write(f"epoch {epoch:.4g}, step {step}: {rounded}")
