"""Functions that build things, and a main that trains."""

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


def build_dataset(tokenizer, n, seed):
    rows = sentences(n, seed=seed)
    ds = Dataset.from_dict({"sentence": [t for t, _ in rows], "gold": [y for _, y in rows]})
    ds = ds.map(lambda b: tokenizer(b["sentence"], truncation=True), batched=True)
    return ds.rename_column("gold", "labels")


def build_trainer(output_dir):
    tokenizer = load_tokenizer()
    args = TrainingArguments(
        output_dir=output_dir,
        train_sampling_strategy="group_by_length",
        per_device_train_batch_size=4,
        dataloader_drop_last=True,
        num_train_epochs=2,
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="no",
        label_smoothing_factor=0.1,
        report_to="none",
    )

    def model_init():
        return BertForSequenceClassification(
            BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
        )

    return Trainer(
        model_init=model_init,
        args=args,
        train_dataset=build_dataset(tokenizer, 50, 70),
        eval_dataset=build_dataset(tokenizer, 22, 71),
        processing_class=tokenizer,
    )


def main():
    trainer = build_trainer("factory")
    result = trainer.train()
    print(result.metrics)


if __name__ == "__main__":
    main()
