"""
Token classification on a toy corpus of addresses & names.
Usage: python ner_token_classification.py --epochs 2 --lr 1e-3
"""
import argparse
import random

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    DataCollatorForTokenClassification,
    DistilBertConfig,
    DistilBertForTokenClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]

FIRST = ["Anna", "Boris", "Chloe", "Dmitri", "Elena", "Farid"]
LAST = ["Smith", "Kowalski", "Nguyen", "Okafor", "Silva"]
CITY = [["Paris"], ["New", "York"], ["Lagos"], ["Sao", "Paulo"], ["Berlin"]]
PATTERNS = ["{P} lives in {L} .", "Yesterday {P} flew from {L} to {L} .", "{L} was the home of {P} .", "Nobody came ."]


def make_sentence(rng):
    tokens, tags = [], []
    for w in rng.choice(PATTERNS).split():
        if w == "{P}":
            tokens += [rng.choice(FIRST), rng.choice(LAST)]
            tags += [1, 2]
        elif w == "{L}":
            c = rng.choice(CITY)
            tokens += c
            tags += [3] + [4] * (len(c) - 1)
        else:
            tokens.append(w)
            tags.append(0)
    return tokens, tags


def make_split(n, seed):
    rng = random.Random(seed)
    rows = [make_sentence(rng) for _ in range(n)]
    feats = Features({"id": Value("string"), "tokens": Sequence(Value("string")), "ner_tags": Sequence(ClassLabel(names=LABELS))})
    return Dataset.from_dict(
        {"id": [str(i) for i in range(n)], "tokens": [r[0] for r in rows], "ner_tags": [r[1] for r in rows]}, features=feats
    )


def train_tokenizer(sentences):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=False)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # small vocab on purpose so that names are split into pieces
    trainer = trainers.WordPieceTrainer(vocab_size=110, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False)
    tok.train_from_iterator((" ".join(s) for s in sentences), trainer)
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", tok.token_to_id("[CLS]")), ("[SEP]", tok.token_to_id("[SEP]"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tok, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )


def get_entities(tags):
    ents, start, kind = set(), None, None
    for i, t in enumerate(list(tags) + ["O"]):
        if start is not None and not (t.startswith("I-") and t[2:] == kind):
            ents.add((kind, start, i))
            start = None
        if t.startswith("B-"):
            start, kind = i, t[2:]
    return ents


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=float, default=2)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch_size", type=int, default=8)
    p.add_argument("--label_all_tokens", action="store_true")
    p.add_argument("--output_dir", default="out_ner")
    p.add_argument("--seed", type=int, default=42)
    return p.parse_args()


def main():
    args = parse_args()
    set_seed(args.seed)
    raw = DatasetDict({"train": make_split(120, 0), "validation": make_split(40, 1)})
    label_list = raw["train"].features["ner_tags"].feature.names
    tokenizer = train_tokenizer(raw["train"]["tokens"])

    # I- tag for every B- tag, needed if label_all_tokens
    b_to_i = [label_list.index(l.replace("B-", "I-")) for l in label_list]

    def tokenize_and_align_labels(examples):
        tokenized = tokenizer(examples["tokens"], truncation=True, max_length=64, is_split_into_words=True)
        all_labels = []
        for i, label in enumerate(examples["ner_tags"]):
            previous, ids = None, []
            for w in tokenized.word_ids(batch_index=i):
                if w is None:
                    ids.append(-100)
                elif w != previous:
                    ids.append(label[w])
                else:
                    ids.append(b_to_i[label[w]] if args.label_all_tokens else -100)
                previous = w
            all_labels.append(ids)
        tokenized["labels"] = all_labels
        return tokenized

    ds = raw.map(tokenize_and_align_labels, batched=True, remove_columns=raw["train"].column_names)

    model = DistilBertForTokenClassification(
        DistilBertConfig(
            vocab_size=len(tokenizer), dim=48, hidden_dim=96, n_layers=2, n_heads=4, max_position_embeddings=64,
            id2label=dict(enumerate(label_list)), label2id={l: i for i, l in enumerate(label_list)},
        )
    )

    def compute_metrics(p):
        predictions, labels = p
        predictions = np.argmax(predictions, axis=2)
        tp = n_pred = n_true = right = total = 0
        for pred, lab in zip(predictions, labels):
            keep = lab != -100
            y_hat = [label_list[k] for k in pred[keep]]
            y = [label_list[k] for k in lab[keep]]
            a, b = get_entities(y_hat), get_entities(y)
            tp += len(a & b)
            n_pred += len(a)
            n_true += len(b)
            right += sum(u == v for u, v in zip(y_hat, y))
            total += len(y)
        prec, rec = tp / max(n_pred, 1), tp / max(n_true, 1)
        return {"precision": prec, "recall": rec, "f1": 2 * prec * rec / max(prec + rec, 1e-9), "accuracy": right / total}

    training_args = TrainingArguments(
        output_dir=args.output_dir,
        learning_rate=args.lr,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size * 2,
        num_train_epochs=args.epochs,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=10,
        seed=args.seed,
        report_to=[],
    )
    trainer = Trainer(
        model,
        training_args,
        train_dataset=ds["train"],
        eval_dataset=ds["validation"],
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    print(trainer.evaluate())
    trainer.save_model(args.output_dir + "/final")


if __name__ == "__main__":
    main()
