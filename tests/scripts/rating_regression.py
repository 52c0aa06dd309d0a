"""Predict a 0-5 product rating from short review text (regression head, num_labels=1).

I pass my own optimizer and scheduler because I want no decay on biases/LayerNorm
and a higher LR on the head.
"""
import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (BertConfig, BertForSequenceClassification, DataCollatorWithPadding,
                          PreTrainedTokenizerFast, Trainer, TrainingArguments,
                          get_linear_schedule_with_warmup)

SEED = 7
EPOCHS = 3
BATCH = 24
torch.manual_seed(SEED)
rng = np.random.default_rng(SEED)

# word -> contribution to the rating
SCORES = {"excellent": 2.0, "good": 1.0, "decent": 0.4, "okay": 0.0, "poor": -1.0,
          "broken": -1.8, "late": -0.6, "cheap": -0.3, "sturdy": 0.8}
FILLER = ["item", "arrived", "box", "really", "it", "is", "and", "colour"]


def sample():
    words = list(rng.choice(list(SCORES), size=rng.integers(1, 4)))
    rating = 2.5 + sum(SCORES[w] for w in words) + rng.normal(0, 0.1)
    words += list(rng.choice(FILLER, size=rng.integers(2, 6)))
    rng.shuffle(words)
    return {"text": " ".join(words), "label": float(np.clip(rating, 0, 5))}


data = Dataset.from_list([sample() for _ in range(240)])
data = data.train_test_split(test_size=48, seed=SEED)

vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]"] + list(SCORES) + FILLER)}
tk = Tokenizer(WordLevel(vocab, unk_token="[UNK]"))
tk.pre_tokenizer = Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tk, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]")
# no post processor, just put the [CLS] in the text itself
data = data.map(lambda ex: tokenizer("[CLS] " + ex["text"]), remove_columns=["text"])

model = BertForSequenceClassification(BertConfig(
    vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, max_position_embeddings=24, num_labels=1))

no_decay = ("bias", "LayerNorm.weight")
encoder = [(n, p) for n, p in model.named_parameters() if not n.startswith("classifier")]
groups = [
    {"params": [p for n, p in encoder if not n.endswith(no_decay)], "weight_decay": 0.01},
    {"params": [p for n, p in encoder if n.endswith(no_decay)], "weight_decay": 0.0},
    {"params": model.classifier.parameters(), "lr": 5e-3, "weight_decay": 0.0},
]
total_steps = EPOCHS * (len(data["train"]) // BATCH)
optimizer = torch.optim.AdamW(groups, lr=2e-3)
scheduler = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=3, num_training_steps=total_steps)


def compute_metrics(pred):
    err = pred.predictions.squeeze(-1) - pred.label_ids
    return {"rmse": float(np.sqrt((err ** 2).mean())), "mae": float(np.abs(err).mean())}


trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="rating_model", num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=48, logging_steps=4, eval_strategy="epoch", save_strategy="no",
        seed=SEED, use_cpu=True, report_to="none", disable_tqdm=True),
    train_dataset=data["train"],
    eval_dataset=data["test"],
    data_collator=DataCollatorWithPadding(tokenizer),
    compute_metrics=compute_metrics,
    optimizers=(optimizer, scheduler),
)
trainer.train()

preds = trainer.predict(data["test"])
print(preds.metrics)
for p, y in list(zip(preds.predictions.ravel(), preds.label_ids))[:5]:
    print(f"predicted {p:.2f}   true {y:.2f}")
