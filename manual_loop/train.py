"""Fine-tune DistilBERT on reviews, every line by hand.

Read it top to bottom next to `trainer_loop/train.py`: the numbered headings are the same on both pages
(`diff -y manual_loop/train.py trainer_loop/train.py`). Both give the same model, bit for bit.
"""

import random
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler
from tqdm import tqdm
from transformers import DataCollatorWithPadding, get_scheduler
from transformers.trainer_pt_utils import get_parameter_names

from shared.config import RunConfig
from shared.data import load_data
from shared.model import load_model, load_tokenizer


def train(config: RunConfig, output_dir: Path) -> list[dict]:
    """Fine-tune, evaluate after every epoch, save the model to `output_dir`; return what was logged."""

    # 1. Seed: the new head's weights are random, so fix the dice before they are thrown.
    set_seed(config.seed)

    # 2. Data: load > shuffle > select > tokenize. No padding yet.
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, num_labels = load_data(config, tokenizer)

    # 3. Model: a pretrained body and a new classification head, moved to the GPU if there is one.
    model = load_model(config, num_labels)
    device = torch.device("cuda" if torch.cuda.is_available() and not config.use_cpu else "cpu")
    model.to(device)

    # Seed once more: whatever was drawn so far, dropout starts from here (Trainer's constructor does this).
    set_seed(config.seed)

    # 4. Batches: drawn in random order, each padded to its own longest review. The sampler gets a generator
    #    of its own, to be seeded anew for every epoch; a plain `shuffle=True` would give another order.
    collator = DataCollatorWithPadding(tokenizer)
    shuffle = torch.Generator()
    train_loader = DataLoader(
        train_dataset,
        batch_size=config.per_device_train_batch_size,
        sampler=RandomSampler(train_dataset, generator=shuffle),
        collate_fn=collator,
    )
    eval_loader = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=collator)
    steps_per_epoch = len(train_loader)
    max_steps = int(np.ceil(config.num_train_epochs * steps_per_epoch))

    # 5. Optimizer: AdamW in two groups, because weight decay is for matrices, not for biases and norms.
    decayed = get_parameter_names(model, [torch.nn.LayerNorm], ["bias", "layernorm", "_norm"])
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for name, p in model.named_parameters() if name in decayed],
                "weight_decay": config.weight_decay,
            },
            {
                "params": [p for name, p in model.named_parameters() if name not in decayed],
                "weight_decay": 0.0,
            },
        ],
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )

    # 6. Schedule: the learning rate climbs during the warm-up, then falls in a straight line to zero.
    warmup = config.warmup_steps if config.warmup_steps >= 1 else np.ceil(config.warmup_steps * max_steps)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=int(warmup), num_training_steps=max_steps)

    # 7. Training.
    log_history = []
    step = 0
    total_loss = torch.tensor(0.0, device=device)
    progress = tqdm(total=max_steps, desc="Training", disable=None)

    for epoch in range(int(np.ceil(config.num_train_epochs))):
        # A new order of the batches in every epoch, the same one in every run.
        shuffle.manual_seed((config.seed if config.data_seed is None else config.data_seed) + epoch)
        steps_logged = step

        for batch in train_loader:
            # The evaluation switched dropout off; switch it on again.
            model.train()
            batch = {name: tensor.to(device) for name, tensor in batch.items()}

            # Forward: the model computes the cross-entropy itself when it is given the labels.
            loss = model(**batch).loss

            # Backward: a gradient for every parameter.
            loss.backward()
            total_loss += loss.detach()

            # Clip: if all gradients together are longer than max_grad_norm, scale them down to it.
            grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)

            # Step: move the weights, then the learning rate, then forget the gradients.
            learning_rate = scheduler.get_last_lr()[0]
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

            step += 1
            progress.update()
            if step == max_steps:
                break

        # Log: the mean training loss of this epoch, and the last step's gradient norm and learning rate.
        epochs_done = epoch + (step - steps_logged) / steps_per_epoch
        log(
            log_history,
            loss=total_loss.item() / (step - steps_logged),
            grad_norm=grad_norm.item(),
            learning_rate=learning_rate,
            epoch=epochs_done,
            step=step,
        )
        total_loss.zero_()
        log(log_history, **evaluate(model, eval_loader, device), epoch=epochs_done, step=step)

    progress.close()

    # 8. Saving: weights, configuration and tokenizer in one folder, ready for `from_pretrained`.
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    return log_history


# 9. Evaluation: no gradients, no dropout, and every review counts once.
@torch.no_grad()
def evaluate(model: torch.nn.Module, eval_loader: DataLoader, device: torch.device) -> dict[str, float]:
    model.eval()
    losses, predictions, labels = [], [], []
    for batch in tqdm(eval_loader, desc="Evaluating", leave=False, disable=None):
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        output = model(**batch)
        # A batch's loss is a mean; repeat it so that a smaller last batch weighs less.
        losses.append(output.loss.repeat(len(batch["labels"])))
        predictions.append(output.logits.argmax(dim=-1))
        labels.append(batch["labels"])
    # numpy's mean, as in Trainer: torch's adds up in another order and differs in the last digits.
    return {
        "eval_loss": torch.cat(losses).cpu().numpy().mean().item(),
        "eval_accuracy": (torch.cat(predictions) == torch.cat(labels)).cpu().numpy().mean().item(),
    }


def set_seed(seed: int) -> None:
    """Seed every random number generator that a training loop may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def log(log_history: list[dict], **values: float) -> None:
    """Keep a line of the log and show it, without disturbing the progress bar."""
    log_history.append(values)
    tqdm.write(str({name: f"{value:.4g}" for name, value in values.items() if name != "step"}))
