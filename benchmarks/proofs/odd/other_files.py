"""Reviews in other formats, in folders and on the Hub, and files in no such format."""

from __future__ import annotations

import json
import os
from pathlib import Path

import datasets
import pyarrow

from benchmarks.proofs.odd.inputs import (
    NUMBERED,
    ROWS,
    Odd,
    file,
    folder_of,
    frame,
    handled,
    labelled,
    lines,
    options,
    parquet,
    read,
    refused,
    saved,
    table,
    text_files,
)
from benchmarks.proofs.odd.running import run

ODD_BREAKS = [(f"{text}\u2028and\x85on", word) for text, word in ROWS]
MARKUP = [(f"😀 <br /> [bold] \x1b[2J {text}", word) for text, word in ROWS]
RECORDS = json.loads(frame().to_json(orient="records"))


def read_before(folder: Path) -> list[str]:
    """A file that has been read and was then edited, with its old date kept."""
    path = folder / "reviews.csv"
    path.write_text(table(labelled(("old", "older"))))
    before = path.stat()
    run(["--dataset", str(path), "--output-dir", str(folder / "first")])
    path.write_text(table(labelled(("new", "newer"))))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return ["--dataset", str(path)]


def of_the_hub(description: str, error: BaseException, expected: str, origin: str) -> Odd:
    """A dataset of the Hub, which cannot be reached here: its error is raised instead."""
    make = options("--dataset", "somebody/reviews")
    return refused(description, make, expected, origin, raising=(datasets, "load_dataset", error))


