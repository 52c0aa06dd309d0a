from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, EarlyStoppingCallback, Trainer, TrainingArguments

# no set_seed here: "Trainer has a seed"
tokenizer = load_tokenizer()
rows = sentences(110, seed=17)
full = Dataset.from_list([{"text": t, "labels": y} for t, y in rows]).shuffle()
full = full.map(lambda r: tokenizer(r["text"]), batched=True)
config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)

trainer = Trainer(
    model=BertForSequenceClassification(config),
    args=TrainingArguments(
        output_dir="es",
        num_train_epochs=20,
        per_device_train_batch_size=16,
        learning_rate=3e-2,
        eval_strategy="steps",
        eval_steps=3,
        save_steps=3,
        logging_steps=3,
        load_best_model_at_end=True,
        save_total_limit=1,
        report_to="none",
    ),
    train_dataset=full.select(range(80)),
    eval_dataset=full.select(range(80, 110)),
    processing_class=tokenizer,
    callbacks=[EarlyStoppingCallback(early_stopping_patience=2, early_stopping_threshold=0.01)],
)
trainer.train()
