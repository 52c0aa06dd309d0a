"""What a row of the table is, and how the files that people bring are made."""

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
# As SameLoop itself calls the columns.
NUMBERED = [{"text": f"review {number}", "label": number % 2} for number in range(24)]
Made = Callable[[Path], list[str]]
Row = tuple[Any, ...]


class Odd(NamedTuple):
    """One input, and what must come of it.

    Attributes:
        what: in words.
        make: prepares a folder and gives the options of `sameloop manual`.
        said: what must be said of it, in pieces parted by " … ": of an error in its one line, of a run in any.
        status: 0: the run comes to its end; 2: one line says what is wrong and what to do.
        origin: the GitHub thread in which somebody met it.
        rows: of reviews: each as it must be read, with the name of its class.
        environment: variables that are set.
        raising: what cannot be had here raises this in its place: an object, its attribute, the error.
        alone: whether it needs a process of its own, started in the folder.
    """

    what: str
    make: Made
    said: str
    status: int
    origin: str = ""
    rows: Sequence[Row] | None = None
    environment: Mapping[str, str] = {}
    raising: tuple[Any, str, BaseException] | None = None
    alone: bool = False

    @property
    def pieces(self) -> list[str]:
        """What must be said, piece by piece."""
        return self.said.split(" … ") if self.said else []


def handled(what: str, make: Made, said: str = "", origin: str = "", **more: Any) -> Odd:
    """An input with which a run comes to its end."""
    return Odd(what, make, said, 0, origin, **more)


def read(what: str, make: Made, said: str = "2 classes", origin: str = "", rows: Sequence[Row] = ROWS) -> Odd:
    """Reviews that are read as they are."""
    return Odd(what, make, said, 0, origin, rows)


def refused(what: str, make: Made, said: str, origin: str = "", **more: Any) -> Odd:
    """An input of which one line says what is wrong and what to do."""
    return Odd(what, make, said, 2, origin, **more)


def options(*given: str) -> Made:
    """Nothing but options."""
    return lambda folder: list(given)


def file(name: str, content: str | bytes, *given: str) -> Made:
    """A file of reviews."""

    def make(folder: Path) -> list[str]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["--dataset", str(path), *given]

    return make


def text_files(*places: str) -> Made:
    """A folder of folders, each with twelve texts, named after what they are."""

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
    """Rows as pandas has them."""
    return pandas.DataFrame(rows, columns=list(HEADER))


def parquet(content: pyarrow.Table, cut: int = 0) -> Made:
    """A Parquet file, perhaps without its last bytes."""

    def make(folder: Path) -> list[str]:
        path = folder / "reviews.parquet"
        pyarrow.parquet.write_table(content, path)
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return ["--dataset", str(path)]

    return make


def numbered(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Made:
    """The numbered reviews as Parquet, with something done to each."""
    return parquet(pyarrow.Table.from_pylist([change(row) for row in NUMBERED]))


def folder_of(**files: str) -> Made:
    """A folder of CSV files, one for each split."""

    def make(folder: Path) -> list[str]:
        for name, content in files.items():
            (folder / f"{name}.csv").write_text(content)
        return ["--dataset", str(folder)]

    return make


def saved(format_: str = "torch", **labels: Sequence[Any]) -> Made:
    """What `save_to_disk` writes: splits with their labels in turn, in the format of a library."""

    def make(folder: Path) -> list[str]:
        found = {
            name: datasets.Dataset.from_dict({"text": [row[0] for row in ROWS], "label": [row[1] for row in rows]})
            for name, rows in ((name, labelled(given)) for name, given in labels.items())
        }
        datasets.DatasetDict(found).with_format(format_).save_to_disk(folder / "saved")
        return ["--dataset", str(folder / "saved")]

    return make
