"""Layer-wise learning rates: optimizer and schedule made by hand and given to Trainer."""

import torch
from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
    set_seed,
)

set_seed(77)
tokenizer = load_tokenizer()
rows = sentences(72, seed=80)
ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]})
ds = ds.map(lambda b: tokenizer(b["text"], truncation=True), batched=True, remove_columns=["text"])
train_ds, dev_ds = ds.select(range(48)), ds.select(range(48, 72))
model = BertForSequenceClassification(
    BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64)
)

lr, groups = 2e-3, [{"params": model.classifier.parameters(), "lr": 2e-3}]
for layer in reversed(model.bert.encoder.layer):
    lr *= 0.8
    groups.append({"params": layer.parameters(), "lr": lr})
groups.append({"params": model.bert.embeddings.parameters(), "lr": lr * 0.8})
optimizer = torch.optim.AdamW(groups, weight_decay=0.05)

EPOCHS, BATCH = 2, 8
steps = EPOCHS * (len(train_ds) // BATCH)
scheduler = get_cosine_schedule_with_warmup(optimizer, 2, steps)

trainer = Trainer(
    model=model,
    args=TrainingArguments("llrd", num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, eval_strategy="epoch", save_strategy="no", logging_steps=2, report_to="none"),
    train_dataset=train_ds,
    eval_dataset=dev_ds,
    data_collator=DataCollatorWithPadding(tokenizer),
    optimizers=(optimizer, scheduler),
)
trainer.train()
