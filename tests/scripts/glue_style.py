#!/usr/bin/env python
"""Finetuning a model for sequence classification, after the official run_glue.py."""

import logging
import sys
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset, DatasetDict
from offline import sentences, tokenizer as load_tokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

logger = logging.getLogger(__name__)


@dataclass
class DataTrainingArguments:
    max_seq_length: int = field(default=16, metadata={"help": "The maximum total input sequence length."})
    pad_to_max_length: bool = field(default=False)
    max_train_samples: int = field(default=60)


@dataclass
class ModelArguments:
    hidden_size: int = field(default=32)


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    logging.basicConfig(handlers=[logging.StreamHandler(sys.stdout)])
    set_seed(training_args.seed)

    rows = sentences(100)
    raw_datasets = DatasetDict(
        train=Dataset.from_dict({"idx": list(range(70)), "sentence": [t for t, _ in rows[:70]], "label": [y for _, y in rows[:70]]}),
        validation=Dataset.from_dict({"idx": list(range(30)), "sentence": [t for t, _ in rows[70:]], "label": [y for _, y in rows[70:]]}),
    )
    tokenizer = load_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=model_args.hidden_size, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=2
    )
    model = BertForSequenceClassification(config)

    padding = "max_length" if data_args.pad_to_max_length else False

    def preprocess_function(examples):
        return tokenizer(examples["sentence"], padding=padding, max_length=data_args.max_seq_length, truncation=True)

    with training_args.main_process_first(desc="dataset map pre-processing"):
        raw_datasets = raw_datasets.map(preprocess_function, batched=True, desc="Running tokenizer on dataset")

    if training_args.do_train:
        train_dataset = raw_datasets["train"]
        train_dataset = train_dataset.select(range(min(len(train_dataset), data_args.max_train_samples)))
    if training_args.do_eval:
        eval_dataset = raw_datasets["validation"]

    def compute_metrics(p):
        preds = p.predictions[0] if isinstance(p.predictions, tuple) else p.predictions
        preds = np.argmax(preds, axis=1)
        return {"accuracy": (preds == p.label_ids).astype(np.float32).mean().item()}

    if data_args.pad_to_max_length:
        data_collator = default_data_collator
    elif training_args.fp16:
        data_collator = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    else:
        data_collator = None

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset if training_args.do_train else None,
        eval_dataset=eval_dataset if training_args.do_eval else None,
        compute_metrics=compute_metrics,
        processing_class=tokenizer,
        data_collator=data_collator,
    )

    if training_args.do_train:
        checkpoint = None
        if training_args.resume_from_checkpoint is not None:
            checkpoint = training_args.resume_from_checkpoint
        train_result = trainer.train(resume_from_checkpoint=checkpoint)
        metrics = train_result.metrics
        metrics["train_samples"] = min(data_args.max_train_samples, len(train_dataset))
        trainer.save_model()
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()

    if training_args.do_eval:
        logger.info("*** Evaluate ***")
        metrics = trainer.evaluate(eval_dataset=eval_dataset)
        trainer.log_metrics("eval", metrics)


if __name__ == "__main__":
    main()
