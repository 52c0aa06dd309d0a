"""
Spam detector, very unbalanced.  We oversample with a WeightedRandomSampler instead of weighting the loss,
so Trainer.get_train_dataloader is overridden.
"""
from collections import Counter
from functools import partial

import torch
from datasets import Dataset
from torch.utils.data import DataLoader, WeightedRandomSampler
from transformers import BertTokenizerFast, DistilBertConfig, DistilBertForSequenceClassification, Trainer, TrainingArguments

HAM = ["see you at lunch", "the meeting moved to three", "can you send the report", "happy birthday to you", "call me when you land"]
SPAM = ["win a free phone now", "claim your free prize", "cheap loans now"]


def build_dataset(n, every):
    text = [SPAM[i % 3] if i % every == 0 else HAM[i % 5] + (" please" if i % 2 else "") for i in range(n)]
    return Dataset.from_dict({"text": text, "label": [int(i % every == 0) for i in range(n)]})


def collate(batch, tokenizer):
    enc = tokenizer([b["text"] for b in batch], padding="longest", truncation=True, max_length=16, return_tensors="pt", return_token_type_ids=False)
    enc["labels"] = torch.tensor([b["label"] for b in batch])
    return enc


class BalancedTrainer(Trainer):
    def get_train_dataloader(self) -> DataLoader:
        labels = self.train_dataset["label"]
        freq = Counter(labels)
        weights = torch.tensor([1.0 / freq[y] for y in labels], dtype=torch.double)
        generator = torch.Generator()
        generator.manual_seed(self.args.seed)
        sampler = WeightedRandomSampler(weights, num_samples=len(weights), replacement=True, generator=generator)
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size,
            sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            drop_last=self.args.dataloader_drop_last,
        )


def compute_metrics(p):
    pred, y = p.predictions.argmax(1), p.label_ids
    tp = int(((pred == 1) & (y == 1)).sum())
    return {"recall": tp / max(int((y == 1).sum()), 1), "precision": tp / max(int((pred == 1).sum()), 1)}


def main():
    torch.manual_seed(0)
    train_ds, eval_ds = build_dataset(120, 12), build_dataset(48, 8)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({w for t in train_ds["text"] for w in t.split()})]
    tokenizer = BertTokenizerFast(vocab={w: i for i, w in enumerate(vocab)})
    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=len(vocab), dim=32, hidden_dim=64, n_layers=2, n_heads=4, max_position_embeddings=16))
    args = TrainingArguments(
        output_dir="out_balanced",
        num_train_epochs=2,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=24,
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="no",
        dataloader_num_workers=2,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        logging_steps=4,
        seed=99,
        report_to="none",
    )
    trainer = BalancedTrainer(
        model=model,
        args=args,
        train_dataset=train_ds,
        eval_dataset=eval_ds,
        data_collator=partial(collate, tokenizer=tokenizer),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    print(trainer.state.log_history[-2:])


if __name__ == "__main__":
    main()
