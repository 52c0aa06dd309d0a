"""A callback that keeps a history for plotting, and one line of metrics per evaluation."""

from dataclasses import dataclass

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments, set_seed


class HistoryCallback(TrainerCallback):
    def __init__(self):
        self.losses, self.evals = [], []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.losses.append((state.global_step, logs["loss"]))

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self.evals.append(metrics["eval_loss"])
        print(f"step {state.global_step}: {metrics['eval_loss']:.4f}")


@dataclass
class Config:
    lr: float = 1e-3
    epochs: int = 2
    batch_size: int = 8


def get_data(tokenizer):
    rows = sentences(70, seed=30)
    ds = Dataset.from_dict({"review": [t for t, _ in rows], "label": [y for _, y in rows]})
    return ds.map(lambda b: tokenizer(b["review"], truncation=True, max_length=12), batched=True).train_test_split(20, seed=0)


def train(cfg: Config):
    set_seed(0)
    tokenizer = load_tokenizer()
    ds = get_data(tokenizer)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    )
    for param in model.bert.embeddings.parameters():
        param.requires_grad = False
    history = HistoryCallback()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            "cb",
            learning_rate=cfg.lr,
            num_train_epochs=cfg.epochs,
            per_device_train_batch_size=cfg.batch_size,
            logging_steps=2,
            eval_strategy="epoch",
            eval_on_start=True,
            seed=123,
            data_seed=7,
            report_to="none",
        ),
        train_dataset=ds["train"],
        eval_dataset=ds["test"],
        processing_class=tokenizer,
        callbacks=[history],
    )
    trainer.train()
    return history


if __name__ == "__main__":
    print(train(Config()).losses)
