"""Fine-tune DistilBERT on movie reviews through Hugging Face's `Trainer`.

Read it next to `manual_loop/train.py`, best with `sameloop diff`: a comment that names
a phase begins a block, and both files have the same phases. Both give the same model,
bit for bit. With the helper module `callbacks.py`, a run that is interrupted and
resumed gives the same model, too.
"""

import sys
from pathlib import Path

import torch
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    set_seed,
)

from shared.config import RunConfig
from shared.data import load_data
from shared.model import load_model, load_tokenizer
from shared.releases import TrainingArguments  # transformers' own
from trainer_loop.callbacks import ExactResume


def train(config: RunConfig, output_dir: Path, checkpoint: Path | None = None) -> list:
    """Fine-tune (from `checkpoint` on, if given), evaluate, save; return the log."""
    # Seed: before the new head is initialized, because its weights are random.
    set_seed(config.seed)

    # Data: load both sets and tokenize them. No padding yet.
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, labels = load_data(config, tokenizer)

    # Model: a pretrained body and a new classification head.
    model = load_model(config, labels)
    if config.freeze_body:
        model.base_model.requires_grad_(False)

    # Loss: a workaround. Some models divide their loss by the number of items in all
    # accumulated batches. Trainer takes **kwargs in forward() as the sign of such a
    # model, and then does not divide. DistilBERT has **kwargs and does not divide, so
    # with accumulation or several processes its loss and gradients would be too large
    # (huggingface/transformers#47688). This line makes Trainer divide.
    if not config.trainer_defaults:
        model.accepts_loss_kwargs = False

    patience = config.early_stopping_patience
    # Arguments: how to train.
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        # Seed: Trainer's constructor seeds again.
        seed=config.seed,
        # Determinism: slower, but a GPU gives the same bits in every run.
        full_determinism=config.full_determinism,
        # Device: the GPU if there is one; if there is none, Trainer wants to be told.
        use_cpu=config.use_cpu or not torch.accelerator.is_available(),
        # Shuffle: another order in every epoch, the same one in every run.
        train_sampling_strategy=config.train_sampling_strategy,
        data_seed=config.data_seed,
        # Batch: Trainer builds both data loaders.
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_eval_batch_size,
        dataloader_drop_last=config.dataloader_drop_last,
        dataloader_num_workers=config.dataloader_num_workers,
        dataloader_pin_memory=False,  # as in the manual loop; it changes only the speed
        # Epoch: how long.
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps,
        # Optimizer: weight decay acts on matrices, not on biases and LayerNorm.
        optim=config.optim,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        # Schedule: the learning rate of every step; the default falls linearly to 0.
        lr_scheduler_type=config.lr_scheduler_type,
        lr_scheduler_kwargs=config.lr_scheduler_kwargs,
        warmup_steps=config.warmup_steps,
        # Wrapping: for torch.compile and for several processes.
        activation_checkpointing=config.gradient_checkpointing,
        torch_compile=config.torch_compile,
        ddp_find_unused_parameters=False,  # each step uses all trained parameters
        # Forward: 16-bit precision, and label smoothing.
        bf16=config.bf16,
        fp16=config.fp16,
        label_smoothing_factor=config.label_smoothing_factor,
        # Loss: a step may accumulate several batches.
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        # Clip: scale all gradients down if their joint norm is above this.
        max_grad_norm=config.max_grad_norm,
        # Progress: on a terminal only.
        disable_tqdm=None if sys.stderr.isatty() else True,
        # Log: the mean loss since the last log, and this step's norm and rate.
        logging_strategy=config.logging_strategy,
        logging_steps=config.logging_steps,
        report_to="none",
        # Evaluate: on the validation set.
        eval_strategy=config.eval_strategy,
        eval_steps=config.eval_steps,
        # Checkpoint: save the state of the training.
        save_strategy=config.save_strategy,
        save_steps=config.save_steps,
        load_best_model_at_end=config.load_best_model_at_end,
        metric_for_best_model=config.metric_for_best_model,
        restore_callback_states_from_checkpoint=patience is not None,
    )
    # Evaluate: stop when the evaluations no longer improve.
    callbacks = [EarlyStoppingCallback(patience)] if patience is not None else None
    # Arguments: what to train, and on what.
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        # Collator: pads each batch to its own longest example.
        data_collator=DataCollatorWithPadding(tokenizer),
        # Evaluate: Trainer computes the loss; this function adds the accuracy.
        compute_metrics=compute_metrics,
        callbacks=callbacks,
        # Save: the tokenizer, too.
        processing_class=tokenizer,
    )
    # Checkpoint: makes a run that was interrupted and resumed the same run.
    trainer.add_callback(ExactResume(trainer, config, output_dir, checkpoint))

    # Epoch: everything else that the manual loop does happens in this call.
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))

    # Save: weights, configuration and tokenizer, ready for `from_pretrained`.
    trainer.save_model()
    return trainer.state.log_history


# Evaluate: the share of examples that are classified correctly.
def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    predicted = prediction.predictions.argmax(axis=-1)  # logits (reviews, classes)
    return {"accuracy": (predicted == prediction.label_ids).mean().item()}
