"""Reading a user's own file of reviews: as it is now and whole, or one line that states what is wrong with it.

The csv and json modules and pyarrow do the reading; nothing is cached. What cannot be read without a guess that might
damage reviews silently is refused, with the number of its line.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import SameLoopError, shown
from shared.sources.delimited import SEPARATORS, header_of, read_csv
from shared.sources.splits import MOST_COLUMNS, Choose, Columns, Refused, Split, listed, place, renaming, split_of

CSV, JSON, PARQUET = "csv", "json", "parquet"
FILE_FORMATS = {
    ".csv": CSV,
    ".tsv": CSV,
    ".json": JSON,
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".parquet": PARQUET,
}


def file_format(path: Path) -> str | None:
    """`csv`, `json` or `parquet`, by the file's name; None if the name has none of their endings."""
    return FILE_FORMATS.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def read_split(path: Path, choose: Choose) -> Split:
    """Read a file of reviews.

    Raises:
        SameLoopError: the file's format is not clear, or it cannot be read without a loss.
    """
    file_kind = file_format(path)
    if file_kind is None:
        hint = {
            ".xlsx": "; save the sheet as CSV (UTF-8)",
            ".xls": "; save the sheet as CSV (UTF-8)",
            ".zip": "; unpack it first",
        }.get(path.suffix.lower(), "")
        raise SameLoopError(
            f"--dataset {path}: cannot tell its format{hint}; name it {', '.join(sorted(FILE_FORMATS))} (perhaps with "
            ".gz), or give a folder with train.csv and test.csv, or one that `save_to_disk` wrote"
        )
    try:
        if file_kind == PARQUET:
            return _read_parquet(path, choose)
        text = _decoded(_content(path), path)
        return (read_csv if file_kind == CSV else _read_json)(text, path, choose)
    except Refused as error:
        raise SameLoopError(f"--dataset {path}: {error}") from None
    except OSError as error:
        raise SameLoopError(f"--dataset {path}: cannot be read ({error.strerror or error})") from None


def read_folders(files: Mapping[str, Sequence[Path]], unused: Sequence[str]) -> Split:
    """Read a split of text files, each an example.

    Args:
        files: by label.
        unused: the names of folders that are left out, for a note.

    Raises:
        SameLoopError: a file cannot be read, or is not UTF-8.
    """
    texts, labels = [], []
    for label, paths in files.items():
        for path in paths:
            try:
                texts.append(_decoded(path.read_bytes(), path))
            except Refused as error:
                raise SameLoopError(f"--dataset {path}: {error}") from None
            except OSError as error:
                raise SameLoopError(f"--dataset {path}: cannot be read ({error.strerror or error})") from None
            labels.append(label)
    return split_of(texts, labels, Columns("text", "label"), None, [f"{name}/ is not used" for name in unused])


def separator_of(path: Path, columns: Columns) -> str:
    """What separates the fields of a CSV file that was read: the separator by which its header has the columns."""
    text = _decoded(_content(path), path)
    return next(sep for sep in SEPARATORS if set(columns) <= {name.strip() for name in header_of(text, sep)})


# Bytes to text -----------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked if it is a gzip file, even under another name."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        if path.suffix.lower() == ".gz":
            raise Refused("not a gzip file; take .gz off its name")
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        raise Refused("the gzip file is damaged or cut short; get it again") from None


def _decoded(content: bytes, path: Path) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError:
            raise Refused("it begins as UTF-16, but the rest is not; save it as UTF-8") from None
    if content.count(0, 0, 4096) * 4 > len(content[:4096]):
        raise Refused("it is not text, or UTF-16 without a mark; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", content[: error.start])) + 1
        plain = path.name.removesuffix(".gz")
        raise Refused(
            f"line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8: most files of this kind "
            f"are Windows' or latin-1, then `iconv -f cp1252 -t utf-8 {plain} > utf8-{plain}` converts it"
        ) from None
    # Excel's own first line names the separator, which the header shows, too. The lines are counted with it.
    return re.sub(r"\Asep=.(?=\r?\n)", "", text)


# JSON --------------------------------------------------------------------------------------------------


