"""Reading CSV: what separates the fields, how quotes are written, and which two columns matter."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from shared.errors import SameLoopError, shown
from shared.sources.splits import MOST_COLUMNS, Choose, Columns, Refused, Split, listed, split_of

TAB = "\t"
SEPARATORS = (",", ";", TAB, "|")
# A name in a header is rarely longer, a review rarely shorter.
LONGEST_NAME = 40
HOW_TO_QUOTE = 'a text with a separator or a line end in it must stand in quotes ("..."), a quote in it twice ("")'


class _Rows(NamedTuple):
    fields: list[list[str]]
    lines: list[int]


# How quotes within a field are written: doubled, as RFC 4180 says; after a backslash, as MySQL writes them; not
# at all, as in GLUE's files.
QUOTING: dict[str, dict[str, Any]] = {
    "doubled": {"doublequote": True, "strict": True},
    "escaped": {"doublequote": False, "escapechar": "\\", "strict": True},
    "none": {"quoting": csv.QUOTE_NONE},
}


def read_csv(text: str, path: Path, choose: Choose) -> Split:
    """Read the text of a file called `path`.

    Raises:
        Refused: it cannot be read without a guess.
        SameLoopError: it is not clear which columns matter.
    """
    if not text.strip():
        raise Refused("it is empty")
    order = (TAB, *SEPARATORS) if ".tsv" in (suffix.lower() for suffix in path.suffixes) else SEPARATORS
    separator, columns = _separator({separator: header_of(text, separator) for separator in order}, choose)
    rows, quoting = _rows(text, separator)
    header, *fields = rows.fields
    notes = []
    if separator != "," and order is SEPARATORS:
        notes.append(f"fields separated by {'tabs' if separator == TAB else repr(separator)}")
    if quoting != "doubled":
        notes.append("quotes stand after a backslash" if quoting == "escaped" else "quotes are part of the texts")
    names = [name.strip() for name in header]
    values = {name: [row[names.index(name)] for row in fields] for name in columns}
    return split_of(values[columns.text], values[columns.label], columns, rows.lines[1:], notes)


def header_of(text: str, separator: str) -> list[str]:
    """The fields of the first row that is not blank."""
    try:
        return next(iter(_parsed(text, separator, "doubled")))[1]
    except (Refused, StopIteration):
        return []


def _separator(headers: dict[str, list[str]], choose: Choose) -> tuple[str, Columns]:
    """The separator by which the header has the two columns, and these; errors as `read_csv`."""
    problems = []
    by_width = sorted(headers, key=lambda separator: -len(headers[separator]))
    for separator in by_width:
        names = [name.strip() for name in headers[separator]]
        if len(names) > MOST_COLUMNS:
            raise Refused(f"its first line has more than {MOST_COLUMNS} columns; keep only `text` and `label`")
        try:
            columns = choose(names, {})
        except SameLoopError as error:
            problems.append(error)
            continue
        for name in columns:
            if names.count(name) > 1:
                raise Refused(f"two of its columns are called `{shown(name)}`; rename one")
        return separator, columns
    widest = headers[by_width[0]]
    # It looks like a row: a field is a number, or longer than a name.
    if any(len(name) > LONGEST_NAME or _is_number(name) for name in widest):
        raise Refused(
            f"its first line is no header but a row already ({listed(widest)}); put the names of the columns above "
            f"it, for example `text{by_width[0]}label`"
        )
    raise problems[0]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(text: str, separator: str) -> tuple[_Rows, str]:
    """All rows, each with as many fields as the header, and how their quotes are written.

    Refused: if with no way of quoting all rows have as many, or with two, but with different reviews.
    """
    results: dict[str, _Rows] = {}
    problems = []
    for quoting in QUOTING:
        if quoting == "escaped" and '\\"' not in text:
            continue
        if quoting == "none" and (results or separator != TAB):
            continue
        try:
            results[quoting] = _whole(text, separator, quoting)
        except Refused as error:
            problems.append(error)
    if not results:
        raise problems[0]
    if len(results) == 2 and results["doubled"].fields != results["escaped"].fields:
        pairs = zip(results["doubled"].fields, results["escaped"].fields, strict=False)
        row = next((row for row, (doubled, escaped) in enumerate(pairs) if doubled != escaped), 0)
        raise Refused(
            f'line {results["doubled"].lines[row]}: the backslash before a quote (\\") can be read in two ways; write '
            'quotes in a review twice ("")'
        )
    quoting = next(iter(results))
    return results[quoting], quoting


def _whole(text: str, separator: str, quoting: str) -> _Rows:
    rows = _Rows([], [])
    for line, fields in _parsed(text, separator, quoting):
        if rows.fields and len(fields) != len(rows.fields[0]):
            raise Refused(
                f"line {line} has {len(fields)} field{'s' * (len(fields) != 1)}, the header has "
                f"{len(rows.fields[0])}: {HOW_TO_QUOTE}; `pandas.DataFrame.to_csv` writes it so"
            )
        rows.fields.append(fields)
        rows.lines.append(line)
    return rows


def _parsed(text: str, separator: str, quoting: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, and the line in which it begins."""
    limit, line = csv.field_size_limit(2**31 - 1), 1
    try:
        # Lines end with \n or \r\n, on an old Mac with \r: a \r in a file of the others is part of a review, and csv
        # refuses it outside quotes.
        file = io.StringIO(text, newline="\n" if "\n" in text else "")
        reader = csv.reader(file, delimiter=separator, **QUOTING[quoting])
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip(" \t\x1a")):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise Refused(f"line {line}: {shown(error, 80)}; {HOW_TO_QUOTE}") from None
    finally:
        csv.field_size_limit(limit)
