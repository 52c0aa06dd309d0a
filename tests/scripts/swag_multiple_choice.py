# coding=utf-8
# Multiple choice fine-tuning, cut down from run_swag.py
from dataclasses import dataclass
from itertools import chain
from typing import Optional, Union
import random

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertTokenizerFast,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)


@dataclass
class DataCollatorForMultipleChoice:
    """
    Data collator that will dynamically pad the inputs for multiple choice received.
    """

    tokenizer: PreTrainedTokenizerBase
    padding: Union[bool, str] = True
    max_length: Optional[int] = None
    pad_to_multiple_of: Optional[int] = None

    def __call__(self, features):
        label_name = "label" if "label" in features[0].keys() else "labels"
        labels = [feature.pop(label_name) for feature in features]
        batch_size = len(features)
        num_choices = len(features[0]["input_ids"])
        flattened_features = [
            [{k: v[i] for k, v in feature.items()} for i in range(num_choices)] for feature in features
        ]
        flattened_features = list(chain(*flattened_features))

        batch = self.tokenizer.pad(
            flattened_features,
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors="pt",
        )
        # Un-flatten
        batch = {k: v.view(batch_size, num_choices, -1) for k, v in batch.items()}
        # Add back labels
        batch["labels"] = torch.tensor(labels, dtype=torch.int64)
        return batch


CAUSES = {
    "the glass fell": "it broke on the floor",
    "the sun came out": "the snow melted",
    "she studied all night": "she passed the exam",
    "the dog was hungry": "it ate the food",
    "the car ran out of fuel": "it stopped on the road",
    "he missed the bus": "he arrived late",
}
ENDINGS = list(CAUSES.values())
WHO = ["yesterday", "this morning", "last week", "on monday", "again"]


def make(n, seed):
    rng = random.Random(seed)
    out = {k: [] for k in ["sent1", "sent2", "ending0", "ending1", "ending2", "ending3", "label"]}
    for _ in range(n):
        ctx, right = rng.choice(list(CAUSES.items()))
        wrong = rng.sample([e for e in ENDINGS if e != right], 3)
        label = rng.randrange(4)
        choices = wrong[:label] + [right] + wrong[label:]
        out["sent1"].append(f"{rng.choice(WHO)} {ctx}")
        out["sent2"].append("so")
        for i in range(4):
            out[f"ending{i}"].append(choices[i])
        out["label"].append(label)
    return Dataset.from_dict(out)


def main():
    training_args = TrainingArguments(
        output_dir="out_swag",
        num_train_epochs=2,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=16,
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        save_total_limit=2,
        logging_strategy="epoch",
        report_to="none",
    )
    set_seed(training_args.seed)

    train_raw, eval_raw = make(80, 0), make(32, 1)

    words = sorted({w for s in list(CAUSES) + ENDINGS + WHO + ["so"] for w in s.split()})
    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words)}
    tokenizer = BertTokenizerFast(vocab=vocab)

    ending_names = [f"ending{i}" for i in range(4)]
    context_name = "sent1"
    question_header_name = "sent2"

    def preprocess_function(examples):
        first_sentences = [[context] * 4 for context in examples[context_name]]
        question_headers = examples[question_header_name]
        second_sentences = [
            [f"{header} {examples[end][i]}" for end in ending_names] for i, header in enumerate(question_headers)
        ]
        # Flatten out
        first_sentences = list(chain(*first_sentences))
        second_sentences = list(chain(*second_sentences))
        # Tokenize
        tokenized_examples = tokenizer(first_sentences, second_sentences, truncation=True, max_length=40)
        # Un-flatten
        return {k: [v[i : i + 4] for i in range(0, len(v), 4)] for k, v in tokenized_examples.items()}

    train_dataset = train_raw.map(preprocess_function, batched=True)
    eval_dataset = eval_raw.map(preprocess_function, batched=True)

    config = BertConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=48,
    )
    model = BertForMultipleChoice(config)

    def compute_metrics(eval_predictions):
        predictions, label_ids = eval_predictions
        preds = np.argmax(predictions, axis=1)
        return {"accuracy": (preds == label_ids).astype(np.float32).mean().item()}

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        data_collator=DataCollatorForMultipleChoice(tokenizer=tokenizer, pad_to_multiple_of=None),
        compute_metrics=compute_metrics,
    )
    train_result = trainer.train()
    trainer.log_metrics("train", train_result.metrics)
    metrics = trainer.evaluate()
    metrics["eval_samples"] = len(eval_dataset)
    trainer.log_metrics("eval", metrics)


if __name__ == "__main__":
    main()
