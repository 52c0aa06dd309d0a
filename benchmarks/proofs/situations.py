"""What real people bring, tried on the product: `make situations-table` writes docs/situations.md.

Each situation was met by somebody in public, and its origin is given. It is made small here and run through the
command line: either the run comes to its end (handled), or one line says what is wrong and what to do (status 2).
Anything else is a fault of SameLoop's.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import datasets
import pandas

from benchmarks.cli import main
from benchmarks.proofs import odd_models
from shared.errors import shown
from shared.running.children import ROOT, loop_argv

DOCS = ROOT / "docs"
GITHUB = "https://github.com/"
HANDLED, ONE_LINE = "handled", "one line"
WORDS = ("negative", "positive")
ROWS = [(f"review {number}, quite {'good' if number % 2 else 'bad'}", WORDS[number % 2]) for number in range(24)]
HEADER = ("review", "sentiment")
SMALL = ("--preset", "tiny", "--num-train-epochs", "1", "--train-size", "12", "--eval-size", "8")
Made = Callable[[Path], list[str]]


class Situation(NamedTuple):
    """One situation.

    Attributes:
        what: in words.
        origin: the GitHub thread in which somebody met it.
        make: prepares a folder and gives the options of `sameloop manual`.
        expected: `handled` or `one line`.
        said: what must be said of it.
        environment: variables that are set.
    """

    what: str
    origin: str
    make: Made
    expected: str = HANDLED
    said: str = ""
    environment: Mapping[str, str] = {}


class Outcome(NamedTuple):
    """What came of it: `handled`, `one line`, or what went wrong; and the line that was said."""

    what: str
    line: str


# How they are made ---------------------------------------------------------------------------------


def dataset(name: str, content: str | bytes, *options: str) -> Made:
    """A file of reviews."""

    def make(folder: Path) -> list[str]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["--dataset", str(path), *options]

    return make


def table(rows: Sequence[tuple] = ROWS, header: tuple[str, ...] = HEADER, **dialect: Any) -> str:
    """Rows as CSV."""
    file = io.StringIO(newline="")
    csv.writer(file, **{"lineterminator": "\n", **dialect}).writerows([header, *rows])
    return file.getvalue()


def labelled(labels: Sequence[Any]) -> list[tuple]:
    """The reviews with these labels in turn."""
    return [(text, labels[number % len(labels)]) for number, (text, _) in enumerate(ROWS)]


def lines(rows: Sequence[tuple] = ROWS, **options: Any) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True)), **options) + "\n" for row in rows)


def frame(rows: Sequence[tuple] = ROWS) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=list(HEADER))


def options(*given: str) -> Made:
    """Nothing but options."""
    return lambda folder: list(given)


def model(make: Callable[[Path], Path], *given: str) -> Made:
    """A model folder."""
    return lambda folder: ["--model", str(make(folder)), *given]


def parquet(change: Callable[[pandas.DataFrame], pandas.DataFrame], cut: int = 0) -> Made:
    def make(folder: Path) -> list[str]:
        path = folder / "reviews.parquet"
        change(frame()).to_parquet(path)
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return ["--dataset", str(path)]

    return make


def folder_of(**files: str) -> Made:
    """A folder of CSV files, one for each split."""

    def make(folder: Path) -> list[str]:
        for name, content in files.items():
            (folder / f"{name}.csv").write_text(content)
        return ["--dataset", str(folder)]

    return make


def saved(**splits: Sequence[Any]) -> Made:
    """What `save_to_disk` writes, its labels in turn, in torch's format."""

    def make(folder: Path) -> list[str]:
        found = {
            name: datasets.Dataset.from_dict({"text": [row[0] for row in ROWS], "label": [row[1] for row in rows]})
            for name, rows in ((name, labelled(labels)) for name, labels in splits.items())
        }
        datasets.DatasetDict(found).with_format("torch").save_to_disk(folder / "saved")
        return ["--dataset", str(folder / "saved")]

    return make


def edited_after_a_run(folder: Path) -> list[str]:
    """A file that is read, then edited with its old date kept."""
    path = folder / "reviews.csv"
    path.write_text(table(labelled(("old", "older"))))
    before = path.stat()
    run(["--dataset", str(path), "--output-dir", str(folder / "first")])
    path.write_text(table(labelled(("new", "newer"))))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return ["--dataset", str(path)]


