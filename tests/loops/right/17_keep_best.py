from __future__ import annotations

import copy
import dataclasses
import typing as t

import torch
from torch.utils import data as tud
from transformers import DataCollatorWithPadding


@dataclasses.dataclass(frozen=True)
class Hyper:
    lr: float
    batch: int
    epochs: int
    clip: float = 1.0

    @classmethod
    def of(cls, config) -> "Hyper":
        return cls(lr=float(config.learning_rate), batch=int(config.per_device_train_batch_size), epochs=int(config.num_train_epochs))


@dataclasses.dataclass
class Best:
    """The best weights so far, kept for the report; the model goes on with the newest."""

    loss: float = float("inf")
    epoch: int = -1
    weights: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict, repr=False)

    def see(self, loss: float, epoch: int, model: torch.nn.Module) -> None:
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self.weights = copy.deepcopy(model.state_dict())


class Score(t.NamedTuple):
    loss: float
    accuracy: float

    def as_dict(self) -> dict[str, float]:
        return {f"eval_{name}": value for name, value in self._asdict().items()}


def score(model, loader) -> Score:
    model.eval()
    criterion = torch.nn.CrossEntropyLoss(reduction="none")
    per_review: list[float] = []
    hits = 0
    with torch.inference_mode():
        for batch in loader:
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            per_review += criterion(logits, batch["labels"]).tolist()
            hits += (logits.argmax(-1) == batch["labels"]).sum().item()
    return Score(sum(per_review) / len(per_review), hits / len(per_review))


def train(model, tokenizer, train_dataset, eval_dataset, config) -> list[dict[str, float]]:
    hp = Hyper.of(config)
    pad = DataCollatorWithPadding(tokenizer)
    train_dl = tud.DataLoader(train_dataset, hp.batch, sampler=tud.RandomSampler(train_dataset), collate_fn=pad)
    eval_dl = tud.DataLoader(eval_dataset, hp.batch, sampler=tud.SequentialSampler(eval_dataset), collate_fn=pad)
    optimizer = torch.optim.AdamW(model.parameters(), lr=hp.lr, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k, n=hp.epochs * len(train_dl): (n - k) / n)
    best, scores = Best(), []
    for epoch in range(hp.epochs):
        model.train()
        for batch in train_dl:
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), hp.clip, error_if_nonfinite=True)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        now = score(model, eval_dl)
        best.see(now.loss, epoch, model)
        scores.append(now.as_dict())
    print(best)
    return scores
