"""The tutorial's pipeline: load, shuffle, select, map.

Both loops call `load_data` and get the same two tokenized slices, in the same order. Padding is left
to the collator, batch by batch.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from shared import embedded
from shared.config import HUB_REVISIONS, RunConfig
from shared.errors import SameLoopError
from shared.hub import hub_errors
from shared.progress import announce, is_interactive

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

FILE_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
EVAL_SPLITS = ("test", "validation")
MOST_COLUMNS = 1000


class Data(NamedTuple):
    """The two tokenized slices and how many classes the labels have."""

    train_dataset: datasets.Dataset
    eval_dataset: datasets.Dataset
    num_labels: int


class Slices(NamedTuple):
    """The two slices as text, columns `text` and `label`."""

    train: datasets.Dataset
    eval: datasets.Dataset
    num_labels: int


def load_data(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Data:
    """Load the reviews, pick the two slices, and tokenize them.

    Returns:
        `train_dataset` and `eval_dataset` with columns `input_ids`, `attention_mask` (lists of at most
        `max_length` ints) and `labels` (int), `train_size` and `eval_size` rows.

    Raises:
        SameLoopError: as `load_slices`.
    """
    slices = load_slices(config)

    def tokenize(batch: dict) -> dict:
        return tokenizer(batch["text"], truncation=True, max_length=config.max_length)

    announce(f"tokenizing {config.train_size} + {config.eval_size} reviews, {config.max_length} tokens at most")
    # Tokenized afresh every time, in memory: nothing stale is ever read, and no file is left behind. The fingerprint
    # is what datasets would name such a file by; computing it would take longer than tokenizing a small slice.
    train_dataset, eval_dataset = (
        part.map(
            tokenize,
            batched=True,
            remove_columns=["text"],
            desc="Tokenizing",
            keep_in_memory=True,
            load_from_cache_file=False,
            new_fingerprint=uuid4().hex,
        ).rename_column("label", "labels")
        for part in (slices.train, slices.eval)
    )
    return Data(train_dataset, eval_dataset, slices.num_labels)


def load_slices(config: RunConfig) -> Slices:
    """Pick the training and the evaluation reviews, as text.

    The training slice is `shuffle(seed=slice_seed).select(range(train_size))`. A dataset with a split of
    its own to test on gives the evaluation slice from there, in the same way; from a dataset with a
    single split it is taken from the far end of the same shuffle, so that the two never overlap.

    Raises:
        SameLoopError: the dataset cannot be had, lacks a column, or holds fewer reviews than asked for.
    """
    import datasets

    (datasets.enable_progress_bars if is_interactive() else datasets.disable_progress_bars)()
    announce(f"loading reviews from {config.dataset}")
    splits = load_splits(config)
    train = _checked(splits["train"], config, "train")
    num_labels = _num_labels(train, config)
    if config.train_size > len(train):
        raise SameLoopError(
            f"--train-size {config.train_size}: {config.dataset} has only {len(train)} reviews to train on"
        )
    # In memory: datasets would otherwise leave the order as a file next to the user's own.
    shuffled = train.shuffle(seed=config.slice_seed, keep_in_memory=True)
    evaluation = next((splits[name] for name in EVAL_SPLITS if name in splits), None)
    if evaluation is not None:
        evaluation = _checked(evaluation, config, "test")
        if config.eval_size > len(evaluation):
            raise SameLoopError(
                f"--eval-size {config.eval_size}: {config.dataset} has only {len(evaluation)} reviews to test on"
            )
        eval_slice = evaluation.shuffle(seed=config.slice_seed, keep_in_memory=True).select(range(config.eval_size))
    else:
        if config.train_size + config.eval_size > len(train):
            raise SameLoopError(
                f"--train-size {config.train_size} and --eval-size {config.eval_size} add up to more than the "
                f"{len(train)} reviews of {config.dataset}: no review may be in both"
            )
        eval_slice = shuffled.select(range(len(train) - config.eval_size, len(train)))
    slices = Slices(shuffled.select(range(config.train_size)), eval_slice, num_labels)
    _check_slices(slices, config)
    return slices


def _check_slices(slices: Slices, config: RunConfig) -> None:
    """Refuse rows that no training can make sense of, before time is spent on them."""
    for name, part in (("train", slices.train), ("eval", slices.eval)):
        texts = part["text"]
        empty = [number for number, text in enumerate(texts) if text is None or not text.strip()]
        if empty:
            raise SameLoopError(
                f"--dataset {config.dataset}: {len(empty)} of the {len(texts)} texts of the {name} slice are empty; "
                "remove such rows: `dataset.filter(lambda row: row['text'] and row['text'].strip())`"
            )
        wrong = [label for label in set(part["label"]) if label is None or not 0 <= label < slices.num_labels]
        if wrong:
            raise SameLoopError(
                f"--dataset {config.dataset}: label {wrong[0]} in the {name} slice; the training labels are 0 to "
                f"{slices.num_labels - 1}: remove such rows, or number the labels anew"
            )
    if config.train_size > 1 and len(set(slices.train["label"])) == 1:
        raise SameLoopError(
            f"--train-size {config.train_size}: all reviews of the slice have the label {slices.train['label'][0]}, "
            "there is nothing to tell apart; raise it, or choose another --slice-seed"
        )


def load_splits(config: RunConfig) -> dict[str, datasets.Dataset]:
    """The dataset's splits by name; always one called `train`."""
    import datasets

    if config.dataset in embedded.REVIEW_SOURCES:
        return {"train": embedded.load_reviews(config.dataset)}
    path = Path(config.dataset).expanduser()
    if path.is_dir():
        try:
            loaded = datasets.load_from_disk(str(path))
        except (FileNotFoundError, ValueError, OSError):
            raise SameLoopError(
                f"--dataset {config.dataset}: not a folder that `datasets.save_to_disk` wrote; "
                "name one, or a .csv, .jsonl or .parquet file"
            ) from None
        splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    elif path.is_file():
        splits = {"train": _load_file(path)}
    elif _looks_like_a_path(config.dataset):
        raise SameLoopError(f"--dataset {config.dataset}: there is no such file or folder")
    else:
        revision = config.dataset_revision or HUB_REVISIONS.get(config.dataset)
        with hub_errors("--dataset", config.dataset):
            splits = dict(datasets.load_dataset(config.dataset, revision=revision))
        _check_revision(splits, config.dataset, revision)
    if "train" not in splits:
        raise SameLoopError(
            f"--dataset {config.dataset}: it has no split called `train`, only {', '.join(splits)}; rename one"
        )
    return splits


