"""Several labels per text (a Kaggle toxicity notebook as a script)."""

import numpy as np
import torch
from offline import BAD, GOOD, THINGS, sentences, tokenizer as load_tokenizer
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

SEED = 2024
set_seed(SEED)
MAX_LEN = 16
tokenizer = load_tokenizer()


class TextDataset(Dataset):
    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        text = self.texts[i]
        words = text.split()
        enc = tokenizer(text, max_length=MAX_LEN, padding="max_length", truncation=True, return_tensors="pt")
        item = {k: v.squeeze(0) for k, v in enc.items()}
        item["labels"] = torch.tensor(
            [any(w in GOOD for w in words), any(w in BAD for w in words), any(w in THINGS[:5] for w in words)],
            dtype=torch.float,
        )
        return item


texts = [t for t, _ in sentences(75, seed=13)]
train_ds, val_ds = TextDataset(texts[:55]), TextDataset(texts[55:])
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=3,
        problem_type="multi_label_classification",
    )
)


def compute_metrics(p):
    probs = 1 / (1 + np.exp(-p.predictions))
    y = probs > 0.5
    return {"subset_accuracy": (y == p.label_ids).all(axis=1).mean(), "hamming": (y != p.label_ids).mean()}


trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="./results",
        num_train_epochs=2,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=6,
        warmup_steps=2,
        weight_decay=0.01,
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=2,
        load_best_model_at_end=True,
        seed=SEED,
        report_to="none",
        dataloader_num_workers=0,
    ),
    train_dataset=train_ds,
    eval_dataset=val_ds,
    compute_metrics=compute_metrics,
)
trainer.train()
