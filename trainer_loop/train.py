"""Fine-tune DistilBERT on reviews through Hugging Face's `Trainer`.

Read it top to bottom next to `manual_loop/train.py`: the numbered headings are the same on both pages
(`diff -y manual_loop/train.py trainer_loop/train.py`). Both give the same model, bit for bit.
"""

import sys
from pathlib import Path

from transformers import DataCollatorWithPadding, EvalPrediction, Trainer, TrainingArguments, set_seed

from shared.config import RunConfig
from shared.data import load_data
from shared.model import load_model, load_tokenizer


def train(config: RunConfig, output_dir: Path) -> list[dict]:
    """Fine-tune, evaluate after every epoch, save the model to `output_dir`; return what was logged."""

    # 1. Seed: the new head's weights are random, so fix the dice before they are thrown.
    set_seed(config.seed)

    # 2. Data: load > shuffle > select > tokenize. No padding yet.
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, num_labels = load_data(config, tokenizer)

    # 3. Model: a pretrained body and a new classification head. Trainer moves it to the GPU if there is one.
    model = load_model(config, num_labels)

    arguments = TrainingArguments(
        output_dir=str(output_dir),
        use_cpu=config.use_cpu,
        seed=config.seed,  # Trainer's constructor seeds once more
        # 4. Batches: Trainer builds both DataLoaders and seeds the order anew for every epoch.
        data_seed=config.data_seed,
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_eval_batch_size,
        # 5. Optimizer: Trainer's default is the fused AdamW; biases and norms are not decayed.
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        # 6. Schedule: linear is the default.
        warmup_steps=config.warmup_steps,
        # 7. Training: the clip, the number of epochs, and when to log and to evaluate.
        max_grad_norm=config.max_grad_norm,
        num_train_epochs=config.num_train_epochs,
        logging_strategy="epoch",
        eval_strategy="epoch",
        disable_tqdm=not sys.stderr.isatty(),
        # 8. Saving: no checkpoints on the way; the model is saved below.
        save_strategy="no",
        dataloader_pin_memory=False,  # nor does the loop by hand; it would only matter for speed on a GPU
        report_to="none",
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )

    # 7. Training: every line under this heading on the other page happens in this call.
    trainer.train()

    # 8. Saving: weights, configuration and tokenizer in one folder, ready for `from_pretrained`.
    trainer.save_model()
    return trainer.state.log_history


# 9. Evaluation: Trainer runs it and computes the loss; the accuracy is up to us.
def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    predicted = prediction.predictions.argmax(axis=-1)
    return {"accuracy": (predicted == prediction.label_ids).mean().item()}
