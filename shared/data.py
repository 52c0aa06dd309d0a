"""The tutorial's pipeline: load, shuffle, select, map.

Both loops call `load_data` and get the same two tokenized slices, in the same order. Padding is left
to the collator, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import xxhash

from shared.config import HUB_REVISIONS, RunConfig, option
from shared.errors import SameLoopError, shown
from shared.progress import announce, is_interactive
from shared.sources import embedded
from shared.sources.hub import check_paths, hub_errors
from shared.sources.labels import Classes, classes_of, ids_of, is_unlabelled
from shared.sources.readers import file_format, read_split
from shared.sources.splits import Columns, Split, renaming

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

# A split of one of these names is evaluated on, the first that is there and has labels.
EVAL_SPLITS = ("validation", "valid", "val", "dev", "eval", "test")
# What the two columns are called in most of the datasets that people bring, whatever the case.
USUAL_NAMES = {
    "text_column": ("text", "review", "sentence", "content"),
    "label_column": ("label", "labels", "sentiment"),
}
# What `save_to_disk` leaves in a folder.
SAVED = ("dataset_dict.json", "state.json", "dataset_info.json")


class Data(NamedTuple):
    """The two tokenized slices and the names of the classes."""

    train_dataset: datasets.Dataset
    eval_dataset: datasets.Dataset
    labels: list[str]


class Slices(NamedTuple):
    """The two slices as text, columns `text` (string) and `label` (the number of its class), and what they are of.

    Attributes:
        train, eval: `train_size` and `eval_size` rows.
        labels: the names of class 0, 1, ...
        columns: what the two columns are called in the source.
        eval_split: the split that `eval` is of; None: it is the far end of the training split.
        digests: of `train` and `eval`; taken once, because every checkpoint keeps them.
    """

    train: datasets.Dataset
    eval: datasets.Dataset
    labels: list[str]
    columns: Columns
    eval_split: str | None
    digests: tuple[str, str]

    def described(self) -> dict[str, Any]:
        """What a record keeps of them: names, and a digest of each slice, which tells whether the data is the same."""
        return {
            "text_column": self.columns.text,
            "label_column": self.columns.label,
            "eval_split": self.eval_split,
            "labels": self.labels,
            "train": self.digests[0],
            "eval": self.digests[1],
        }


def load_data(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Data:
    """Load the reviews, pick the two slices, and tokenize them.

    Returns:
        `train_dataset` and `eval_dataset` with columns `input_ids`, `attention_mask` (lists of at most
        `max_length` ints) and `labels` (int), `train_size` and `eval_size` rows; and the names of the classes.

    Raises:
        SameLoopError: as `load_slices`.
    """
    slices = prepared_slices(config)
    announce(f"tokenizing {config.train_size} + {config.eval_size} reviews, {config.max_length} tokens at most")
    train_dataset, eval_dataset = (
        tokenized(part, tokenizer, config.max_length) for part in (slices.train, slices.eval)
    )
    return Data(train_dataset, eval_dataset, slices.labels)


def tokenized(part: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> datasets.Dataset:
    """A slice with columns `input_ids`, `attention_mask` (lists of at most `max_length` ints) and `labels` (int).

    Afresh every time, in memory: nothing stale is ever read, and no file is left behind.
    """

    def tokenize(batch: dict) -> dict:
        return tokenizer(batch["text"], truncation=True, max_length=max_length)

    return part.map(
        tokenize,
        batched=True,
        remove_columns=["text"],
        desc="Tokenizing",
        keep_in_memory=True,
        load_from_cache_file=False,
        # What datasets would name a file by; computing it would take longer than tokenizing a small slice.
        new_fingerprint=uuid4().hex,
    ).rename_column("label", "labels")


_prepared: dict[tuple, Slices] = {}
"""The slices of the run that is going on: its record and its checkpoints say which they are, its page learns from
them, and a file that changes meanwhile is no matter."""


def prepare_slices(config: RunConfig) -> Slices:
    """Load the slices anew, for all that asks `prepared_slices` for them from now on.

    Raises:
        SameLoopError: as `load_slices`.
    """
    _prepared.clear()
    return prepared_slices(config)


def prepared_slices(config: RunConfig) -> Slices:
    """The slices that have been prepared, or of another configuration those that there are now.

    Raises:
        SameLoopError: as `load_slices`.
    """
    key = tuple(getattr(config, name) for name in SLICE_DIALS)
    if key not in _prepared:
        _prepared[key] = load_slices(config)
    return _prepared[key]


# What the slices depend on.
SLICE_DIALS = (
    "dataset",
    "dataset_config",
    "dataset_revision",
    "text_column",
    "label_column",
    "train_size",
    "eval_size",
    "slice_seed",
)


def load_slices(config: RunConfig) -> Slices:
    """Pick the training and the evaluation reviews, as text.

    The training slice is `shuffle(seed=slice_seed).select(range(train_size))`. A dataset with a split of
    its own to evaluate on gives the evaluation slice from there, in the same way; from a dataset with a
    single split it is taken from the far end of the same shuffle, so that the two never overlap.

    Raises:
        SameLoopError: the dataset cannot be had, lacks a column, holds rows that no training can make sense of, or
            fewer reviews than asked for.
    """
    import datasets

    (datasets.enable_progress_bars if is_interactive() else datasets.disable_progress_bars)()
    announce(f"loading reviews from {config.dataset}")
    where = f"--dataset {config.dataset}"
    splits = load_splits(config)
    train = splits["train"]()
    _check_texts(train, where)
    classes = classes_of(train, where)
    _announce(train, classes)
    if config.train_size > len(train.rows):
        raise SameLoopError(
            f"--train-size {config.train_size}: {config.dataset} has only {len(train.rows)} reviews to train on"
        )
    order = _shuffled(train, config)
    name, evaluation = _evaluation(splits)
    if evaluation is not None:
        _check_texts(evaluation, where)
        if config.eval_size > len(evaluation.rows):
            raise SameLoopError(
                f"--eval-size {config.eval_size}: {config.dataset} has only {len(evaluation.rows)} reviews in its "
                f"split {name}, which is evaluated on"
            )
        eval_slice = _slice(evaluation, classes, _shuffled(evaluation, config)[: config.eval_size], where)
    else:
        if config.train_size + config.eval_size > len(order):
            raise SameLoopError(
                f"--train-size {config.train_size} and --eval-size {config.eval_size} add up to more than the "
                f"{len(order)} reviews of {config.dataset}: no review may be in both"
            )
        eval_slice = _slice(train, classes, order[-config.eval_size :], where)
    train_slice = _slice(train, classes, order[: config.train_size], where)
    if config.train_size > 1 and len(set(train_slice[:]["label"])) == 1:
        raise SameLoopError(
            f"--train-size {config.train_size}: all reviews of the slice have the label "
            f"{shown(classes.names[train_slice['label'][0]])}, there is nothing to tell apart; raise it, or choose "
            "another --slice-seed"
        )
    digests = _digest(train_slice), _digest(eval_slice)
    return Slices(train_slice, eval_slice, classes.names, train.columns, name, digests)


def _shuffled(split: Split, config: RunConfig) -> list[int]:
    """The numbers of the split's rows in the order of `shuffle(seed=slice_seed)`, as `datasets` draws it."""
    import numpy as np

    return np.random.default_rng(config.slice_seed).permutation(len(split.rows)).tolist()


