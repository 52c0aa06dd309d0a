"""CSV as people write it, and files that are not CSV."""

from __future__ import annotations

import csv
import gzip

from benchmarks.proofs.odd.inputs import ROWS, file, labelled, lines, read, refused, table

QUOTED = [(f'"{text}", they said', word) for text, word in ROWS]
BROKEN = [(f"{text}\r\nand\ron", word) for text, word in ROWS]
IN_TABS = [('"Great" movie', "a"), ('5" long', "b"), ('"', "a"), ("x", "b")] * 6
LONG = ("wonderful " * 20_000, "positive")

CSV_FILES = (
    # Fields
    refused(
        "a comma in a review without quotes",
        file("r.csv", "text,label\n" + "bad,0\ngood, but long,1\n" * 12),
        "line 3 has 3 fields, the header has 2 … must stand in quotes",
        "wireservice/ffs/pull/19",
    ),
    refused("a comma in every row", file("r.csv", "text,label\n" + "good, but long,1\n" * 9), "line 2 has 3 fields"),
    refused("a field too few", file("r.csv", "text,label\n" + "a,0\nb,1\n" * 9 + "c\n"), "line 20 has 1 field,"),
    refused(
        "a row after one of many lines",
        file("r.csv", 'text,label\n"one\ntwo\nthree",1\nb,0,5\n'),
        "line 5 has 3 fields",
    ),
    read(
        "quotes after a backslash",
        file("r.csv", table(QUOTED, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\")),
        "quotes stand after a backslash",
        "pandas-dev/pandas/issues/18382",
        rows=QUOTED,
    ),
    refused(
        "a backslash before a quote that can be read in two ways",
        file(
            "r.csv",
            table(
                [('one \\"" two', "a"), ("x", "b")] * 4,
                ("text", "label"),
                quoting=csv.QUOTE_NONE,
                escapechar="~",
                quotechar=None,
            ),
        ),
        'line 2: the backslash before a quote (\\") can be read in two ways',
    ),
    refused(
        "a quote not doubled",
        file("r.csv", 'text,label\n"he said "hi", ok",1\n' + "b,0\n" * 9),
        "line 2 … a quote in it twice",
    ),
    read("everything quoted", file("r.csv", table(quoting=csv.QUOTE_ALL))),
    read(
        "semicolons between the fields",
        file("r.csv", table(delimiter=";")),
        "fields separated by ';'",
        "asreview/asreview/issues/302",
    ),
    read("Excel's first line", file("r.csv", "sep=;\r\n" + table(delimiter=";", lineterminator="\r\n"))),
    read("a .tsv", file("r.tsv", table(delimiter="\t")), origin="huggingface/datasets/issues/6691"),
    read("tabs in a .csv", file("r.csv", table(delimiter="\t"))),
    read(
        "quotes that are part of a review between tabs",
        file("r.tsv", table(IN_TABS, ("text", "label"), delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)),
        "quotes are part of the texts",
        rows=IN_TABS,
    ),
    read("bars between the fields", file("r.csv", table(delimiter="|"))),
    # Bytes
    read("a byte order mark", file("r.csv", "\ufeff" + table()), origin="biolab/orange3/issues/7000"),
    refused(
        "a file in latin-1",
        file("r.csv", table([("café", "negative"), *ROWS]).encode("latin-1")),
        "line 2 is not UTF-8 (byte 0xe9) … iconv -f cp1252 -t utf-8 r.csv > utf8-r.csv",
        "mirador/nhanes/issues/7",
    ),
    read("a file in UTF-16", file("r.csv", table().encode("utf-16")), origin="vividvilla/csvtotable/issues/35"),
    refused("UTF-16 without a mark", file("r.csv", "text,label\na,1\n".encode("utf-16-le")), "UTF-16 without a mark"),
    refused("bytes that are no text", file("r.csv", b"\x00\x01\x02\x00" * 99), "not text"),
    read(
        "carriage returns inside reviews",
        file("r.csv", table(BROKEN, lineterminator="\r\n")),
        origin="huggingface/datasets/pull/713",
        rows=BROKEN,
    ),
    read("lines of Windows", file("r.csv", table(lineterminator="\r\n"))),
    read("lines of an old Mac", file("r.csv", table(lineterminator="\r"))),
    read("blank lines", file("r.csv", table().replace("\n", "\n\n"))),
    # Headers
    refused(
        "no header",
        file("r.csv", table(labelled((0, 1)), ("the very first review of all of them, and quite a long one", 1))),
        "its first line is no header but a row already",
        "langchain-ai/langchain/issues/6460",
    ),
    refused(
        "no header, and reviews too long to be shown",
        file("r.csv", ("A wonderful film from the first minute to the last, " * 3 + ";1\n") * 9),
        "first line is no header but a row already … A wonderful film from the first minut... … text",
    ),
    refused("no header, short", file("r.csv", "good,1\nbad,0\n"), "first line is no header … `text,label`"),
    refused(
        "a row with more fields than the header",
        file("r.csv", table([*ROWS[:9], ("a", "b", "c"), *ROWS[9:]])),
        "line 11 has 3 fields",
        "appvision-ai/fast-bert/issues/96",
    ),
    refused(
        "two columns of one name",
        file("r.csv", table([(*row, "x") for row in ROWS], ("review", "sentiment", "review"))),
        "two of its columns are called `review`",
        "pandas-dev/pandas/issues/52408",
    ),
    refused("a million columns", file("r.csv", b"a," * 10**6 + b"b\n1"), "more than 1000 columns … keep only"),
    refused(
        "a quote that is never closed",
        file("r.csv", table().replace('review 7, quite good"', "review 7, quite good")),
        "line 9 … quotes",
        "pandas-dev/pandas/issues/22140",
    ),
    refused("an empty file", file("r.csv", ""), "it is empty"),
    refused("a header alone", file("r.csv", "text,label\n"), "no examples"),
    # Compressed, and long
    read(
        "a file that is compressed",
        file("r.jsonl.gz", gzip.compress(lines().encode())),
        origin="huggingface/datasets/issues/5088",
    ),
    read("CSV that is compressed", file("r.csv.gz", gzip.compress(table().encode()))),
    read("gzip by another name", file("r.csv", gzip.compress(table().encode()))),
    refused("gzip cut short", file("r.csv.gz", gzip.compress(table().encode())[:-20]), "gzip file is damaged"),
    refused("no gzip at all", file("r.csv.gz", "text,label\n"), "not a gzip file"),
    read(
        "a review of 200,000 characters",
        file("r.csv", table([LONG, *ROWS])),
        "2 classes: positive (13), negative (12)",
        "simonw/datasette-lite/issues/84",
        rows=[LONG, *ROWS],
    ),
)
