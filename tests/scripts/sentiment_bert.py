# Tiny BERT for movie review sentiment. Everything at module level, notebook style.
import random

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

set_seed(42)

# ---------------------------------------------------------------- data
good = ["great", "wonderful", "moving", "funny", "brilliant", "charming"]
bad = ["boring", "awful", "slow", "clumsy", "predictable", "dull"]
nouns = ["movie", "plot", "acting", "script", "ending", "soundtrack"]

texts, labels = [], []
for _ in range(200):
    label = random.randint(0, 1)
    adj = good if label else bad
    texts.append(
        f"the {random.choice(nouns)} was {random.choice(adj)} and "
        f"the {random.choice(nouns)} felt {random.choice(adj)}"
    )
    labels.append(label)

train_texts, train_labels = texts[:160], labels[:160]
val_texts, val_labels = texts[160:], labels[160:]

# ---------------------------------------------------------------- tokenizer
tok = Tokenizer(models.WordLevel(unk_token="[UNK]"))
tok.pre_tokenizer = pre_tokenizers.Whitespace()
tok.train_from_iterator(
    train_texts,
    trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]),
)
tok.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]",
    special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=tok, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
)


class ReviewDataset(Dataset):
    def __init__(self, texts, labels):
        self.encodings = tokenizer(texts, truncation=True, padding="max_length", max_length=16)
        self.labels = labels

    def __getitem__(self, idx):
        item = {key: torch.tensor(val[idx]) for key, val in self.encodings.items()}
        item["labels"] = torch.tensor(self.labels[idx])
        return item

    def __len__(self):
        return len(self.labels)


train_dataset = ReviewDataset(train_texts, train_labels)
val_dataset = ReviewDataset(val_texts, val_labels)

config = BertConfig(
    vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=64, max_position_embeddings=32, num_labels=2,
)
model = BertForSequenceClassification(config)


def compute_metrics(eval_pred):
    logits, y = eval_pred
    return {"accuracy": float((np.argmax(logits, axis=-1) == y).mean())}


training_args = TrainingArguments(
    output_dir="./results",
    num_train_epochs=3,
    per_device_train_batch_size=16,
    per_device_eval_batch_size=32,
    learning_rate=1e-3,
    weight_decay=0.01,
    logging_steps=5,
    eval_strategy="epoch",
    save_strategy="no",
    report_to="none",
)

trainer = Trainer(
    model=model,
    args=training_args,
    train_dataset=train_dataset,
    eval_dataset=val_dataset,
    compute_metrics=compute_metrics,
)
trainer.train()
print(trainer.evaluate())
