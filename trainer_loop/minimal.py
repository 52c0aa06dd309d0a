"""Fine-tune DistilBERT with `Trainer`: the five steps of Hugging Face's tutorial."""

from transformers import DataCollatorWithPadding, Trainer, TrainingArguments


def train(model, tokenizer, train_dataset, eval_dataset, config):
    # 1. Batches: each padded to its own longest review.
    collator = DataCollatorWithPadding(tokenizer)

    # 2. The metric; Trainer computes the loss by itself.
    def compute_metrics(prediction):
        predicted = prediction.predictions.argmax(axis=-1)  # logits (reviews, classes)
        return {"accuracy": (predicted == prediction.label_ids).mean().item()}

    # 3. The arguments. All others keep Trainer's defaults.
    arguments = TrainingArguments(
        learning_rate=config.learning_rate,
        num_train_epochs=config.num_train_epochs,
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_eval_batch_size,
        seed=config.seed,
        eval_strategy="epoch",
        save_strategy="no",
    )

    # 4. The trainer.
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        data_collator=collator,
        compute_metrics=compute_metrics,
    )

    # 5. Training.
    trainer.train()
    return [line for line in trainer.state.log_history if "eval_loss" in line]
