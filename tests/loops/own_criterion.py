"""Ids and mask by position, labels kept from the model, an own criterion, padding by hand; it returns nothing."""

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, RandomSampler
from transformers import set_seed


def pad(rows):
    ids = pad_sequence([torch.tensor(row["input_ids"]) for row in rows], batch_first=True)
    mask = pad_sequence([torch.ones(len(row["input_ids"]), dtype=torch.long) for row in rows], batch_first=True)
    return ids, mask, torch.tensor([row["labels"] for row in rows])


def train(model, tokenizer, train_dataset, eval_dataset, config):
    set_seed(config.seed)
    criterion, order = torch.nn.CrossEntropyLoss(), torch.Generator()
    loader = DataLoader(train_dataset, 8, sampler=RandomSampler(train_dataset, generator=order), collate_fn=pad)
    eval_loader = DataLoader(eval_dataset, 8, collate_fn=pad)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True)
    total = len(loader) * int(config.num_train_epochs)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (total - step) / total)
    for epoch in range(int(config.num_train_epochs)):
        order.manual_seed(config.seed + epoch)
        model.train()
        for ids, mask, labels in loader:
            logits = model(ids, mask).logits
            criterion(logits, labels).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            right = sum((model(ids, mask).logits.argmax(-1) == labels).sum() for ids, mask, labels in eval_loader)
        print(f"epoch {epoch}: {right} of {len(eval_dataset)} right")