OTHER_FILES = (
    # Unknown formats
    refused(
        "a spreadsheet",
        file("r.xlsx", b"PK\x03\x04"),
        "save the sheet as CSV … cannot tell its format",
        "huggingface/transformers/issues/38567",
    ),
    refused("an archive", file("r.zip", b"PK\x03\x04"), "cannot tell its format … unpack it"),
    refused("a pickle", file("r.pkl", b"\x80\x04."), "cannot tell its format"),
    refused("plain text", file("reviews.txt", b"hello"), "cannot tell its format … .csv"),
    refused("a file without an ending", file("saved", b"hello"), "cannot tell its format … save_to_disk"),
    refused("no such file", options("--dataset", "missing.csv"), "there is no such file"),
    refused("an impossible name", options("--dataset", "x" * 300), "--dataset xxx … can have this name"),
    read("capitals in the file's name", file("REVIEWS.CSV", table())),
    # JSON
    read(
        "JSON by column, as pandas writes it", file("r.json", frame().to_json()), origin="mindsdb/mindshub/issues/8042"
    ),
    read("JSON lists by column", file("r.json", json.dumps(frame().to_dict(orient="list")))),
    read("JSON by row", file("r.json", frame().to_json(orient="index"))),
    read("JSON split", file("r.json", frame().to_json(orient="split"))),
    read("JSON as a table", file("r.json", frame().to_json(orient="table"))),
    read(
        "a JSON list of objects",
        file("r.json", frame().to_json(orient="records")),
        origin="huggingface/datasets/issues/1784",
    ),
    read("a JSON list over many lines", file("r.json", json.dumps(RECORDS, indent=1))),
    read(
        "rows under a key of their own",
        file("r.json", json.dumps({"version": 1, "data": RECORDS})),
        "rows from its `data`",
        "capitalone/DataProfiler/issues/105",
    ),
    refused(
        "two lists of rows",
        file("r.json", '{"train": [{"text": "a"}], "test": [{"text": "b"}]}'),
        "several lists of rows",
    ),
    refused("rows without names", file("r.json", '[["a", 1], ["b", 0]]'), "row 1 is no object"),
    refused("a word alone", file("r.json", '"text"'), "it is one value"),
    refused("JSON cut short", file("r.json", '[{"text": "a", "label": 0}, {"te'), "not JSON … cut short"),
    refused("JSON nested too deep", file("deep.json", b"[" * 10**5), "nested too deep"),
    read(
        "U+2028 and U+0085 inside JSON Lines",
        file("r.jsonl", lines(ODD_BREAKS, ensure_ascii=False)),
        origin="datalad/datalad/issues/3523",
        rows=ODD_BREAKS,
    ),
    read("JSON Lines by another name", file("r.ndjson", lines())),
    read("JSON Lines of Windows", file("r.jsonl", lines().replace("\n", "\r\n"))),
    read("JSON Lines after a byte order mark", file("r.jsonl", "\ufeff" + lines())),
    refused("JSON Lines that are blank", file("r.jsonl", " \n \n"), "it is empty"),
    refused(
        "Python dictionaries, one a line",
        file("r.jsonl", "".join(f"{row}\n" for row in NUMBERED)),
        "line 1 is a dictionary as Python prints it … json.dumps",
    ),
    refused(
        "a line of JSON cut short",
        file("r.jsonl", '{"text": "a", "label": 0}\n{"te'),
        "line 2 is not JSON … cut short",
    ),
    refused(
        "a key that some rows lack",
        file("r.jsonl", lines(ROWS[:5]) + '{"review": "no label"}\n' + lines(ROWS[5:])),
        "line 6 has no label",
        "huggingface/datasets/issues/7169",
    ),
    read(
        "labels that are numbers in some rows, words in others",
        file("r.jsonl", lines(labelled((1, "two")))),
        "1 = 0, two = 1",
        "huggingface/datasets/issues/6460",
        rows=labelled(("1", "two")),
    ),
    read("JSON Lines called .json", file("train.json", lines()), origin="lil-lab/nlvr/issues/1"),
    refused(
        "half a character",
        file("r.jsonl", lines([*ROWS, ("\ud83d", "positive")])),
        "line 25: the text holds half a character",
        "huggingface/transformers/issues/8886",
    ),
    read(
        "emoji, markup and commands for a terminal in reviews",
        file("r.csv", table(MARKUP)),
        origin="SEntiMoji/SEntiMoji/pull/3",
        rows=MARKUP,
    ),
    # Parquet
    read(
        "categories of pandas in Parquet",
        parquet(pyarrow.Table.from_pandas(frame().astype({"sentiment": "category"}))),
        origin="huggingface/datasets/issues/5706",
    ),
    read("Parquet", parquet(pyarrow.Table.from_pandas(frame()))),
    refused(
        "a Parquet file that was cut short",
        parquet(pyarrow.Table.from_pandas(frame()), cut=100),
        "not a readable parquet file",
        "huggingface/datasets/issues/4077",
    ),
    # Folders
    read(
        "brackets, stars and blanks in a path",
        file("my [best] rev*iews/all (1)?.csv", table()),
        origin="huggingface/datasets/issues/7468",
    ),
    read(
        "IMDB as Stanford distributes it: a file for each text",
        text_files("train/neg", "train/pos", "train/unsup", "test/neg", "test/pos"),
        "unsup/ is not used … evaluating on its split test",
        rows=[(f"a text of {label}, {number}", label) for label in ("neg", "pos") for number in range(12)],
    ),
    read(
        "a folder with train.csv and test.csv",
        folder_of(train=table(), test=table()),
        "evaluating on its split test",
        "huggingface/datasets/issues/4150",
    ),
    read(
        "a split called dev",
        folder_of(train=table(), dev=table()),
        "evaluating on its split dev",
        "huggingface/datasets/issues/4895",
    ),
    read(
        "splits that are not used",
        saved(train=(0, 1), validation=(-1,), test=(0, 1), extra=(0, 1)),
        "evaluating on its split test; not used: validation (without labels), extra",
        rows=labelled(("0", "1")),
    ),
    refused("no split to train on", saved(all=(0, 1)), "no split called `train`, only all … rename one"),
    refused(
        "a label only in the test split",
        saved(train=(0, 1), test=(7,)),
        "to evaluate on has the label 7, which no training example has",
    ),
    refused(
        "a folder that was not saved",
        lambda folder: ["--dataset", str(folder)],
        "not a folder that `datasets.save_to_disk` wrote … train.csv",
    ),
    refused(
        "subsets that overlap",
        parquet(pyarrow.Table.from_pylist(NUMBERED[:15])),
        "add up to more than the 15 … no example may be in both",
    ),
    read(
        'a dataset saved with `set_format("torch")`',
        saved("torch", train=(0, 1)),
        origin="huggingface/datasets/issues/5050",
        rows=labelled(("0", "1")),
    ),
    read("a dataset saved in numpy's format", saved("numpy", train=(0, 1)), rows=labelled(("0", "1"))),
    read("a dataset saved in pandas' format", saved("pandas", train=(0, 1)), rows=labelled(("0", "1"))),
    handled(
        "a file that was edited after it had been read",
        read_before,
        "new = 0, newer = 1",
        "huggingface/datasets/issues/2956",
    ),
    # The Hub, in the words of datasets 5.2
    of_the_hub(
        "a Hub dataset with several configurations",
        ValueError(
            "Config name is missing.\nPlease pick one among the available configs: ['raw', 'clean']\nExample of "
            "usage: ..."
        ),
        "choose one: --dataset-config raw | clean",
        "stanford-crfm/mistral/issues/25",
    ),
    of_the_hub(
        "a Hub dataset with a loading script",
        RuntimeError("Dataset scripts are no longer supported, but found superb.py"),
        "--dataset-revision refs/convert/parquet",
        "huggingface/datasets/issues/7693",
    ),
    of_the_hub(
        "a Hub dataset whose files do not fit together",
        datasets.exceptions.DatasetGenerationCastError("An error occurred while generating the dataset"),
        "cannot be loaded",
        "ZihanZhaoSJTU/LibriSQA/issues/2",
    ),
    of_the_hub(
        "a cache that cannot be written",
        PermissionError(13, "Permission denied", "/cache/huggingface/datasets"),
        "set HF_HOME to a folder you own",
        "huggingface/huggingface_hub/issues/2797",
    ),
    refused(
        "a Hub model without a network",
        options("--model", "nobody/nothing-of-this-name"),
        "the Hub cannot be reached and it is not in the cache … --preset quick",
        "huggingface/datasets/issues/6088",
    ),
    refused(
        "a Hub dataset without a network",
        options("--dataset", "nobody/nothing-of-this-name"),
        "the Hub cannot be reached … --preset quick",
    ),
)
