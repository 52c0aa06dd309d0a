"""A Trainer script that trains in a moment: what tests of other people's scripts share."""

from __future__ import annotations

from pathlib import Path

# A network and its data in a few lines; `%s` is what follows.
SMALL = """
import torch
from transformers import Trainer, TrainingArguments, TrainerCallback, set_seed

set_seed(1)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x, labels=None):
        out = self.layer(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


data = [{"x": torch.randn(2), "labels": torch.randn(1), "name": "a"} for _ in range(20)]
%s
"""
TRAINED = (
    "Trainer(Net(), TrainingArguments('out', report_to='none', num_train_epochs=1%s), train_dataset=data).train()"
)


def small(folder: Path, text: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(SMALL % text, encoding="utf-8")
    return file
