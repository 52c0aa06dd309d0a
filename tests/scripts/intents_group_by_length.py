import argparse
import os
import random

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
    TrainingArguments,
)
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing


def set_random_seed(seed: int):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class LongShortDocs(Dataset):
    """Documents of very different lengths; tokenized once, in memory."""

    TOPICS = {
        0: "goal match referee player league coach".split(),
        1: "bank market shares profit investor tax".split(),
        2: "galaxy orbit planet rocket comet telescope".split(),
    }

    def __init__(self, n, seed, tokenizer=None, max_length=96):
        rng = random.Random(seed)
        self.labels = [rng.randrange(3) for _ in range(n)]
        self.texts = []
        for y in self.labels:
            length = rng.choice([4, 6, 10, 40])
            self.texts.append(" ".join(rng.choice(self.TOPICS[y] + ["the", "a", "of"]) for _ in range(length)))
        self.features = None
        if tokenizer is not None:
            self.encode(tokenizer, max_length)

    def encode(self, tokenizer, max_length):
        self.features = []
        for text, y in zip(self.texts, self.labels):
            f = dict(tokenizer(text, truncation=True, max_length=max_length))
            f["label"] = y
            f["length"] = len(f["input_ids"])
            self.features.append(f)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.features[i]


def train_bpe(texts):
    bpe = ByteLevelBPETokenizer(add_prefix_space=True)
    bpe.train_from_iterator(texts, vocab_size=350, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    bpe._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>", mask_token="<mask>", model_input_names=["input_ids", "attention_mask"],
    )


def parse():
    p = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("-o", "--output-dir", default="out_intents")
    p.add_argument("-b", "--batch-size", type=int, default=8)
    p.add_argument("-a", "--accum", type=int, default=2, help="gradient accumulation steps")
    p.add_argument("-e", "--epochs", type=int, default=2)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--no-grouping", action="store_true")
    p.add_argument("--no-checkpointing", action="store_true")
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args()


def main():
    args = parse()
    set_random_seed(args.seed)
    os.makedirs(args.output_dir, exist_ok=True)

    tokenizer = train_bpe(LongShortDocs(96, 0).texts)
    train_set = LongShortDocs(96, 0, tokenizer)
    test_set = LongShortDocs(32, 1, tokenizer)

    model = RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
            max_position_embeddings=100, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, num_labels=3,
        )
    )

    training_args = TrainingArguments(
        output_dir=args.output_dir,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=16,
        gradient_accumulation_steps=args.accum,
        gradient_checkpointing=not args.no_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        train_sampling_strategy="random" if args.no_grouping else "group_by_length",
        length_column_name="length",
        learning_rate=args.lr,
        lr_scheduler_type="polynomial",
        warmup_steps=2,
        num_train_epochs=args.epochs,
        logging_steps=2,
        logging_first_step=True,
        save_strategy="no",
        seed=args.seed,
        report_to=[],
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_set,
        eval_dataset=test_set,
        data_collator=DataCollatorWithPadding(tokenizer, padding="longest"),
        compute_metrics=lambda p: {"acc": float(np.mean(p.predictions.argmax(-1) == p.label_ids))},
    )
    trainer.train()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
