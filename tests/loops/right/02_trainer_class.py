# A small Trainer of my own: on_* callbacks and a settings dataclass.
from dataclasses import dataclass, field

import torch
import torch.nn as nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers.data.data_collator import DataCollatorWithPadding


@dataclass
class Settings:
    lr: float
    batch_size: int
    epochs: int
    eval_batch_size: int = 32
    clip: float = 1.0
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass
class State:
    global_step: int = 0
    epoch: int = 0
    log: list = field(default_factory=list)


class Callback:
    def on_step_end(self, state): ...

    def on_evaluate(self, state, metrics): ...


class Printer(Callback):
    def on_evaluate(self, state, metrics):
        print(f"[epoch {state.epoch}] step={state.global_step} " + " ".join(f"{k}={v:.4f}" for k, v in metrics.items()))


class TinyTrainer:
    def __init__(self, model, tokenizer, train_ds, eval_ds, settings, callbacks=()):
        self.model = model
        self.collator = DataCollatorWithPadding(tokenizer)
        self.train_ds, self.eval_ds = train_ds, eval_ds
        self.args = settings
        self.callbacks = list(callbacks)
        self.state = State()
        self.train_dl = self.get_train_dataloader()
        self.total_steps = len(self.train_dl) * settings.epochs
        self.create_optimizer_and_scheduler()

    def get_train_dataloader(self):
        return DataLoader(self.train_ds, self.args.batch_size, shuffle=True, collate_fn=self.collator)

    def get_eval_dataloader(self):
        return DataLoader(self.eval_ds, self.args.eval_batch_size, collate_fn=self.collator)

    def create_optimizer_and_scheduler(self):
        a = self.args
        self.optimizer = AdamW(self.model.parameters(), lr=a.lr, betas=a.betas, eps=a.eps, weight_decay=a.weight_decay)
        self.scheduler = LambdaLR(self.optimizer, self._factor)

    def _factor(self, step):
        return max(0.0, (self.total_steps - step) / max(1, self.total_steps))

    def compute_loss(self, inputs):
        return self.model(**inputs)["loss"]

    def training_step(self, inputs):
        self.model.train()
        loss = self.compute_loss(inputs)
        loss.backward()
        return loss.detach()

    def optimizer_step(self):
        nn.utils.clip_grad_norm_(self.model.parameters(), self.args.clip)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.global_step += 1

    def fire(self, event, *args):
        for callback in self.callbacks:
            getattr(callback, event)(self.state, *args)

    def evaluation_loop(self):
        was_training = self.model.training
        self.model.eval()
        all_logits, all_labels = [], []
        with torch.no_grad():
            for inputs in self.get_eval_dataloader():
                labels = inputs.pop("labels")
                all_logits.append(self.model(**inputs).logits)
                all_labels.append(labels)
        self.model.train(was_training)
        logits, labels = torch.cat(all_logits), torch.cat(all_labels)
        return {
            "eval_loss": nn.functional.cross_entropy(logits, labels).item(),
            "eval_accuracy": (logits.argmax(-1) == labels).float().mean().item(),
        }

    def fit(self):
        for epoch in range(self.args.epochs):
            for inputs in self.train_dl:
                self.training_step(inputs)
                self.optimizer_step()
                self.fire("on_step_end")
            self.state.epoch = epoch + 1
            metrics = self.evaluation_loop()
            self.state.log.append(metrics)
            self.fire("on_evaluate", metrics)
        return self.state.log


def train(model, tokenizer, train_dataset, eval_dataset, config):
    settings = Settings(
        lr=config.learning_rate, batch_size=config.per_device_train_batch_size, epochs=int(config.num_train_epochs)
    )
    return TinyTrainer(model, tokenizer, train_dataset, eval_dataset, settings, [Printer()]).fit()
