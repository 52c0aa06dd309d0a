"""All in a class, as in larger code bases; configuration from a dictionary."""

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import (
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

CONFIG = {
    "training": {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "adam_epsilon": 1e-6,
        "max_grad_norm": 0.3,
        "optim": "adamw_torch",
        "lr_scheduler_type": "polynomial",
        "lr_scheduler_kwargs": {"power": 2.0, "lr_end": 1e-5},
        "warmup_steps": 3,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "report_to": "none",
    },
    "model": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
}


class Experiment:
    def __init__(self, config, name="run"):
        self.config = config
        self.name = name
        self.tokenizer = load_tokenizer()
        set_seed(9)

    def prepare(self):
        rows = sentences(75, seed=61)
        data = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]})
        self.data = data.map(self._encode, batched=True, remove_columns=["text"]).train_test_split(0.3, seed=9)

    def _encode(self, batch):
        return self.tokenizer(batch["text"], truncation=True)

    def build(self):
        self.model = DistilBertForSequenceClassification(
            DistilBertConfig(vocab_size=len(self.tokenizer), **self.config["model"])
        )
        self.trainer = Trainer(
            model=self.model,
            args=TrainingArguments(self.name, **self.config["training"]),
            train_dataset=self.data["train"],
            eval_dataset=self.data["test"],
            data_collator=DataCollatorWithPadding(self.tokenizer),
            compute_metrics=self.metrics,
        )

    @staticmethod
    def metrics(p):
        return {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())}

    def fit(self):
        self.prepare()
        self.build()
        self.trainer.train()
        self.trainer.save_model(self.name)


if __name__ == "__main__":
    experiment = Experiment(CONFIG)
    experiment.fit()
