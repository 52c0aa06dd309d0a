"""No labels at all: the model returns its loss, and the input is called `signal`."""

import torch
from torch import nn
from transformers import Trainer, TrainingArguments, set_seed

set_seed(8)


class AutoEncoder(nn.Module):
    def __init__(self, width=12, code=4):
        super().__init__()
        self.encoder = nn.Linear(width, code)
        self.drop = nn.Dropout(0.1)
        self.decoder = nn.Linear(code, width)

    def forward(self, signal):
        out = self.decoder(self.drop(torch.tanh(self.encoder(signal))))
        loss = ((out - signal) ** 2).mean()
        return loss, out


def collate(rows):
    return {"signal": torch.stack(rows)}


data = torch.randn(50, 12)
trainer = Trainer(
    model=AutoEncoder(),
    args=TrainingArguments("ae", num_train_epochs=2, learning_rate=1e-2, eval_strategy="epoch", save_strategy="no", remove_unused_columns=False, gradient_accumulation_steps=2, report_to="none"),
    train_dataset=[row for row in data[:40]],
    eval_dataset=[row for row in data[40:]],
    data_collator=collate,
)
trainer.train()
