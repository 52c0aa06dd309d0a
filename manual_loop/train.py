"""Fine-tune DistilBERT on reviews, every line by hand.

Read it top to bottom next to `trainer_loop/train.py`: the numbered headings are the same on both pages
(`diff -y manual_loop/train.py trainer_loop/train.py`). Both give the same model, bit for bit. Four neighbours hold
what would bury the lesson: `forward.py` (16-bit precision, label smoothing), `optimizer.py` (the other optimizers),
`processes.py` (several GPUs) and `checkpoint.py` (what a run needs to go on after it was cut off).
"""

import math
import random
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler
from tqdm import tqdm
from transformers import DataCollatorWithPadding, get_scheduler
from transformers.trainer_pt_utils import LengthGroupedSampler, get_parameter_names

from manual_loop.checkpoint import (
    TrainingState,
    load_best_model,
    load_checkpoint,
    remaining_batches,
    save_checkpoint,
)
from manual_loop.forward import forward
from manual_loop.optimizer import make_optimizer
from manual_loop.processes import gather, is_first_process, my_share, without_sync, wrap_for_processes
from shared.config import METRIC_SCHEDULES, RunConfig
from shared.data import load_data
from shared.determinism import random_states, use_deterministic_algorithms
from shared.errors import LossNotFinite
from shared.interrupt import stop_after_checkpoint, stop_requested
from shared.model import load_model, load_tokenizer


