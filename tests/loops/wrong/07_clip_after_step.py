# MISTAKE (clip): gradients are clipped after the optimizer's step, when it no longer matters.
import numpy as np
import torch
from transformers import DataCollatorWithPadding


def batches(dataset, order, size, collate):
    for start in range(0, len(order), size):
        yield collate([dataset[int(i)] for i in order[start:start + size]])


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    rng = np.random.default_rng(7)
    size, epochs = config.per_device_train_batch_size, int(config.num_train_epochs)
    total = epochs * int(np.ceil(len(train_dataset) / size))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: (total - s) / total)
    out = []
    for _ in range(epochs):
        model.train()
        for batch in batches(train_dataset, rng.permutation(len(train_dataset)), size, collate):
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scheduler.step()
            optimizer.zero_grad()
        model.eval()
        losses, hits = [], []
        for batch in batches(eval_dataset, np.arange(len(eval_dataset)), size, collate):
            with torch.no_grad():
                o = model(**batch)
            losses += [o.loss.item()] * len(batch["labels"])
            hits += (o.logits.argmax(-1) == batch["labels"]).tolist()
        out.append({"eval_loss": float(np.mean(losses)), "eval_accuracy": float(np.mean(hits))})
    return out
