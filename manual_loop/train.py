"""Fine-tune DistilBERT on movie reviews with a loop written by hand.

Read it next to `trainer_loop/train.py`, best with `sameloop diff`: a comment that names
a phase begins a block, and both files have the same phases. Both give the same model,
bit for bit. This file handles every argument; `sameloop eject` writes a shorter one
with only the arguments that you set. Rarely needed parts are in helper modules. The
collator, `set_seed`, Adafactor and most schedules come from transformers.
"""

import math
from pathlib import Path

import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, RandomSampler
from transformers import DataCollatorWithPadding, set_seed

from manual_loop.checkpoint import load_best_model, load_checkpoint, save_checkpoint
from manual_loop.forward import forward, training_loss
from manual_loop.log import is_due, log, log_training, progress_bar
from manual_loop.optimizer import adamw_settings, make_optimizer, parameter_groups
from manual_loop.processes import gather, is_first_process, join, my_share
from manual_loop.sampling import make_samplers
from manual_loop.schedule import make_schedule
from manual_loop.state import TrainingState, batches_left, follow
from manual_loop.steps import batches_of_step, duration, ends_step
from manual_loop.wrapping import scaled_step, sync_gradients, wrap
from shared.config import METRIC_SCHEDULES, RunConfig
from shared.data import load_data
from shared.determinism import use_deterministic_algorithms
from shared.early_stopping import stops_early
from shared.model import load_model, load_tokenizer
from shared.starting.interrupt import stop_after_checkpoint, stop_requested


