"""Reviews 1-5 stars -> 3 classes. Layer-wise lr decay + bigger lr for the head + focal loss."""
import argparse
import csv
import os

import numpy as np
import torch
import torch.nn.functional as F
from datasets import load_dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification, Trainer, TrainingArguments

parser = argparse.ArgumentParser()
parser.add_argument("--data_dir", default="data_reviews")
parser.add_argument("--encoder_lr", type=float, default=5e-4)
parser.add_argument("--head_lr", type=float, default=5e-3)
parser.add_argument("--lr_decay", type=float, default=0.9)
parser.add_argument("--gamma", type=float, default=2.0)
parser.add_argument("--bs", type=int, default=16)
parser.add_argument("--epochs", type=int, default=2)
opts = parser.parse_args()


def write_reviews():
    os.makedirs(opts.data_dir, exist_ok=True)
    r = np.random.RandomState(5)
    words = {0: ["broke", "refund", "terrible", "late"], 1: ["okay", "average", "fine"], 2: ["love", "perfect", "great", "fast"]}
    for split, n in (("train", 112), ("dev", 40)):
        with open(f"{opts.data_dir}/{split}.csv", "w") as f:
            w = csv.writer(f)
            w.writerow(["review", "label"])
            for _ in range(n):
                y = r.choice(3, p=[0.15, 0.2, 0.65])
                w.writerow(["i bought this and it was " + " ".join(r.choice(words[y], r.randint(1, 4))), y])


def focal_loss(outputs, labels, num_items_in_batch=None):
    logits = outputs["logits"]
    ce = F.cross_entropy(logits, labels, reduction="none")
    pt = torch.exp(-ce)
    return ((1 - pt) ** opts.gamma * ce).mean()


class LLRDTrainer(Trainer):
    def create_optimizer(self, model=None):
        if self.optimizer is None:
            model = self.model
            no_decay = ["bias", "LayerNorm.weight"]
            n_layers = model.config.num_hidden_layers
            groups = [{"params": [p for n, p in model.named_parameters() if "classifier" in n], "lr": opts.head_lr, "weight_decay": 0.0}]
            layers = [model.roberta.embeddings] + list(model.roberta.encoder.layer)
            lr = opts.encoder_lr
            for layer in reversed(layers):
                groups.append({"params": [p for n, p in layer.named_parameters() if not any(nd in n for nd in no_decay)], "lr": lr, "weight_decay": self.args.weight_decay})
                groups.append({"params": [p for n, p in layer.named_parameters() if any(nd in n for nd in no_decay)], "lr": lr, "weight_decay": 0.0})
                lr *= opts.lr_decay
            assert len(groups) == 1 + 2 * (n_layers + 1)
            self.optimizer = torch.optim.AdamW(groups, lr=opts.encoder_lr, betas=(0.9, 0.98), eps=1e-6)
        return self.optimizer


def metrics(eval_pred):
    logits, y = eval_pred
    p = logits.argmax(-1)
    f1s = []
    for c in range(3):
        tp = ((p == c) & (y == c)).sum()
        f1s.append(2 * tp / max((p == c).sum() + (y == c).sum(), 1))
    return {"acc": float((p == y).mean()), "macro_f1": float(np.mean(f1s))}


if __name__ == "__main__":
    write_reviews()
    ds = load_dataset("csv", data_files={s: f"{opts.data_dir}/{s}.csv" for s in ("train", "dev")})
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(ds["train"]["review"], trainers.BpeTrainer(vocab_size=150, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False))
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_input_names=["input_ids", "attention_mask"])
    ds = ds.map(lambda b: tokenizer(b["review"], truncation=True, max_length=40), batched=True)

    model = RobertaForSequenceClassification(
        RobertaConfig(vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
                      max_position_embeddings=48, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2, num_labels=3)
    )
    args = TrainingArguments(
        "out_reviews", per_device_train_batch_size=opts.bs, per_device_eval_batch_size=64, num_train_epochs=opts.epochs, weight_decay=0.01,
        lr_scheduler_type="linear", warmup_steps=2, eval_strategy="epoch", save_strategy="epoch", save_total_limit=1,
        load_best_model_at_end=True, metric_for_best_model="macro_f1", logging_steps=3, report_to="none",
    )
    trainer = LLRDTrainer(model=model, args=args, train_dataset=ds["train"], eval_dataset=ds["dev"], processing_class=tokenizer,
                          compute_loss_func=focal_loss, compute_metrics=metrics)
    trainer.train()
    print("lrs:", [round(g["lr"], 6) for g in trainer.optimizer.param_groups])
    print(trainer.evaluate())
