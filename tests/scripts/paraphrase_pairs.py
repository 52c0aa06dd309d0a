"""
Sentence-pair classification (is B a paraphrase of A?) with early stopping.
"""
import random
import shutil
import tempfile

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertConfig, BertForSequenceClassification, DataCollatorWithPadding,
                          EarlyStoppingCallback, PreTrainedTokenizerFast, Trainer, TrainingArguments, set_seed)

SYNONYMS = [("buy", "purchase"), ("fast", "quick"), ("car", "automobile"), ("begin", "start"),
            ("big", "large"), ("child", "kid"), ("sick", "ill"), ("shop", "store")]


def build_pairs(n, seed):
    rng = random.Random(seed)
    rows = {"sentence1": [], "sentence2": [], "label": []}
    for _ in range(n):
        a, b = rng.sample(SYNONYMS, 2)
        s1 = f"{a[0]} the {b[0]}"
        if rng.random() < 0.5:
            s2, y = f"{a[1]} the {b[1]}", 1
        else:
            c = rng.choice([s for s in SYNONYMS if s not in (a, b)])
            s2, y = f"{a[1]} the {c[1]}", 0
        rows["sentence1"].append(s1)
        rows["sentence2"].append(s2)
        rows["label"].append(y)
    feats = Features({"sentence1": Value("string"), "sentence2": Value("string"),
                      "label": ClassLabel(names=["different", "paraphrase"])})
    return Dataset.from_dict(rows, features=feats)


def get_tokenizer(texts):
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = normalizers.Lowercase()
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]))
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", t.token_to_id("[CLS]")), ("[SEP]", t.token_to_id("[SEP]"))],
    )
    return PreTrainedTokenizerFast(tokenizer_object=t, unk_token="[UNK]", pad_token="[PAD]",
                                   cls_token="[CLS]", sep_token="[SEP]",
                                   model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def accuracy(eval_preds):
    preds = np.argmax(eval_preds.predictions, axis=1)
    return {"accuracy": (preds == eval_preds.label_ids).mean().item()}


if __name__ == "__main__":
    set_seed(2024)
    train_ds, dev_ds = build_pairs(320, 1), build_pairs(80, 2)
    tokenizer = get_tokenizer(train_ds["sentence1"][:] + train_ds["sentence2"][:])

    def encode(batch):
        return tokenizer(batch["sentence1"], batch["sentence2"], truncation=True, max_length=16)

    train_ds, dev_ds = train_ds.map(encode, batched=True), dev_ds.map(encode, batched=True)

    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                   intermediate_size=128, max_position_embeddings=16, hidden_dropout_prob=0.0))

    workdir = tempfile.mkdtemp(prefix="paraphrase_")
    args = TrainingArguments(
        output_dir=workdir,
        num_train_epochs=3,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=80,
        learning_rate=3e-3,
        eval_strategy="steps", eval_steps=5,
        save_strategy="steps", save_steps=5,
        save_total_limit=2,
        logging_steps=5,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        greater_is_better=True,
        report_to="none",
    )
    trainer = Trainer(
        model=model, args=args, train_dataset=train_ds, eval_dataset=dev_ds,
        processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=3, early_stopping_threshold=0.001)],
    )
    trainer.train()
    print("best checkpoint:", trainer.state.best_model_checkpoint, "best acc:", trainer.state.best_metric)
    print("reloaded best model:", trainer.evaluate())
    shutil.rmtree(workdir)