def train(config: RunConfig, output_dir: Path, checkpoint: Path | None = None) -> list:
    """Fine-tune (from `checkpoint` on, if given), evaluate, save; return the log."""
    # Seed: before the new head is initialized, because its weights are random.
    set_seed(config.seed)
    # Data: load both sets and tokenize them. No padding yet.
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, labels = load_data(config, tokenizer)
    # Model: a pretrained body and a new classification head.
    model = load_model(config, labels)
    if config.freeze_body:
        model.base_model.requires_grad_(False)

    # Seed: again, so that dropout starts from here, whatever was drawn before.
    set_seed(config.seed)
    data_seed = config.seed if config.data_seed is None else config.data_seed
    # Determinism: slower, but a GPU gives the same bits in every run.
    if config.full_determinism:
        use_deterministic_algorithms()
    # Device: where the model and its batches are.
    use_gpu = torch.accelerator.is_available() and not config.use_cpu
    device = torch.accelerator.current_accelerator() if use_gpu else torch.device("cpu")
    model.to(device)

    if config.train_sampling_strategy == "random":
        # Shuffle: a generator of its own; seeding a common one would reset dropout.
        generator = torch.Generator()
        sampler, eval_sampler = RandomSampler(train_dataset, generator=generator), None
    else:
        sampler, eval_sampler = make_samplers(train_dataset, eval_dataset, config)

    collator = DataCollatorWithPadding(tokenizer)  # Collator: pads each batch.
    # Batch: the sampler's order, in batches.
    options = {"collate_fn": collator, "num_workers": config.dataloader_num_workers}
    options["drop_last"] = config.dataloader_drop_last
    batch_size = config.per_device_train_batch_size
    train_loader = DataLoader(train_dataset, batch_size, sampler=sampler, **options)
    batch_size = config.per_device_eval_batch_size
    eval_loader = DataLoader(eval_dataset, batch_size, sampler=eval_sampler, **options)
    train_loader, eval_loader = my_share(train_loader), my_share(eval_loader)

    per_step = config.gradient_accumulation_steps
    steps_per_epoch = math.ceil(len(train_loader) / per_step)
    max_steps, epochs, cut_short = duration(steps_per_epoch, config)  # Epoch: how long.

    # Optimizer: with Trainer's weight decay; torch has defaults of its own.
    parameters = parameter_groups(model, config)
    if config.optim == "adamw_torch_fused":
        settings = adamw_settings(config)  # learning rate, betas, epsilon
        optimizer = AdamW(parameters, **settings, fused=True)
    else:
        optimizer = make_optimizer(parameters, config)
    # Schedule: the learning rate of every step.
    if config.lr_scheduler_type == "linear" and config.warmup_steps == 0:
        scheduler = LambdaLR(optimizer, lambda step: (max_steps - step) / max_steps)
    else:
        scheduler = make_schedule(optimizer, max_steps, config)

    # Wrapping: for torch.compile and for several processes.
    training_model = wrap(model, config)
    scaler = torch.amp.GradScaler(device.type) if config.fp16 else None
    # Checkpoint: where the training stands.
    parts = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    state = TrainingState(total_loss=torch.tensor(0.0, device=device))
    if checkpoint is not None:
        load_checkpoint(checkpoint, state, training_model, parts)
    progress = progress_bar(state.step, max_steps)  # Progress: a bar.

    patience = config.early_stopping_patience
    for epoch in range(state.step // steps_per_epoch, epochs):  # Epoch: one by one.
        if patience and stops_early(state.log_history, config):
            break  # Epoch: the evaluations no longer improve.
        if config.train_sampling_strategy == "random":
            generator.manual_seed(data_seed + epoch)  # Shuffle: a new order.
        # Checkpoint: of an epoch that was cut off, the batches that were left.
        done = 0 if checkpoint is None else state.step % steps_per_epoch * per_step
        batches = batches_left(train_loader, done, state)
        for number, batch in enumerate(batches, start=done + 1):  # Batch: one by one.
            training_model.train()  # Train mode: evaluate() has switched dropout off.
            batch = batch.to(device)  # Device: the data goes to where the model is.

            # Forward: ids and mask (batch, tokens), labels (batch,); the mean loss.
            step_ends = ends_step(number, train_loader, per_step)
            sync_gradients(training_model, step_ends, config)
            loss = training_loss(training_model, batch, device, config)
            # Loss: the mean over the batches of a step; an epoch's last may have fewer.
            loss = loss / batches_of_step(number, train_loader, per_step)

            # Backward: adds to the gradient of every parameter.
            (scaler.scale(loss) if config.fp16 else loss).backward()
            state.total_loss += loss.detach()  # Log: the sum of the losses.
            del loss  # Backward: frees the graph before the next batch.
            if not step_ends:
                continue  # Loss: the step goes on with the next batch.

            # Clip: scale all gradients down if their joint norm is above the limit.
            if config.fp16:
                scaler.unscale_(optimizer)
            limit = config.max_grad_norm or math.inf
            grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            rate = optimizer.param_groups[0]["lr"]
            moved = True
            if config.fp16:
                moved = scaled_step(scaler, optimizer, config)
            else:
                optimizer.step()  # Step: update the weights.
            if config.lr_scheduler_type not in METRIC_SCHEDULES and moved:
                scheduler.step()  # Schedule step: the learning rate of the next step.
            optimizer.zero_grad()  # Zero: or the next gradients are added to these.

            state.step += 1  # Epoch: how far it has come.
            state.epochs_done = epoch + number / len(train_loader)
            state.ends = state.step == max_steps
            state.epoch_ends = number == len(train_loader) or (cut_short and state.ends)
            progress.update()  # Progress: one step.

            # Log: the mean loss since the last log, and this step's norm and rate.
            if is_due(config.logging_strategy, config.logging_steps, state):
                log_training(state, grad_norm, rate)

            # Evaluate: on the validation set.
            every = config.eval_steps or config.logging_steps
            if is_due(config.eval_strategy, every, state, or_last=True):
                metrics = evaluate(model, eval_loader, device, config)
                log(state.log_history, metrics, state.epochs_done, state.step)
                follow(metrics, state, scheduler, config)

            # Checkpoint: save the state of the training.
            stop = stop_requested()
            every = config.save_steps
            if stop or is_due(config.save_strategy, every, state, or_last=True):
                save_checkpoint(output_dir, state, (model, tokenizer), parts, config)
            stop_after_checkpoint(stop, state.step, max_steps)
            if cut_short and state.ends:
                break  # Epoch: the last step is done.
            if patience and stops_early(state.log_history, config):
                break

    progress.close()  # Progress: the bar is full.
    # Checkpoint: end with the weights of the best evaluation.
    if config.load_best_model_at_end:
        load_best_model(output_dir, state, model)

    # Save: weights, configuration and tokenizer, ready for `from_pretrained`.
    if is_first_process():
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
    return state.log_history


# Evaluate: no gradients, no dropout; every example counts once.
@torch.no_grad()
def evaluate(model, eval_loader: DataLoader, device, config: RunConfig) -> dict:
    model.eval()
    losses, correct = [], []
    for batch in eval_loader:
        batch = batch.to(device)
        loss, logits = forward(model, batch, device, config)  # logits (batch, classes)
        losses.append(gather(loss.repeat(len(logits))))  # a smaller batch counts less
        correct.append(gather(logits.argmax(dim=-1) == batch["labels"]))
    losses, correct = join(losses, eval_loader), join(correct, eval_loader)
    # numpy's mean, as in Trainer: torch's adds in another order and rounds differently.
    return {"eval_loss": losses.mean().item(), "eval_accuracy": correct.mean().item()}
