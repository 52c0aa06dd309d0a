"""Focal loss through compute_loss_func, which is told the number of items of the whole step."""

import torch
import torch.nn.functional as F
from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

GAMMA = 2.0


def focal_loss(outputs, labels, num_items_in_batch=None):
    ce = F.cross_entropy(outputs.logits, labels, reduction="none")
    focal = (1 - torch.exp(-ce)) ** GAMMA * ce
    return focal.sum() / num_items_in_batch if num_items_in_batch is not None else focal.mean()


def main():
    set_seed(5)
    tokenizer = load_tokenizer()
    rows = sentences(64, seed=40)
    ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]})
    ds = ds.map(lambda b: tokenizer(b["text"]), batched=True, remove_columns="text")
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    )
    trainer = Trainer(
        model=model,
        args=TrainingArguments("focal", num_train_epochs=2, learning_rate=2e-3, per_device_train_batch_size=4, gradient_accumulation_steps=3, eval_strategy="epoch", save_strategy="no", logging_steps=2, report_to="none"),
        train_dataset=ds.select(range(45)),
        eval_dataset=ds.select(range(45, 64)),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_loss_func=focal_loss,
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
    )
    trainer.train()
    trainer.push_to_hub("nothing") if False else None


main()
