# MISTAKE (mode): model.train() only once, before the first epoch; from the first evaluation on, no dropout.
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_scheduler


class Experiment:
    def __init__(self, model, tokenizer, train_dataset, eval_dataset, config):
        self.model = model
        self.epochs = int(config.num_train_epochs)
        collate = DataCollatorWithPadding(tokenizer)
        self.train_dl = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=collate)
        self.eval_dl = DataLoader(eval_dataset, config.per_device_eval_batch_size, collate_fn=collate)
        self.opt = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
        self.sched = get_scheduler("linear", self.opt, 0, self.epochs * len(self.train_dl))

    def fit_epoch(self):
        for batch in self.train_dl:
            self.model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.opt.step()
            self.sched.step()
            self.opt.zero_grad()

    def evaluate(self):
        self.model.eval()
        loss, right, n = 0.0, 0, 0
        with torch.no_grad():
            for batch in self.eval_dl:
                out = self.model(**batch)
                k = len(batch["labels"])
                loss, right, n = loss + out.loss.item() * k, right + (out.logits.argmax(-1) == batch["labels"]).sum().item(), n + k
        return {"eval_loss": loss / n, "eval_accuracy": right / n}

    def run(self):
        self.model.train()
        history = []
        for _ in range(self.epochs):
            self.fit_epoch()
            history.append(self.evaluate())
        return history


def train(model, tokenizer, train_dataset, eval_dataset, config):
    return Experiment(model, tokenizer, train_dataset, eval_dataset, config).run()
