"""Multi-label tagging of support tickets (BCE via problem_type), variable-length batches."""
import random

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.utils.data import Dataset
from transformers import (
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

TAGS = {
    "billing": ["invoice", "refund", "charge", "card"],
    "login": ["password", "account", "locked", "signin"],
    "shipping": ["parcel", "courier", "delivery", "tracking"],
    "bug": ["crash", "freeze", "error", "screen"],
}
FILL = "hello please help me with this since monday i can not thanks".split()


def make_ticket(rng):
    active = [t for t in TAGS if rng.random() < 0.4]
    words = [rng.choice(TAGS[t]) for t in active for _ in range(rng.randint(1, 2))]
    words += rng.choices(FILL, k=rng.randint(3, 14))
    rng.shuffle(words)
    return " ".join(words), [1.0 if t in active else 0.0 for t in TAGS]


class Tickets(Dataset):
    def __init__(self, n, seed, tokenizer):
        rng = random.Random(seed)
        self.rows = []
        for _ in range(n):
            text, y = make_ticket(rng)
            self.rows.append({"input_ids": tokenizer("<s> " + text)["input_ids"], "labels": y})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def build_tokenizer():
    words = FILL + [w for ws in TAGS.values() for w in ws]
    tok = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tok.train_from_iterator([" ".join(words)],
                            trainers.WordLevelTrainer(special_tokens=["<s>", "<pad>", "</s>", "<unk>"]))
    return PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="<pad>", unk_token="<unk>",
                                   cls_token="<s>", sep_token="</s>")


def metrics(p):
    # sigmoid > 0.5  <=>  logit > 0
    pred, gold = p.predictions > 0, p.label_ids > 0.5
    tp, fp, fn = (pred & gold).sum(), (pred & ~gold).sum(), (~pred & gold).sum()
    return {"micro_f1": 2 * tp / max(2 * tp + fp + fn, 1), "subset_acc": (pred == gold).all(axis=1).mean()}


def main():
    set_seed(0)
    tokenizer = build_tokenizer()
    train, dev = Tickets(256, 0, tokenizer), Tickets(64, 1, tokenizer)

    def collate(batch):
        enc = tokenizer.pad({"input_ids": [b["input_ids"] for b in batch]}, return_tensors="pt")
        enc["labels"] = torch.tensor([b["labels"] for b in batch], dtype=torch.float)
        return enc

    model = RobertaForSequenceClassification(RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=40, pad_token_id=tokenizer.pad_token_id,
        num_labels=len(TAGS), problem_type="multi_label_classification"))

    args = TrainingArguments(
        output_dir="tickets", num_train_epochs=3, per_device_train_batch_size=32, learning_rate=4e-3,
        train_sampling_strategy="group_by_length",  # this used to be group_by_length=True
        eval_strategy="steps", eval_steps=8, logging_steps=8, save_strategy="no", report_to="none",
    )
    trainer = Trainer(model=model, args=args, train_dataset=train, eval_dataset=dev,
                      data_collator=collate, compute_metrics=metrics)
    trainer.train()

    logits = trainer.predict(dev).predictions
    for row, item in zip(logits[:4], dev.rows):
        print(tokenizer.decode(item["input_ids"]), "->", [t for t, z in zip(TAGS, row) if z > 0])
    print("label rate:", np.mean([r["labels"] for r in dev.rows], axis=0).round(2))


if __name__ == "__main__":
    main()
