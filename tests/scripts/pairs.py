"""Are two sentences of one opinion? The course's MRPC chapter, with f1 for the best model."""

import numpy as np
from datasets import Dataset, DatasetDict
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

set_seed(42)
tokenizer = load_tokenizer()
one, two = sentences(90, seed=1), sentences(90, seed=2)
everything = Dataset.from_dict(
    {
        "sentence1": [t for t, _ in one],
        "sentence2": [t for t, _ in two],
        "label": [int(a == b) for (_, a), (_, b) in zip(one, two)],
        "idx": list(range(90)),
    }
)
raw_datasets = DatasetDict(train=everything.select(range(62)), validation=everything.select(range(62, 90)))


def tokenize_function(example):
    return tokenizer(example["sentence1"], example["sentence2"], truncation=True)


tokenized_datasets = raw_datasets.map(tokenize_function, batched=True)
data_collator = DataCollatorWithPadding(tokenizer=tokenizer)


def f1_score(preds, labels):
    tp = ((preds == 1) & (labels == 1)).sum()
    return float(2 * tp / max((preds == 1).sum() + (labels == 1).sum(), 1))


def compute_metrics(eval_preds):
    logits, labels = eval_preds
    predictions = np.argmax(logits, axis=-1)
    return {"accuracy": float((predictions == labels).mean()), "f1": f1_score(predictions, labels)}


training_args = TrainingArguments(
    "test-trainer",
    eval_strategy="steps",
    eval_steps=4,
    save_strategy="steps",
    save_steps=8,
    load_best_model_at_end=True,
    metric_for_best_model="f1",
    max_steps=19,
    learning_rate=3e-3,
    logging_steps=5,
    logging_first_step=True,
    report_to="none",
)
model = BertForSequenceClassification(
    BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
)
trainer = Trainer(
    model,
    training_args,
    train_dataset=tokenized_datasets["train"],
    eval_dataset=tokenized_datasets["validation"],
    data_collator=data_collator,
    processing_class=tokenizer,
    compute_metrics=compute_metrics,
)
trainer.train()
predictions = trainer.predict(tokenized_datasets["validation"])
print(predictions.predictions.shape, predictions.label_ids.shape)