def _check_revision(splits: dict[str, datasets.Dataset], name: str, revision: str | None) -> None:
    """Offline, `datasets` serves the newest copy in its cache, whatever revision was asked for."""
    cached = {Path(file["filename"]).parent.name for split in splits.values() for file in split.cache_files}
    if revision is not None and len(revision) == 40 and cached != {revision}:
        raise SameLoopError(
            f"--dataset {name}: the cache holds revision {', '.join(sorted(cached))}, not {revision}; connect and "
            "try again, or name the cached one with --dataset-revision"
        )


def _load_file(path: Path) -> datasets.Dataset:
    import datasets

    file_format = FILE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise SameLoopError(
            f"--dataset {path}: cannot tell its format; name it {', '.join(sorted(FILE_FORMATS))}, "
            "or give a `save_to_disk` folder"
        )
    _check_width(path)
    # datasets would log what we say in one line below.
    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        if file_format == "json":
            return _read_json(path)
        return datasets.load_dataset(file_format, data_files=str(path), split="train")
    except Exception as error:  # the readers raise almost anything on a file that is not what its name says
        cause = error.__cause__ or error
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise SameLoopError(f"--dataset {path}: not a readable {file_format} file ({reason})") from None
    finally:
        datasets.logging.set_verbosity(verbosity)


def _read_json(path: Path) -> datasets.Dataset:
    """A list of objects, or one object per line; of each the plain values.

    `datasets` reads JSON through pyarrow, which some files end with a crash of the whole program: release 26.0.1 does
    on a line that is only `null`. So the standard library reads it here.
    """
    import datasets

    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
        rows = content if isinstance(content, list) else [content]
    except json.JSONDecodeError:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    columns = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row.get(name) for row in rows] for name in columns}
    plain = (str, int, float, type(None))
    return datasets.Dataset.from_dict(
        {name: column for name, column in values.items() if all(isinstance(value, plain) for value in column)}
    )


def _check_width(path: Path) -> None:
    """A CSV's first line says how many columns there are; reading a million takes minutes and gigabytes."""
    if path.suffix.lower() == ".csv":
        with path.open("rb") as file:
            columns = file.readline(MOST_COLUMNS * 100).count(b",") + 1
        if columns > MOST_COLUMNS:
            raise SameLoopError(
                f"--dataset {path}: its first line has more than {MOST_COLUMNS} columns; keep only `text` and `label`"
            )


def _checked(split: datasets.Dataset, config: RunConfig, name: str) -> datasets.Dataset:
    """The split cut down to `text` and `label`, or an error that says how to rename a column."""
    for column, others in (("text", "review, sentence"), ("label", "labels, sentiment")):
        if column not in split.column_names:
            raise SameLoopError(
                f"--dataset {config.dataset}: its {name} split has no column `{column}`, only "
                f"{', '.join(split.column_names[:8])}; rename one ({others}, ...): edit the header, or "
                f'`dataset.rename_column("...", "{column}").save_to_disk("renamed")` and --dataset renamed'
            )
    if getattr(split.features["text"], "dtype", "") not in ("string", "large_string"):
        raise SameLoopError(
            f"--dataset {config.dataset}: the column `text` of its {name} split holds no text but "
            f"{split.features['text']}; name the column that does `text`"
        )
    return split.select_columns(["text", "label"])


def _num_labels(train: datasets.Dataset, config: RunConfig) -> int:
    """How many classes: the label names' count where the dataset has names, else the highest label + 1."""
    import datasets

    feature = train.features["label"]
    if isinstance(feature, datasets.ClassLabel):
        return feature.num_classes
    labels = set(train.unique("label"))
    if not all(isinstance(label, int) and not isinstance(label, bool) for label in labels) or (
        labels != set(range(len(labels)))
    ):
        found = ", ".join(sorted(map(repr, labels))[:5])
        raise SameLoopError(
            f"--dataset {config.dataset}: labels must be the integers 0, 1, ... without gaps, not {found}; "
            'for names, `dataset.class_encode_column("label").save_to_disk("encoded")` numbers them'
        )
    if len(labels) < 2:
        raise SameLoopError(f"--dataset {config.dataset}: all labels are {labels.pop()}; two classes at least")
    return len(labels)


def _looks_like_a_path(name: str) -> bool:
    return (
        name.startswith((".", "~", os.sep))
        or Path(name).suffix.lower() in FILE_FORMATS
        or name.count("/") > 1
        or os.sep == "\\" in name
    )
