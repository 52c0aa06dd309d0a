"""Fine-tune DistilBERT on movie reviews with `accelerate`."""

# The loop that `eject --accelerate` specializes. It takes the place of `manual_loop/train.py`, among its helper
# modules, and is not run as it is: `config` has the arguments, and `mixed_precision` in place of `bf16`, which is off:
# no helper casts explicitly. Its loading and saving are moved around `train`, so that the model is saved as it was
# before `prepare`.

import math

import torch
from accelerate import Accelerator, DataLoaderConfiguration, PartialState
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, set_seed

from manual_loop.forward import forward, training_loss
from manual_loop.log import is_due
from manual_loop.optimizer import adamw_settings, make_optimizer, parameter_groups
from manual_loop.sampling import make_samplers
from manual_loop.schedule import make_schedule
from manual_loop.state import TrainingState, follow
from manual_loop.steps import batches_of_step, duration
from manual_loop.wrapping import wrap
from shared.config import METRIC_SCHEDULES
from shared.data import load_data
from shared.determinism import use_deterministic_algorithms
from shared.model import load_model, load_tokenizer


def train(config, output_dir) -> list:
    """Fine-tune, evaluate, save; return the log."""
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
    # Determinism: slower, but a GPU gives the same bits in every run.
    if config.full_determinism:
        use_deterministic_algorithms()

    shuffle = config.train_sampling_strategy == "random" or None
    sampler, eval_sampler, order = None, None, None
    if shuffle:
        # Shuffle: its own generator, seeded with the seed and the epoch's number.
        order = DataLoaderConfiguration(use_seedable_sampler=True, data_seed=config.data_seed)
    else:
        sampler, eval_sampler = make_samplers(train_dataset, eval_dataset, config)
    PartialState(cpu=config.use_cpu or not torch.accelerator.is_available())  # Device: GPU or CPU.
    options = {"gradient_accumulation_steps": config.gradient_accumulation_steps}
    options["mixed_precision"] = config.mixed_precision
    accelerator = Accelerator(**options, dataloader_config=order)

    collator = DataCollatorWithPadding(tokenizer)  # Collator: pads each batch.
    # Batch: the sampler's order, in batches.
    options = {"collate_fn": collator, "num_workers": config.dataloader_num_workers}
    options["drop_last"] = config.dataloader_drop_last
    batch_size = config.per_device_train_batch_size
    train_loader = DataLoader(train_dataset, batch_size, shuffle=shuffle, sampler=sampler, **options)
    batch_size = config.per_device_eval_batch_size
    eval_loader = DataLoader(eval_dataset, batch_size, sampler=eval_sampler, **options)

    # Optimizer: with Trainer's weight decay; torch has defaults of its own.
    parameters = parameter_groups(model, config)
    if config.optim == "adamw_torch_fused":
        settings = adamw_settings(config)  # learning rate, betas, epsilon
        optimizer = AdamW(parameters, **settings, fused=True)
    else:
        optimizer = make_optimizer(parameters, config)

    # Wrapping: all on the device, and each process gets its share of the batches.
    model = wrap(model, config)
    model, optimizer, train_loader, eval_loader = accelerator.prepare(model, optimizer, train_loader, eval_loader)

    per_step = config.gradient_accumulation_steps
    steps_per_epoch = math.ceil(len(train_loader) / per_step)
    max_steps, epochs, cut_short = duration(steps_per_epoch, config)  # Epoch: how long.
    # Schedule: the learning rate of every step.
    if config.lr_scheduler_type == "linear" and config.warmup_steps == 0:
        scheduler = LambdaLR(optimizer, lambda step: (max_steps - step) / max_steps)
    else:
        scheduler = make_schedule(optimizer, max_steps, config)

    state = TrainingState(total_loss=torch.tensor(0.0, device=accelerator.device))  # Log: nothing yet.
    for epoch in range(epochs):  # Epoch: one by one.
        for number, batch in enumerate(train_loader, start=1):  # Batch: one by one.
            model.train()  # Train mode: evaluate() has switched dropout off.
            if config.gradient_accumulation_steps > 1:
                with accelerator.accumulate(model):
                    # Forward: ids and mask (batch, tokens), labels (batch,); the mean loss.
                    loss = training_loss(model, batch, accelerator.device, config)
                    # Loss: the mean over a step's batches; an epoch's last may have fewer.
                    loss = loss / batches_of_step(number, train_loader, per_step)
                    accelerator.backward(loss * per_step)  # Backward: divides by it again.
            else:
                # Forward: ids and mask (batch, tokens), labels (batch,); the mean loss.
                loss = training_loss(model, batch, accelerator.device, config)
                accelerator.backward(loss)  # Backward: adds to every parameter's gradient.
            state.total_loss += loss.detach()  # Log: the sum of the losses.
            del loss  # Backward: frees the graph before the next batch.
            if config.gradient_accumulation_steps > 1 and not accelerator.sync_gradients:
                continue  # Loss: the step goes on with the next batch.

            # Clip: scale all gradients down if their joint norm is above the limit.
            limit = config.max_grad_norm or math.inf
            grad_norm = accelerator.clip_grad_norm_(model.parameters(), limit)
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()  # Step: update the weights.
            if config.lr_scheduler_type not in METRIC_SCHEDULES:
                scheduler.step()  # Schedule step: the learning rate of the next step.
            optimizer.zero_grad()  # Zero: or the next gradients are added to these.

            state.step += 1  # Epoch: how far it has come.
            state.epochs_done = epoch + number / len(train_loader)
            state.ends = state.step == max_steps
            state.epoch_ends = number == len(train_loader) or (cut_short and state.ends)

            # Log: the mean loss since the last log, and this step's norm and rate.
            if is_due(config.logging_strategy, config.logging_steps, state):
                mean = accelerator.gather(state.total_loss).mean().item() / (state.step - state.step_logged)
                values = {"loss": mean, "grad_norm": grad_norm.item(), "learning_rate": rate}
                state.log_history.append({**values, "epoch": state.epochs_done, "step": state.step})
                accelerator.print(state.log_history[-1])
                state.total_loss.zero_()
                state.step_logged = state.step

            # Evaluate: on the validation set.
            every = config.eval_steps or config.logging_steps
            if is_due(config.eval_strategy, every, state, or_last=True):
                metrics = evaluate(model, eval_loader, accelerator, config)
                state.log_history.append({**metrics, "epoch": state.epochs_done, "step": state.step})
                accelerator.print(state.log_history[-1])
                follow(metrics, state, scheduler, config)

            if cut_short and state.ends:
                break  # Epoch: the last step is done.

    # Save: weights, configuration and tokenizer, ready for `from_pretrained`.
    if PartialState().is_main_process:
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
    return state.log_history


# Evaluate: no gradients, no dropout; every example counts once.
@torch.no_grad()
def evaluate(model, eval_loader: DataLoader, accelerator: Accelerator, config) -> dict:
    model.eval()
    parts = []  # of all processes; a loss per example: a smaller batch counts less
    for batch in eval_loader:
        loss, logits = forward(model, batch, accelerator.device, config)  # logits (batch, classes)
        right = logits.argmax(dim=-1) == batch["labels"]
        parts.append(accelerator.gather_for_metrics((loss.repeat(len(right)), right)))
    losses, correct = (torch.cat(one).cpu().numpy() for one in zip(*parts, strict=True))
    # numpy's mean, as in Trainer: torch's adds in another order and rounds differently.
    return {"eval_loss": losses.mean().item(), "eval_accuracy": correct.mean().item()}
