"""Reading a user's own file of reviews: as it is now and whole, or one line that says what is wrong with it.

The csv and json modules and pyarrow do the reading; nothing is cached. What cannot be read without a guess that might
damage reviews in silence is refused, with the line it stands in.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import SameLoopError, shown

if TYPE_CHECKING:
    import datasets
    import pyarrow

CSV, JSON, PARQUET = "csv", "json", "parquet"
FILE_FORMATS = {
    ".csv": CSV,
    ".tsv": CSV,
    ".json": JSON,
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".parquet": PARQUET,
}
SEPARATORS = (",", ";", "\t", "|")
MOST_COLUMNS = 1000
# A name in a header is rarely longer, a review rarely shorter.
LONGEST_NAME = 40
HOW_TO_QUOTE = 'a review with a separator or a line end in it must stand in quotes ("..."), a quote in it twice ("")'


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
        return _place(self.lines, row)

    def arrow(self, name: str) -> pyarrow.ChunkedArray:
        """`text` or `label` of every row, whole: `datasets` itself gives a column out row by row."""
        return self.rows.with_format("arrow")[:][name]

    def column(self, name: str) -> list[Any]:
        """`text` or `label` of every row."""
        return self.arrow(name).to_pylist()


Choose = Callable[[Sequence[str], "dict[str, str]"], Columns]
"""From the names of a source's columns, and of those that hold no plain values and why, the two that matter.

Raises:
    SameLoopError: they cannot be told.
"""


def _place(lines: Sequence[int] | None, row: int) -> str:
    return f"row {row + 1}" if lines is None else f"line {lines[row]}"


class _Refused(Exception):  # noqa: N818 - says what happened
    """A file is not what its name says: why, and what to do."""


def file_format(path: Path) -> str | None:
    """`csv`, `json` or `parquet`, by the file's name; None if that does not tell."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return FILE_FORMATS.get(suffixes[-1]) if suffixes else None


def read_split(path: Path, choose: Choose) -> Split:
    """Read a file of reviews.

    Raises:
        SameLoopError: the file's format cannot be told, or it cannot be read without a loss.
    """
    found = file_format(path)
    if found is None:
        what = {
            ".xlsx": "; save the sheet as CSV (UTF-8)",
            ".xls": "; save the sheet as CSV (UTF-8)",
            ".zip": "; unpack it first",
        }.get(path.suffix.lower(), "")
        raise SameLoopError(
            f"--dataset {path}: cannot tell its format{what}; name it {', '.join(sorted(FILE_FORMATS))} (perhaps with "
            ".gz), or give a folder with train.csv and test.csv, or one that `save_to_disk` wrote"
        )
    try:
        if found == PARQUET:
            return _read_parquet(path, choose)
        text = _decoded(_content(path), path)
        return (_read_csv if found == CSV else _read_json)(text, path, choose)
    except _Refused as error:
        raise SameLoopError(f"--dataset {path}: {error}") from None
    except OSError as error:
        raise SameLoopError(f"--dataset {path}: cannot be read ({error.strerror or error})") from None


def separator_of(path: Path, columns: Columns) -> str:
    """What parts the fields of a CSV file that has been read: the separator by which its header has the columns."""
    text = _decoded(_content(path), path)
    return next(each for each in SEPARATORS if set(columns) <= {name.strip() for name in _header(text, each)})


# Bytes to text -----------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked if it is a gzip file, whatever it is called."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        if path.suffix.lower() == ".gz":
            raise _Refused("not a gzip file; take .gz off its name")
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        raise _Refused("the gzip file is damaged or cut short; get it again") from None


def _decoded(content: bytes, path: Path) -> str:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                raise _Refused("it begins as UTF-16 and does not go on so; save it as UTF-8") from None
    if content.count(0, 0, 4096) * 4 > len(content[:4096]):
        raise _Refused("it is not text, or UTF-16 without a mark; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", content[: error.start])) + 1
        plain = path.name.removesuffix(".gz")
        raise _Refused(
            f"line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8: most files of this kind "
            f"are Windows' or latin-1, then `iconv -f cp1252 -t utf-8 {plain} > utf8-{plain}` converts it"
        ) from None
    # Excel's own first line says what parts the fields, which the header says, too. The lines are counted with it.
    return re.sub(r"\Asep=.(?=\r?\n)", "", text)


