"""What the labels of a user's reviews mean: words, stars or numbers become the classes 0, 1, ..."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from shared.errors import SameLoopError, shown
from shared.sources.splits import Split

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
# Other tasks that people bring, and the command for them.
OTHER_TASKS = (
    "for regression, token classification, pairs of texts or several labels: sameloop compare --trainer your_script.py"
)
Key = int | float | str
"""A label as it is compared: 1, "1" and 1.0 are the same, true is a word."""


class Classes(NamedTuple):
    """The classes of a training split.

    Attributes:
        names: of class 0, 1, ...
        counts: how many reviews of the split have each.
        ids: the class of each label.
    """

    names: list[str]
    counts: list[int]
    ids: dict[Key, int]

    def described(self) -> str:
        """`3 classes: neg (20), pos (19), 2 (1)`, the most frequent first."""
        by_count = sorted(zip(self.names, self.counts, strict=True), key=lambda pair: -pair[1])
        listed = ", ".join(f"{shown(name)} ({count})" for name, count in by_count[:8])
        return f"{len(self.names)} classes: {listed}{', ...' if len(by_count) > 8 else ''}"

    def notes(self) -> list[str]:
        """A note for names that differ in nothing but their case."""
        alike: dict[str, list[str]] = {}
        for name in self.names:
            alike.setdefault(name.casefold(), []).append(name)
        return [
            f"the labels {shown(', '.join(names))} differ in their case only, and are {len(names)} classes"
            for names in alike.values()
            if len(names) > 1
        ]

    def mapping(self) -> str | None:
        """`neg = 0, pos = 1`; None where the labels are these numbers themselves."""
        if self.names == [str(number) for number in range(len(self.names))]:
            return None
        listed = ", ".join(f"{shown(name)} = {number}" for number, name in enumerate(self.names[:8]))
        return listed + (", ..." if len(self.names) > 8 else "")


def is_unlabelled(split: Split) -> bool:
    """Whether no review of a split has a label: all are -1, as in the Hub's test sets, or missing."""
    return all(key in (None, -1) for key in _keys(split))


def classes_of(split: Split, where: str) -> Classes:
    """The classes of a training split.

    Args:
        split: its labels words, booleans, whole numbers from anywhere, or a `ClassLabel`.
        where: how an error begins: what the user gave.

    Raises:
        SameLoopError: a label is missing, is no class, or there are too few classes or too many.
    """
    import datasets

    feature = split.rows.features["label"]
    column = f"the column `{shown(split.columns.label)}`"
    if not _can_be_labels(feature):
        raise SameLoopError(
            f"{where}: {column} holds {shown(feature)}, which are no classes; name another with --label-column"
        )
    keys = _keys(split)
    named = isinstance(feature, datasets.ClassLabel)
    missing = next((row for row, key in enumerate(keys) if key is None or (named and key == -1)), None)
    if missing is not None:
        raise SameLoopError(
            f"{where}: {split.place(missing)} has no label in `{shown(split.columns.label)}`; give it one, or remove "
            "the row"
        )
    counts = Counter(key for key in keys if key is not None)
    if named:
        order: list[Any] = [_key(name) for name in feature.names]  # None for a class without a name
    elif any(isinstance(key, str) for key in counts):
        order = sorted(counts, key=str)
    else:
        fraction = next((key for key in counts if isinstance(key, float)), None)
        if fraction is not None:
            raise SameLoopError(
                f"{where}: {split.place(keys.index(fraction))} has the label {fraction:g}, a fraction; the classes of "
                f"this job are words or whole numbers: name another column with --label-column; {OTHER_TASKS}"
            )
        order = sorted(counts)
    if len(order) < 2:
        raise SameLoopError(f"{where}: all labels are {shown(order[0])}; two classes at least")
    if len(counts) > 2 and len(counts) * 2 > len(keys):
        raise SameLoopError(
            f"{where}: {column} has {len(counts)} different labels in {len(keys)} rows, so they are no classes; name "
            "another with --label-column"
        )
    names = list(feature.names) if named else [str(key) for key in order]
    return Classes(names, [counts[key] for key in order], {key: number for number, key in enumerate(order)})


def ids_of(split: Split, classes: Classes, where: str) -> list[int]:
    """The class of every review of a split that is evaluated on.

    Raises:
        SameLoopError: one has no label, or one that the training reviews do not have.
    """
    ids = classes.ids
    keys = _keys(split)
    if not any(isinstance(key, str) for key in keys) and all(isinstance(key, str) for key in ids):
        # The one split has the classes' names, the other their numbers.
        ids = {number: number for number in range(len(classes.names))}
    numbers = []
    for row, key in enumerate(keys):
        if key is None or key not in ids:
            problem = "no label" if key is None else f"the label {shown(key)}, which no training example has"
            raise SameLoopError(f"{where}: {split.place(row)} to evaluate on has {problem}; remove or fix such rows")
        numbers.append(ids[key])
    return numbers


def _can_be_labels(feature: Any) -> bool:
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return True
    kinds = ("int", "uint", "float", "bool", "string", "large_string", "null")
    return isinstance(feature, datasets.Value) and feature.dtype.rstrip("0123456789") in kinds


def _keys(split: Split) -> list[Key | None]:
    """Every review's label as it is compared; None where it is missing."""
    import datasets

    feature = split.rows.features["label"]
    labels = split.column("label")
    if isinstance(feature, datasets.ClassLabel):
        names = [_key(name) for name in feature.names]
        return [None if label is None else names[label] if label >= 0 else -1 for label in labels]
    return [_key(label) for label in labels]


def _key(label: Any) -> Key | None:
    """1, "1" and 1.0 are 1; " pos" is "pos"; true is "True"; what is missing is None."""
    if label is None or label != label:
        return None
    if isinstance(label, (bool, str)):
        text = str(label).strip()
        if not NUMBER.fullmatch(text):
            return text or None
        label = float(text) if "." in text else int(text)
    return int(label) if label == label // 1 else float(label)
