"""Causal language modelling, after the official run_clm.py."""

import argparse
import math

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, default_data_collator, set_seed


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--block_size", type=int, required=True)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--lr", type=float, default=1e-3)
    return parser.parse_args()


def main():
    cli = parse()
    args = TrainingArguments(
        output_dir="clm",
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=cli.accumulate,
        learning_rate=cli.lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.1,
        adam_beta2=0.95,
        num_train_epochs=2,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
    )
    set_seed(args.seed)
    tokenizer = load_tokenizer(bos=True)

    def encode(batch):
        ids = [i for text in batch["text"] for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
        blocks = [ids[i : i + cli.block_size] for i in range(0, len(ids) - cli.block_size, cli.block_size)]
        return {"input_ids": blocks, "labels": [list(b) for b in blocks]}

    data = Dataset.from_dict({"text": [t for t, _ in sentences(150, seed=9)]}).train_test_split(0.2, seed=1)
    data = data.map(encode, batched=True, remove_columns=["text"])
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=32, n_layer=2, n_head=2))
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=data["train"],
        eval_dataset=data["test"],
        processing_class=tokenizer,
        data_collator=default_data_collator,
    )
    trainer.train()
    print("perplexity", math.exp(trainer.evaluate()["eval_loss"]))


main()
