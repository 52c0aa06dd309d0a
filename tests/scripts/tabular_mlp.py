"""Use Trainer for a plain torch module: MLP on tabular churn data."""
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset, random_split
from transformers import Trainer, TrainerCallback, TrainingArguments


@dataclass
class MLPConfig:
    n_features: int = 8
    hidden: int = 32
    n_layers: int = 2
    n_classes: int = 3
    dropout: float = 0.1


class ChurnMLP(nn.Module):
    def __init__(self, cfg: MLPConfig):
        super().__init__()
        self.cfg = cfg
        layers, d = [], cfg.n_features
        for _ in range(cfg.n_layers):
            layers += [nn.Linear(d, cfg.hidden), nn.LayerNorm(cfg.hidden), nn.GELU(), nn.Dropout(cfg.dropout)]
            d = cfg.hidden
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(d, cfg.n_classes)
        self.loss_fn = nn.CrossEntropyLoss()

    def forward(self, features, labels=None):
        logits = self.head(self.body(features))
        if labels is None:
            return {"logits": logits}
        return {"loss": self.loss_fn(logits, labels), "logits": logits}


class ChurnData(Dataset):
    """Gaussian blobs pretending to be customers."""

    def __init__(self, n, cfg, seed=0):
        g = torch.Generator().manual_seed(seed)
        centers = torch.randn(cfg.n_classes, cfg.n_features, generator=g) * 1.5
        self.y = torch.randint(0, cfg.n_classes, (n,), generator=g)
        self.x = centers[self.y] + torch.randn(n, cfg.n_features, generator=g)
        # standardise columns
        self.x = (self.x - self.x.mean(0)) / self.x.std(0)

    def __len__(self):
        return self.y.numel()

    def __getitem__(self, i):
        return {"features": self.x[i], "labels": self.y[i]}


class JsonLogger(TrainerCallback):
    """Keep the log history as JSON lines, nothing else."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def on_log(self, args, state, control, logs=None, **kwargs):
        with self.path.open("a") as f:
            f.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


torch.manual_seed(0)
cfg = MLPConfig()
full = ChurnData(600, cfg)
train_set, valid_set, test_set = random_split(full, [400, 100, 100])
model = ChurnMLP(cfg)
print(model, asdict(cfg))

args = TrainingArguments(
    output_dir="churn_run",
    max_steps=25,
    per_device_train_batch_size=32,
    learning_rate=1e-2,
    lr_scheduler_type="constant",
    dataloader_drop_last=True,
    logging_steps=5,
    logging_first_step=True,
    eval_strategy="steps",  # eval_steps falls back to logging_steps
    save_strategy="no",
    report_to="none",
    label_names=["labels"],
)
trainer = Trainer(
    model=model,
    args=args,
    train_dataset=train_set,
    eval_dataset=valid_set,
    compute_metrics=lambda p: {"acc": float((p.predictions.argmax(-1) == p.label_ids).mean())},
    callbacks=[JsonLogger("churn_run/log.jsonl")],
)
trainer.train()
print("test:", trainer.evaluate(test_set, metric_key_prefix="test"))
torch.save({"cfg": asdict(cfg), "state": model.state_dict()}, "churn_run/model.pt")
