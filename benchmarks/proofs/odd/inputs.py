"""The rows of the table, and functions that make the files of users."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pandas
import pyarrow
import pyarrow.parquet

WORDS = ("negative", "positive")
ROWS = [(f"review {number}, quite {'good' if number % 2 else 'bad'}", WORDS[number % 2]) for number in range(24)]
HEADER = ("review", "sentiment")
# With SameLoop's own names of the columns.
NUMBERED = [{"text": f"review {number}", "label": number % 2} for number in range(24)]
Make = Callable[[Path], list[str]]
Row = tuple[Any, ...]


class Odd(NamedTuple):
    """One input, and its expected outcome.

    Attributes:
        description: in words.
        make: prepares a folder and returns the options of `sameloop manual`.
        expected: the expected message, in pieces separated by " … ": for an error in its one line, for a run in any.
        status: 0: the run finishes; 2: one line says what is wrong and what to do.
        origin: the GitHub thread in which somebody met it.
        rows: the reviews as they must be read, each with the name of its class.
        environment: environment variables that are set.
        raising: an object, its attribute and the error that it raises, for a situation that cannot be made here.
        alone: whether it needs a process of its own, started in the folder.
    """

    description: str
    make: Make
    expected: str
    status: int
    origin: str = ""
    rows: Sequence[Row] | None = None
    environment: Mapping[str, str] = {}
    raising: tuple[Any, str, BaseException] | None = None
    alone: bool = False

    @property
    def pieces(self) -> list[str]:
        """The pieces of the expected message."""
        return self.expected.split(" … ") if self.expected else []


def handled(description: str, make: Make, expected: str = "", origin: str = "", **more: Any) -> Odd:
    """An input with which a run finishes."""
    return Odd(description, make, expected, 0, origin, **more)


def read(description: str, make: Make, expected: str = "2 classes", origin: str = "", rows: Any = ROWS) -> Odd:
    """Reviews that are read without an error."""
    return handled(description, make, expected, origin, rows=rows)


def refused(description: str, make: Make, expected: str, origin: str = "", **more: Any) -> Odd:
    """An input that is refused: one line says what is wrong and what to do."""
    return Odd(description, make, expected, 2, origin, **more)


def options(*arguments: str) -> Make:
    """Only options, and no file."""
    return lambda folder: list(arguments)


def file(name: str, content: str | bytes, *arguments: str) -> Make:
    """A file of reviews."""

    def make(folder: Path) -> list[str]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["--dataset", str(path), *arguments]

    return make


def text_files(*places: str) -> Make:
    """A folder of folders, each with twelve texts and named after their label."""

    def make(folder: Path) -> list[str]:
        for place in places:
            (folder / place).mkdir(parents=True)
            for number in range(12):
                text = f"a text of {Path(place).name}, {number}"
                (folder / place / f"{number:02}.txt").write_text(text, encoding="utf-8")
        return ["--dataset", str(folder)]

    return make


def table(rows: Iterable[Row] = ROWS, header: Row = HEADER, **dialect: Any) -> str:
    """Rows as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, **{"lineterminator": "\n", **dialect}).writerows([header, *rows])
    return text.getvalue()


def labelled(labels: Sequence[Any]) -> list[Row]:
    """The reviews with these labels in turn."""
    return [(text, labels[number % len(labels)]) for number, (text, _) in enumerate(ROWS)]


def lines(rows: Iterable[Row] = ROWS, **more: Any) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True)), **more) + "\n" for row in rows)


def frame(rows: Sequence[Row] = ROWS) -> pandas.DataFrame:
    """Rows as a pandas frame."""
    return pandas.DataFrame(rows, columns=list(HEADER))


def parquet(content: pyarrow.Table, cut: int = 0) -> Make:
    """A Parquet file, perhaps without its last bytes."""

    def make(folder: Path) -> list[str]:
        path = folder / "reviews.parquet"
        pyarrow.parquet.write_table(content, path)
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return ["--dataset", str(path)]

    return make


def numbered(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Make:
    """The numbered reviews as Parquet, with something done to each."""
    return parquet(pyarrow.Table.from_pylist([change(row) for row in NUMBERED]))


def folder_of(**files: str) -> Make:
    """A folder of CSV files, one for each split."""

    def make(folder: Path) -> list[str]:
        for name, content in files.items():
            (folder / f"{name}.csv").write_text(content)
        return ["--dataset", str(folder)]

    return make


def saved(format_: str = "torch", **labels: Sequence[Any]) -> Make:
    """What `save_to_disk` writes: splits with their labels in turn, in the format of a library."""

    def make(folder: Path) -> list[str]:
        splits = {
            name: datasets.Dataset.from_dict({"text": [row[0] for row in ROWS], "label": [row[1] for row in rows]})
            for name, rows in ((name, labelled(arguments)) for name, arguments in labels.items())
        }
        datasets.DatasetDict(splits).with_format(format_).save_to_disk(folder / "saved")
        return ["--dataset", str(folder / "saved")]

    return make