def after_an_out_of_memory(folder: Path) -> list[str]:
    """A run that was cut off, gone on with in smaller evaluation batches."""
    out = str(folder / "run")
    run(["--save-strategy", "epoch", "--output-dir", out])
    (folder / "run/model.safetensors").unlink()
    return ["--save-strategy", "epoch", "--per-device-eval-batch-size", "2", "--resume-from-checkpoint", "last"]


def best_without_a_checkpoint(folder: Path) -> list[str]:
    best = ["--load-best-model-at-end", "--eval-strategy", "steps", "--eval-steps", "1", "--save-strategy", "steps"]
    return [*best, "--save-steps", "3", "--train-size", "40"]


HUB = ("--dataset", "somebody/reviews")
# The Hub cannot be reached here, so its errors are raised in its place, in the words of datasets 5.2.
HUB_ERRORS: dict[str, BaseException] = {
    "config-missing": ValueError(
        "Config name is missing.\nPlease pick one among the available configs: ['raw', 'clean']\nExample of usage: ..."
    ),
    "scripts-gone": RuntimeError("Dataset scripts are no longer supported, but found superb.py"),
    "generation-error": datasets.exceptions.DatasetGenerationCastError(
        "An error occurred while generating the dataset"
    ),
    "cache-readonly": PermissionError(13, "Permission denied", "/cache/huggingface/datasets"),
}

LONG = "wonderful " * 20_000

