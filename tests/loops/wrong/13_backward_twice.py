# MISTAKE (backward): backward() is called twice per batch, once to log the gradient norm: gradients are doubled.
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup


def gradient_norm(model, loss):
    loss.backward(retain_graph=True)
    return sum(p.grad.norm() ** 2 for p in model.parameters() if p.grad is not None).sqrt().item()


def evaluate(model, loader, n):
    model.eval()
    loss = right = 0
    with torch.no_grad():
        for batch in loader:
            out = model(**batch)
            loss += out.loss.item() * len(batch["labels"])
            right += (out.logits.argmax(-1) == batch["labels"]).sum().item()
    return {"eval_loss": loss / n, "eval_accuracy": right / n}


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    loader = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=collate)
    eval_loader = DataLoader(eval_dataset, config.per_device_eval_batch_size, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    epochs = int(config.num_train_epochs)
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, epochs * len(loader))
    history = []
    for epoch in range(epochs):
        model.train()
        for step, batch in enumerate(loader):
            optimizer.zero_grad()
            loss = model(**batch).loss
            norm = gradient_norm(model, loss)
            if step % 4 == 0:
                print(f"epoch {epoch} step {step} loss {loss.item():.4f} gradient norm {norm:.3f}")
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        history.append(evaluate(model, eval_loader, len(eval_dataset)))
    return history
