"""I also want to know where we start, and whether it overfits: a baseline first, a train accuracy each epoch."""
import torch
from torch.utils.data import DataLoader, Subset
from transformers import DataCollatorWithPadding, set_seed


def accuracy_and_loss(model, loader):
    mode = model.training
    model.eval()
    loss_total, right, seen = 0.0, 0, 0
    with torch.no_grad():
        for batch in loader:
            out = model(**batch)
            size = len(batch["labels"])
            loss_total += out.loss.item() * size
            right += (out.logits.argmax(dim=1) == batch["labels"]).sum().item()
            seen += size
    model.train(mode)
    return right / seen, loss_total / seen


def train(model, tokenizer, train_dataset, eval_dataset, config):
    set_seed(1234)
    collate = DataCollatorWithPadding(tokenizer)
    bs = config.per_device_train_batch_size
    train_loader = DataLoader(train_dataset, batch_size=bs, shuffle=True, collate_fn=collate)
    eval_loader = DataLoader(eval_dataset, batch_size=2 * bs, shuffle=False, collate_fn=collate)
    probe = Subset(train_dataset, range(min(20, len(train_dataset))))
    probe_loader = DataLoader(probe, batch_size=2 * bs, collate_fn=collate)

    acc, loss = accuracy_and_loss(model, eval_loader)
    print(f"before training: accuracy {acc:.3f}, loss {loss:.4f}")

    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    total = len(train_loader) * int(config.num_train_epochs)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(0.0, 1 - s / total))
    history = []
    model.train()
    for epoch in range(int(config.num_train_epochs)):
        for batch in train_loader:
            out = model(**batch)
            out["loss"].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        train_acc, _ = accuracy_and_loss(model, probe_loader)
        acc, loss = accuracy_and_loss(model, eval_loader)
        print(f"epoch {epoch + 1}: train accuracy {train_acc:.3f}, eval accuracy {acc:.3f}, eval loss {loss:.4f}")
        history.append({"eval_loss": loss, "eval_accuracy": acc})
    return history