def _slice(split: Split, classes: Classes, rows: Sequence[int], where: str) -> datasets.Dataset:
    """These rows, their labels as numbers of classes, in memory."""
    import datasets

    picked = split._replace(
        rows=split.rows.select(rows, keep_in_memory=True),
        lines=None if split.lines is None else [split.lines[row] for row in rows],
    )
    return datasets.Dataset.from_dict(
        {"text": picked.column("text"), "label": ids_of(picked, classes, where)},
        features=datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("int64")}),
    )


def _evaluation(splits: Mapping[str, Callable[[], Split]]) -> tuple[str | None, Split | None]:
    """The split to evaluate on, if there is one; says which, and what is not used."""
    chosen, split, unused = None, None, []
    for name in (name for name in EVAL_SPLITS if name in splits):
        if chosen is None and not is_unlabelled(split := splits[name]()):
            chosen = name
        else:
            unused.append(name if chosen else f"{name} (without labels)")
    unused += [name for name in splits if name not in ("train", *EVAL_SPLITS)]
    if chosen or unused:
        used = f"evaluating on its split {chosen}" if chosen else "evaluating on the far end of its training split"
        announce(used + (f"; not used: {', '.join(map(shown, unused[:8]))}" if unused else ""))
    return (chosen, split) if chosen else (None, None)


