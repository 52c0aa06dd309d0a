"""Unbalanced classes: weights in the loss, given to a subclass of Trainer."""

import argparse
import json

import numpy as np
import torch
from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from torch import nn
from transformers import (
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)


class WeightedTrainer(Trainer):
    def __init__(self, *args, class_weights=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.class_weights = class_weights

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs.get("logits")
        # the rare class counts more
        loss_fct = nn.CrossEntropyLoss(weight=self.class_weights.to(logits.device))
        loss = loss_fct(logits.view(-1, 2), labels.view(-1))
        return (loss, outputs) if return_outputs else loss


def main(a):
    set_seed(a.seed)
    tokenizer = load_tokenizer()
    rows = [r for i, r in enumerate(sentences(160, seed=6)) if r[1] == 0 or i % 3 == 0]
    ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]})
    ds = ds.map(lambda e: tokenizer(e["text"], truncation=True), batched=True, remove_columns=["text"])
    ds = ds.train_test_split(0.25, seed=a.seed)
    counts = np.bincount(ds["train"]["label"])
    weights = torch.tensor(counts.sum() / (2 * counts), dtype=torch.float)
    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=2, n_heads=2))
    args = TrainingArguments(
        output_dir=a.out,
        num_train_epochs=a.epochs,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        learning_rate=a.lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="f1",
        seed=a.seed,
        report_to="none",
    )

    def compute_metrics(p):
        y = p.predictions.argmax(1)
        tp = int(((y == 1) & (p.label_ids == 1)).sum())
        return {"f1": 2 * tp / max(1, int((y == 1).sum() + (p.label_ids == 1).sum())), "accuracy": float((y == p.label_ids).mean())}

    trainer = WeightedTrainer(
        model=model,
        args=args,
        train_dataset=ds["train"],
        eval_dataset=ds["test"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=2)],
        class_weights=weights,
    )
    trainer.train()
    with open(f"{a.out}/metrics.json", "w") as f:
        json.dump(trainer.evaluate(), f)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--out", default="weighted-out")
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=3)
    main(p.parse_args())
