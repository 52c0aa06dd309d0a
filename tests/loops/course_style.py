"""As a course teaches it: plain AdamW, `shuffle=True`, no clip, no seed, train mode once."""

import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_scheduler


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    loader = DataLoader(train_dataset, shuffle=True, batch_size=8, collate_fn=collate)
    eval_loader = DataLoader(eval_dataset, batch_size=8, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    epochs = int(config.num_train_epochs)
    scheduler = get_scheduler("linear", optimizer, 0, epochs * len(loader))
    model.train()
    found = []
    for _ in range(epochs):
        for batch in loader:
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        model.eval()
        losses, right = [], 0
        for batch in eval_loader:
            with torch.no_grad():
                output = model(**batch)
            losses.append(output.loss.item())
            right += (output.logits.argmax(-1) == batch["labels"]).sum().item()
        found.append({"eval_loss": sum(losses) / len(losses), "eval_accuracy": right / len(eval_dataset)})
    return found
