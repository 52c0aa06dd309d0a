"""Token classification, after the official run_ner.py."""

import numpy as np
from datasets import Dataset
from offline import tagged, tokenizer as load_tokenizer
from transformers import (
    DataCollatorForTokenClassification,
    DistilBertConfig,
    DistilBertForTokenClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

label_list = ["O", "PER", "LOC"]


def main():
    training_args = TrainingArguments(
        output_dir="ner-out",
        learning_rate=5e-4,
        per_device_train_batch_size=6,
        per_device_eval_batch_size=7,
        num_train_epochs=2,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
    )
    set_seed(training_args.seed)
    rows = tagged(64, seed=3)
    dataset = Dataset.from_dict({"tokens": [w for w, _ in rows], "ner_tags": [t for _, t in rows]})
    dataset = dataset.train_test_split(test_size=0.25, seed=7)
    tokenizer = load_tokenizer()

    def tokenize_and_align_labels(examples):
        tokenized_inputs = tokenizer(examples["tokens"], truncation=True, is_split_into_words=True)
        labels = []
        for i, label in enumerate(examples["ner_tags"]):
            word_ids = tokenized_inputs.word_ids(batch_index=i)
            previous_word_idx = None
            label_ids = []
            for word_idx in word_ids:
                if word_idx is None:
                    label_ids.append(-100)
                elif word_idx != previous_word_idx:
                    label_ids.append(label[word_idx])
                else:
                    label_ids.append(-100)
                previous_word_idx = word_idx
            labels.append(label_ids)
        tokenized_inputs["labels"] = labels
        return tokenized_inputs

    tokenized = dataset.map(tokenize_and_align_labels, batched=True)

    model = DistilBertForTokenClassification(
        DistilBertConfig(vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=2, n_heads=2, num_labels=len(label_list))
    )

    def compute_metrics(p):
        predictions, labels = p
        predictions = np.argmax(predictions, axis=2)
        mask = labels != -100
        right = (predictions == labels) & mask
        found = (predictions > 0) & mask
        true = (labels > 0) & mask
        precision = (right & true).sum() / max(found.sum(), 1)
        recall = (right & true).sum() / max(true.sum(), 1)
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-9),
            "accuracy": right.sum() / mask.sum(),
        }

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=tokenized["train"],
        eval_dataset=tokenized["test"],
        processing_class=tokenizer,
        data_collator=DataCollatorForTokenClassification(tokenizer),
        compute_metrics=compute_metrics,
    )
    train_result = trainer.train()
    trainer.log_metrics("train", train_result.metrics)
    trainer.save_state()


if __name__ == "__main__":
    main()
