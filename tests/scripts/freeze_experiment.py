"""Experiment class: topic classifier with frozen lower layers, evaluated in- and out-of-domain."""
import random
from typing import Optional

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (BertConfig, BertForSequenceClassification, DataCollatorWithPadding,
                          PreTrainedTokenizerFast, Trainer, TrainingArguments)
from transformers.trainer_utils import set_seed

TOPICS = {
    "sports": (["goal", "match", "coach", "league"], ["sprint", "medal"]),
    "food": (["soup", "bake", "salt", "recipe"], ["grill", "spice"]),
    "space": (["orbit", "rocket", "planet", "comet"], ["probe", "lunar"]),
}
COMMON = "a the new of with on very today".split()


class FreezeExperiment:
    freeze_layers = 1
    lr = 3e-3
    batch_size = 20

    def __init__(self, name: str, seed: int = 0):
        self.name = name
        self.seed = seed
        set_seed(seed)
        self.labels = list(TOPICS)
        self.tokenizer = self._tokenizer()
        self.model = self._model()
        self.trainer: Optional[Trainer] = None

    def _tokenizer(self):
        words = COMMON + [w for pair in TOPICS.values() for ws in pair for w in ws]
        vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", *words])}
        tok = Tokenizer(WordLevel(vocab, unk_token="[UNK]"))
        tok.pre_tokenizer = WhitespaceSplit()
        return PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]")

    def _model(self):
        cfg = BertConfig(vocab_size=len(self.tokenizer), hidden_size=32, num_hidden_layers=2,
                         num_attention_heads=4, intermediate_size=64, max_position_embeddings=32,
                         id2label=dict(enumerate(self.labels)), label2id={l: i for i, l in enumerate(self.labels)})
        model = BertForSequenceClassification(cfg)
        # pretend the bottom is pretrained: freeze embeddings and the first layer(s)
        for p in model.bert.embeddings.parameters():
            p.requires_grad = False
        for layer in model.bert.encoder.layer[: self.freeze_layers]:
            layer.requires_grad_(False)
        return model

    def _data(self, n, seed, ood=False):
        rng = random.Random(seed)
        texts, ys = [], []
        for _ in range(n):
            y = rng.randrange(len(self.labels))
            usual, rare = TOPICS[self.labels[y]]
            pool = usual + rare if ood else usual
            words = rng.choices(pool, k=3) + rng.choices(COMMON, k=rng.randint(2, 6))
            rng.shuffle(words)
            texts.append("[CLS] " + " ".join(words))
            ys.append(y)
        ds = Dataset.from_dict({"text": texts, "label": ys})
        return ds.map(lambda b: self.tokenizer(b["text"]), batched=True)

    def run(self):
        n_train = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        print(f"[{self.name}] trainable {n_train} / {self.model.num_parameters()}")
        args = TrainingArguments(
            output_dir=f"runs/{self.name}", run_name=self.name, num_train_epochs=2, learning_rate=self.lr,
            per_device_train_batch_size=self.batch_size, warmup_steps=2, weight_decay=0.05, seed=self.seed,
            eval_strategy="epoch", save_strategy="epoch", save_total_limit=1, logging_steps=5, report_to="none")
        self.trainer = Trainer(
            model=self.model, args=args, train_dataset=self._data(240, self.seed),
            eval_dataset={"indomain": self._data(60, 101), "ood": self._data(60, 102, ood=True)},
            data_collator=DataCollatorWithPadding(self.tokenizer), compute_metrics=self.metrics)
        self.trainer.train()
        return self

    @staticmethod
    def metrics(p):
        return {"acc": (p.predictions.argmax(1) == p.label_ids).mean()}

    def report(self):
        res = self.trainer.evaluate()
        for k in ("eval_indomain_acc", "eval_ood_acc"):
            print(f"{k:20s} {res[k]:.3f}")
        with torch.no_grad():
            x = self.tokenizer("[CLS] the new rocket on planet", return_tensors="pt")
            print(self.model.config.id2label[self.model.eval()(**x).logits.argmax().item()])


if __name__ == "__main__":
    FreezeExperiment("freeze1").run().report()
