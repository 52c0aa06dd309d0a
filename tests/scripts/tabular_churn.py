# Using the HF Trainer for a non-HF model: churn prediction on a table.
import time

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import TensorDataset
from transformers import Trainer, TrainerCallback, TrainingArguments


class MLP(nn.Module):
    def __init__(self, n_in, n_hidden=64, p=0.1):
        super().__init__()
        self.net = nn.Sequential(
            nn.BatchNorm1d(n_in),
            nn.Linear(n_in, n_hidden),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, 1),
        )
        self.criterion = nn.BCEWithLogitsLoss()

    def forward(self, x, labels=None):
        logits = self.net(x).squeeze(-1)
        if labels is not None:
            return {"loss": self.criterion(logits, labels), "logits": logits}
        return {"logits": logits}


def collate(rows):
    batch = {"x": torch.stack([r[0] for r in rows])}
    if len(rows[0]) > 1:
        batch["labels"] = torch.stack([r[1] for r in rows])
    return batch


class HistoryCallback(TrainerCallback):
    """Keeps every log line, writes them as csv at the end."""

    def __init__(self, path):
        self.path = path
        self.rows = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.rows.append({"step": state.global_step, **logs})

    def on_train_end(self, args, state, control, **kwargs):
        pd.DataFrame(self.rows).to_csv(self.path, index=False)


class TimerCallback(TrainerCallback):
    def on_epoch_begin(self, args, state, control, **kwargs):
        self.t0 = time.time()

    def on_epoch_end(self, args, state, control, **kwargs):
        print(f"epoch {state.epoch:.0f}: {time.time() - self.t0:.2f}s")


def get_data():
    rng = np.random.default_rng(8)
    df = pd.DataFrame({"tenure": rng.integers(0, 72, 200), "monthly": rng.normal(65, 20, 200), "calls": rng.poisson(2, 200), "contract": rng.choice(["m", "1y", "2y"], 200)})
    score = -0.05 * df.tenure + 0.02 * df.monthly + 0.6 * df.calls - 1.2 * (df.contract == "2y")
    df["churn"] = (score + rng.normal(0, 0.5, 200) > score.median()).astype(int)
    return df


def main():
    torch.manual_seed(8)
    df = get_data()
    X = pd.get_dummies(df.drop(columns="churn"), columns=["contract"]).astype("float32")
    X = torch.tensor(((X - X.mean()) / X.std()).values)
    y = torch.tensor(df.churn.values, dtype=torch.float32)
    train, valid, test = TensorDataset(X[:130], y[:130]), TensorDataset(X[130:165], y[130:165]), TensorDataset(X[165:])

    model = MLP(X.shape[1])
    epochs, bs = 3, 16
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    steps = epochs * (len(train) // bs + 1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=steps)

    args = TrainingArguments(
        output_dir="out_tabular",
        num_train_epochs=epochs,
        per_device_train_batch_size=bs,
        per_device_eval_batch_size=64,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="no",
        label_names=["labels"],
        remove_unused_columns=False,
        report_to="none",
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=args,
        data_collator=collate,
        train_dataset=train,
        eval_dataset=valid,
        optimizers=(optimizer, scheduler),
        compute_metrics=lambda p: {"acc": float(((p.predictions > 0) == (p.label_ids > 0.5)).mean())},
        callbacks=[HistoryCallback("out_tabular/history.csv"), TimerCallback],
    )
    trainer.train()
    logits = trainer.predict(test).predictions
    out = df.iloc[165:].drop(columns="churn").assign(p_churn=1 / (1 + np.exp(-logits)))
    out.to_csv("out_tabular/predictions.csv")
    print(out.sort_values("p_churn").tail(3))


if __name__ == "__main__":
    main()
