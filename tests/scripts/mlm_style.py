"""Masked language modelling, after the official run_mlm.py: texts in blocks, words masked anew in every epoch."""

from itertools import chain

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    set_seed,
)

set_seed(11)
tokenizer = load_tokenizer()
raw = Dataset.from_dict({"text": [t for t, _ in sentences(220, seed=5)]}).train_test_split(0.2, shuffle=False)
tokenized = raw.map(
    lambda ex: tokenizer(ex["text"], return_special_tokens_mask=True), batched=True, remove_columns=["text"]
)
max_seq_length = 24


def group_texts(examples):
    concatenated_examples = {k: list(chain(*examples[k])) for k in examples}
    total_length = len(concatenated_examples[list(examples.keys())[0]])
    total_length = (total_length // max_seq_length) * max_seq_length
    return {
        k: [t[i : i + max_seq_length] for i in range(0, total_length, max_seq_length)]
        for k, t in concatenated_examples.items()
    }


tokenized = tokenized.map(group_texts, batched=True)
model = BertForMaskedLM(
    BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
)


def preprocess_logits_for_metrics(logits, labels):
    if isinstance(logits, tuple):
        logits = logits[0]
    return logits.argmax(dim=-1)


def compute_metrics(eval_preds):
    preds, labels = eval_preds
    labels = labels.reshape(-1)
    preds = preds.reshape(-1)
    mask = labels != -100
    return {"accuracy": float((preds[mask] == labels[mask]).mean())}


trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="mlm",
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        num_train_epochs=2,
        eval_strategy="steps",
        eval_steps=5,
        logging_steps=3,
        save_strategy="no",
        warmup_steps=2,
        report_to="none",
        seed=11,
    ),
    train_dataset=tokenized["train"],
    eval_dataset=tokenized["test"],
    processing_class=tokenizer,
    data_collator=DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15),
    compute_metrics=compute_metrics,
    preprocess_logits_for_metrics=preprocess_logits_for_metrics,
)
trainer.train()
trainer.evaluate()
