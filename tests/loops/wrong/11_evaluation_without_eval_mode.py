# MISTAKE (evaluation): model.eval() is forgotten, so the evaluation runs with dropout.
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    train_dl = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=collate)
    eval_dl = DataLoader(eval_dataset, config.per_device_eval_batch_size, shuffle=False, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    steps = int(config.num_train_epochs) * len(train_dl)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0, steps - step) / steps)

    def training_pass():
        model.train()
        for batch in train_dl:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()

    def evaluation_pass():
        total_loss, total_right, total = 0.0, 0, 0
        with torch.no_grad():
            for batch in eval_dl:
                out = model(**batch)
                total_loss += out.loss.item() * len(batch["labels"])
                total_right += (out.logits.argmax(-1) == batch["labels"]).sum().item()
                total += len(batch["labels"])
        return {"eval_loss": total_loss / total, "eval_accuracy": total_right / total}

    metrics = []
    for _ in range(int(config.num_train_epochs)):
        training_pass()
        metrics.append(evaluation_pass())
    return metrics