SITUATIONS: dict[str, Situation] = {
    # Their data
    "kaggle-columns": Situation(
        "columns `review` and `sentiment`, labels words, as Kaggle's IMDB has them",
        "fastai/fastai2/issues/302",
        dataset("IMDB Dataset.csv", table()),
        said="text from `review`, label from `sentiment`; 2 classes: negative (12), positive (12)",
    ),
    "column-case": Situation(
        "a column called TEXT",
        "axolotl-ai-cloud/axolotl/issues/618",
        dataset("r.csv", table(header=("TEXT", "Label"))),
        said="text from `TEXT`",
    ),
    "label-words": Situation(
        "labels that are words",
        "prateekjoshi565/Fine-Tuning-BERT/issues/9",
        dataset("r.jsonl", lines()),
        said="negative = 0, positive = 1",
    ),
    "label-float": Situation(
        "labels that are whole floats",
        "ahmedbesbes/character-based-cnn/issues/5",
        dataset("r.csv", table(labelled((0.0, 1.0)))),
        said="2 classes: 0 (12), 1 (12)",
    ),
    "label-bool": Situation(
        "labels that are true and false",
        "deepset-ai/FARM/issues/66",
        dataset("r.jsonl", lines(labelled((True, False)))),
        said="False = 0, True = 1",
    ),
    "label-from-one": Situation(
        "labels from 1 on",
        "AlfredXiangWu/LightCNN/issues/5",
        dataset("r.csv", table(labelled((1, 2, 3, 4)))),
        said="1 = 0, 2 = 1, 3 = 2, 4 = 3",
    ),
    "label-gap": Situation(
        "labels with a gap",
        "modelscope/ms-swift/issues/9539",
        dataset("r.csv", table(labelled((0, 1, 20)))),
        said="20 = 2",
    ),
    "label-missing": Situation(
        "a label that is missing",
        "apple/turicreate/issues/3357",
        dataset("r.csv", table([*ROWS[:5], ("no label", ""), *ROWS[5:]])),
        ONE_LINE,
        "line 7 has no label in `sentiment`",
    ),
    "label-minus-one": Situation(
        "a test split whose labels are all -1",
        "huggingface/datasets/issues/5624",
        saved(train=(0, 1), validation=(1, 0), test=(-1,)),
        said="evaluating on its split validation; not used: test",
    ),
    "hidden-validation": Situation(
        "a validation split whose labels are all -1, and a test split with labels",
        "huggingface/datasets/issues/5624",
        saved(train=(0, 1), validation=(-1,), test=(1, 0)),
        said="not used: validation (without labels)",
    ),
    "text-missing": Situation(
        "a review that is missing",
        "Lightning-AI/litgpt/issues/1759",
        dataset("r.jsonl", lines([*ROWS[:3], (None, "negative"), *ROWS[3:]])),
        ONE_LINE,
        "line 4 has no text in `review`",
    ),
    "text-na-string": Situation(
        "reviews that read None, NA and null",
        "huggingface/datasets/issues/4467",
        dataset("r.csv", table([*ROWS, ("None", "negative"), ("NA", "positive"), ("null", "negative")])),
        said="2 classes: negative (14), positive (13)",
    ),
    "many-classes": Situation(
        "a column of numbers, one per row, as the label",
        "dotnet/machinelearning/issues/4473",
        dataset("r.csv", table([(text, number) for number, (text, _) in enumerate(ROWS)])),
        ONE_LINE,
        "24 different labels in 24 rows",
    ),
    "csv-unquoted-comma": Situation(
        "a comma in a review without quotes",
        "wireservice/ffs/pull/19",
        dataset("r.csv", "text,label\n" + "bad,0\ngood, but long,1\n" * 12),
        ONE_LINE,
        "line 3 has 3 fields, the header has 2",
    ),
    "csv-escaped-quotes": Situation(
        "quotes after a backslash",
        "pandas-dev/pandas/issues/18382",
        dataset(
            "r.csv",
            table(
                [(f'"{text}", they said', word) for text, word in ROWS],
                quoting=csv.QUOTE_ALL,
                doublequote=False,
                escapechar="\\",
            ),
        ),
        said="quotes stand after a backslash",
    ),
    "csv-semicolon": Situation(
        "semicolons between the fields",
        "asreview/asreview/issues/302",
        dataset("r.csv", table(delimiter=";")),
        said="fields parted by ';'",
    ),
    "csv-tab": Situation(
        "a .tsv", "huggingface/datasets/issues/6691", dataset("r.tsv", table(delimiter="\t")), said="2 classes"
    ),
    "csv-bom": Situation(
        "a byte order mark", "biolab/orange3/issues/7000", dataset("r.csv", "\ufeff" + table()), said="2 classes"
    ),
    "csv-latin1": Situation(
        "a file in latin-1",
        "mirador/nhanes/issues/7",
        dataset("r.csv", table([("café", "negative"), *ROWS]).encode("latin-1")),
        ONE_LINE,
        "line 2 is not UTF-8 (byte 0xe9)",
    ),
    "csv-utf16": Situation(
        "a file in UTF-16",
        "vividvilla/csvtotable/issues/35",
        dataset("r.csv", table().encode("utf-16")),
        said="2 classes",
    ),
    "csv-crlf": Situation(
        "carriage returns inside reviews",
        "huggingface/datasets/pull/713",
        dataset("r.csv", table([(f"{text}\r\nand\ron", word) for text, word in ROWS], lineterminator="\r\n")),
        said="2 classes",
    ),
    "csv-no-header": Situation(
        "no header",
        "langchain-ai/langchain/issues/6460",
        dataset(
            "r.csv", table(labelled((0, 1)), header=("the very first review of all of them, and quite a long one", 1))
        ),
        ONE_LINE,
        "its first line is no header but a row already",
    ),
    "csv-ragged": Situation(
        "a row with more fields than the header",
        "appvision-ai/fast-bert/issues/96",
        dataset("r.csv", table([*ROWS[:9], ("a", "b", "c"), *ROWS[9:]])),
        ONE_LINE,
        "line 11 has 3 fields",
    ),
    "csv-duplicate-columns": Situation(
        "two columns of one name",
        "pandas-dev/pandas/issues/52408",
        dataset("r.csv", table([(*row, "x") for row in ROWS], ("review", "sentiment", "review"))),
        ONE_LINE,
        "two of its columns are called `review`",
    ),
    "csv-unclosed-quote": Situation(
        "a quote that is never closed",
        "pandas-dev/pandas/issues/22140",
        dataset("r.csv", table().replace('review 7, quite good"', "review 7, quite good")),
        ONE_LINE,
        "line 9",
    ),
    "csv-gz": Situation(
        "a file that is compressed",
        "huggingface/datasets/issues/5088",
        dataset("r.jsonl.gz", gzip.compress(lines().encode())),
        said="2 classes",
    ),
    "huge-field": Situation(
        "a review of 200,000 characters",
        "simonw/datasette-lite/issues/84",
        dataset("r.csv", table([(LONG, "positive"), *ROWS])),
        said="2 classes: positive (13), negative (12)",
    ),
    "excel": Situation(
        "a spreadsheet",
        "huggingface/transformers/issues/38567",
        dataset("r.xlsx", b"PK\x03\x04"),
        ONE_LINE,
        "save the sheet as CSV",
    ),
    "json-columns": Situation(
        "JSON by column, as pandas writes it",
        "mindsdb/mindshub/issues/8042",
        dataset("r.json", frame().to_json()),
        said="2 classes",
    ),
    "json-list": Situation(
        "a JSON list of objects",
        "huggingface/datasets/issues/1784",
        dataset("r.json", frame().to_json(orient="records")),
        said="2 classes",
    ),
    "json-field": Situation(
        "rows under a key of their own",
        "capitalone/DataProfiler/issues/105",
        dataset("r.json", json.dumps({"version": 1, "data": json.loads(frame().to_json(orient="records"))})),
        said="rows from its `data`",
    ),
    "json-u2028": Situation(
        "U+2028 and U+0085 inside JSON Lines",
        "datalad/datalad/issues/3523",
        dataset("r.jsonl", lines([(f"{text}\u2028and\x85on", word) for text, word in ROWS], ensure_ascii=False)),
        said="2 classes",
    ),
    "json-missing-key": Situation(
        "a key that some rows lack",
        "huggingface/datasets/issues/7169",
        dataset("r.jsonl", lines(ROWS[:5]) + '{"review": "no label"}\n' + lines(ROWS[5:])),
        ONE_LINE,
        "line 6 has no label",
    ),
    "json-mixed-types": Situation(
        "labels that are numbers in some rows, words in others",
        "huggingface/datasets/issues/6460",
        dataset("r.jsonl", lines(labelled((1, "two")))),
        said="1 = 0, two = 1",
    ),
    "json-trailing": Situation(
        "JSON Lines called .json",
        "lil-lab/nlvr/issues/1",
        dataset("train.json", lines()),
        said="2 classes",
    ),
    "lone-surrogate": Situation(
        "half a character",
        "huggingface/transformers/issues/8886",
        dataset("r.jsonl", lines([*ROWS, ("\ud83d", "positive")])),
        ONE_LINE,
        "line 25: the review holds half a character",
    ),
    "stdout-html": Situation(
        "emoji, markup and commands for a terminal in reviews",
        "SEntiMoji/SEntiMoji/pull/3",
        dataset("r.csv", table([(f"😀 <br /> [bold] \x1b[2J {text}", word) for text, word in ROWS])),
        said="2 classes",
    ),
    "parquet-categorical": Situation(
        "categories of pandas in Parquet",
        "huggingface/datasets/issues/5706",
        parquet(lambda rows: rows.astype({"sentiment": "category"})),
        said="2 classes",
    ),
    "parquet-corrupt": Situation(
        "a Parquet file that was cut short",
        "huggingface/datasets/issues/4077",
        parquet(lambda rows: rows, cut=100),
        ONE_LINE,
        "not a readable parquet file",
    ),
    "path-brackets": Situation(
        "brackets, stars and blanks in a path",
        "huggingface/datasets/issues/7468",
        dataset("my [best] rev*iews/all (1).csv", table()),
        said="2 classes",
    ),
    "folder-csvs": Situation(
        "a folder with train.csv and test.csv",
        "huggingface/datasets/issues/4150",
        folder_of(train=table(), test=table()),
        said="evaluating on its split test",
    ),
    "split-names": Situation(
        "a split called dev",
        "huggingface/datasets/issues/4895",
        folder_of(train=table(), dev=table()),
        said="evaluating on its split dev",
    ),
    "saved-format": Situation(
        'a dataset saved with `set_format("torch")`',
        "huggingface/datasets/issues/5050",
        saved(train=(0, 1)),
        said="2 classes",
    ),
    "stale-cache": Situation(
        "a file that was edited after it had been read",
        "huggingface/datasets/issues/2956",
        edited_after_a_run,
        said="new = 0, newer = 1",
    ),
    "config-missing": Situation(
        "a Hub dataset with several configurations",
        "stanford-crfm/mistral/issues/25",
        options(*HUB),
        ONE_LINE,
        "choose one: --dataset-config raw | clean",
    ),
    "scripts-gone": Situation(
        "a Hub dataset with a loading script",
        "huggingface/datasets/issues/7693",
        options(*HUB),
        ONE_LINE,
        "--dataset-revision refs/convert/parquet",
    ),
    "generation-error": Situation(
        "a Hub dataset whose files do not fit together",
        "ZihanZhaoSJTU/LibriSQA/issues/2",
        options(*HUB),
        ONE_LINE,
        "cannot be loaded",
    ),
    "cache-readonly": Situation(
        "a cache that cannot be written",
        "huggingface/huggingface_hub/issues/2797",
        options(*HUB),
        ONE_LINE,
        "set HF_HOME to a folder you own",
    ),
    "offline-hub": Situation(
        "a Hub model without a network",
        "huggingface/datasets/issues/6088",
        options("--model", "nobody/nothing-of-this-name"),
        ONE_LINE,
        "the Hub cannot be reached and it is not in the cache",
    ),
    # Their models
    "head-mismatch": Situation(
        "a head for another number of classes",
        "huggingface/transformers/issues/14218",
        model(odd_models.head_for(5)),
        said="it gets a fresh one",
    ),
    "problem-type": Situation(
        "a head for a number, not for classes",
        "huggingface/transformers/issues/19181",
        model(odd_models.head_for(1, problem_type="regression")),
        said="it gets a fresh one",
    ),
    "no-pad-token": Situation(
        "GPT-2, which has no padding token",
        "huggingface/transformers/issues/9785",
        model(odd_models.gpt2),
        said="its end token takes its place",
    ),
    "roberta-positions": Situation(
        "RoBERTa at its number of positions",
        "huggingface/transformers/issues/14243",
        model(odd_models.roberta, "--max-length", "34"),
        ONE_LINE,
        "takes 32 tokens at most",
    ),
    "half-weights": Situation(
        "weights in 16 bits",
        "Facico/Chinese-Vicuna/issues/168",
        model(odd_models.half),
    ),
    "remote-code": Situation(
        "a model folder that brings code of its own",
        "IST-DASLab/sparsegpt/pull/38",
        model(odd_models.custom_code),
        ONE_LINE,
        "cannot be loaded",
    ),
    "unknown-activation": Situation(
        "an activation that transformers does not know",
        "secretflow/spu/issues/969",
        model(odd_models.edited(activation="quad")),
        ONE_LINE,
        "cannot be loaded",
    ),
    "heads-not-divide": Situation(
        "a number of heads that does not divide the width",
        "huggingface/transformers/issues/61",
        model(odd_models.edited(n_heads=5)),
        ONE_LINE,
        "cannot be loaded",
    ),
    "quantized": Situation(
        "a quantized model without bitsandbytes",
        "krishnaik06/Llamindex-Projects/issues/8",
        model(odd_models.edited(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})),
        ONE_LINE,
        "cannot be loaded",
    ),
    "flash-attn-missing": Situation(
        "an attention that is not installed",
        "microsoft/VibeVoice/issues/206",
        model(odd_models.edited(_attn_implementation="flash_attention_2")),
        ONE_LINE,
        "FlashAttention2",
    ),
    "vocab-mismatch": Situation(
        "a tokenizer with more tokens than the embedding",
        "EuroEval/EuroEval/issues/52",
        model(odd_models.few_words),
        ONE_LINE,
        "its tokenizer has 30522 tokens, its embedding 1000",
    ),
    "pickle-weights": Situation(
        "weights as a pickle",
        "SNL-UCSB/netFound/issues/4",
        model(odd_models.pickled),
        ONE_LINE,
        "which can run any code",
    ),
    # Their machines and habits
    "compile-no-compiler": Situation(
        "torch.compile without a compiler",
        "pytorch/pytorch/issues/92745",
        options("--torch-compile"),
        ONE_LINE,
        "--torch-compile needs a C++ compiler",
        {"CXX": "no-such-compiler"},
    ),
    "accelerate-env": Situation(
        "accelerate's environment asks for 16 bits",
        "huggingface/transformers/issues/29510",
        options(),
        ONE_LINE,
        "ACCELERATE_MIXED_PRECISION=bf16",
        {"ACCELERATE_MIXED_PRECISION": "bf16"},
    ),
    "world-size-env": Situation(
        "WORLD_SIZE left in the environment",
        "mit-han-lab/distrifuser/issues/11",
        options(),
        ONE_LINE,
        "WORLD_SIZE=4 without",
        {"WORLD_SIZE": "4", "RANK": "0"},
    ),
    "home-readonly": Situation(
        "a home that cannot be written",
        "oobabooga/textgen/issues/5457",
        options(),
        ONE_LINE,
        "set SAMELOOP_CACHE to a folder you own",
        {"SAMELOOP_CACHE": "/proc/sameloop"},
    ),
    "evaluation-strategy": Situation(
        "`evaluation_strategy`",
        "huggingface/course/issues/987",
        options("--evaluation_strategy", "epoch"),
        ONE_LINE,
        "it is called --eval-strategy",
    ),
    "no-cuda": Situation(
        "`no_cuda`",
        "huggingface/transformers/pull/24863",
        options("--no-cuda"),
        ONE_LINE,
        "it is called --use-cpu",
    ),
    "group-by-length": Situation(
        "`group_by_length`",
        "huggingface/transformers/pull/43138",
        options("--group-by-length"),
        ONE_LINE,
        "it is called --train-sampling-strategy group_by_length",
    ),
    "warmup-ratio": Situation(
        "`warmup_ratio`",
        "huggingface/peft/issues/2949",
        options("--warmup-ratio", "0.1"),
        ONE_LINE,
        "it is called --warmup-steps",
    ),
    "polynomial-lr": Situation(
        "a polynomial schedule that would have to rise",
        "keras-team/keras/issues/18747",
        options("--lr-scheduler-type", "polynomial", "--learning-rate", "1e-7"),
        ONE_LINE,
        "polynomial falls to 1e-07 and must start above it",
    ),
    "best-without-checkpoint": Situation(
        "`load_best_model_at_end` with more evaluations than checkpoints",
        "huggingface/transformers/issues/12315",
        best_without_a_checkpoint,
    ),
    "oom-eval": Situation(
        "going on with smaller evaluation batches after an out-of-memory",
        "huggingface/transformers/issues/17089",
        after_an_out_of_memory,
        said="evaluations in batches of 2 from here on, of 8 before",
    ),
    "fsync-einval": Situation(
        "a shared folder that refuses fsync",
        "untitaker/python-atomicwrites/issues/27",
        options("--save-strategy", "epoch"),
    ),
}

