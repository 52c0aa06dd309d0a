# MISTAKE (order): shuffled once before the first epoch, so every epoch sees the same order.
import random

import torch
from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    size = config.per_device_train_batch_size
    rows = list(range(len(train_dataset)))
    random.shuffle(rows)
    train_batches = [rows[i:i + size] for i in range(0, len(rows), size)]
    epochs = int(config.num_train_epochs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, epochs * len(train_batches))
    results = []
    for epoch in range(epochs):
        model.train()
        for picked in train_batches:
            batch = collate([train_dataset[i] for i in picked])
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        model.eval()
        loss, right = 0.0, 0
        for i in range(0, len(eval_dataset), size):
            batch = collate([eval_dataset[k] for k in range(i, min(i + size, len(eval_dataset)))])
            with torch.no_grad():
                out = model(**batch)
            loss += out.loss.item() * len(batch["labels"])
            right += (out.logits.argmax(-1) == batch["labels"]).sum().item()
        results.append({"eval_loss": loss / len(eval_dataset), "eval_accuracy": right / len(eval_dataset)})
    return results
