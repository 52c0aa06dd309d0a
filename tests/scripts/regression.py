import numpy as np
from datasets import Dataset
from offline import GOOD, sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

set_seed(1)
tok = load_tokenizer()
rows = sentences(80, seed=4)
df = {"text": [t for t, _ in rows], "label": [float(sum(w in GOOD for w in t.split())) / 3 for t, _ in rows]}
ds = Dataset.from_dict(df).map(lambda x: tok(x["text"], truncation=True, padding="max_length", max_length=14), batched=True)
ds = ds.train_test_split(test_size=0.3, seed=42)
model = BertForSequenceClassification(
    BertConfig(vocab_size=len(tok), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=1)
)


def metrics(pred):
    logits, labels = pred
    err = logits.squeeze() - labels
    return {"rmse": np.sqrt((err**2).mean()), "mae": np.abs(err).mean(), "r": np.corrcoef(logits.squeeze(), labels)[0, 1]}


args = TrainingArguments(
    "reg",
    per_device_train_batch_size=8,
    per_device_eval_batch_size=8,
    gradient_accumulation_steps=4,
    learning_rate=2e-3,
    num_train_epochs=3,
    lr_scheduler_type="cosine",
    logging_steps=1,
    eval_strategy="epoch",
    save_strategy="epoch",
    save_total_limit=2,
    load_best_model_at_end=True,
    metric_for_best_model="rmse",
    greater_is_better=False,
    report_to="none",
)
trainer = Trainer(model=model, args=args, train_dataset=ds["train"], eval_dataset=ds["test"], compute_metrics=metrics)
trainer.train()
trainer.save_model("reg/best")
