# MISTAKE (optimizer): a new AdamW is made in every epoch, so its moments and step count start over.
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


def run_epoch(model, loader, lr, first_step, total):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    step = first_step
    for batch in loader:
        for group in optimizer.param_groups:
            group["lr"] = lr * (total - step) / total
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
    return step


@torch.no_grad()
def run_eval(model, loader):
    model.eval()
    loss, right, n = 0.0, 0, 0
    for batch in loader:
        out = model(**batch)
        m = len(batch["labels"])
        loss += m * out.loss.item()
        right += (out.logits.argmax(-1) == batch["labels"]).sum().item()
        n += m
    return {"eval_loss": loss / n, "eval_accuracy": right / n}


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    loader = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=collate)
    eval_loader = DataLoader(eval_dataset, config.per_device_eval_batch_size, collate_fn=collate)
    epochs = int(config.num_train_epochs)
    step, history = 0, []
    for _ in range(epochs):
        step = run_epoch(model, loader, config.learning_rate, step, epochs * len(loader))
        history.append(run_eval(model, eval_loader))
    return history
