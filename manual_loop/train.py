"""Fine-tune DistilBERT on reviews, every line by hand.

Read it next to `trainer_loop/train.py`, best with `sameloop diff`: a comment that names
a phase begins a block, and both pages have the same phases. Both give the same model,
bit for bit. This page knows every dial; `sameloop eject` folds it down to those that
are set. What few runs need stands in a neighbour. Borrowed are transformers' collator,
its seeding, and in two neighbours Adafactor and the schedules that are not linear.
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
from shared.model import load_model, load_tokenizer
from shared.starting.interrupt import stop_after_checkpoint, stop_requested


def train(config: RunConfig, output_dir: Path, checkpoint: Path | None = None) -> list:
    """Fine-tune (from `checkpoint` on, if given), evaluate, save; return the log."""
    # Seed: the new head's weights are random, so fix the dice before they are thrown.
    set_seed(config.seed)
    # Data: load > shuffle > select > tokenize. No padding yet.
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, labels = load_data(config, tokenizer)
    # Model: a pretrained body and a new classification head.
    model = load_model(config, labels)
    if config.freeze_body:
        model.base_model.requires_grad_(False)

    # Seed: once more, so that dropout starts from here, whatever was drawn before.
    set_seed(config.seed)
    data_seed = config.seed if config.data_seed is None else config.data_seed
    # Determinism: slower, but the same bits every time on a GPU, too.
    if config.full_determinism:
        use_deterministic_algorithms()
    # Device: the GPU if there is one.
    use_gpu = torch.accelerator.is_available() and not config.use_cpu
    device = torch.accelerator.current_accelerator() if use_gpu else torch.device("cpu")
    model.to(device)

    if config.train_sampling_strategy == "random":
        # Shuffle: the order is drawn apart, or dropout's draws would change it.
        order = torch.Generator()
        sampler, eval_sampler = RandomSampler(train_dataset, generator=order), None
    else:
        sampler, eval_sampler = make_samplers(train_dataset, eval_dataset, config)

    collator = DataCollatorWithPadding(tokenizer)  # Collator: to a batch's longest.
    # Batch: cut the order into batches.
    options = {"collate_fn": collator, "num_workers": config.dataloader_num_workers}
    options["drop_last"] = config.dataloader_drop_last
    sizes = config.per_device_train_batch_size, config.per_device_eval_batch_size
    train_loader = DataLoader(train_dataset, sizes[0], sampler=sampler, **options)
    eval_loader = DataLoader(eval_dataset, sizes[1], sampler=eval_sampler, **options)
    train_loader, eval_loader = my_share(train_loader), my_share(eval_loader)

    per_step = config.gradient_accumulation_steps
    steps_per_epoch = math.ceil(len(train_loader) / per_step)
    max_steps, epochs, cut_short = duration(steps_per_epoch, config)  # Epoch: how long.

    # Optimizer: AdamW. Biases and norms never decay; torch by itself lets all, by 0.01.
    parameters = parameter_groups(model, config)
    if config.optim == "adamw_torch_fused":
        settings = adamw_settings(config)  # learning rate, betas, epsilon
        optimizer = AdamW(parameters, **settings, fused=True)
    else:
        optimizer = make_optimizer(parameters, config)
    # Schedule: the learning rate falls in a straight line to 0.
    if config.lr_scheduler_type == "linear" and config.warmup_steps == 0:
        scheduler = LambdaLR(optimizer, lambda step: (max_steps - step) / max_steps)
    else:
        scheduler = make_schedule(optimizer, max_steps, config)

    # Wrapping: what the model is trained through.
    training_model = wrap(model, config)
    scaler = torch.amp.GradScaler(device.type) if config.fp16 else None
    # Checkpoint: where the training stands.
    parts = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    state = TrainingState(total_loss=torch.tensor(0.0, device=device))
    if checkpoint is not None:
        load_checkpoint(checkpoint, state, training_model, parts)
    progress = progress_bar(state.step, max_steps)  # Progress: a bar.

    for epoch in range(state.step // steps_per_epoch, epochs):  # Epoch: one by one.
        if config.train_sampling_strategy == "random":
            order.manual_seed(data_seed + epoch)  # Shuffle: anew in every epoch.
        # Checkpoint: of an epoch that was cut off, the batches that were left.
        done = 0 if checkpoint is None else state.step % steps_per_epoch * per_step
        batches = batches_left(train_loader, done, state)
        for number, batch in enumerate(batches, start=done + 1):  # Batch: one by one.
            training_model.train()  # Train mode: dropout on; the evaluation put it off.
            batch = batch.to(device)  # Device: the data goes to where the model is.

            # Forward: ids and mask (batch, tokens), labels (batch,); a mean loss.
            step_ends = ends_step(number, train_loader, per_step)
            sync_gradients(training_model, step_ends, config)
            loss = training_loss(training_model, batch, device, config)
            # Loss: each batch gives its share; an epoch's last step may have fewer.
            loss = loss / batches_of_step(number, train_loader, per_step)

            # Backward: add to the gradient of every parameter.
            (scaler.scale(loss) if config.fp16 else loss).backward()
            state.total_loss += loss.detach()  # Log: the losses, added up.
            del loss  # Backward: what it holds makes room for the next batch.
            if not step_ends:
                continue  # Loss: the step goes on with the next batch.

            # Clip: gradients that are longer than this, all together, are scaled down.
            if config.fp16:
                scaler.unscale_(optimizer)
            limit = config.max_grad_norm or math.inf
            grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            rate, moved = optimizer.param_groups[0]["lr"], True
            if config.fp16:
                moved = scaled_step(scaler, optimizer, config)
            else:
                optimizer.step()  # Step: move the weights.
            if config.lr_scheduler_type not in METRIC_SCHEDULES and moved:
                scheduler.step()  # Schedule step: the learning rate of the next step.
            optimizer.zero_grad()  # Zero: the next gradients would be added to these.

            state.step += 1  # Epoch: how far it has come.
            state.epochs_done = epoch + number / len(train_loader)
            state.ends = state.step == max_steps
            state.epoch_ends = number == len(train_loader) or (cut_short and state.ends)
            progress.update()  # Progress: one step.

            # Log: the mean loss since the last line, and this step's norm and rate.
            if is_due(config.logging_strategy, config.logging_steps, state):
                log_training(state, grad_norm, rate)

            # Evaluate: on reviews that are not trained on.
            every = config.eval_steps or config.logging_steps
            if is_due(config.eval_strategy, every, state, or_last=True):
                metrics = evaluate(model, eval_loader, device, config)
                log(state.log_history, metrics, state.epochs_done, state.step)
                follow(metrics, state, scheduler, config)

            # Checkpoint: save what there is so far.
            stop, every = stop_requested(), config.save_steps
            if stop or is_due(config.save_strategy, every, state, or_last=True):
                save_checkpoint(output_dir, state, (model, tokenizer), parts, config)
            stop_after_checkpoint(stop, state.step, max_steps)
            if cut_short and state.ends:
                break  # Epoch: here the training ends.

    progress.close()  # Progress: the bar has come to its end.
    # Checkpoint: the best one.
    if config.load_best_model_at_end:
        load_best_model(output_dir, state, model)

    # Save: weights, configuration and tokenizer, ready for `from_pretrained`.
    if is_first_process():
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
    return state.log_history


# Evaluate: no gradients, no dropout, and every review counts once.
@torch.no_grad()
def evaluate(model, eval_loader: DataLoader, device, config: RunConfig) -> dict:
    model.eval()
    losses, right = [], []
    for batch in eval_loader:
        batch = batch.to(device)
        loss, logits = forward(model, batch, device, config)  # logits (batch, classes)
        losses.append(gather(loss.repeat(len(logits))))  # a small batch weighs less
        right.append(gather(logits.argmax(dim=-1) == batch["labels"]))
    losses, right = join(losses, eval_loader), join(right, eval_loader)
    # numpy's mean, as in Trainer: torch's adds up in another order, rounds otherwise.
    return {"eval_loss": losses.mean().item(), "eval_accuracy": right.mean().item()}
