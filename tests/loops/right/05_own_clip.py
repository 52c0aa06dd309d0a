"""Gradient clipping done in plain arithmetic; evaluation in inference mode."""
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_scheduler


def clip_gradients(parameters, limit):
    gradients = [p.grad for p in parameters if p.grad is not None]
    square_sum = 0.0
    for g in gradients:
        square_sum = square_sum + g.pow(2).sum()
    norm = square_sum ** 0.5
    if norm > limit:
        factor = limit / (norm + 1e-6)
        for g in gradients:
            g.mul_(factor)
    return norm


def run_eval(model, loader):
    model.eval()
    losses, hits = [], []
    with torch.inference_mode():
        for batch in loader:
            out = model(**batch)
            each = torch.nn.functional.cross_entropy(out.logits, batch["labels"], reduction="none")
            losses.extend(each.tolist())
            hits.extend((out.logits.argmax(-1) == batch["labels"]).tolist())
    return {"eval_loss": sum(losses) / len(losses), "eval_accuracy": sum(hits) / len(hits)}


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer, padding="longest")
    gen = torch.Generator()
    gen.manual_seed(20240607)
    loader = DataLoader(train_dataset, batch_size=config.per_device_train_batch_size, shuffle=True, generator=gen, collate_fn=collate)
    eval_loader = DataLoader(eval_dataset, batch_size=len(eval_dataset), collate_fn=collate)
    params = list(model.parameters())
    optimizer = torch.optim.AdamW(params, lr=config.learning_rate, weight_decay=0.0)
    scheduler = get_scheduler("linear", optimizer=optimizer, num_warmup_steps=0,
                              num_training_steps=len(loader) * int(config.num_train_epochs))
    res, norms = [], []
    for _ in range(int(config.num_train_epochs)):
        model.train()
        for batch in loader:
            loss = model(**batch).loss
            loss.backward()
            norms.append(float(clip_gradients(params, 1.0)))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        res.append(run_eval(model, eval_loader))
        print("largest gradient norm so far:", max(norms))
    return res
