# =========================================================
# Toxic comments - multi label baseline  (fork of v7, LB 0.9x)
# =========================================================
import os, gc, random, warnings
warnings.filterwarnings("ignore")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset
from transformers import (BertTokenizerFast, DistilBertConfig, DistilBertForSequenceClassification,
                          Trainer, TrainingArguments, EarlyStoppingCallback)


class CFG:
    seed = 2021
    max_len = 24
    train_bs = 16
    valid_bs = 32
    epochs = 2
    lr = 2e-3
    n_fold = 2
    target_cols = ["toxic", "insult", "threat", "spam"]
    out = "out_toxic"


def seed_everything(seed):
    random.seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


# ---------------------------------------------------------
# Data  (no ../input here)
# ---------------------------------------------------------
def make_df(n, seed, test=False):
    rng = np.random.default_rng(seed)
    bits = {"toxic": "you are awful", "insult": "stupid clown", "threat": "i will find you", "spam": "buy cheap watches now"}
    fine = ["thanks for the edit", "see the talk page", "nice article", "please add a source"]
    rows = []
    for i in range(n):
        y = (rng.random(4) < 0.3).astype(int)
        parts = [bits[c] for c, v in zip(CFG.target_cols, y) if v] + [fine[rng.integers(4)]]
        rng.shuffle(parts)
        rows.append([f"{seed}_{i}", " ".join(parts)] + ([] if test else y.tolist()))
    return pd.DataFrame(rows, columns=["id", "comment_text"] + ([] if test else CFG.target_cols))


class ToxicDataset(Dataset):
    def __init__(self, df, tokenizer, is_test=False):
        self.texts = df["comment_text"].values
        self.is_test = is_test
        self.tokenizer = tokenizer
        if not is_test:
            self.targets = df[CFG.target_cols].values

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, idx):
        enc = self.tokenizer(self.texts[idx], truncation=True, padding="max_length", max_length=CFG.max_len)
        item = {
            "input_ids": torch.tensor(enc["input_ids"], dtype=torch.long),
            "attention_mask": torch.tensor(enc["attention_mask"], dtype=torch.long),
        }
        if not self.is_test:
            item["labels"] = torch.tensor(self.targets[idx], dtype=torch.float)
        return item


def auc(y, s):
    pos, neg = s[y == 1], s[y == 0]
    if len(pos) == 0 or len(neg) == 0:
        return 0.5
    return ((pos[:, None] > neg[None]).mean() + 0.5 * (pos[:, None] == neg[None]).mean())


def compute_metrics(p):
    probs = 1 / (1 + np.exp(-p.predictions))
    return {"roc_auc": np.mean([auc(p.label_ids[:, i], probs[:, i]) for i in range(len(CFG.target_cols))])}


def get_model(vocab_size):
    config = DistilBertConfig(vocab_size=vocab_size, dim=32, hidden_dim=64, n_layers=2, n_heads=2, max_position_embeddings=CFG.max_len,
                              num_labels=len(CFG.target_cols), problem_type="multi_label_classification")
    return DistilBertForSequenceClassification(config)


def train_fold(fold, train, test, tokenizer):
    print(f"========== fold {fold} ==========")
    tr = train[train.fold != fold].reset_index(drop=True)
    va = train[train.fold == fold].reset_index(drop=True)
    args = TrainingArguments(
        output_dir=f"{CFG.out}/fold{fold}",
        per_device_train_batch_size=CFG.train_bs,
        per_device_eval_batch_size=CFG.valid_bs,
        num_train_epochs=CFG.epochs,
        learning_rate=CFG.lr,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="roc_auc",
        greater_is_better=True,
        report_to="none",
        seed=CFG.seed,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=get_model(len(tokenizer)),
        args=args,
        train_dataset=ToxicDataset(tr, tokenizer),
        eval_dataset=ToxicDataset(va, tokenizer),
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=1)],
    )
    trainer.train()
    oof = torch.sigmoid(torch.tensor(trainer.predict(ToxicDataset(va, tokenizer)).predictions)).numpy()
    sub = torch.sigmoid(torch.tensor(trainer.predict(ToxicDataset(test, tokenizer, is_test=True)).predictions)).numpy()
    del trainer
    gc.collect()
    return oof, sub


if __name__ == "__main__":
    seed_everything(CFG.seed)
    train, test = make_df(80, 1), make_df(20, 2, test=True)
    train["fold"] = np.arange(len(train)) % CFG.n_fold

    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + sorted(set(" ".join(train.comment_text).split()))
    tokenizer = BertTokenizerFast(vocab={w: i for i, w in enumerate(vocab)})

    oof = np.zeros((len(train), len(CFG.target_cols)))
    preds = np.zeros((len(test), len(CFG.target_cols)))
    for fold in range(CFG.n_fold):
        o, s = train_fold(fold, train, test, tokenizer)
        oof[train.fold == fold] = o
        preds += s / CFG.n_fold

    print("CV:", np.mean([auc(train[c].values, oof[:, i]) for i, c in enumerate(CFG.target_cols)]))
    sub = test[["id"]].copy()
    sub[CFG.target_cols] = preds
    sub.to_csv(f"{CFG.out}/submission.csv", index=False)
    print(sub.head())
