"""Fine-tuning script, split into small typed functions."""
from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup


def make_loader(dataset: Any, tokenizer: Any, batch_size: int, shuffle: bool) -> DataLoader:
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle,
        collate_fn=DataCollatorWithPadding(tokenizer=tokenizer),
    )


def train_one_epoch(
    model: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    max_norm: float = 1.0,
) -> float:
    model.train()
    total: float = 0.0
    for batch in loader:
        optimizer.zero_grad()
        outputs = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=batch["labels"],
        )
        outputs.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=max_norm)
        optimizer.step()
        scheduler.step()
        total += outputs.loss.item()
    return total / len(loader)


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader) -> dict[str, float]:
    model.eval()
    loss_sum, n_correct, n_seen = 0.0, 0, 0
    for batch in loader:
        outputs = model(**batch)
        n = batch["labels"].size(0)
        loss_sum += outputs.loss.item() * n
        n_correct += int((outputs.logits.argmax(dim=-1) == batch["labels"]).sum())
        n_seen += n
    return {"eval_loss": loss_sum / n_seen, "eval_accuracy": n_correct / n_seen}


def train(model: nn.Module, tokenizer: Any, train_dataset: Any, eval_dataset: Any, config: Any) -> list[dict[str, float]]:
    torch.manual_seed(config.seed)
    train_loader = make_loader(train_dataset, tokenizer, config.per_device_train_batch_size, shuffle=True)
    eval_loader = make_loader(eval_dataset, tokenizer, config.per_device_eval_batch_size, shuffle=False)
    n_epochs = int(config.num_train_epochs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    scheduler = get_linear_schedule_with_warmup(
        optimizer, num_warmup_steps=0, num_training_steps=n_epochs * len(train_loader)
    )
    history: list[dict[str, float]] = []
    for _ in range(n_epochs):
        train_one_epoch(model, train_loader, optimizer, scheduler)
        history.append(evaluate(model, eval_loader))
    return history