def _announce(train: Split, classes: Classes) -> None:
    """Say what was taken for what."""
    announce(
        f"text from `{shown(train.columns.text)}`, label from `{shown(train.columns.label)}`; {classes.described()}"
    )
    if mapping := classes.mapping():
        announce(f"labels: {mapping}")
    for note in train.notes:
        announce(f"note: {note}")


def _check_texts(split: Split, where: str) -> None:
    """Refuse reviews that no training can make sense of, before time is spent on them."""
    import pyarrow.compute as pc

    feature = split.rows.features["text"]
    if getattr(feature, "dtype", "") not in ("string", "large_string"):
        raise SameLoopError(
            f"{where}: the column `{shown(split.columns.text)}` holds no text but {shown(feature)}; name the one that "
            "does with --text-column"
        )
    texts = split.arrow("text")
    is_empty = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(texts, "")), "")
    empty = pc.indices_nonzero(is_empty)
    if len(empty):
        more = f" ({len(empty)} of {len(texts)} rows are empty)" if len(empty) > 1 else ""
        raise SameLoopError(
            f"{where}: {split.place(empty[0].as_py())} has no text in `{shown(split.columns.text)}`{more}; remove "
            "such rows"
        )


# Where reviews come from --------------------------------------------------------------------------


def load_splits(config: RunConfig) -> dict[str, Callable[[], Split]]:
    """The dataset's splits by name, each read when it is called; always one called `train`.

    Raises:
        SameLoopError: there is no such dataset, or it has no split called `train`.
    """
    import datasets

    check_paths(config)
    choose = partial(_choose, config)
    if config.dataset in embedded.REVIEW_SOURCES:
        return {"train": lambda: Split(embedded.load_reviews(config.dataset), Columns("text", "label"))}
    path = Path(config.dataset).expanduser()
    readers: dict[str, Callable[[], Split]]
    if path.is_dir() and any((path / name).is_file() for name in SAVED):
        loaded = _saved(path, config.dataset)
        splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        readers = {name: partial(_from_datasets, split, choose) for name, split in splits.items()}
    elif path.is_dir():
        readers = {name: partial(_read_files, files, choose) for name, files in files_of(path).items()}
        if not readers:
            raise SameLoopError(
                f"--dataset {config.dataset}: not a folder that `datasets.save_to_disk` wrote, and no train.csv in it "
                "(nor train.jsonl, train.parquet, ...); name a file, or name the files after their splits"
            )
    elif path.is_file():
        readers = {"train": partial(read_split, path, choose)}
    elif path.exists():
        raise SameLoopError(f"--dataset {config.dataset}: it is neither a file nor a folder")
    else:
        revision = config.dataset_revision or HUB_REVISIONS.get(config.dataset)
        with hub_errors("--dataset", config.dataset):
            splits = dict(datasets.load_dataset(config.dataset, config.dataset_config, revision=revision))
        _check_revision(splits, config.dataset, revision)
        readers = {name: partial(_from_datasets, split, choose) for name, split in splits.items()}
    if "train" not in readers:
        raise SameLoopError(
            f"--dataset {config.dataset}: it has no split called `train`, only {shown(', '.join(readers), 200)}; "
            "rename one"
        )
    return readers


def _saved(path: Path, name: str) -> Any:
    import datasets

    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # a damaged folder makes its readers raise almost anything
        raise SameLoopError(
            f"--dataset {name}: not a whole folder that `datasets.save_to_disk` wrote ({shown(error, 120)}); save it "
            "anew"
        ) from None


def _from_datasets(split: datasets.Dataset, choose: Callable) -> Split:
    """A split of `datasets`, whatever format it hands its rows out in."""
    import datasets

    values = (datasets.Value, datasets.ClassLabel)
    nested = {name: str(kind) for name, kind in split.features.items() if not isinstance(kind, values)}
    columns = choose(split.column_names, nested)
    rows = split.with_format(None).select_columns(list(columns)).rename_columns(renaming(columns))
    return Split(rows, columns)


