"""Fine-tune DistilBERT on reviews through Hugging Face's `Trainer`.

Read it top to bottom next to `manual_loop/train.py`: the numbered headings are the same on both pages
(`diff -y manual_loop/train.py trainer_loop/train.py`). Both give the same model, bit for bit. One neighbour,
`callbacks.py`, is what it takes for a run that was cut off and resumed to be the same run, too.
"""

import sys
from pathlib import Path

import torch
from transformers import DataCollatorWithPadding, EvalPrediction, Trainer, TrainingArguments, set_seed

from shared.config import RunConfig
from shared.data import load_data
from shared.model import load_model, load_tokenizer
from trainer_loop.callbacks import ExactResume


def train(config: RunConfig, output_dir: Path, checkpoint: Path | None = None) -> list[dict]:
    """Fine-tune (from `checkpoint` on, if given), evaluate, save to `output_dir`; return what was logged."""

    # 1. Seed: the new head's weights are random, so fix the dice before they are thrown.
    set_seed(config.seed)

    # 2. Data: load > shuffle > select > tokenize. No padding yet.
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, num_labels = load_data(config, tokenizer)

    # 3. Model: a pretrained body and a new classification head. Trainer moves it to the GPU if there is one.
    model = load_model(config, num_labels)
    if config.freeze_body:
        model.base_model.requires_grad_(False)
    if not config.trainer_defaults:
        # A remedy. Some models divide their loss by the number of items in all accumulated batches; they announce it
        # with **kwargs in forward(), and Trainer then leaves the division to them. DistilBERT has **kwargs but does
        # not divide, so with accumulation or several processes its loss and gradients would be too large
        # (huggingface/transformers#47688). This line tells Trainer the truth.
        model.accepts_loss_kwargs = False

    arguments = TrainingArguments(
        output_dir=str(output_dir),
        use_cpu=config.use_cpu or not torch.accelerator.is_available(),
        seed=config.seed,  # Trainer's constructor seeds once more
        full_determinism=config.full_determinism,
        # 4. Batches: Trainer builds both DataLoaders and seeds the random order anew for every epoch.
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_eval_batch_size,
        train_sampling_strategy=config.train_sampling_strategy,
        data_seed=config.data_seed,
        dataloader_drop_last=config.dataloader_drop_last,
        dataloader_num_workers=config.dataloader_num_workers,
        dataloader_pin_memory=False,  # as by hand; it would only change the speed on a GPU
        # 5. Optimizer: Trainer makes the two groups and never decays biases and norms.
        optim=config.optim,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        # 6. Schedule.
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=config.warmup_steps,
        # 7. Training: how long, how the gradients come about, when to log and to evaluate.
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        max_grad_norm=config.max_grad_norm,
        label_smoothing_factor=config.label_smoothing_factor,
        bf16=config.bf16,
        fp16=config.fp16,
        gradient_checkpointing=config.gradient_checkpointing or None,
        torch_compile=config.torch_compile,
        logging_strategy=config.logging_strategy,
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,  # True, the default, would log other losses in place of NaN and train on
        eval_strategy=config.eval_strategy,
        eval_steps=config.eval_steps,
        ddp_find_unused_parameters=False,  # several processes: every trained parameter takes part in every step
        disable_tqdm=not sys.stderr.isatty(),
        report_to="none",
        # 8. Saving: checkpoints on the way. (save_total_limit: the callback deletes the older ones, a little later.)
        save_strategy=config.save_strategy,
        save_steps=config.save_steps,
        load_best_model_at_end=config.load_best_model_at_end,
        metric_for_best_model=config.metric_for_best_model,
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
    trainer.add_callback(ExactResume(trainer, config, output_dir, checkpoint))

    # 7. Training: every line under this heading on the other page happens in this call.
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))

    # 8. Saving: weights, configuration and tokenizer in one folder, ready for `from_pretrained`.
    trainer.save_model()
    return trainer.state.log_history


# 9. Evaluation: Trainer runs it and computes the loss; the accuracy is up to us.
def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    predicted = prediction.predictions.argmax(axis=-1)
    return {"accuracy": (predicted == prediction.label_ids).mean().item()}
