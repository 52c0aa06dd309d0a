# MISTAKE (padding): the training batch is transposed with zip(), which cuts every review to the batch's shortest.
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


def collate(rows):
    columns = list(zip(*[r["input_ids"] for r in rows]))
    masks = list(zip(*[r["attention_mask"] for r in rows]))
    return {
        "input_ids": torch.tensor(columns).T.contiguous(),
        "attention_mask": torch.tensor(masks).T.contiguous(),
        "labels": torch.tensor([r["labels"] if "labels" in r else r["label"] for r in rows]),
    }


def train(model, tokenizer, train_dataset, eval_dataset, config):
    train_loader = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=collate)
    eval_loader = DataLoader(eval_dataset, 8, collate_fn=DataCollatorWithPadding(tokenizer))
    n_epochs = int(config.num_train_epochs)
    n_steps = n_epochs * len(train_loader)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 1 - i / n_steps)
    results = []
    for _ in range(n_epochs):
        model.train()
        for batch in train_loader:
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            outs = [(model(**b), b["labels"]) for b in eval_loader]
        results.append({
            "eval_loss": sum(o.loss.item() * len(y) for o, y in outs) / len(eval_dataset),
            "eval_accuracy": sum((o.logits.argmax(-1) == y).sum().item() for o, y in outs) / len(eval_dataset),
        })
    return results