def train(config: RunConfig, output_dir: Path, checkpoint: Path | None = None) -> list[dict]:
    """Fine-tune (from `checkpoint` on, if given), evaluate, save to `output_dir`; return what was logged."""

    # 1. Seed: the new head's weights are random, so fix the dice before they are thrown.
    set_seed(config.seed)

    # 2. Data: load > shuffle > select > tokenize. No padding yet.
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, num_labels = load_data(config, tokenizer)

    # 3. Model: a pretrained body and a new classification head, moved to the GPU if there is one.
    model = load_model(config, num_labels)
    if config.freeze_body:
        model.base_model.requires_grad_(False)

    # Seed once more: whatever was drawn so far, dropout starts from here (Trainer's constructor does this).
    set_seed(config.seed)
    if config.full_determinism:
        use_deterministic_algorithms()
    use_gpu = torch.accelerator.is_available() and not config.use_cpu
    device = torch.accelerator.current_accelerator() if use_gpu else torch.device("cpu")
    model.to(device)

    # 4. Batches: drawn in random order, each padded to its own longest review. The random sampler gets a generator
    #    of its own, to be seeded anew for every epoch; a plain `shuffle=True` would give another order.
    data_seed = config.seed if config.data_seed is None else config.data_seed
    shuffle, eval_shuffle = torch.Generator(), torch.Generator()
    train_sampler, eval_sampler = RandomSampler(train_dataset, generator=shuffle), SequentialSampler(eval_dataset)
    if config.train_sampling_strategy == "sequential":
        train_sampler = SequentialSampler(train_dataset)
    if config.train_sampling_strategy == "group_by_length":
        group_size = config.per_device_train_batch_size * config.gradient_accumulation_steps
        train_sampler = LengthGroupedSampler(group_size, train_dataset)
        eval_sampler = LengthGroupedSampler(config.per_device_eval_batch_size, eval_dataset, generator=eval_shuffle)

    train_batches = BatchSampler(train_sampler, config.per_device_train_batch_size, config.dataloader_drop_last)
    eval_batches = BatchSampler(eval_sampler, config.per_device_eval_batch_size, config.dataloader_drop_last)
    options = {"collate_fn": DataCollatorWithPadding(tokenizer), "num_workers": config.dataloader_num_workers}
    train_loader = DataLoader(train_dataset, batch_sampler=my_share(train_batches), **options)
    eval_loader = DataLoader(eval_dataset, batch_sampler=my_share(eval_batches), **options)

    steps_per_epoch = math.ceil(len(train_loader) / config.gradient_accumulation_steps)
    max_steps = config.max_steps if config.max_steps > 0 else math.ceil(config.num_train_epochs * steps_per_epoch)

    # 5. Optimizer: two groups of parameters, because weight decay is for matrices, not for biases and norms.
    decayed = get_parameter_names(model, [torch.nn.LayerNorm], ["bias", "layernorm", "_norm"])
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    optimizer = make_optimizer(
        [
            {"params": [p for name, p in trained if name in decayed], "weight_decay": config.weight_decay},
            {"params": [p for name, p in trained if name not in decayed], "weight_decay": 0.0},
        ],
        config,
    )

    # 6. Schedule: by default the learning rate climbs during the warm-up, then falls in a straight line to zero.
    warmup = config.warmup_steps if config.warmup_steps >= 1 else math.ceil(config.warmup_steps * max_steps)
    scheduler = get_scheduler(config.lr_scheduler_type, optimizer, int(warmup), max_steps)

    # 7. Training. Float16 has a small range: the scaler keeps gradients from vanishing (it does nothing otherwise).
    scaler = torch.amp.GradScaler(device.type, enabled=config.fp16)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    training_model = wrap_for_processes(model)
    if config.torch_compile:
        training_model = torch.compile(training_model)

    state = TrainingState(total_loss=torch.tensor(0.0, device=device))
    parts = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    if checkpoint is not None:
        load_checkpoint(checkpoint, state, model, **parts)
    progress = tqdm(total=max_steps, initial=state.step, desc="Training", disable=None if is_first_process() else True)

    for epoch in range(state.step // steps_per_epoch, math.ceil(max_steps / steps_per_epoch)):
        # A new order of the batches in every epoch, the same one in every run. After a checkpoint in mid-epoch: the
        # order of that epoch, from where it was cut off.
        shuffle.manual_seed(data_seed + epoch)
        steps_done = state.step % steps_per_epoch
        if steps_done:
            batches = remaining_batches(train_loader, steps_done * config.gradient_accumulation_steps, state)
        else:
            state.random_states = random_states()
            batches = iter(train_loader)

        for step_in_epoch in range(steps_done + 1, steps_per_epoch + 1):
            # One step learns from gradient_accumulation_steps batches; the epoch's last step may have fewer.
            group = list(islice(batches, config.gradient_accumulation_steps))

            for number, batch in enumerate(group, start=1):
                # The evaluation switched dropout off; switch it on again.
                training_model.train()
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                with without_sync(training_model, unless=number == len(group)):
                    # Forward: `model(**batch).loss`, a mean over the batch, shared out over the group's batches.
                    loss, logits = forward(training_model, batch, config)
                    loss = loss / len(group)

                    # Backward: add to the gradient of every parameter.
                    scaler.scale(loss).backward()
                state.total_loss += loss.detach()
                # Let go of the graph before the next batch builds its own: less memory.
                del loss, logits

            # Clip: if all gradients together are longer than max_grad_norm, scale them down to it.
            scaler.unscale_(optimizer)
            grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm or math.inf)

            # A loss that is not a number would make every weight one too: stop before the step.
            learning_rate = optimizer.param_groups[0]["lr"]
            if not math.isfinite(state.total_loss):
                raise LossNotFinite(state.step + 1, state.total_loss.item(), learning_rate)

            # Step: move the weights, then the learning rate, then forget the gradients.
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            # After an overflow the scaler leaves the step out, and the schedule waits. The fused AdamW is called even
            # then and skips by itself, which Trainer does not notice: there the schedule goes on.
            left_out = scaler.get_scale() < scale and config.optim != "adamw_torch_fused"
            if config.lr_scheduler_type not in METRIC_SCHEDULES and not left_out:
                scheduler.step()
            optimizer.zero_grad()
            state.step += 1
            progress.update()

            training_ends = state.step == max_steps
            epoch_ends = training_ends or step_in_epoch == steps_per_epoch
            epochs_done = epoch + min(step_in_epoch * config.gradient_accumulation_steps / len(train_loader), 1)

            # Log: the mean training loss since the last line, and this step's gradient norm and learning rate.
            if is_due(config.logging_strategy, state.step, config.logging_steps, epoch_ends):
                mean_loss = gather(state.total_loss.unsqueeze(0)).mean().item() / (state.step - state.step_logged)
                values = {"loss": mean_loss, "grad_norm": grad_norm.item(), "learning_rate": learning_rate}
                log(state.log_history, **values, epoch=epochs_done, step=state.step)
                state.total_loss.zero_()
                state.step_logged = state.step

            # Evaluate: with `steps` also after the very last step.
            eval_steps = config.eval_steps or config.logging_steps
            last = config.eval_strategy == "steps" and training_ends
            if last or is_due(config.eval_strategy, state.step, eval_steps, epoch_ends):
                eval_shuffle.manual_seed(data_seed)
                metrics = evaluate(model, eval_loader, device, config)
                log(state.log_history, **metrics, epoch=epochs_done, step=state.step)
                metric = metrics[f"eval_{config.metric_for_best_model or 'loss'}"]
                if config.lr_scheduler_type in METRIC_SCHEDULES:
                    scheduler.step(metric)
                if config.load_best_model_at_end:
                    state.remember_best(metric, higher_is_better=config.metric_for_best_model == "accuracy")

            # Checkpoint: all it takes to go on from here, also when Ctrl-C asks to stop.
            stop = stop_requested()
            last = config.save_strategy == "steps" and training_ends
            if stop or last or is_due(config.save_strategy, state.step, config.save_steps, epoch_ends):
                save_checkpoint(output_dir, config, state, model, tokenizer, **parts)
            if stop:
                stop_after_checkpoint(stop, state.step, max_steps)

            if training_ends:
                break

    progress.close()
    if config.load_best_model_at_end:
        load_best_model(output_dir, state, model)

    # 8. Saving: weights, configuration and tokenizer in one folder, ready for `from_pretrained`.
    if is_first_process():
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
    return state.log_history


