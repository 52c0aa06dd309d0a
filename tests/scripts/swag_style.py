"""Multiple choice, after the official run_swag.py, with its own collator."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from datasets import Dataset
from offline import BAD, GOOD, sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForMultipleChoice, PreTrainedTokenizerBase, Trainer, TrainingArguments


@dataclass
class DataCollatorForMultipleChoice:
    tokenizer: PreTrainedTokenizerBase

    def __call__(self, features):
        labels = [feature.pop("label") for feature in features]
        batch_size = len(features)
        num_choices = len(features[0]["input_ids"])
        flattened = [[{k: v[i] for k, v in feature.items()} for i in range(num_choices)] for feature in features]
        batch = self.tokenizer.pad(list(chain(*flattened)), padding=True, return_tensors="pt")
        batch = {k: v.view(batch_size, num_choices, -1) for k, v in batch.items()}
        batch["labels"] = torch.tensor(labels, dtype=torch.int64)
        return batch


tokenizer = load_tokenizer()


def preprocess(examples):
    first = [[s] * 3 for s in examples["sent"]]
    second = [list(e) for e in examples["endings"]]
    out = tokenizer(list(chain(*first)), list(chain(*second)), truncation=True)
    return {k: [v[i : i + 3] for i in range(0, len(v), 3)] for k, v in out.items()}


def endings(text, label, place):
    wrong = [BAD, GOOD][1 - label]
    choices = [" ".join(wrong[:3]), " ".join(wrong[3:5]), " ".join(wrong[5:9])]
    choices[place] = " ".join([BAD, GOOD][label][1:4])
    return choices


rows = sentences(54, seed=21)
data = Dataset.from_dict(
    {
        "sent": [t for t, _ in rows],
        "endings": [endings(t, y, i % 3) for i, (t, y) in enumerate(rows)],
        "label": [i % 3 for i in range(len(rows))],
    }
).map(preprocess, batched=True)
torch.manual_seed(0)
model = BertForMultipleChoice(
    BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
)


def compute_metrics(eval_predictions):
    predictions, label_ids = eval_predictions
    preds = np.argmax(predictions, axis=1)
    return {"accuracy": (preds == label_ids).astype(np.float32).mean().item()}


trainer = Trainer(
    model,
    TrainingArguments("swag", per_device_train_batch_size=5, num_train_epochs=2, eval_strategy="epoch", learning_rate=1e-3, report_to="none", save_strategy="no"),
    DataCollatorForMultipleChoice(tokenizer),
    data.select(range(40)),
    data.select(range(40, 54)),
    tokenizer,
    compute_metrics=compute_metrics,
)
trainer.train()
