# MISTAKE (reporting): eval_loss is the mean over batches, though the last batch is not full.
import statistics

import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_scheduler


def evaluate(model, loader):
    model.eval()
    batch_losses, predicted, expected = [], [], []
    with torch.no_grad():
        for batch in loader:
            output = model(**batch)
            batch_losses.append(output.loss.item())
            predicted += output.logits.argmax(-1).tolist()
            expected += batch["labels"].tolist()
    hits = sum(p == e for p, e in zip(predicted, expected))
    return {"eval_loss": statistics.fmean(batch_losses), "eval_accuracy": hits / len(expected)}


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    loader = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=collate)
    eval_loader = DataLoader(eval_dataset, config.per_device_eval_batch_size, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    epochs = int(config.num_train_epochs)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=epochs * len(loader))
    evaluations = []
    for _ in range(epochs):
        model.train()
        for batch in loader:
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        evaluations.append(evaluate(model, eval_loader))
    return evaluations
