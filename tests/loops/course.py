"""The loop of the Hugging Face course's chapter 3, written from its description, with an accuracy that is counted."""

import torch
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_scheduler


def train(model, tokenizer, train_dataset, eval_dataset, config):
    data_collator = DataCollatorWithPadding(tokenizer=tokenizer)
    train_dataloader = DataLoader(
        train_dataset, shuffle=True, batch_size=config.per_device_train_batch_size, collate_fn=data_collator
    )
    eval_dataloader = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=data_collator)
    optimizer = AdamW(model.parameters(), lr=config.learning_rate)
    num_epochs = int(config.num_train_epochs)
    num_training_steps = num_epochs * len(train_dataloader)
    lr_scheduler = get_scheduler(
        "linear", optimizer=optimizer, num_warmup_steps=0, num_training_steps=num_training_steps
    )
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    model.to(device)

    history = []
    model.train()
    for _epoch in range(num_epochs):
        for batch in train_dataloader:
            batch = {k: v.to(device) for k, v in batch.items()}
            outputs = model(**batch)
            loss = outputs.loss
            loss.backward()
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()

        model.eval()
        correct, total, summed = 0, 0, 0.0
        for batch in eval_dataloader:
            batch = {k: v.to(device) for k, v in batch.items()}
            with torch.no_grad():
                outputs = model(**batch)
            predictions = torch.argmax(outputs.logits, dim=-1)
            correct += (predictions == batch["labels"]).sum().item()
            summed += outputs.loss.item() * len(batch["labels"])
            total += len(batch["labels"])
        history.append({"eval_loss": summed / total, "eval_accuracy": correct / total})
    return history
