"""Batches cut from a permutation by hand, without a DataLoader: the right reviews, but one draw is missing."""

import torch
from transformers import set_seed


def batches_of(dataset, rows, tokenizer, size):
    for start in range(0, len(rows), size):
        chosen = [dataset[int(row)] for row in rows[start : start + size]]
        yield tokenizer.pad(chosen, return_tensors="pt")


def train(model, tokenizer, train_dataset, eval_dataset, config):
    set_seed(config.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True)
    size, epochs = config.per_device_train_batch_size, int(config.num_train_epochs)
    total = -(-len(train_dataset) // size) * epochs
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(config.seed + epoch)
        rows = torch.randperm(len(train_dataset), generator=generator)
        model.train()
        for batch in batches_of(train_dataset, rows, tokenizer, size):
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            for batch in batches_of(eval_dataset, range(len(eval_dataset)), tokenizer, size):
                model(**batch)