# CSV ---------------------------------------------------------------------------------------------------


class _Rows(NamedTuple):
    fields: list[list[str]]
    lines: list[int]


# How the quotes of a field are told: doubled, as RFC 4180 says; after a backslash, as MySQL writes them; not at all,
# as in GLUE's files.
QUOTING: dict[str, dict[str, Any]] = {
    "doubled": {"doublequote": True, "strict": True},
    "escaped": {"doublequote": False, "escapechar": "\\", "strict": True},
    "none": {"quoting": csv.QUOTE_NONE},
}


def _read_csv(text: str, path: Path, choose: Choose) -> Split:
    if not text.strip():
        raise _Refused("it is empty")
    order = ("\t", *SEPARATORS) if ".tsv" in (suffix.lower() for suffix in path.suffixes) else SEPARATORS
    headers = {separator: _header(text, separator) for separator in order}
    separator, columns, problem = _separator(headers, choose)
    if columns is None:
        header = headers[separator]
        if _is_no_header(header):
            raise _Refused(
                f"its first line is no header but a row already ({_names(header)}); put the names of the columns "
                f"above it, for example `text{separator}label`"
            )
        raise problem
    rows, how = _rows(text, separator)
    header, *fields = rows.fields
    notes = []
    if separator != "," and order is SEPARATORS:
        notes.append(f"fields parted by {'tabs' if separator == TAB else repr(separator)}")
    if how != "doubled":
        notes.append("quotes stand after a backslash" if how == "escaped" else "quotes are part of the reviews")
    names = [name.strip() for name in header]
    values = {name: [row[names.index(name)] for row in fields] for name in columns}
    return _split(values[columns.text], values[columns.label], columns, rows.lines[1:], notes)


TAB = "\t"


def _header(text: str, separator: str) -> list[str]:
    """The fields of the first row that is not blank."""
    try:
        return next(iter(_parsed(text, separator, "doubled")))[1]
    except (_Refused, StopIteration):
        return []


def _separator(headers: dict[str, list[str]], choose: Choose) -> tuple[str, Columns | None, SameLoopError | _Refused]:
    """The separator by which the header has the two columns; else the one with most columns, and what is wrong."""
    problem: SameLoopError | _Refused = _Refused("its first line is no header")
    by_width = sorted(headers, key=lambda separator: -len(headers[separator]))
    for separator in by_width:
        names = [name.strip() for name in headers[separator]]
        if len(names) > MOST_COLUMNS:
            raise _Refused(f"its first line has more than {MOST_COLUMNS} columns; keep only `text` and `label`")
        try:
            columns = choose(names, {})
        except SameLoopError as error:
            if separator == by_width[0]:
                problem = error
            continue
        for name in columns:
            if names.count(name) > 1:
                raise _Refused(f"two of its columns are called `{shown(name)}`; rename one")
        return separator, columns, problem
    return by_width[0], None, problem


def _is_no_header(header: Sequence[str]) -> bool:
    """Whether a first line looks like a row: a field is a number, or longer than a name."""
    return any(len(name) > LONGEST_NAME or _is_number(name) for name in header)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(text: str, separator: str) -> tuple[_Rows, str]:
    """All rows, each with as many fields as the header, and how their quotes are told.

    Raises:
        _Refused: in no way do all rows have as many, or in two ways with different reviews.
    """
    tried = ["doubled"]
    if '\\"' in text:
        tried.append("escaped")
    found: dict[str, _Rows] = {}
    problems = []
    for how in tried:
        try:
            found[how] = _whole(text, separator, how)
        except _Refused as error:
            problems.append(error)
    if not found and separator == TAB:
        try:
            found["none"] = _whole(text, separator, "none")
        except _Refused as error:
            problems.append(error)
    if not found:
        raise problems[0]
    if len(found) == 2 and found["doubled"].fields != found["escaped"].fields:
        pairs = zip(found["doubled"].fields, found["escaped"].fields, strict=False)
        row = next((row for row, (one, other) in enumerate(pairs) if one != other), 0)
        raise _Refused(
            f'line {found["doubled"].lines[row]}: the backslash before a quote (\\") can be read in two ways; write '
            'quotes in a review twice ("")'
        )
    how = next(iter(found))
    return found[how], how


