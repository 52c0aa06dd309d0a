"""Reviews as they were found in a source, and what is needed to name the place of a wrong one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import shown

if TYPE_CHECKING:
    import datasets
    import pyarrow

MOST_COLUMNS = 1000


class Columns(NamedTuple):
    """The names of the two columns that matter."""

    text: str
    label: str


class Split(NamedTuple):
    """Reviews as they were found.

    Attributes:
        rows: columns `text` and `label`; the labels are as they were given: whole numbers, words, ...
        columns: what the two are called in the source.
        lines: of a text file, the line in which each row begins, counted from 1; None for any other source.
        notes: what a reader should know of how it was read.
    """

    rows: datasets.Dataset
    columns: Columns
    lines: list[int] | None = None
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Where a user finds a row, which is counted from 0."""
        return place(self.lines, row)

    def arrow(self, name: str) -> pyarrow.ChunkedArray:
        """`text` or `label` of every row, whole: `datasets` itself returns a column row by row."""
        return self.rows.with_format("arrow")[:][name]

    def column(self, name: str) -> list[Any]:
        """`text` or `label` of every row."""
        return self.arrow(name).to_pylist()


Choose = Callable[[Sequence[str], "dict[str, str]"], Columns]
"""From the names of a source's columns, and the types of those that hold no plain values, the two that matter.

Raises:
    SameLoopError: it is not clear which they are.
"""


def place(lines: Sequence[int] | None, row: int) -> str:
    """Where a user finds a row, which is counted from 0: its line in a text file, its number elsewhere."""
    return f"row {row + 1}" if lines is None else f"line {lines[row]}"


class Refused(Exception):  # noqa: N818 - the name describes what happened
    """A file cannot be read as its name promises: why, and what to do."""


def split_of(
    texts: list[Any], labels: list[Any], columns: Columns, lines: list[int] | None, notes: Sequence[str]
) -> Split:
    """Reviews and labels from a text file as a split.

    Raises:
        Refused: there are none, or one is no text.
    """
    import datasets

    if not texts:
        raise Refused("it has a header and no examples")
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise Refused(f"{place(lines, row)}: `{shown(columns.text)}` holds no text but {shown(text)}")
        if text is not None and not _is_unicode(text):
            raise Refused(
                f"{place(lines, row)}: the text holds half a character (a lone surrogate); correct or remove it"
            )
    kinds = {type(label) for label in labels} - {type(None)}
    if (
        len(kinds - {int, float}) > 1
        or (kinds & {str, bool} and kinds & {int, float})
        or any(abs(label) >= 2**53 for label in labels if type(label) is int)
    ):
        # Of several types: words are what all can be.
        labels = [label if label is None else str(label) for label in labels]
    for row, label in enumerate(labels):
        if isinstance(label, str) and not _is_unicode(label):
            raise Refused(f"{place(lines, row)}: the label holds half a character (a lone surrogate); correct it")
    return Split(datasets.Dataset.from_dict({"text": texts, "label": labels}), columns, lines, tuple(notes))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def renaming(columns: Columns) -> dict[str, str]:
    """What a source calls the two columns, where that is not `text` and `label`, and what they are called here."""
    return {name: usual for name, usual in zip(columns, Columns._fields, strict=True) if name != usual}


def listed(names: Sequence[str]) -> str:
    """The first names of columns, for a line."""
    return ", ".join(shown(name) for name in names[:8])
