"""Imbalanced spam detection: own GRU model + Trainer subclass with class weights."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments, set_seed

MAX_LEN = 14
HAM = "lunch meeting tomorrow report attached see you at the office thanks call me later".split()
SPAM = "winner prize free click offer cash".split()
VOCAB = {w: i for i, w in enumerate(["<pad>", "<unk>"] + HAM + SPAM)}


class GRUConfig(PretrainedConfig):
    model_type = "tiny-gru"

    def __init__(self, vocab_size=100, hidden_size=32, num_layers=2, num_labels=2, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        super().__init__(num_labels=num_labels, **kwargs)


class GRUClassifier(PreTrainedModel):
    config_class = GRUConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.gru = nn.GRU(config.hidden_size, config.hidden_size, config.num_layers, batch_first=True)
        self.out = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, labels=None):
        mask = (input_ids != 0).unsqueeze(-1).float()
        hidden, _ = self.gru(self.embed(input_ids))
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        logits = self.out(pooled)
        if labels is not None:
            return F.cross_entropy(logits, labels), logits
        return (logits,)


class WeightedTrainer(Trainer):
    def __init__(self, *args, class_weights=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.class_weights = class_weights

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs[0], labels, weight=self.class_weights.to(outputs[0].device))
        # prediction_step drops the first element, so put the loss in front
        return (loss, (loss,) + outputs) if return_outputs else loss


def generate(n, spam_rate, rng):
    data = []
    for _ in range(n):
        y = int(rng.random() < spam_rate)
        words = rng.choices(HAM, k=rng.randint(4, 10))
        if y:
            words += rng.sample(SPAM, 3)
        elif rng.random() < 0.2:
            words.append(rng.choice(SPAM))  # some noise
        rng.shuffle(words)
        ids = [VOCAB.get(w, 1) for w in words][:MAX_LEN]
        data.append({"input_ids": ids + [0] * (MAX_LEN - len(ids)), "labels": y})
    return data


def compute_metrics(p):
    pred, y = p.predictions.argmax(-1), p.label_ids
    return {"spam_recall": float(pred[y == 1].mean()), "ham_recall": float((1 - pred[y == 0]).mean())}


def main():
    set_seed(99)
    rng = random.Random(99)
    train, valid = generate(330, 0.1, rng), generate(120, 0.1, rng)

    counts = np.bincount([d["labels"] for d in train], minlength=2)
    weights = torch.tensor(counts.sum() / (2 * counts), dtype=torch.float)
    print("class counts", counts, "weights", weights.tolist())

    model = GRUClassifier(GRUConfig(vocab_size=len(VOCAB)))
    args = TrainingArguments(
        output_dir="spam_gru", num_train_epochs=3, per_device_train_batch_size=32, learning_rate=5e-3,
        seed=99, data_seed=5, dataloader_drop_last=True, max_grad_norm=0.5,
        eval_strategy="epoch", logging_strategy="epoch", save_strategy="no", report_to="none")
    # a list of dicts is good enough as a dataset
    trainer = WeightedTrainer(model=model, args=args, train_dataset=train, eval_dataset=valid,
                              compute_metrics=compute_metrics, class_weights=weights)
    trainer.train()
    pred = trainer.predict(valid)
    print(pred.metrics)
    model.save_pretrained("spam_gru/final")


if __name__ == "__main__":
    main()
