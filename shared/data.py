"""The tutorial's pipeline: load, shuffle, select, map.

Both loops call `load_data` and get the same two tokenized subsets, in the same order. Padding is left
to the collator, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from shared.config import RunConfig
from shared.errors import SameLoopError, shown
from shared.files import digest
from shared.progress import announce, is_interactive
from shared.sources.labels import Classes, classes_of, ids_of, is_unlabelled
from shared.sources.origin import EVAL_SPLITS, load_splits
from shared.sources.splits import Columns, Split

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase


class Data(NamedTuple):
    """The two tokenized subsets and the names of the classes."""

    train_dataset: datasets.Dataset
    eval_dataset: datasets.Dataset
    labels: list[str]


class Subsets(NamedTuple):
    """The two subsets as text, columns `text` (string) and `label` (the number of its class), and what they are of.

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
        """What a record keeps of them: names, and a digest of each set, which shows whether the data is the same."""
        return {
            "text_column": self.columns.text,
            "label_column": self.columns.label,
            "eval_split": self.eval_split,
            "labels": self.labels,
            "train": self.digests[0],
            "eval": self.digests[1],
        }


def load_data(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Data:
    """The subsets of `train_size` and `eval_size` rows, tokenized as by `tokenized`; errors as `load_subsets`."""
    subsets = prepared_subsets(config)
    announce(f"tokenizing {config.train_size} + {config.eval_size} examples, at most {config.max_length} tokens each")
    train_dataset, eval_dataset = (
        tokenized(part, tokenizer, config.max_length) for part in (subsets.train, subsets.eval)
    )
    return Data(train_dataset, eval_dataset, subsets.labels)


def tokenized(
    part: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, batched: bool = True
) -> datasets.Dataset:
    """A subset with columns `input_ids`, `attention_mask` (lists of at most `max_length` ints) and `labels` (int).

    It is computed again every time, in memory: nothing stale is ever read, and no file is left behind. The tokenizer
    gets 1,000 texts at a time, or with `batched=False` one.
    """

    def tokenize(batch: dict) -> dict:
        return tokenizer(batch["text"], truncation=True, max_length=max_length)

    return part.map(
        tokenize,
        batched=batched,
        remove_columns=["text"],
        desc="Tokenizing",
        keep_in_memory=True,
        load_from_cache_file=False,
        # What datasets would name a file by; computing it would take longer than tokenizing a small subset.
        new_fingerprint=uuid4().hex,
    ).rename_column("label", "labels")


@cache
def prepared_subsets(config: RunConfig) -> Subsets:
    """The subsets of the current run: its record and its checkpoints name them, and its loop trains on them.

    A run clears this cache when it begins; a file that changes later has no effect. Errors as `load_subsets`.
    """
    return load_subsets(config)


# What stands for a size: as many as there are.
ALL = "all"


def load_subsets(config: RunConfig) -> Subsets:
    """Pick the training and the evaluation reviews, as text.

    The training subset is `shuffle(seed=slice_seed).select(range(train_size))`, or without `shuffle` the first
    rows. A dataset with a split of its own to evaluate on gives the evaluation subset from there, in the same way.
    From a dataset with a single split it is taken from the far end of the same shuffle, so that the two never overlap.

    Raises:
        SameLoopError: the dataset cannot be loaded, lacks a column, holds rows that no training can make sense of, or
            fewer reviews than asked for.
    """
    import datasets

    (datasets.enable_progress_bars if is_interactive() else datasets.disable_progress_bars)()
    announce(f"loading data from {config.dataset}")
    where = f"--dataset {config.dataset}"
    splits = load_splits(config)
    train = splits["train"]()
    _check_texts(train, where)
    classes = classes_of(train, where)
    _announce(train, classes)
    if config.train_size > len(train.rows):
        raise SameLoopError(
            f"--train-size {config.train_size}: {config.dataset} has only {len(train.rows)} examples to train on"
        )
    order = _shuffled(train, config)
    name, evaluation = _evaluation(splits)
    if evaluation is not None:
        _check_texts(evaluation, where)
        if config.eval_size > len(evaluation.rows):
            raise SameLoopError(
                f"--eval-size {config.eval_size}: {config.dataset} has only {len(evaluation.rows)} examples in its "
                f"split {name}, which is evaluated on"
            )
        eval_subset = _subset(evaluation, classes, _shuffled(evaluation, config)[: config.eval_size], where)
    else:
        if config.train_size + config.eval_size > len(order):
            raise SameLoopError(
                f"--train-size {config.train_size} and --eval-size {config.eval_size} add up to more than the "
                f"{len(order)} examples of {config.dataset}: no example may be in both"
            )
        eval_subset = _subset(train, classes, order[-config.eval_size :], where)
    train_subset = _subset(train, classes, order[: config.train_size], where)
    if config.train_size > 1 and len(set(train_subset[:]["label"])) == 1:
        raise SameLoopError(
            f"--train-size {config.train_size}: all selected examples have the label "
            f"{shown(classes.names[train_subset['label'][0]])}, there is nothing to tell apart; raise it, or "
            f"{'choose another --slice-seed' if config.shuffle else 'leave out --no-shuffle'}"
        )
    train_texts = set(train_subset[:]["text"])
    if both := sum(text in train_texts for text in eval_subset[:]["text"]):
        announce(f"note: {both} of the {len(eval_subset)} texts of the validation set are also in the training set")
    digests = _digest(train_subset), _digest(eval_subset)
    return Subsets(train_subset, eval_subset, classes.names, train.columns, name, digests)


def sized(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with a number where a size is `all`, for which the dataset is read.

    Raises:
        SameLoopError: both sizes of a dataset with a single split are `all`; as `load_splits`; a setting is wrong.
    """
    whole = [name for name in ("train_size", "eval_size") if settings.get(name) == ALL]
    if not whole:
        return dict(settings)
    config = RunConfig.build(**{**settings, **dict.fromkeys(whole, 1)})
    splits = load_splits(config)
    _, evaluation = _evaluation(splits)
    rows = {"train_size": len(splits["train"]().rows)}
    if evaluation is not None:
        rows["eval_size"] = len(evaluation.rows)
    elif len(whole) > 1:
        raise SameLoopError(
            f"--train-size {ALL} --eval-size {ALL}: {config.dataset} has a single split; say how many examples of it "
            "to evaluate on"
        )
    else:
        other = config.eval_size if whole == ["train_size"] else config.train_size
        rows = {whole[0]: max(1, rows["train_size"] - other)}
    return {**settings, **{name: rows[name] for name in whole}}


def _shuffled(split: Split, config: RunConfig) -> list[int]:
    """The numbers of the split's rows in the order of `shuffle(seed=slice_seed)`, as `datasets` draws it."""
    import numpy as np

    if not config.shuffle:
        return list(range(len(split.rows)))
    return np.random.default_rng(config.slice_seed).permutation(len(split.rows)).tolist()


def _subset(split: Split, classes: Classes, rows: Sequence[int], where: str) -> datasets.Dataset:
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
    """The split to evaluate on, if there is one; announces its name, and the splits that are not used."""
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
    """Announce which columns and classes are used."""
    announce(
        f"text from `{shown(train.columns.text)}`, label from `{shown(train.columns.label)}`; {classes.described()}"
    )
    if mapping := classes.mapping():
        announce(f"labels: {mapping}")
    for note in [*train.notes, *classes.notes()]:
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
        remark = f" ({len(empty)} of {len(texts)} rows are empty)" if len(empty) > 1 else ""
        raise SameLoopError(
            f"{where}: {split.place(empty[0].as_py())} has no text in `{shown(split.columns.text)}`{remark}; remove "
            "such rows"
        )


def _digest(part: datasets.Dataset) -> str:
    """Of the reviews and their classes, in order."""
    rows = part[:]
    contents = (text.encode() for text in rows["text"])
    return digest(b"%d %d " % (label, len(text)) + text for text, label in zip(contents, rows["label"], strict=True))