# In processes of their own, in a folder that holds these files or with this environment.
ALONE: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
    "shadow-datasets": (
        "a `datasets.py` and a `shared` folder of the student's where one stands",
        "huggingface/datasets/issues/6553",
        {"datasets.py": "raise SystemExit('mine')", "shared/__init__.py": "", "shared/config.py": "raise SystemExit"},
        {},
    ),
    "shadow-stdlib": (
        "files called random.py, json.py, queue.py, token.py and typing.py where one stands",
        "numpy/numpy/issues/16198",
        {f"{name}.py": "raise SystemExit('mine')" for name in ("random", "json", "queue", "token", "typing", "torch")},
        {},
    ),
    "locale-c": (
        "a C locale, and reviews with emoji",
        "docker-library/python/issues/13",
        {"reviews.csv": table([(f"😀 {text}", word) for text, word in ROWS])},
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ),
}


# How they are run ----------------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """`sameloop manual` in this process; returns its exit status and what it and the libraries said, line by line."""
    sys.stderr.flush()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", buffering=1) as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)  # for what writes there by itself: a library's log
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                status = main(["manual", *SMALL, *arguments])
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        said.seek(0)
        return status, said.read().splitlines()


def try_situation(name: str) -> Outcome:
    """Make a situation, run it, and say what came of it."""
    situation = SITUATIONS[name]
    with tempfile.TemporaryDirectory(prefix="situation-") as text:
        folder = Path(text)
        with mock.patch.dict(os.environ, situation.environment), _as_it_was(name):
            arguments = situation.make(folder)
            status, said = run([*arguments, "--output-dir", str(folder / "run")])
        return _outcome(status, [line.replace(str(folder), "") for line in said], situation.said)


