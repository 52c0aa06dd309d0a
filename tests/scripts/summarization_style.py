"""Sequence to sequence with a tiny T5, after the official run_summarization.py, without generation."""

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import (
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

set_seed(4)
tokenizer = load_tokenizer()
model = T5ForConditionalGeneration(
    T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0, pad_token_id=0, eos_token_id=3)
)
prefix = "a "


def preprocess_function(examples):
    inputs = [prefix + doc for doc in examples["document"]]
    model_inputs = tokenizer(inputs, max_length=20, truncation=True)
    labels = tokenizer(text_target=examples["summary"], max_length=8, truncation=True)
    model_inputs["labels"] = labels["input_ids"]
    return model_inputs


texts = [t for t, _ in sentences(60, seed=110)]
ds = Dataset.from_dict({"document": texts, "summary": [" ".join(t.split()[1:4]) for t in texts]})
ds = ds.map(preprocess_function, batched=True, remove_columns=["document", "summary"])
args = Seq2SeqTrainingArguments(
    output_dir="t5",
    per_device_train_batch_size=4,
    per_device_eval_batch_size=4,
    gradient_accumulation_steps=2,
    learning_rate=3e-3,
    optim="adafactor",
    num_train_epochs=2,
    eval_strategy="epoch",
    save_strategy="no",
    report_to="none",
)
trainer = Seq2SeqTrainer(
    model=model,
    args=args,
    train_dataset=ds.select(range(42)),
    eval_dataset=ds.select(range(42, 60)),
    data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
    processing_class=tokenizer,
)
trainer.train()