def _read_json(text: str, path: Path, choose: Choose) -> Split:
    """A list of objects, one object per line, or what `pandas.DataFrame.to_json` writes."""
    if not text.strip():
        raise Refused("it is empty")
    lines = None
    notes: list[str] = []
    try:
        rows = _rows_of(json.loads(text), notes, choose)
    except RecursionError:
        raise Refused("it is nested too deep to hold examples") from None
    except ValueError as error:
        if text.lstrip().startswith("["):
            raise Refused(f"it is not JSON ({shown(error, 80)}); it may be cut short") from None
        rows, lines = _json_lines(text)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise Refused(f'{place(lines, number)} is no object; write rows as {{"text": "...", "label": 0}}')
    if not rows:
        raise Refused("it holds no rows")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) > MOST_COLUMNS:
        raise Refused(f"its rows have more than {MOST_COLUMNS} names; keep only `text` and `label`")
    nested = _nested(rows)
    columns = choose(names, nested)
    notes += _dropped(nested)
    texts, labels = ([row.get(name) for row in rows] for name in columns)
    return split_of(texts, labels, columns, lines, notes)


def _json_lines(text: str) -> tuple[list[Any], list[int]]:
    # Only these end a line of JSON Lines; str.splitlines also splits at eight others, which a review may hold.
    rows, numbers = [], []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                if _is_python(line):
                    raise Refused(
                        f"line {number} is a dictionary as Python prints it, not JSON; write it with json.dumps"
                    ) from None
                raise Refused(f"line {number} is not JSON ({shown(error, 80)}); it may be cut short") from None
            except RecursionError:
                raise Refused(f"line {number} is nested too deep to hold examples") from None
            numbers.append(number)
    return rows, numbers


def _is_python(line: str) -> bool:
    """Whether a line is what `str` makes of a dictionary."""
    try:
        return isinstance(ast.literal_eval(line.strip()), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _rows_of(content: Any, notes: list[str], choose: Choose) -> list[Any]:
    """The rows of a file that is one JSON value: a list of objects, or what `pandas.DataFrame.to_json` writes."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        raise Refused('it is one value; write rows as {"text": "...", "label": 0}')
    try:
        chosen = {name: content[name] for name in choose(list(content), {})}
    except SameLoopError:
        chosen = {}
    if chosen and all(isinstance(column, dict) for column in chosen.values()):  # orient="columns"
        first, other = chosen.values()
        if first.keys() != other.keys():
            raise Refused("its columns do not have the same rows; write it again")
        return [{name: column[key] for name, column in chosen.items()} for key in first]
    if chosen and all(isinstance(column, list) for column in chosen.values()):
        if len({len(column) for column in chosen.values()}) > 1:
            raise Refused("its columns have different lengths; write it again")
        return [dict(zip(chosen, row, strict=True)) for row in zip(*chosen.values(), strict=True)]
    if chosen:
        return [content]
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # orient="split"
        return [dict(zip(map(str, content["columns"]), row, strict=False)) for row in content["data"]]
    if content and all(isinstance(value, dict) for value in content.values()):  # orient="index"
        return list(content.values())
    inside = [
        name
        for name, value in content.items()
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    ]
    if len(inside) == 1:  # orient="table", and what many programs write around their rows
        notes.append(f"rows from its `{shown(inside[0])}`")
        return content[inside[0]]
    if inside:
        raise Refused(f"it holds several lists of rows ({listed(inside)}); give each a file of its own")
    return [content]


def _nested(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The columns that hold lists or objects somewhere, and which of the two."""
    kinds: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, (list, dict)):
                kinds.setdefault(name, "lists" if isinstance(value, list) else "objects")
    return kinds


# Parquet -----------------------------------------------------------------------------------------------


def _read_parquet(path: Path, choose: Choose) -> Split:
    import datasets
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            table = pyarrow.parquet.ParquetFile(file).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise Refused(f"not a readable parquet file ({shown(error, 120)}); download or write it again") from None
    nested = {
        field.name: str(field.type)
        for field in table.schema
        if pyarrow.types.is_nested(field.type) and not pyarrow.types.is_dictionary(field.type)
    }
    columns = choose(table.column_names, nested)
    if len(set(table.column_names)) < len(table.column_names):
        raise Refused(f"two of its columns have one name ({listed(table.column_names)}); rename one")
    table = table.select(list(columns))
    for number, field in enumerate(table.schema):
        # Categories, as pandas writes them, and views are what they stand for.
        if pyarrow.types.is_dictionary(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(field.type.value_type))
        elif "view" in str(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(pyarrow.large_string()))
    rows = datasets.Dataset(table).rename_columns(renaming(columns))
    return Split(rows, columns, notes=tuple(_dropped(nested)))


def _dropped(nested: dict[str, str]) -> list[str]:
    """Notes on the columns that cannot be used."""
    return [f"`{shown(name)}` holds {shown(kind)}: not used" for name, kind in list(nested.items())[:4]]
