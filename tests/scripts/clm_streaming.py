from __future__ import annotations

import argparse
import json
import logging
import pathlib

import torch
from datasets import load_dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.trainers import WordLevelTrainer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, Trainer, TrainingArguments

log = logging.getLogger("pretrain")

EOS = "<|endoftext|>"


def write_corpus(path: pathlib.Path, n: int, offset: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    animals = "cat dog fox owl hen cow".split()
    verbs = "sees hears follows likes".split()
    with path.open("w") as fh:
        for i in range(offset, offset + n):
            a, v, b = animals[i % 6], verbs[i // 3 % 4], animals[(i * 5 + 1) % 6]
            fh.write(json.dumps({"text": f"the {a} {v} the {b} and the {b} {v} the {a}", "meta": {"i": i}}) + "\n")


def build_tokenizer(path: pathlib.Path) -> PreTrainedTokenizerFast:
    tok = Tokenizer(WordLevel(unk_token="<unk>"))
    tok.pre_tokenizer = Whitespace()
    tok.train_from_iterator(
        (json.loads(line)["text"] for line in path.open()),
        WordLevelTrainer(special_tokens=["<unk>", EOS], show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tok, unk_token="<unk>", eos_token=EOS, bos_token=EOS, pad_token=EOS)


class PackedDataset(torch.utils.data.IterableDataset):
    """Packs a stream of documents into constant length sequences."""

    def __init__(self, tokenizer, stream, seq_length=24, infinite=False):
        self.tokenizer = tokenizer
        self.stream = stream
        self.seq_length = seq_length
        self.infinite = infinite

    def __iter__(self):
        buffer = []
        while True:
            for example in self.stream:
                buffer.extend(self.tokenizer(example["text"])["input_ids"] + [self.tokenizer.eos_token_id])
                while len(buffer) >= self.seq_length:
                    chunk, buffer = buffer[: self.seq_length], buffer[self.seq_length :]
                    ids = torch.tensor(chunk)
                    yield {"input_ids": ids, "labels": ids.clone()}
            if not self.infinite:
                return
            log.info("stream exhausted, starting again")


def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seq_length", type=int, default=24)
    parser.add_argument("--max_steps", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--gradient_accumulation_steps", type=int, default=2)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--lr_scheduler_type", type=str, default="cosine")
    parser.add_argument("--num_warmup_steps", type=int, default=4)
    parser.add_argument("--weight_decay", type=float, default=0.05)
    parser.add_argument("--output_dir", type=str, default="out_clm_stream")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffle_buffer", type=int, default=50)
    return parser.parse_args()


def run(args):
    torch.manual_seed(args.seed)
    out = pathlib.Path(args.output_dir)
    write_corpus(out / "train.jsonl", 150)
    write_corpus(out / "valid.jsonl", 20, offset=1000)
    tokenizer = build_tokenizer(out / "train.jsonl")

    files = {"train": str(out / "train.jsonl"), "valid": str(out / "valid.jsonl")}
    streams = load_dataset("json", data_files=files, streaming=True)
    train_stream = streams["train"].shuffle(buffer_size=args.shuffle_buffer, seed=args.seed)
    train_data = PackedDataset(tokenizer, train_stream, args.seq_length, infinite=True)
    valid_data = PackedDataset(tokenizer, streams["valid"], args.seq_length)

    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=48, n_layer=2, n_head=4,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )
    model = GPT2LMHeadModel(config)

    training_args = TrainingArguments(
        output_dir=args.output_dir,
        dataloader_drop_last=True,
        eval_strategy="steps",
        max_steps=args.max_steps,
        eval_steps=6,
        save_steps=6,
        logging_steps=2,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        lr_scheduler_type=args.lr_scheduler_type,
        warmup_steps=args.num_warmup_steps,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        weight_decay=args.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=0.5,
        run_name="gpt-tiny",
        report_to="none",
        seed=args.seed,
        prediction_loss_only=True,
    )
    trainer = Trainer(model=model, args=training_args, train_dataset=train_data, eval_dataset=valid_data)

    log.info("Training...")
    trainer.train()
    log.info("Saving last checkpoint of the model")
    model.save_pretrained(out / "final_checkpoint")
    tokenizer.save_pretrained(out / "final_checkpoint")

    prompt = tokenizer("the cat sees", return_tensors="pt", return_token_type_ids=False).to(model.device)
    print(tokenizer.decode(model.generate(**prompt, max_new_tokens=8, do_sample=False)[0]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run(get_args())
