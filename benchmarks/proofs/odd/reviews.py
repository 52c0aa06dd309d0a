"""The content of the columns: their names, labels and texts."""

from __future__ import annotations

from datetime import date

import datasets
import pyarrow

from benchmarks.proofs.odd.inputs import ROWS, file, labelled, lines, numbered, parquet, read, refused, saved, table

LAST_OF_THE_SHUFFLE = datasets.Dataset.from_dict({"n": range(24)}).shuffle(seed=0, keep_in_memory=True)["n"][-1]
NA_STRINGS = [("None", "negative"), ("NA", "positive"), ("null", "negative")]

REVIEWS = (
    # Columns
    read(
        "columns `review` and `sentiment`, labels words, as Kaggle's IMDB has them",
        file("IMDB Dataset.csv", table()),
        "text from `review`, label from `sentiment`; 2 classes: negative (12), positive (12)",
        "fastai/fastai2/issues/302",
    ),
    read(
        "a column called TEXT",
        file("r.csv", table(header=("TEXT", "Label"))),
        "text from `TEXT`",
        "axolotl-ai-cloud/axolotl/issues/618",
    ),
    read(
        "names in another case after a column of numbers",
        file("r.csv", table([(7, *row) for row in ROWS], ("Id", "REVIEW", "Sentiment"))),
    ),
    read("blanks around names", file("r.csv", table(header=(" review", "sentiment ")))),
    refused(
        "other names", file("r.csv", "body,stars\na,1\n"), "no column `text`, only body, stars … --text-column NAME"
    ),
    refused(
        "no text column in Parquet",
        numbered(lambda row: {"body": row["text"], "label": row["label"]}),
        "no column `text`, only body, label … --text-column NAME",
    ),
    refused(
        "no label column",
        file("r.csv", "text,stars\na,1\n"),
        "no column `label`, only text, stars … --label-column NAME",
    ),
    refused(
        "names that differ in their case only",
        file("r.csv", "TEXT,Text,label\na,b,1\n"),
        "differ in their case only … --text-column",
    ),
    # Labels
    read(
        "labels that are words",
        file("r.jsonl", lines()),
        "negative = 0, positive = 1",
        "prateekjoshi565/Fine-Tuning-BERT/issues/9",
    ),
    read(
        "labels that are whole floats",
        file("r.csv", table(labelled((0.0, 1.0)))),
        "2 classes: 0 (12), 1 (12)",
        "ahmedbesbes/character-based-cnn/issues/5",
        rows=labelled(("0", "1")),
    ),
    read(
        "labels that are true and false",
        file("r.jsonl", lines(labelled((True, False)))),
        "False = 0, True = 1",
        "deepset-ai/FARM/issues/66",
        rows=labelled(("True", "False")),
    ),
    read(
        "labels from 1 on",
        file("r.csv", table(labelled((1, 2, 3, 4)))),
        "1 = 0, 2 = 1, 3 = 2, 4 = 3",
        "AlfredXiangWu/LightCNN/issues/5",
        rows=labelled(("1", "2", "3", "4")),
    ),
    read(
        "labels with a gap",
        file("r.csv", table(labelled((0, 1, 20)))),
        "20 = 2",
        "modelscope/ms-swift/issues/9539",
        rows=labelled(("0", "1", "20")),
    ),
    read(
        "labels that differ in their case only",
        file("r.csv", table(labelled(("Good", "good", "bad")))),
        "note: the labels Good, good differ in their case only",
        rows=labelled(("Good", "good", "bad")),
    ),
    read(
        "a text that is in both subsets",
        file("r.csv", table(ROWS * 4)),
        "texts of the validation set are also in the training set",
        rows=ROWS * 4,
    ),
    refused(
        "a label that is missing",
        file("r.csv", table([*ROWS[:5], ("no label", ""), *ROWS[5:]])),
        "line 7 has no label in `sentiment`",
        "apple/turicreate/issues/3357",
    ),
    refused(
        "a label that is missing in Parquet",
        numbered(lambda row: {**row, "label": None if row["text"].endswith("3") else 1}),
        "row 4 has no label in `label` … remove the row",
    ),
    refused(
        "a label that is not a number",
        file("r.json", '[{"text": "a", "label": NaN}, {"text": "b", "label": 1}]'),
        "row 1 has no label",
    ),
    read(
        "a test split whose labels are all -1",
        saved(train=(0, 1), validation=(1, 0), test=(-1,)),
        "evaluating on its split validation; not used: test",
        "huggingface/datasets/issues/5624",
        rows=labelled(("0", "1")),
    ),
    read(
        "a validation split whose labels are all -1, and a test split with labels",
        saved(train=(0, 1), validation=(-1,), test=(1, 0)),
        "not used: validation (without labels)",
        "huggingface/datasets/issues/5624",
        rows=labelled(("0", "1")),
    ),
    refused(
        "a fraction",
        file("r.csv", "text,label\na,0.5\nb,1\n"),
        "line 2 has the label 0.5, a fraction … compare --trainer",
    ),
    refused("pairs of texts", file("r.csv", "sentence1,sentence2,label\na,b,0\nb,c,1\n"), "compare --trainer"),
    refused(
        "fractions in Parquet",
        numbered(lambda row: {**row, "label": 0.5}),
        "row 1 has the label 0.5, a fraction … words or whole numbers",
    ),
    refused(
        "labels that are lists",
        file("r.jsonl", '{"text": "a", "label": [1]}\n{"text": "b", "label": [0]}\n'),
        "`label` holds lists … --label-column … compare --trainer",
    ),
    refused(
        "labels that are dates",
        numbered(lambda row: {**row, "label": date(2026, 1, 1 + row["label"])}),
        "`label` holds Value( … 'date32' … --label-column",
    ),
    refused(
        "labels that are structs",
        numbered(lambda row: {**row, "label": {"stars": row["label"]}}),
        "`label` holds … no plain values",
    ),
    refused("one class", file("r.csv", "text,label\na,x\nb,x\n"), "all labels are x … two classes at least"),
    refused(
        "one class in the subset",
        parquet(pyarrow.Table.from_pylist([{"text": "a", "label": int(n == LAST_OF_THE_SHUFFLE)} for n in range(24)])),
        "all selected examples have the label 0 … --slice-seed",
    ),
    # Texts
    refused(
        "a review that is missing",
        file("r.jsonl", lines([*ROWS[:3], (None, "negative"), *ROWS[3:]])),
        "line 4 has no text in `review`",
        "Lightning-AI/litgpt/issues/1759",
    ),
    refused("an empty review", file("r.csv", "text,label\na,0\nb,1\n ,1\nd,0\n"), "line 4 has no text in `text`"),
    refused(
        "null for a review",
        file("r.json", '[{"text": null, "label": 0}, {"text": "b", "label": 1}]'),
        "row 1 has no text",
    ),
    refused(
        "empty reviews in Parquet",
        numbered(lambda row: {**row, "text": "  "}),
        "row 1 has no text … 24 of 24 rows … remove such rows",
    ),
    refused(
        "missing reviews in Parquet",
        numbered(lambda row: {**row, "text": None if row["label"] else "a"}),
        "row 2 has no text in `text` … 12 of 24 rows",
    ),
    refused("a number for a review", file("r.jsonl", '{"text": 5, "label": 1}\n'), "row 1 … holds no text but 5"),
    refused("numbers in Parquet", numbered(lambda row: {**row, "text": 3}), "`text` … holds no text but"),
    read(
        "reviews that read None, NA and null",
        file("r.csv", table([*ROWS, *NA_STRINGS])),
        "2 classes: negative (14), positive (13)",
        "huggingface/datasets/issues/4467",
        rows=[*ROWS, *NA_STRINGS],
    ),
    refused(
        "a column of numbers, one per row, as the label",
        file("r.csv", table([(text, number) for number, (text, _) in enumerate(ROWS)])),
        "24 different labels in 24 rows",
        "dotnet/machinelearning/issues/4473",
    ),
    refused(
        "a word of its own in every row as the label",
        file("r.csv", "text,label\n" + "".join(f"t{n},id{n}\n" for n in range(9))),
        "9 different labels in 9 rows",
    ),
)
