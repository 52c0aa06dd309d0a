# MISTAKE (schedule): scheduler.step() once per epoch, though its length is counted in batches.
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collator = DataCollatorWithPadding(tokenizer)
    train_loader = DataLoader(train_dataset, batch_size=config.per_device_train_batch_size, shuffle=True, collate_fn=collator)
    eval_loader = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=collator)
    num_epochs = int(config.num_train_epochs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, num_epochs * len(train_loader))
    results = []
    for epoch in range(num_epochs):
        model.train()
        for batch in tqdm(train_loader, desc=f"epoch {epoch}"):
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        scheduler.step()

        model.eval()
        loss_sum, correct = 0.0, 0
        with torch.no_grad():
            for batch in eval_loader:
                out = model(**batch)
                loss_sum += out.loss.item() * batch["labels"].size(0)
                correct += (out.logits.argmax(-1) == batch["labels"]).sum().item()
        results.append({"eval_loss": loss_sum / len(eval_dataset), "eval_accuracy": correct / len(eval_dataset)})
    return results
