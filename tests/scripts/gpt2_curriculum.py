#!/usr/bin/env python
"""Curriculum language modelling: short sentences first, longer ones later.

The training file is sorted by length once and must then be read in order, so the
trainer uses a SequentialSampler. `evaluate` additionally reports perplexity.
"""
import logging
import math
import sys
from pathlib import Path
from typing import Optional

import torch
from datasets import load_dataset
from torch.utils.data import SequentialSampler
from transformers import (
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
    set_seed,
)

logger = logging.getLogger("curriculum")
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(name)s %(message)s")

HERE = Path(__file__).resolve().parent


class CurriculumTrainer(Trainer):
    def _get_train_sampler(self, train_dataset=None) -> Optional[torch.utils.data.Sampler]:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(dataset)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        metrics = super().evaluate(eval_dataset, ignore_keys=ignore_keys, metric_key_prefix=metric_key_prefix)
        try:
            ppl = math.exp(metrics[f"{metric_key_prefix}_loss"])
        except OverflowError:
            ppl = float("inf")
        metrics[f"{metric_key_prefix}_perplexity"] = ppl
        logger.info("step %d perplexity %.2f", self.state.global_step, ppl)
        return metrics


def build_datasets(tokenizer):
    raw = load_dataset("text", data_files=str(HERE / "data" / "corpus.txt"), split="train")

    def tok(examples):
        out = tokenizer([t + " [SEP]" for t in examples["text"]], add_special_tokens=False,
                        truncation=True, max_length=64, return_token_type_ids=False)
        out["n_tokens"] = [len(x) for x in out["input_ids"]]
        return out

    raw = raw.map(tok, batched=True, remove_columns=["text"])
    splits = raw.train_test_split(test_size=40, shuffle=True, seed=0)
    train = splits["train"].sort("n_tokens").remove_columns("n_tokens")
    return train, splits["test"].remove_columns("n_tokens")


def main():
    set_seed(7)
    tokenizer = BertTokenizerFast(vocab=str(HERE / "vocab.txt"))
    train_ds, eval_ds = build_datasets(tokenizer)
    logger.info("shortest %d longest %d", len(train_ds[0]["input_ids"]), len(train_ds[-1]["input_ids"]))

    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=64, n_layer=2, n_head=4,
        bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = GPT2LMHeadModel(config)
    logger.info("%.2fM parameters", model.num_parameters() / 1e6)

    args = TrainingArguments(
        output_dir=str(HERE / "out" / "curriculum"),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=8,
        gradient_accumulation_steps=2,
        num_train_epochs=2,
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.1,
        adam_beta2=0.95,
        logging_steps=10,
        eval_strategy="steps",
        eval_steps=20,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=7,
    )
    trainer = CurriculumTrainer(
        model=model,
        args=args,
        train_dataset=train_ds,
        eval_dataset=eval_ds,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
    )
    result = trainer.train()
    trainer.log_metrics("train", result.metrics)
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)


if __name__ == "__main__":
    main()
