"""Two validation sets: one like the training data, one of longer texts; the best model by the second."""

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

set_seed(15)
tokenizer = load_tokenizer()


def load(n, seed, repeat=1):
    rows = sentences(n, seed=seed)
    ds = Dataset.from_dict({"text": [" ".join([t] * repeat) for t, _ in rows], "label": [y for _, y in rows], "source": [f"s{seed}"] * n})
    return ds.map(lambda b: tokenizer(b["text"], truncation=True, max_length=40), batched=True)


def accuracy(p):
    return {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())}


trainer = Trainer(
    model=BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)),
    args=TrainingArguments(
        "two",
        num_train_epochs=3,
        learning_rate=2e-3,
        per_device_train_batch_size=8,
        bf16=True,
        use_cpu=True,
        eval_strategy="epoch",
        save_strategy="best",
        load_best_model_at_end=True,
        metric_for_best_model="eval_long_loss",
        greater_is_better=False,
        report_to="none",
    ),
    train_dataset=load(50, 90),
    eval_dataset={"short": load(18, 91), "long": load(13, 92, repeat=3)},
    processing_class=tokenizer,
    compute_metrics=accuracy,
)
trainer.train()
