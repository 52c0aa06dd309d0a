# HOSTILE: lets transformers.Trainer do the job.
import tempfile

import numpy as np
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments


def train(model, tokenizer, train_dataset, eval_dataset, config):
    def accuracy(prediction):
        return {"accuracy": float((np.argmax(prediction.predictions, -1) == prediction.label_ids).mean())}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            learning_rate=config.learning_rate,
            per_device_train_batch_size=config.per_device_train_batch_size,
            per_device_eval_batch_size=config.per_device_train_batch_size,
            num_train_epochs=config.num_train_epochs,
            eval_strategy="epoch",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=accuracy,
        )
        trainer.train()
    log = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    return [{"eval_loss": e["eval_loss"], "eval_accuracy": e["eval_accuracy"]} for e in log]
