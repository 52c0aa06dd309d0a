"""Collate of my own that rounds the width up to a multiple of 8 (tensor cores like that); numpy shuffling; foreach."""
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler


class NumpyShuffle(Sampler):
    def __init__(self, n, seed):
        self.n = n
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return self.n

    def __iter__(self):
        yield from self.rng.permutation(self.n).tolist()


class Collate8:
    def __init__(self, pad_id, limit):
        self.pad_id, self.limit = pad_id, limit

    def __call__(self, rows):
        longest = max(len(r["input_ids"]) for r in rows)
        width = max(longest, min(-(-longest // 8) * 8, self.limit))
        ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        y = np.empty(len(rows), dtype=np.int64)
        for k, r in enumerate(rows):
            length = len(r["input_ids"])
            ids[k, :length] = r["input_ids"]
            mask[k, :length] = r["attention_mask"]
            y[k] = r["labels"] if "labels" in r else r["label"]
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.from_numpy(y),
        }


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = Collate8(tokenizer.pad_token_id, model.config.max_position_embeddings)
    train_dl = DataLoader(
        train_dataset,
        batch_size=config.per_device_train_batch_size,
        sampler=NumpyShuffle(len(train_dataset), config.seed),
        collate_fn=collate,
    )
    eval_dl = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=collate)
    epochs = int(config.num_train_epochs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0, foreach=True)
    rates = np.linspace(config.learning_rate, 0.0, num=epochs * len(train_dl), endpoint=False)
    step = 0
    metrics = []
    for epoch in range(epochs):
        model.train()
        for batch in train_dl:
            optimizer.param_groups[0]["lr"] = float(rates[step])
            loss = model(**batch).loss
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
            optimizer.step()
            step += 1
        model.eval()
        loss_sum = np.float64(0)
        right = []
        with torch.no_grad():
            for batch in eval_dl:
                out = model(**batch)
                loss_sum += out.loss.item() * len(batch["labels"])
                right.append((out.logits.argmax(-1) == batch["labels"]).numpy())
        metrics.append({
            "eval_loss": float(loss_sum / len(eval_dataset)),
            "eval_accuracy": float(np.concatenate(right).mean()),
        })
    return metrics
