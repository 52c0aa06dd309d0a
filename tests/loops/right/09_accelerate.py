"""The same with Accelerate."""
import torch
from accelerate import Accelerator
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_scheduler


def train(model, tokenizer, train_dataset, eval_dataset, config):
    accelerator = Accelerator(cpu=True)
    data_collator = DataCollatorWithPadding(tokenizer=tokenizer)
    train_dataloader = DataLoader(
        train_dataset, shuffle=True, batch_size=config.per_device_train_batch_size, collate_fn=data_collator
    )
    eval_dataloader = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=data_collator)
    optimizer = AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    model, optimizer, train_dataloader, eval_dataloader = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader
    )
    num_epochs = int(config.num_train_epochs)
    lr_scheduler = get_scheduler(
        "linear",
        optimizer=optimizer,
        num_warmup_steps=0,
        num_training_steps=num_epochs * len(train_dataloader),
    )

    history = []
    for epoch in range(num_epochs):
        model.train()
        for batch in train_dataloader:
            outputs = model(**batch)
            accelerator.backward(outputs.loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()

        model.eval()
        losses, predictions, references = [], [], []
        for batch in eval_dataloader:
            with torch.no_grad():
                outputs = model(**batch)
            size = batch["labels"].shape[0]
            losses.append(accelerator.gather_for_metrics(outputs.loss.repeat(size)))
            preds, refs = accelerator.gather_for_metrics((outputs.logits.argmax(dim=-1), batch["labels"]))
            predictions.append(preds)
            references.append(refs)
        losses = torch.cat(losses)
        accuracy = (torch.cat(predictions) == torch.cat(references)).double().mean()
        accelerator.print(f"epoch {epoch}: {accuracy:.3f}")
        history.append({"eval_loss": losses.mean().item(), "eval_accuracy": accuracy.item()})
    return history
