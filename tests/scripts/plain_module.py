"""A network of one's own, not from transformers, through Trainer for its conveniences."""

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(24), nn.Linear(24, 3))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x, labels=None):
        logits = self.body(x)
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = self.loss(logits, labels)
        return out


class Points(torch.utils.data.Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 6, generator=g)
        self.y = self.x[:, :3].argmax(-1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "labels": self.y[i]}


trainer = Trainer(
    model=Net(),
    args=TrainingArguments(
        output_dir="net",
        optim="sgd",
        learning_rate=0.1,
        per_device_train_batch_size=10,
        gradient_accumulation_steps=3,
        num_train_epochs=3,
        eval_strategy="epoch",
        save_strategy="no",
        max_grad_norm=0.5,
        lr_scheduler_type="constant",
        report_to="none",
    ),
    train_dataset=Points(97, 1),
    eval_dataset=Points(33, 2),
    compute_metrics=lambda p: {"acc": float((p.predictions.argmax(-1) == p.label_ids).mean())},
)
trainer.train()