def try_alone(name: str) -> Outcome:
    """As `try_situation`, one of those that need a process of their own."""
    _, _, files, environment = ALONE[name]
    with tempfile.TemporaryDirectory(prefix="situation-") as text:
        folder = Path(text)
        for file, content in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        own = ["--dataset", "reviews.csv"] if "reviews.csv" in files else []
        ran = subprocess.run(
            loop_argv("manual", *SMALL, *own, "--output-dir", "run"),
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
        )
        return _outcome(ran.returncode, ran.stderr.decode("utf-8", "replace").splitlines(), "")


@contextlib.contextmanager
def _as_it_was(name: str) -> Iterator[None]:
    """What cannot be had here is put in its place: the Hub's answers, and a folder that refuses fsync."""
    if name in HUB_ERRORS:
        with mock.patch.object(datasets, "load_dataset", side_effect=HUB_ERRORS[name]):
            yield
    elif name == "fsync-einval":
        with mock.patch.object(os, "fsync", side_effect=OSError(errno.EINVAL, "Invalid argument")):
            yield
    else:
        yield


def _outcome(status: int, said: list[str], wanted: str) -> Outcome:
    """What came of a run: a line of its own is what is neither progress nor a log of the loop."""
    errors = [line for line in said if line.startswith("sameloop: ")]
    others = [line for line in said if line.strip() and not line.startswith(("·", "sameloop: "))]
    if status == 0 and not errors:
        what = HANDLED
        line = next((line for line in said if wanted and wanted in line), "")
    elif status == 2 and len(errors) == 1 and not others:
        what, line = ONE_LINE, errors[0].removeprefix("sameloop: error: ")
    else:
        what, line = f"status {status}, {len(errors)} lines", " / ".join([*errors, *others])
    if wanted and wanted not in line:
        what = f"{what}, without saying `{wanted}`"
    return Outcome(what, line.removeprefix("· "))


