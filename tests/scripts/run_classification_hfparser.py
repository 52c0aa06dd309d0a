#!/usr/bin/env python
# coding=utf-8
"""Finetuning a small model for sequence classification on csv files (adapted from run_glue.py)."""

import csv
import logging
import os
import random
import sys
from dataclasses import dataclass, field
from typing import Optional

import datasets
import numpy as np
import transformers
from datasets import load_dataset
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DataCollatorWithPadding,
    EvalPrediction,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

logger = logging.getLogger(__name__)


@dataclass
class DataTrainingArguments:
    train_file: Optional[str] = field(default=None, metadata={"help": "A csv file with the training data."})
    validation_file: Optional[str] = field(default=None, metadata={"help": "A csv file with the validation data."})
    test_file: Optional[str] = field(default=None, metadata={"help": "A csv file with the test data."})
    max_seq_length: int = field(default=128, metadata={"help": "Maximum total input length after tokenization."})
    pad_to_max_length: bool = field(default=True, metadata={"help": "Whether to pad all samples to max_seq_length."})
    max_train_samples: Optional[int] = field(default=None, metadata={"help": "Truncate the number of training examples."})
    max_eval_samples: Optional[int] = field(default=None, metadata={"help": "Truncate the number of eval examples."})

    def __post_init__(self):
        if self.train_file is None or self.validation_file is None:
            raise ValueError("Need a training and a validation file.")


@dataclass
class ModelArguments:
    hidden_size: int = field(default=64)
    num_hidden_layers: int = field(default=2)
    num_attention_heads: int = field(default=4)
    vocab_size: int = field(default=300)


def make_csv_files(data_args):
    """There is no GLUE here, so we write our own little sentiment corpus."""
    rng = random.Random(0)
    subj = ["the film", "this movie", "the plot", "the acting", "the soundtrack", "her performance"]
    good = ["wonderful", "moving", "a delight", "brilliant", "clever and warm"]
    bad = ["dreadful", "boring", "a waste of time", "clumsy", "flat and tired"]
    for path, n in [(data_args.train_file, 120), (data_args.validation_file, 40), (data_args.test_file, 20)]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", newline="") as f:
            w = csv.writer(f)
            w.writerow(["sentence", "label"])
            for _ in range(n):
                y = rng.randint(0, 1)
                w.writerow([f"{rng.choice(subj)} is {rng.choice(good if y else bad)}", "positive" if y else "negative"])


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    if len(sys.argv) == 1:
        here = os.path.dirname(os.path.abspath(__file__))
        model_args, data_args, training_args = parser.parse_json_file(os.path.join(here, "glue_like_config.json"))
    elif len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        # If we pass only one argument to the script and it's the path to a json file,
        # let's parse it to get our arguments.
        model_args, data_args, training_args = parser.parse_json_file(json_file=os.path.abspath(sys.argv[1]))
    else:
        model_args, data_args, training_args = parser.parse_args_into_dataclasses()

    # Setup logging
    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        handlers=[logging.StreamHandler(sys.stdout)],
    )
    if training_args.should_log:
        transformers.utils.logging.set_verbosity_info()
    log_level = training_args.get_process_log_level()
    logger.setLevel(log_level)
    datasets.utils.logging.set_verbosity(log_level)
    transformers.utils.logging.enable_default_handler()
    transformers.utils.logging.enable_explicit_format()
    logger.info(f"Training/evaluation parameters {training_args}")

    set_seed(training_args.seed)
    make_csv_files(data_args)

    data_files = {"train": data_args.train_file, "validation": data_args.validation_file}
    if training_args.do_predict and data_args.test_file is not None:
        data_files["test"] = data_args.test_file
    raw_datasets = load_dataset("csv", data_files=data_files)

    # Labels
    label_list = sorted(raw_datasets["train"].unique("label"))
    num_labels = len(label_list)
    label_to_id = {v: i for i, v in enumerate(label_list)}

    wp = BertWordPieceTokenizer(lowercase=True)
    wp.train_from_iterator(raw_datasets["train"]["sentence"], vocab_size=model_args.vocab_size, min_frequency=1, show_progress=False)
    tokenizer = BertTokenizerFast(tokenizer_object=wp._tokenizer, model_max_length=64)

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=model_args.hidden_size,
        num_hidden_layers=model_args.num_hidden_layers,
        num_attention_heads=model_args.num_attention_heads,
        intermediate_size=2 * model_args.hidden_size,
        max_position_embeddings=64,
        num_labels=num_labels,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForSequenceClassification(config)
    model.config.label2id = label_to_id
    model.config.id2label = {i: label for label, i in label_to_id.items()}

    padding = "max_length" if data_args.pad_to_max_length else False
    max_seq_length = min(data_args.max_seq_length, tokenizer.model_max_length)

    def preprocess_function(examples):
        result = tokenizer(examples["sentence"], padding=padding, max_length=max_seq_length, truncation=True)
        result["labels"] = [label_to_id[l] for l in examples["label"]]
        return result

    with training_args.main_process_first(desc="dataset map pre-processing"):
        raw_datasets = raw_datasets.map(preprocess_function, batched=True, remove_columns=["label"], desc="Running tokenizer on dataset")

    train_dataset = raw_datasets["train"]
    if data_args.max_train_samples is not None:
        train_dataset = train_dataset.select(range(min(len(train_dataset), data_args.max_train_samples)))
    eval_dataset = raw_datasets["validation"]
    if data_args.max_eval_samples is not None:
        eval_dataset = eval_dataset.select(range(min(len(eval_dataset), data_args.max_eval_samples)))

    for index in random.sample(range(len(train_dataset)), 3):
        logger.info(f"Sample {index} of the training set: {train_dataset[index]}.")

    def compute_metrics(p: EvalPrediction):
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

    # Training
    if training_args.do_train:
        checkpoint = None
        if training_args.resume_from_checkpoint is not None:
            checkpoint = training_args.resume_from_checkpoint
        train_result = trainer.train(resume_from_checkpoint=checkpoint)
        metrics = train_result.metrics
        metrics["train_samples"] = len(train_dataset)
        trainer.save_model()
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()

    # Evaluation
    if training_args.do_eval:
        logger.info("*** Evaluate ***")
        metrics = trainer.evaluate(eval_dataset=eval_dataset)
        metrics["eval_samples"] = len(eval_dataset)
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)

    if training_args.do_predict:
        logger.info("*** Predict ***")
        predict_dataset = raw_datasets["test"].remove_columns("labels")
        predictions = trainer.predict(predict_dataset, metric_key_prefix="predict").predictions
        predictions = np.argmax(predictions, axis=1)
        output_predict_file = os.path.join(training_args.output_dir, "predict_results.txt")
        if trainer.is_world_process_zero():
            with open(output_predict_file, "w") as writer:
                writer.write("index\tprediction\n")
                for index, item in enumerate(predictions):
                    writer.write(f"{index}\t{label_list[item]}\n")


def _mp_fn(index):
    # For xla_spawn (TPUs)
    main()


if __name__ == "__main__":
    main()
