import torch
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


class Average:
    """Running mean, weighted by how many examples each value stands for."""

    def __init__(self):
        self.sum = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.sum += value * n
        self.count += n

    @property
    def value(self):
        return self.sum / self.count if self.count else float("nan")


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collator = DataCollatorWithPadding(tokenizer, return_tensors="pt")
    training = DataLoader(train_dataset, config.per_device_train_batch_size, True, collate_fn=collator)
    validation = DataLoader(eval_dataset, config.per_device_train_batch_size * 2, False, collate_fn=collator)

    optimiser = torch.optim.AdamW(params=model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    total_iters = len(training) * int(config.num_train_epochs)
    schedule = LinearLR(optimiser, start_factor=1.0, end_factor=0.0, total_iters=total_iters)

    logbook = []
    for epoch in range(int(config.num_train_epochs)):
        train_loss = Average()
        model.train()
        optimiser.zero_grad(set_to_none=False)
        for batch in training:
            result = model(**batch)
            result.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, norm_type=2.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=False)
            train_loss.update(result.loss.item(), len(batch["labels"]))

        val_loss, val_acc = Average(), Average()
        model.eval()
        with torch.no_grad():
            for batch in validation:
                result = model(**batch)
                n = len(batch["labels"])
                val_loss.update(result.loss.item(), n)
                val_acc.update((result.logits.argmax(-1) == batch["labels"]).float().mean().item(), n)
        print(f"{epoch=} {train_loss.value=:.4f} {val_loss.value=:.4f} {val_acc.value=:.4f}")
        logbook.append({"eval_loss": val_loss.value, "eval_accuracy": val_acc.value})
    return logbook
