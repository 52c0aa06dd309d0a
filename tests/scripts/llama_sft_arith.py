"""Supervised fine-tuning style run: tiny Llama learns 'a + b =' with the prompt masked out."""
import random
from dataclasses import dataclass

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments, set_seed

IGNORE = -100


def char_tokenizer():
    symbols = ["<pad>", "<bos>", "<eos>", "<unk>"] + list("0123456789+=")
    tk = Tokenizer(WordLevel({s: i for i, s in enumerate(symbols)}, unk_token="<unk>"))
    tk.pre_tokenizer = Split(Regex("."), behavior="isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tk, pad_token="<pad>", bos_token="<bos>",
                                   eos_token="<eos>", unk_token="<unk>", padding_side="right")


class AdditionDataset(Dataset):
    def __init__(self, problems, tokenizer):
        self.problems = problems
        self.tok = tokenizer

    def __len__(self):
        return len(self.problems)

    def __getitem__(self, i):
        a, b = self.problems[i]
        prompt = [self.tok.bos_token_id] + self.tok.encode(f"{a}+{b}=", add_special_tokens=False)
        answer = self.tok.encode(str(a + b), add_special_tokens=False) + [self.tok.eos_token_id]
        return {"input_ids": prompt + answer, "labels": [IGNORE] * len(prompt) + answer}


@dataclass
class SFTCollator:
    pad_id: int

    def __call__(self, feats):
        n = max(len(f["input_ids"]) for f in feats)
        ids = torch.full((len(feats), n), self.pad_id)
        lab = torch.full((len(feats), n), IGNORE)
        att = torch.zeros(len(feats), n, dtype=torch.long)
        for i, f in enumerate(feats):
            k = len(f["input_ids"])
            ids[i, :k] = torch.tensor(f["input_ids"])
            lab[i, :k] = torch.tensor(f["labels"])
            att[i, :k] = 1
        return {"input_ids": ids, "attention_mask": att, "labels": lab}


def keep_argmax(logits, labels):
    # no need to hold full logits in memory during eval
    if isinstance(logits, tuple):
        logits = logits[0]
    return logits.argmax(-1)


def token_accuracy(p):
    preds, labels = p.predictions[:, :-1], p.label_ids[:, 1:]
    mask = labels != IGNORE
    return {"token_acc": float((preds == labels)[mask].mean())}


def main():
    set_seed(11)
    tok = char_tokenizer()
    problems = [(a, b) for a in range(25) for b in range(25)]
    random.shuffle(problems)
    train_ds, eval_ds = AdditionDataset(problems[:560], tok), AdditionDataset(problems[560:], tok)

    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, pad_token_id=tok.pad_token_id,
        bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id))

    args = TrainingArguments(
        output_dir="sft_addition", max_steps=30, per_device_train_batch_size=16, gradient_accumulation_steps=2,
        per_device_eval_batch_size=65, learning_rate=5e-3, lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": 5e-4}, warmup_steps=4, max_grad_norm=1.0, logging_steps=5,
        eval_strategy="steps", eval_steps=15, save_steps=15, save_total_limit=1, seed=11, data_seed=12, report_to="none")
    trainer = Trainer(model=model, args=args, train_dataset=train_ds, eval_dataset=eval_ds,
                      data_collator=SFTCollator(tok.pad_token_id), compute_metrics=token_accuracy,
                      preprocess_logits_for_metrics=keep_argmax)
    trainer.train()
    print(trainer.evaluate())

    # greedy decode a few held-out sums
    model.eval()
    for a, b in problems[560:563]:
        x = torch.tensor([[tok.bos_token_id] + tok.encode(f"{a}+{b}=", add_special_tokens=False)])
        y = model.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=4, do_sample=False)
        print(f"{a}+{b}=", tok.decode(y[0, x.shape[1]:], skip_special_tokens=True).replace(" ", ""), "want", a + b)


if __name__ == "__main__":
    main()
