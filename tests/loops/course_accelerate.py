"""The course's loop with accelerate, written from its description: the same as `course.py` but for five lines."""

import torch
from accelerate import Accelerator
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_scheduler


def train(model, tokenizer, train_dataset, eval_dataset, config):
    accelerator = Accelerator()
    data_collator = DataCollatorWithPadding(tokenizer=tokenizer)
    train_dataloader = DataLoader(
        train_dataset, shuffle=True, batch_size=config.per_device_train_batch_size, collate_fn=data_collator
    )
    eval_dataloader = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=data_collator)
    optimizer = AdamW(model.parameters(), lr=config.learning_rate)
    train_dataloader, eval_dataloader, model, optimizer = accelerator.prepare(
        train_dataloader, eval_dataloader, model, optimizer
    )
    num_epochs = int(config.num_train_epochs)
    num_training_steps = num_epochs * len(train_dataloader)
    lr_scheduler = get_scheduler(
        "linear", optimizer=optimizer, num_warmup_steps=0, num_training_steps=num_training_steps
    )

    history = []
    model.train()
    for _epoch in range(num_epochs):
        for batch in train_dataloader:
            outputs = model(**batch)
            loss = outputs.loss
            accelerator.backward(loss)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()

        model.eval()
        losses, predictions, labels = [], [], []
        for batch in eval_dataloader:
            with torch.no_grad():
                outputs = model(**batch)
            size = len(batch["labels"])
            predictions.append(accelerator.gather_for_metrics(outputs.logits.argmax(dim=-1)))
            labels.append(accelerator.gather_for_metrics(batch["labels"]))
            losses.append(accelerator.gather_for_metrics(outputs.loss.repeat(size)))
        right = torch.cat(predictions) == torch.cat(labels)
        history.append({"eval_loss": torch.cat(losses).mean().item(), "eval_accuracy": right.float().mean().item()})
    return history
