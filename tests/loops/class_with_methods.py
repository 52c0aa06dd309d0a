"""A class with a method per phase; it reports its accuracy alone."""

import torch
from torch.utils.data import DataLoader, RandomSampler
from transformers import DataCollatorWithPadding, set_seed


class Loop:
    def __init__(self, model, tokenizer, train_dataset, eval_dataset, config):
        self.model, self.config = model, config
        self.order = torch.Generator()
        pad = DataCollatorWithPadding(tokenizer)
        sampler = RandomSampler(train_dataset, generator=self.order)
        self.batches = DataLoader(train_dataset, config.per_device_train_batch_size, sampler=sampler, collate_fn=pad)
        self.eval_batches = DataLoader(eval_dataset, config.per_device_eval_batch_size, collate_fn=pad)
        self.optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=0, fused=True)
        self.steps = len(self.batches) * int(config.num_train_epochs)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda done: 1 - done / self.steps)

    def step(self, batch):
        self.model.train()
        self.model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    @torch.inference_mode()
    def accuracy(self):
        self.model.eval()
        right = [(self.model(**batch).logits.argmax(-1) == batch["labels"]) for batch in self.eval_batches]
        return torch.cat(right).double().mean().item()

    def run(self):
        for epoch in range(int(self.config.num_train_epochs)):
            self.order.manual_seed(self.config.seed + epoch)
            for batch in self.batches:
                self.step(batch)
            yield {"eval_accuracy": self.accuracy()}


def train(model, tokenizer, train_dataset, eval_dataset, config):
    set_seed(config.seed)
    return list(Loop(model, tokenizer, train_dataset, eval_dataset, config).run())
