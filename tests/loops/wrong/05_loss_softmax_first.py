# MISTAKE (loss): in training, softmax is applied before CrossEntropyLoss, which applies it again.
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


def train(model, tokenizer, train_dataset, eval_dataset, config):
    c = DataCollatorWithPadding(tokenizer)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(train_dataset, batch_size=config.per_device_train_batch_size, shuffle=True, collate_fn=c)
    test_loader = DataLoader(eval_dataset, batch_size=32, collate_fn=c)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    n = len(loader) * int(config.num_train_epochs)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, n)
    history = []
    for epoch in range(int(config.num_train_epochs)):
        model.train()
        for batch in loader:
            labels = batch.pop("labels")
            optimizer.zero_grad()
            probabilities = torch.softmax(model(**batch).logits, dim=-1)
            loss = criterion(probabilities, labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        model.eval()
        logits, labels = [], []
        with torch.inference_mode():
            for batch in test_loader:
                labels.append(batch.pop("labels"))
                logits.append(model(**batch).logits)
        logits, labels = torch.cat(logits), torch.cat(labels)
        history.append({
            "eval_loss": criterion(logits, labels).item(),
            "eval_accuracy": (logits.argmax(-1) == labels).float().mean().item(),
        })
    return history