def files_of(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by the split that each is named after: `train.csv`, `test-00000-of-00002.parquet`."""
    found: dict[str, list[Path]] = {}
    places = [folder, folder / "data"]
    for path in sorted(path for place in places if place.is_dir() for path in place.iterdir()):
        split = path.name.partition(".")[0].partition("-")[0].lower()
        if split in ("train", *EVAL_SPLITS) and path.is_file() and file_format(path) is not None:
            found.setdefault(split, []).append(path)
    for split, files in found.items():
        if len({path.name.partition(".")[2] for path in files}) > 1 or len({path.parent for path in files}) > 1:
            names = shown(", ".join(path.name for path in files))
            raise SameLoopError(f"--dataset {folder}: several files for its split {split} ({names}); keep one")
    return found


def _read_files(files: Sequence[Path], choose: Callable) -> Split:
    """One split out of a file, or of several that hold its parts."""
    import datasets

    parts = [read_split(path, choose) for path in files]
    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(rows=datasets.concatenate_datasets([part.rows for part in parts]), lines=None)


def _choose(config: RunConfig, names: Sequence[str], nested: Mapping[str, str]) -> Columns:
    """The two columns that matter: those that were asked for, or those with the usual names.

    Args:
        config: the run's dials.
        names: all that there are.
        nested: those that hold lists or objects, and which.

    Raises:
        SameLoopError: they cannot be told.
    """
    found = []
    for dial, usual in USUAL_NAMES.items():
        asked = getattr(config, dial)
        wanted = (asked,) if asked else usual
        for exactly in (True, False):
            fitting = [name for want in wanted for name in names if _same(name, want, exactly)]
            usable = [name for name in fitting if name not in nested]
            if usable:
                break
        if not usable:
            raise _no_column(config, dial, names, nested, fitting)
        if not exactly and len({name for name in usable if name.casefold() == usable[0].casefold()}) > 1:
            raise SameLoopError(
                f"--dataset {config.dataset}: its columns {shown(', '.join(usable), 80)} differ in their case only; "
                f"name one with {option(dial)}"
            )
        found.append(usable[0])
    if found[0] == found[1]:
        raise SameLoopError(f"--text-column {shown(found[0])}: it is the label's column, too; name two")
    return Columns(*found)


def _same(name: str, wanted: str, exactly: bool) -> bool:
    return name == wanted if exactly else name.casefold() == wanted.casefold()


def _no_column(
    config: RunConfig, dial: str, names: Sequence[str], nested: Mapping[str, str], fitting: Sequence[str]
) -> SameLoopError:
    there = ", ".join(shown(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    what, usual = ("text", "reviews") if dial == "text_column" else ("label", "labels")
    if fitting:
        return SameLoopError(
            f"--dataset {config.dataset}: its column `{shown(fitting[0])}` holds {shown(nested[fitting[0]])}, no "
            f"plain values; name the one with the {usual} with {option(dial)}, of {there}"
        )
    missing = f"`{shown(getattr(config, dial))}`" if getattr(config, dial) else f"`{what}`"
    return SameLoopError(
        f"--dataset {config.dataset}: it has no column {missing}, only {there}; name the one with the {usual}: "
        f"{option(dial)} NAME"
    )


def _check_revision(splits: dict[str, datasets.Dataset], name: str, revision: str | None) -> None:
    """Offline, `datasets` serves the newest copy in its cache, whatever revision was asked for."""
    cached = {Path(file["filename"]).parent.name for split in splits.values() for file in split.cache_files}
    if revision is not None and len(revision) == 40 and cached != {revision}:
        raise SameLoopError(
            f"--dataset {name}: the cache holds revision {', '.join(sorted(cached))}, not {revision}; connect and "
            "try again, or name the cached one with --dataset-revision"
        )


def _digest(part: datasets.Dataset) -> str:
    """xxh3_128 over the reviews and their classes, in order."""
    found = xxhash.xxh3_128()
    rows = part[:]
    for text, label in zip(rows["text"], rows["label"], strict=True):
        content = text.encode()
        found.update(b"%d %d " % (label, len(content)) + content)
    return found.hexdigest()
