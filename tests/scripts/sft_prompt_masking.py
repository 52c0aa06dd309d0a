"""Tiny "instruction tuning": loss only on the response tokens (alpaca-style script)."""
import copy
import logging
import random
from dataclasses import dataclass, field
from typing import Dict, Optional, Sequence

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, get_cosine_schedule_with_warmup

IGNORE_INDEX = -100
PROMPT = "### Instruction : {instruction} ### Response :"


@dataclass
class ModelArguments:
    n_embd: int = 48
    n_layer: int = 2


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    output_dir: Optional[str] = field(default="out_sft")
    model_max_length: int = field(default=32, metadata={"help": "Sequences will be right padded (and possibly truncated)."})
    per_device_train_batch_size: int = field(default=4)
    gradient_accumulation_steps: int = field(default=4)
    num_train_epochs: float = field(default=2)
    learning_rate: float = field(default=5e-3)
    report_to: Optional[str] = field(default="none")
    logging_steps: float = field(default=1)
    save_strategy: str = field(default="no")


def _tokenize_fn(strings: Sequence[str], tokenizer) -> Dict:
    """Tokenize a list of strings."""
    ids = [tokenizer(s, return_tensors="pt", truncation=True, max_length=tokenizer.model_max_length).input_ids[0] for s in strings]
    return dict(input_ids=ids, input_ids_lens=[len(i) for i in ids])


def preprocess(sources, targets, tokenizer) -> Dict:
    examples = [s + " " + t for s, t in zip(sources, targets)]
    examples_tokenized, sources_tokenized = [_tokenize_fn(strings, tokenizer) for strings in (examples, sources)]
    input_ids = examples_tokenized["input_ids"]
    labels = copy.deepcopy(input_ids)
    for label, source_len in zip(labels, sources_tokenized["input_ids_lens"]):
        label[:source_len] = IGNORE_INDEX
    return dict(input_ids=input_ids, labels=labels)


class SupervisedDataset(Dataset):
    def __init__(self, records, tokenizer):
        super().__init__()
        logging.warning("Tokenizing inputs... This may take some time...")
        sources = [PROMPT.format_map(r) for r in records]
        targets = [f"{r['output']} {tokenizer.eos_token}" for r in records]
        data_dict = preprocess(sources, targets, tokenizer)
        self.input_ids = data_dict["input_ids"]
        self.labels = data_dict["labels"]

    def __len__(self):
        return len(self.input_ids)

    def __getitem__(self, i) -> Dict[str, torch.Tensor]:
        return dict(input_ids=self.input_ids[i], labels=self.labels[i])


@dataclass
class DataCollatorForSupervisedDataset:
    """Collate examples for supervised fine-tuning."""

    tokenizer: transformers.PreTrainedTokenizerBase

    def __call__(self, instances: Sequence[Dict]) -> Dict[str, torch.Tensor]:
        input_ids, labels = tuple([instance[key] for instance in instances] for key in ("input_ids", "labels"))
        input_ids = torch.nn.utils.rnn.pad_sequence(input_ids, batch_first=True, padding_value=self.tokenizer.pad_token_id)
        labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORE_INDEX)
        return dict(input_ids=input_ids, labels=labels, attention_mask=input_ids.ne(self.tokenizer.pad_token_id))


class SampleCallback(TrainerCallback):
    """Prints a completion after every epoch."""

    def __init__(self, tokenizer, instruction):
        self.tokenizer = tokenizer
        self.prompt = PROMPT.format(instruction=instruction)

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        model.eval()
        enc = self.tokenizer(self.prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        with torch.no_grad():
            out = model.generate(**enc, max_new_tokens=5, do_sample=False, pad_token_id=self.tokenizer.pad_token_id)
        print(f"[{state.global_step}]", self.tokenizer.decode(out[0]))
        model.train()


def make_records(n):
    rng = random.Random(0)
    num = "zero one two three four five six seven eight nine ten".split()
    out = []
    for _ in range(n):
        a, b = rng.randint(0, 5), rng.randint(0, 5)
        if rng.random() < 0.7:
            out.append({"instruction": f"add {num[a]} and {num[b]}", "output": num[a + b]})
        else:
            out.append({"instruction": f"repeat {num[a]} twice", "output": f"{num[a]} {num[a]}"})
    return out


def train():
    parser = transformers.HfArgumentParser((ModelArguments, TrainingArguments))
    model_args, training_args = parser.parse_args_into_dataclasses()
    transformers.set_seed(training_args.seed)
    records = make_records(96)

    core = Tokenizer(models.WordLevel(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.train_from_iterator(
        [PROMPT.format_map(r) + " " + r["output"] for r in records],
        trainers.WordLevelTrainer(special_tokens=["<pad>", "<unk>", "</s>"], show_progress=False),
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=training_args.model_max_length, padding_side="right"
    )

    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=len(tokenizer), n_positions=64, n_embd=model_args.n_embd, n_layer=model_args.n_layer, n_head=4,
            bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )

    train_dataset = SupervisedDataset(records, tokenizer)
    total = int(training_args.num_train_epochs * len(train_dataset) / (training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps))
    optimizer = torch.optim.AdamW(model.parameters(), lr=training_args.learning_rate, weight_decay=0.0)
    scheduler = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=2, num_training_steps=total)

    trainer = Trainer(
        model=model,
        processing_class=tokenizer,
        args=training_args,
        train_dataset=train_dataset,
        data_collator=DataCollatorForSupervisedDataset(tokenizer=tokenizer),
        optimizers=(optimizer, scheduler),
        callbacks=[SampleCallback(tokenizer, "add two and three")],
    )
    trainer.train()
    trainer.save_state()
    trainer.save_model(output_dir=training_args.output_dir)


if __name__ == "__main__":
    train()