def _whole(text: str, separator: str, how: str) -> _Rows:
    rows = _Rows([], [])
    for line, fields in _parsed(text, separator, how):
        if rows.fields and len(fields) != len(rows.fields[0]):
            raise _Refused(
                f"line {line} has {len(fields)} field{'s' * (len(fields) != 1)}, the header has "
                f"{len(rows.fields[0])}: {HOW_TO_QUOTE}; `pandas.DataFrame.to_csv` writes it so"
            )
        rows.fields.append(fields)
        rows.lines.append(line)
    return rows


def _parsed(text: str, separator: str, how: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, and the line in which it begins."""
    limit, line = csv.field_size_limit(2**31 - 1), 1
    try:
        # Lines end with \n or \r\n, on an old Mac with \r: a \r in a file of the others is part of a review, and csv
        # refuses it outside quotes.
        file = io.StringIO(text, newline="\n" if "\n" in text else "")
        reader = csv.reader(file, delimiter=separator, **QUOTING[how])
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip(" \t\x1a")):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise _Refused(f"line {line}: {shown(error, 80)}; {HOW_TO_QUOTE}") from None
    finally:
        csv.field_size_limit(limit)


# JSON --------------------------------------------------------------------------------------------------


def _read_json(text: str, path: Path, choose: Choose) -> Split:
    """A list of objects, one object per line, or what `pandas.DataFrame.to_json` writes."""
    if not text.strip():
        raise _Refused("it is empty")
    lines = None
    notes: list[str] = []
    try:
        rows = _rows_of(json.loads(text), notes, choose)
    except RecursionError:
        raise _Refused("it is nested too deep to hold reviews") from None
    except ValueError as error:
        if text.lstrip().startswith("["):
            raise _Refused(f"it is not JSON ({shown(error, 80)}); it may be cut short") from None
        rows, lines = _json_lines(text)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _Refused(f'{_place(lines, number)} is no object; write rows as {{"text": "...", "label": 0}}')
    if not rows:
        raise _Refused("it holds no rows")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) > MOST_COLUMNS:
        raise _Refused(f"its rows have more than {MOST_COLUMNS} names; keep only `text` and `label`")
    nested = _nested(rows)
    columns = choose(names, nested)
    notes += _dropped(nested)
    texts, labels = ([row.get(name) for row in rows] for name in columns)
    return _split(texts, labels, columns, lines, notes)


def _json_lines(text: str) -> tuple[list[Any], list[int]]:
    # Only these end a line of JSON Lines; str.splitlines knows eight more, which a review may hold.
    rows, numbers = [], []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise _Refused(f"line {number} is not JSON ({shown(error, 80)}); it may be cut short") from None
            except RecursionError:
                raise _Refused(f"line {number} is nested too deep to hold reviews") from None
            numbers.append(number)
    return rows, numbers


def _rows_of(content: Any, notes: list[str], choose: Choose) -> list[Any]:
    """The rows of a file that is one JSON value: a list of objects, or what `pandas.DataFrame.to_json` writes."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        raise _Refused('it is one value; write rows as {"text": "...", "label": 0}')
    try:
        chosen = {name: content[name] for name in choose(list(content), {})}
    except SameLoopError:
        chosen = {}
    if chosen and all(isinstance(column, dict) for column in chosen.values()):  # orient="columns"
        first, other = chosen.values()
        if first.keys() != other.keys():
            raise _Refused("its columns do not have the same rows; write it anew")
        return [{name: column[key] for name, column in chosen.items()} for key in first]
    if chosen and all(isinstance(column, list) for column in chosen.values()):
        if len({len(column) for column in chosen.values()}) > 1:
            raise _Refused("its columns have different lengths; write it anew")
        return [dict(zip(chosen, row, strict=True)) for row in zip(*chosen.values(), strict=True)]
    if chosen:
        return [content]
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # orient="split"
        return [dict(zip(map(str, content["columns"]), row, strict=False)) for row in content["data"]]
    if content and all(isinstance(value, dict) for value in content.values()):  # orient="index"
        return list(content.values())
    inside = [name for name, value in content.items() if isinstance(value, list) and value and _are_rows(value)]
    if len(inside) == 1:  # orient="table", and what many a program writes around its rows
        notes.append(f"rows from its `{shown(inside[0])}`")
        return content[inside[0]]
    if inside:
        raise _Refused(f"it holds several lists of rows ({_names(inside)}); give each a file of its own")
    return [content]


def _are_rows(values: list[Any]) -> bool:
    return all(isinstance(value, dict) for value in values)


def _nested(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The columns that hold lists or objects somewhere, and which of the two."""
    found = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, (list, dict)):
                found.setdefault(name, "lists" if isinstance(value, list) else "objects")
    return found


# Parquet -----------------------------------------------------------------------------------------------


def _read_parquet(path: Path, choose: Choose) -> Split:
    import datasets
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            table = pyarrow.parquet.ParquetFile(file).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise _Refused(f"not a readable parquet file ({shown(error, 120)}); get it again, or write it anew") from None
    nested = {
        field.name: str(field.type)
        for field in table.schema
        if pyarrow.types.is_nested(field.type) and not pyarrow.types.is_dictionary(field.type)
    }
    columns = choose(table.column_names, nested)
    if len(set(table.column_names)) < len(table.column_names):
        raise _Refused(f"two of its columns have one name ({_names(table.column_names)}); rename one")
    table = table.select(list(columns))
    for number, field in enumerate(table.schema):
        # Categories, as pandas writes them, and views are what they stand for.
        if pyarrow.types.is_dictionary(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(field.type.value_type))
        elif "view" in str(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(pyarrow.large_string()))
    rows = datasets.Dataset(table).rename_columns(renaming(columns))
    return Split(rows, columns, notes=tuple(_dropped(nested)))


# All of them -------------------------------------------------------------------------------------------


def _split(
    texts: list[Any], labels: list[Any], columns: Columns, lines: list[int] | None, notes: Sequence[str]
) -> Split:
    """Reviews and labels from a text file as a split."""
    import datasets

    if not texts:
        raise _Refused("it has a header and no reviews")
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise _Refused(f"{_place(lines, row)}: `{shown(columns.text)}` holds no text but {shown(text)}")
        if text is not None and not _is_unicode(text):
            raise _Refused(
                f"{_place(lines, row)}: the review holds half a character (a lone surrogate); mend or remove it"
            )
    kinds = {type(label) for label in labels} - {type(None)}
    if len(kinds - {int, float}) > 1 or (kinds & {str, bool} and kinds & {int, float}) or not _are_small(labels):
        # Of several types: words are what all can be.
        labels = [label if label is None else str(label) for label in labels]
    for row, label in enumerate(labels):
        if isinstance(label, str) and not _is_unicode(label):
            raise _Refused(f"{_place(lines, row)}: the label holds half a character (a lone surrogate); mend it")
    return Split(datasets.Dataset.from_dict({"text": texts, "label": labels}), columns, lines, tuple(notes))


def _are_small(labels: Sequence[Any]) -> bool:
    return all(abs(label) < 2**53 for label in labels if type(label) is int)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def renaming(columns: Columns) -> dict[str, str]:
    """What a source calls the two columns, where that is not `text` and `label`, and what they are called here."""
    return {name: usual for name, usual in zip(columns, Columns._fields, strict=True) if name != usual}


def _dropped(nested: dict[str, str]) -> list[str]:
    """The columns that cannot be used, and why."""
    return [f"`{shown(name)}` holds {shown(kind)}: not used" for name, kind in list(nested.items())[:4]]


def _names(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names[:8])