# The table -----------------------------------------------------------------------------------------


def page(results: Sequence[tuple[str, str, str, Outcome]], seconds: float) -> str:
    """docs/situations.md.

    Args:
        results: of each situation: in words, its origin, what was expected, and what came of it.
        seconds: what all of them took.
    """
    handled = sum(outcome.what == HANDLED for *_, outcome in results)
    lined = sum(outcome.what == ONE_LINE for *_, outcome in results)
    wrong = sum(outcome.what != expected for _, _, expected, outcome in results)
    rows = [
        f"| {what} | [{'/'.join(origin.split('/')[:2])} {origin.rpartition('/')[2]}]({GITHUB}{origin}) | "
        f"{outcome.what if outcome.what == expected else f'**{outcome.what}**'} | {_cell(outcome.line)} |"
        for what, origin, expected, outcome in results
    ]
    return "\n".join(
        [
            "# What people bring",
            "",
            f"{len(results)} situations that people met in public, each made small and run through the command line: "
            f"{handled} are handled, {lined} end in one line and exit status 2, {wrong} in anything else. Made by "
            f"`make situations-table`, which took {seconds:.0f} s.",
            "",
            "The Hub's errors are raised in its place, in the words of the installed `datasets`. What is said is "
            "shown without the folder's path.",
            "",
            "| situation | origin | outcome | what is said of it |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _cell(line: str) -> str:
    return shown(line, 300).replace("|", "\\|").replace("<", "&lt;")


def everything() -> list[tuple[str, str, str, Outcome]]:
    """All situations, one after the other."""
    results = []
    for name, situation in SITUATIONS.items():
        results.append((situation.what, situation.origin, situation.expected, try_situation(name)))
        print(f"{name}: {results[-1][-1].what}", file=sys.stderr, flush=True)
    for name, (what, origin, _, _) in ALONE.items():
        results.append((what, origin, HANDLED, try_alone(name)))
        print(f"{name}: {results[-1][-1].what}", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    # It is read when `datasets` is imported.
    if os.environ.get("HF_HUB_OFFLINE") != "1":
        sys.exit("set HF_HUB_OFFLINE=1, as `make situations-table` does: the table is of a machine without a network")
    started = time.perf_counter()
    found = everything()
    (DOCS / "situations.md").write_text(page(found, time.perf_counter() - started), encoding="utf-8")
    sys.exit(any(outcome.what != expected for _, _, expected, outcome in found))
