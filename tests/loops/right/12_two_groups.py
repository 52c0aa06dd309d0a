"""Adapted from run_glue_no_trainer.py: parameter groups by name, though nothing decays here."""
import logging
import math

import torch
from torch.utils.data import DataLoader
from transformers import SchedulerType, default_data_collator, get_scheduler  # noqa: F401
from transformers import DataCollatorWithPadding

logger = logging.getLogger(__name__)


def get_grouped_params(model, weight_decay):
    no_decay = ["bias", "LayerNorm.weight", "layer_norm.weight"]
    return [
        {
            "params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)],
            "weight_decay": weight_decay,
        },
        {
            "params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)],
            "weight_decay": 0.0,
        },
    ]


def train(model, tokenizer, train_dataset, eval_dataset, config):
    data_collator = DataCollatorWithPadding(tokenizer)
    train_dataloader = DataLoader(
        train_dataset, shuffle=True, collate_fn=data_collator, batch_size=config.per_device_train_batch_size
    )
    eval_dataloader = DataLoader(eval_dataset, collate_fn=data_collator, batch_size=config.per_device_eval_batch_size)

    optimizer = torch.optim.AdamW(get_grouped_params(model, weight_decay=0.0), lr=config.learning_rate)

    num_update_steps_per_epoch = math.ceil(len(train_dataset) / config.per_device_train_batch_size)
    max_train_steps = int(config.num_train_epochs) * num_update_steps_per_epoch
    lr_scheduler = get_scheduler(
        name=SchedulerType.LINEAR, optimizer=optimizer, num_warmup_steps=0, num_training_steps=max_train_steps
    )

    logger.info("***** Running training *****")
    logger.info("  Num examples = %d", len(train_dataset))
    completed_steps = 0
    all_results = []
    for epoch in range(int(config.num_train_epochs)):
        model.train()
        total_loss = 0
        for step, batch in enumerate(train_dataloader):
            model.zero_grad()
            outputs = model(**batch, return_dict=True)
            loss = outputs.loss
            total_loss += loss.detach().float()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [p for group in optimizer.param_groups for p in group["params"]], max_norm=1.0
            )
            optimizer.step()
            lr_scheduler.step()
            completed_steps += 1
            if completed_steps >= max_train_steps:
                break

        model.eval()
        samples_seen, correct, eval_loss = 0, 0, torch.zeros((), dtype=torch.float64)
        for step, batch in enumerate(eval_dataloader):
            with torch.no_grad():
                outputs = model(**batch)
            predictions = outputs.logits.argmax(dim=-1)
            correct += int(predictions.eq(batch["labels"]).sum())
            eval_loss += outputs.loss.double() * predictions.numel()
            samples_seen += predictions.numel()
        eval_metric = {"eval_loss": (eval_loss / samples_seen).item(), "eval_accuracy": correct / samples_seen}
        logger.info("epoch %d: %s", epoch, eval_metric)
        all_results.append(eval_metric)
    return all_results
