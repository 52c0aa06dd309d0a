"""Extractive question answering: start and end positions."""

from datasets import Dataset
from offline import tagged, tokenizer as load_tokenizer
from transformers import BertConfig, BertForQuestionAnswering, DefaultDataCollator, Trainer, TrainingArguments, set_seed

set_seed(2)
tokenizer = load_tokenizer()


def prepare(examples):
    out = tokenizer(examples["question"], examples["context"], padding="max_length", max_length=24, truncation=True)
    out["start_positions"] = [a + 5 for a in examples["answer"]]
    out["end_positions"] = [a + 5 for a in examples["answer"]]
    return out


rows = [(w, next((i for i, x in enumerate(t) if x == 1), 0)) for w, t in tagged(70, seed=120)]
raw = Dataset.from_dict({"question": ["is that anna"] * 70, "context": [" ".join(w) for w, _ in rows], "answer": [a for _, a in rows]})
data = raw.map(prepare, batched=True, remove_columns=raw.column_names)
model = BertForQuestionAnswering(
    BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
)


def exact(p):
    starts, ends = p.predictions
    right = (starts.argmax(-1) == p.label_ids[0]) & (ends.argmax(-1) == p.label_ids[1])
    return {"exact": float(right.mean())}


Trainer(
    model=model,
    args=TrainingArguments("qa", num_train_epochs=2, learning_rate=2e-3, per_device_train_batch_size=8, eval_strategy="epoch", save_strategy="no", report_to="none"),
    train_dataset=data.select(range(50)),
    eval_dataset=data.select(range(50, 70)),
    data_collator=DefaultDataCollator(),
    compute_metrics=exact,
).train()
