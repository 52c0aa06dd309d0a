"""Extractive QA, the way chapter 7 of the course does it (with doc_stride and offsets), on generated paragraphs."""
import collections
import random

import numpy as np
from datasets import Dataset
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizerFast, Trainer, TrainingArguments, set_seed

max_length = 48
stride = 12
n_best = 5
max_answer_length = 6

set_seed(3)

names = ["maria", "peter", "olga", "ahmed", "lucy", "tomas"]
towns = ["lisbon", "oslo", "cairo", "vienna", "quito", "seoul"]
jobs = ["baker", "pilot", "nurse", "painter", "lawyer", "clown"]


def build(n, seed):
    r = random.Random(seed)
    rows = []
    for i in range(n):
        a, b = r.sample(names, 2)
        facts = {p: (r.choice(towns), r.choice(jobs)) for p in (a, b)}
        context = " ".join(f"{p} was born in {t} and works as a {j} ." for p, (t, j) in facts.items())
        who = r.choice([a, b])
        if r.random() < 0.5:
            q, ans = f"where was {who} born ?", facts[who][0]
        else:
            q, ans = f"what is the job of {who} ?", facts[who][1]
        start = context.index(ans, context.index(who))
        rows.append({"id": f"q{i}", "question": q, "context": context, "answers": {"text": [ans], "answer_start": [start]}})
    return Dataset.from_list(rows)


raw_train, raw_valid = build(90, 0), build(24, 1)

wp = BertWordPieceTokenizer()
wp.train_from_iterator(raw_train["context"][:] + raw_train["question"][:], vocab_size=250, min_frequency=1, show_progress=False)
tokenizer = BertTokenizerFast(tokenizer_object=wp._tokenizer)


def preprocess_training_examples(examples):
    questions = [q.strip() for q in examples["question"]]
    inputs = tokenizer(
        questions,
        examples["context"],
        max_length=max_length,
        truncation="only_second",
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )
    offset_mapping = inputs.pop("offset_mapping")
    sample_map = inputs.pop("overflow_to_sample_mapping")
    answers = examples["answers"]
    start_positions = []
    end_positions = []
    for i, offset in enumerate(offset_mapping):
        answer = answers[sample_map[i]]
        start_char = answer["answer_start"][0]
        end_char = start_char + len(answer["text"][0])
        sequence_ids = inputs.sequence_ids(i)

        idx = 0
        while sequence_ids[idx] != 1:
            idx += 1
        context_start = idx
        while sequence_ids[idx] == 1:
            idx += 1
        context_end = idx - 1

        if offset[context_start][0] > start_char or offset[context_end][1] < end_char:
            start_positions.append(0)
            end_positions.append(0)
        else:
            idx = context_start
            while idx <= context_end and offset[idx][0] <= start_char:
                idx += 1
            start_positions.append(idx - 1)
            idx = context_end
            while idx >= context_start and offset[idx][1] >= end_char:
                idx -= 1
            end_positions.append(idx + 1)
    inputs["start_positions"] = start_positions
    inputs["end_positions"] = end_positions
    return inputs


def preprocess_validation_examples(examples):
    inputs = tokenizer(
        examples["question"], examples["context"], max_length=max_length, truncation="only_second", stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True, padding="max_length",
    )
    sample_map = inputs.pop("overflow_to_sample_mapping")
    example_ids = []
    for i in range(len(inputs["input_ids"])):
        example_ids.append(examples["id"][sample_map[i]])
        sequence_ids = inputs.sequence_ids(i)
        offset = inputs["offset_mapping"][i]
        inputs["offset_mapping"][i] = [o if sequence_ids[k] == 1 else None for k, o in enumerate(offset)]
    inputs["example_id"] = example_ids
    return inputs


train_dataset = raw_train.map(preprocess_training_examples, batched=True, remove_columns=raw_train.column_names)
validation_dataset = raw_valid.map(preprocess_validation_examples, batched=True, remove_columns=raw_valid.column_names)


def compute_metrics(start_logits, end_logits, features, examples):
    example_to_features = collections.defaultdict(list)
    for idx, feature in enumerate(features):
        example_to_features[feature["example_id"]].append(idx)

    exact = []
    for example in examples:
        best = ("", -1e9)
        for feature_index in example_to_features[example["id"]]:
            s, e = start_logits[feature_index], end_logits[feature_index]
            offsets = features[feature_index]["offset_mapping"]
            for si in np.argsort(s)[-1 : -n_best - 1 : -1].tolist():
                for ei in np.argsort(e)[-1 : -n_best - 1 : -1].tolist():
                    if offsets[si] is None or offsets[ei] is None:
                        continue
                    if ei < si or ei - si + 1 > max_answer_length:
                        continue
                    score = s[si] + e[ei]
                    if score > best[1]:
                        best = (example["context"][offsets[si][0] : offsets[ei][1]], score)
        exact.append(best[0] == example["answers"]["text"][0])
    return {"exact_match": 100 * float(np.mean(exact))}


model = BertForQuestionAnswering(
    BertConfig(vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, max_position_embeddings=max_length)
)

args = TrainingArguments(
    "out_qa",
    eval_strategy="no",
    save_strategy="epoch",
    learning_rate=2e-3,
    num_train_epochs=2,
    per_device_train_batch_size=8,
    weight_decay=0.01,
    logging_steps=10,
    report_to="none",
)

trainer = Trainer(
    model=model,
    args=args,
    train_dataset=train_dataset,
    eval_dataset=validation_dataset,
    processing_class=tokenizer,
)
trainer.train()

predictions, _, _ = trainer.predict(validation_dataset)
start_logits, end_logits = predictions
print(compute_metrics(start_logits, end_logits, validation_dataset, raw_valid))
