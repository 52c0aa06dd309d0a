"""`while` and `next` instead of `for`; the step is counted, the rate is set by hand."""

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler
from transformers import DataCollatorWithPadding, set_seed


def train(model, tokenizer, train_dataset, eval_dataset, config):
    set_seed(config.seed)
    order = torch.Generator()
    collate = DataCollatorWithPadding(tokenizer)
    loader = DataLoader(train_dataset, 8, sampler=RandomSampler(train_dataset, generator=order), collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True)
    total = len(loader) * int(config.num_train_epochs)
    step, found, batches = 0, [], None
    while step < total:
        if batches is None:
            order.manual_seed(config.seed + step // len(loader))
            batches = iter(loader)
            model.train()
        batch = next(batches)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * ((total - step) / total)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        model.zero_grad()
        step += 1
        if step % len(loader) == 0:
            batches = None
            found.append(evaluate(model, DataLoader(eval_dataset, 8, collate_fn=collate)))
    return found


def evaluate(model, loader):
    model.eval()
    losses, right, count = [], 0, 0
    with torch.no_grad():
        for batch in loader:
            output = model(**batch)
            losses.extend([output.loss.item()] * len(batch["labels"]))
            right += int((output.logits.argmax(-1) == batch["labels"]).sum())
            count += len(batch["labels"])
    return {"eval_loss": float(np.mean(np.float32(losses))), "eval_accuracy": right / count}