# 9. Evaluation: no gradients, no dropout, and every review counts once.
@torch.no_grad()
def evaluate(
    model: torch.nn.Module, eval_loader: DataLoader, device: torch.device, config: RunConfig
) -> dict[str, float]:
    model.eval()
    losses, predictions, labels = [], [], []
    for batch in tqdm(eval_loader, desc="Evaluating", leave=False, disable=None if is_first_process() else True):
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        loss, logits = forward(model, batch, config)
        # A batch's loss is a mean; repeat it so that a smaller last batch weighs less.
        losses.append(gather(loss.repeat(len(batch["labels"]))))
        predictions.append(gather(logits.argmax(dim=-1)))
        labels.append(gather(batch["labels"]))
    # Several processes fill up the last round with reviews from the start: leave those out.
    losses, predictions, labels = (
        torch.cat(each)[: len(eval_loader.dataset)] for each in (losses, predictions, labels)
    )
    # numpy's mean, as in Trainer: torch's adds up in another order and differs in the last digits.
    return {
        "eval_loss": losses.cpu().numpy().mean().item(),
        "eval_accuracy": (predictions == labels).cpu().numpy().mean().item(),
    }


def set_seed(seed: int) -> None:
    """Seed every random number generator that a training loop may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def is_due(strategy: str, step: int, every: int, epoch_ends: bool) -> bool:
    """Whether to log or evaluate now: `no`, every so many `steps`, or at the end of an `epoch`."""
    return step % every == 0 if strategy == "steps" else strategy == "epoch" and epoch_ends


def log(log_history: list[dict], **values: float) -> None:
    """Keep a line of the log and show it, without disturbing the progress bar."""
    log_history.append(values)
    if is_first_process():
        tqdm.write(str({name: f"{value:.4g}" for name, value in values.items() if name != "step"}))
