"""Adversarial training (FGM) through an own training_step."""

import torch
from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed


class FGMTrainer(Trainer):
    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, dict(inputs), num_items_in_batch)
        weight = model.bert.embeddings.word_embeddings.weight
        attack = 0.5 * weight.grad / (weight.grad.norm() + 1e-8)
        weight.data.add_(attack)
        super().training_step(model, inputs, num_items_in_batch)
        weight.data.sub_(attack)
        return loss


set_seed(6)
tokenizer = load_tokenizer()
rows = sentences(48, seed=130)
ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]}).map(lambda b: tokenizer(b["text"]), batched=True)
model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64))
trainer = FGMTrainer(model=model, args=TrainingArguments("fgm", num_train_epochs=1, report_to="none"), train_dataset=ds, processing_class=tokenizer)
trainer.train()
