"""A callback for `Trainer`, so that a run that was interrupted and resumed is the same run, bit for bit.

`Trainer` writes checkpoints and resumes from them. By itself it falls short of that in seven points, each of which is
made up for here, from outside (`transformers/trainer.py` of release 5.23):

1. A checkpoint that was being written when the power failed looks like a whole one. Here the manifest shows it.
2. It deletes the older checkpoint before the new one is known to be on the disk. Here afterwards.
3. The loss added up since the last log line is not in the checkpoint (it starts from zero again).
4. `group_by_length` draws its order from the global random state, which in mid-epoch is no longer the epoch's first.
5. A checkpoint at an epoch's last step is written before the epoch's evaluation, which a resumed run would leave out.
6. A checkpoint that is made for a stop alone counts as the best one, where the run that is never stopped has none.
7. Three processes or more add their gradients up in another order in the first step, `settle_buckets` explains why.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from shared.config import RunConfig
from shared.determinism import random_states, restore_random_states
from shared.processes import settle_buckets
from shared.running.checkpoints import rotate, seal
from shared.starting.interrupt import stop_after_checkpoint, stop_requested


class ExactResume(TrainerCallback):
    """Completes `Trainer`'s checkpoints, stops it in time, and restores the state when it resumes.

    Args:
        trainer: whose callback this is.
        config: the run's settings.
        output_dir: where the checkpoints are.
        checkpoint: the one that the run resumes from, if any.

    Raises:
        Interrupted: after the step in which Ctrl-C or SIGTERM arrived.
    """

    def __init__(self, trainer: Trainer, config: RunConfig, output_dir: Path, checkpoint: Path | None) -> None:
        self._trainer, self._config, self._output_dir = trainer, config, output_dir
        self._rank, self._world_size = trainer.args.process_index, trainer.args.world_size
        self._steps_per_epoch = config.steps_per_epoch(self._world_size)
        self._save_at_epoch_end = self._is_regular = False
        self._best_saved: int | None = None
        self._stop: int | None = None
        self._resumed: dict[str, Any] | None = None
        if checkpoint is not None:
            file = checkpoint / self._own_file
            self._resumed = torch.load(file, map_location="cpu", weights_only=True)

    @property
    def _own_file(self) -> str:
        return f"progress-{self._rank}.pt"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._resumed is not None:
            settle_buckets(self._trainer.model_wrapped)
            self._trainer._tr_loss += self._resumed["total_loss"].to(self._trainer._tr_loss.device)
            self._trainer._globalstep_last_logged = self._resumed["step_logged"]
            self._best_saved = self._resumed["best_saved"]
            self._name_best(state)  # the folder may have moved since

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._resumed is not None:
            in_mid_epoch = state.global_step % self._steps_per_epoch
            states = self._resumed["epoch_start" if in_mid_epoch else "now"]
            # `Trainer` puts the others back after the batches that are done, but knows nothing of Apple's generator.
            apples = {name: state for name, state in self._resumed["now"].items() if name == "mps"}
            restore_random_states({**states, **apples})
            self._resumed = None
        self._random_states = random_states()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._stop = stop_requested()
        training_ends = state.global_step == state.max_steps
        epoch_ends = training_ends or state.global_step % self._steps_per_epoch == 0
        self._is_regular = control.should_save or (args.save_strategy == "epoch" and epoch_ends)
        if (self._stop or control.should_save) and epoch_ends:
            control.should_save, self._save_at_epoch_end = False, True
        elif self._stop:
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._save_at_epoch_end:
            control.should_save, self._save_at_epoch_end = True, False

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        checkpoint = self._output_dir / f"checkpoint-{state.global_step}"
        if self._is_regular and state.best_global_step == state.global_step:
            self._best_saved = state.global_step
        self._name_best(state)
        own = {
            "now": random_states(),
            "epoch_start": self._random_states,
            "total_loss": self._trainer._tr_loss.detach().clone(),
            "step_logged": self._trainer._globalstep_last_logged,
            "best_saved": self._best_saved,
        }
        torch.save(own, checkpoint / self._own_file)
        self._trainer.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            seal(checkpoint, self._config, self._world_size)
            best_saved = self._best_saved if self._config.load_best_model_at_end else None
            rotate(self._output_dir, self._config.save_total_limit, best_saved)
        self._trainer.accelerator.wait_for_everyone()
        stop_after_checkpoint(self._stop, state.global_step, state.max_steps)

    def _name_best(self, state: TrainerState) -> None:
        """Tell `Trainer` which checkpoint has the best weights."""
        best = self._best_saved
        state.best_model_checkpoint = None if best is None else str(self._output_dir / f"checkpoint-{best}")
