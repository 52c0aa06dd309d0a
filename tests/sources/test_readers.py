"""What people bring: every format and separator, read back as it was written, or refused by name."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from conftest import LOOPS, run_in_process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.data import load_slices, load_splits
from shared.errors import SameLoopError
from shared.recording.record import RunRecord
from shared.sources import embedded
from shared.sources.labels import classes_of, ids_of

WORDS = ("negative", "positive")
ROWS = [(f"review {number}, with a comma", WORDS[number % 2]) for number in range(24)]
HEADER = ("review", "sentiment")


def config(path: Path | str, **dials: Any) -> RunConfig:
    return RunConfig.build("tiny", dataset=str(path), **{"train_size": 12, "eval_size": 8, **dials})


def read(path: Path | str, **dials: Any) -> list[tuple[str, Any]]:
    """Every review of a source, and its label as the name of its class."""
    split = load_splits(config(path, **dials))["train"]()
    classes = classes_of(split, "")
    names = dict(enumerate(classes.names))
    return list(zip(split.rows["text"], [names[label] for label in ids_of(split, classes, "")], strict=True))


def table(rows: list[tuple], header: tuple[str, ...] = HEADER, **dialect: Any) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, **{"lineterminator": "\n", **dialect}).writerows([header, *rows])
    return file.getvalue()


def frame(rows: list[tuple]) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=list(HEADER))


def lines(rows: list[tuple], **options: Any) -> str:
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True)), **options) + "\n" for row in rows)


# The same 24 reviews as people write them: a file's name and its content.
SAME: dict[str, tuple[str, str | bytes]] = {
    "as Kaggle has it": ("IMDB Dataset.csv", table(ROWS)),
    "Excel's first line": ("reviews.csv", "sep=;\r\n" + table(ROWS, delimiter=";", lineterminator="\r\n")),
    "semicolons": ("reviews.csv", table(ROWS, delimiter=";")),
    "tabs in a csv": ("reviews.csv", table(ROWS, delimiter="\t")),
    "tabs": ("reviews.tsv", table(ROWS, delimiter="\t")),
    "bars": ("reviews.csv", table(ROWS, delimiter="|")),
    "everything quoted": ("reviews.csv", table(ROWS, quoting=csv.QUOTE_ALL)),
    "byte order mark": ("reviews.csv", "\ufeff" + table(ROWS)),
    "UTF-16": ("reviews.csv", table(ROWS).encode("utf-16")),
    "lines of Windows": ("reviews.csv", table(ROWS, lineterminator="\r\n")),
    "lines of an old Mac": ("reviews.csv", table(ROWS, lineterminator="\r")),
    "blank lines": ("reviews.csv", table(ROWS).replace("\n", "\n\n")),
    "another case": ("reviews.csv", table([(7, *row) for row in ROWS], ("Id", "REVIEW", "Sentiment"))),
    "blanks around names": ("reviews.csv", table(ROWS, (" review", "sentiment "))),
    "capitals in the file's name": ("REVIEWS.CSV", table(ROWS)),
    "brackets, stars and blanks": ("my [best] rev*iews (1)?.csv", table(ROWS)),
    "gzip": ("reviews.csv.gz", gzip.compress(table(ROWS).encode())),
    "gzip by another name": ("reviews.csv", gzip.compress(table(ROWS).encode())),
    "JSON Lines": ("reviews.jsonl", lines(ROWS)),
    "JSON Lines by another name": ("reviews.ndjson", lines(ROWS)),
    "JSON Lines called json": ("reviews.json", lines(ROWS)),
    "JSON Lines of Windows": ("reviews.jsonl", lines(ROWS).replace("\n", "\r\n")),
    "JSON Lines, a byte order mark": ("reviews.jsonl", "\ufeff" + lines(ROWS)),
    "JSON Lines, gzip": ("reviews.jsonl.gz", gzip.compress(lines(ROWS).encode())),
    "a JSON list": ("reviews.json", json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS], indent=1)),
    "JSON by column": ("reviews.json", frame(ROWS).to_json()),
    "JSON by row": ("reviews.json", frame(ROWS).to_json(orient="index")),
    "JSON records": ("reviews.json", frame(ROWS).to_json(orient="records")),
    "JSON split": ("reviews.json", frame(ROWS).to_json(orient="split")),
    "JSON table": ("reviews.json", frame(ROWS).to_json(orient="table")),
    "JSON lists by column": ("reviews.json", frame(ROWS).to_dict(orient="list").__str__().replace("'", '"')),
    "JSON in an envelope": (
        "reviews.json",
        json.dumps({"version": 2, "data": json.loads(frame(ROWS).to_json(orient="records"))}),
    ),
}


@pytest.mark.parametrize(("name", "content"), SAME.values(), ids=SAME)
def test_the_same_reviews_however_they_are_written(name: str, content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read(path) == ROWS


def as_categories(path: Path) -> None:
    frame(ROWS).astype({"sentiment": "category"}).to_parquet(path)


def as_views(path: Path) -> None:
    if not hasattr(pyarrow, "string_view"):
        pytest.skip("string views came with pyarrow 16")
    arrow = pyarrow.table({"review": [row[0] for row in ROWS], "sentiment": [row[1] for row in ROWS]})
    view = pyarrow.schema([("review", pyarrow.string_view()), ("sentiment", pyarrow.string_view())])
    pyarrow.parquet.write_table(arrow.cast(view), path)


@pytest.mark.parametrize("write", [as_categories, as_views, lambda path: frame(ROWS).to_parquet(path)])
def test_parquet(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "reviews.parquet")
    assert read(tmp_path / "reviews.parquet") == ROWS


def test_backslashes_before_quotes_are_read_and_said(tmp_path: Path, capfd) -> None:
    rows = [(f'"so" he said, {text}', word) for text, word in ROWS]
    path = tmp_path / "reviews.csv"
    path.write_text(table(rows, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"))
    assert read(path) == rows
    path.write_text(
        table(
            [('one \\"" two', "a"), ("x", "b")] * 4,
            ("text", "label"),
            quoting=csv.QUOTE_NONE,
            escapechar="~",
            quotechar=None,
        )
    )
    with pytest.raises(SameLoopError):
        read(path)


def test_quotes_that_are_part_of_a_tab_separated_review(tmp_path: Path) -> None:
    rows = [('"Great" movie', "a"), ('5" long', "b"), ('"', "a"), ("x", "b")]
    path = tmp_path / "reviews.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    assert read(path) == rows


# Refused, and what is said of it.
REFUSED: dict[str, tuple[str, str | bytes, tuple[str, ...]]] = {
    "an unquoted comma": (
        "r.csv",
        "text,label\n" + "fine,0\ngood, but long,1\n" * 9,
        ("line 3 has 3 fields, the header has 2", "must stand in quotes"),
    ),
    "a comma in every row": ("r.csv", "text,label\n" + "good, but long,1\n" * 9, ("line 2 has 3 fields",)),
    "a field too few": ("r.csv", "text,label\n" + "a,0\nb,1\n" * 9 + "c\n", ("line 20 has 1 field,",)),
    "a row after one of many lines": (
        "r.csv",
        'text,label\n"one\ntwo\nthree",1\nb,0,5\n',
        ("line 5 has 3 fields",),
    ),
    "a quote not doubled": (
        "r.csv",
        'text,label\n"he said "hi", ok",1\n' + "b,0\n" * 9,
        ("line 2", "a quote in it twice"),
    ),
    "a quote never closed": ("r.csv", "text,label\na,0\n" + '"b,1\n' + "c,0\n" * 9, ("line 3", "quotes")),
    "an empty review": ("r.csv", "text,label\na,0\nb,1\n ,1\nd,0\n", ("line 4 has no text in `text`",)),
    "no label": ("r.csv", "text,label\na,0\nb,1\nc,\nd,0\n", ("line 4 has no label in `label`",)),
    "no label in JSON": ("r.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', ("line 2 has no label",)),
    "not a number": ("r.json", '[{"text": "a", "label": NaN}, {"text": "b", "label": 1}]', ("row 1 has no label",)),
    "null for a review": ("r.json", '[{"text": null, "label": 0}, {"text": "b", "label": 1}]', ("row 1 has no text",)),
    "a number for a review": ("r.jsonl", '{"text": 5, "label": 1}\n', ("row 1", "holds no text but 5")),
    "no header": (
        "r.csv",
        ("A wonderful film from the first minute to the last, " * 3 + ";1\n") * 9,
        ("first line is no header but a row already", "A wonderful film from the first minut...", "text"),
    ),
    "no header, short": ("r.csv", "good,1\nbad,0\n", ("first line is no header", "`text,label`")),
    "other names": ("r.csv", "body,stars\na,1\n", ("no column `text`, only body, stars", "--text-column NAME")),
    "no label column": ("r.csv", "text,stars\na,1\n", ("no column `label`, only text, stars", "--label-column NAME")),
    "two of a name": ("r.csv", "text,label,text\na,1,b\n", ("two of its columns are called `text`",)),
    "a case apart": ("r.csv", "TEXT,Text,label\na,b,1\n", ("differ in their case only", "--text-column")),
    "latin-1": (
        "r.csv",
        "text,label\na,0\ncafé,1\n".encode("latin-1"),
        ("line 3 is not UTF-8 (byte 0xe9)", "iconv -f cp1252 -t utf-8 r.csv > utf8-r.csv"),
    ),
    "bytes": ("r.csv", b"\x00\x01\x02\x00" * 99, ("not text",)),
    "UTF-16 without a mark": ("r.csv", "text,label\na,1\n".encode("utf-16-le"), ("UTF-16 without a mark",)),
    "empty": ("r.csv", "", ("it is empty",)),
    "blank": ("r.jsonl", " \n \n", ("it is empty",)),
    "a header alone": ("r.csv", "text,label\n", ("no reviews",)),
    "gzip cut short": ("r.csv.gz", gzip.compress(table(ROWS).encode())[:-20], ("gzip file is damaged",)),
    "no gzip at all": ("r.csv.gz", "text,label\n", ("not a gzip file",)),
    "JSON cut short": ("r.json", '[{"text": "a", "label": 0}, {"te', ("not JSON", "cut short")),
    "a line of JSON cut short": ("r.jsonl", '{"text": "a", "label": 0}\n{"te', ("line 2 is not JSON",)),
    "rows without names": ("r.json", '[["a", 1], ["b", 0]]', ("row 1 is no object",)),
    "a word alone": ("r.json", '"text"', ("it is one value",)),
    "two lists of rows": ("r.json", '{"train": [{"text": "a"}], "test": [{"text": "b"}]}', ("several lists of rows",)),
    "labels that are lists": (
        "r.jsonl",
        '{"text": "a", "label": [1]}\n{"text": "b", "label": [0]}\n',
        ("`label` holds lists", "--label-column"),
    ),
    "half a character": (
        "r.jsonl",
        '{"text": "\\ud83d", "label": 1}\n{"text": "b", "label": 0}\n',
        ("line 1", "half a character"),
    ),
    "fractions": ("r.csv", "text,label\na,0.5\nb,1\n" * 1, ("line 2 has the label 0.5, a fraction",)),
    "a class per row": (
        "r.csv",
        "text,label\n" + "".join(f"t{n},id{n}\n" for n in range(9)),
        ("9 different labels in 9 rows",),
    ),
    "one class": ("r.csv", "text,label\na,x\nb,x\n", ("all labels are x", "two classes")),
    "a spreadsheet": ("r.xlsx", b"PK\x03\x04", ("cannot tell its format", "save the sheet as CSV")),
    "an archive": ("r.zip", b"PK\x03\x04", ("cannot tell its format", "unpack it")),
    "a pickle": ("r.pkl", b"\x80\x04.", ("cannot tell its format",)),
}


@pytest.mark.parametrize(("name", "content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_would_damage_reviews_is_refused(
    name: str, content: str | bytes, said: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SameLoopError) as refused:
        load_slices(config(path, train_size=1, eval_size=1))
    line = str(refused.value)
    assert all(part in line for part in said), line
    assert "\n" not in line and len(line) < 500


# Labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["pos", "neg"], ["neg", "pos"]),
        ([" pos", "neg "], ["neg", "pos"]),
        ([1.0, 0.0], ["0", "1"]),
        ([True, False], ["False", "True"]),
        ([1, 2, 3, 4, 5], ["1", "2", "3", "4", "5"]),
        ([10, 9, 2], ["2", "9", "10"]),
        ([-1, 1], ["-1", "1"]),
        (["10", "9"], ["9", "10"]),
        (["1.0", "2.0"], ["1", "2"]),
        (["neg", "pos", 2], ["2", "neg", "pos"]),
        ([1, 1.0, 2], ["1", "2"]),
        (["None", "NA"], ["NA", "None"]),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_classes(labels: list, names: list[str], kind: str, tmp_path: Path) -> None:
    rows = [(f"text {number}", labels[number % len(labels)]) for number in range(24)]
    path = tmp_path / f"reviews.{kind}"
    path.write_text(table(rows) if kind == "csv" else lines(rows))
    slices = load_slices(config(path, train_size=16))
    assert slices.labels == names
    by_text = dict(rows)
    for part in (slices.train, slices.eval):
        for text, label in zip(part["text"], part["label"], strict=True):
            assert names[label] == str(by_text[text]).strip().removesuffix(".0")


def test_the_classes_are_counted_and_numbered_in_a_line(tmp_path: Path, capfd) -> None:
    rows = [("a", "neg")] * 20 + [("b", "pos")] * 19 + [("c", "2")]
    (tmp_path / "reviews.csv").write_text(table(rows))
    load_slices(config(tmp_path / "reviews.csv"))
    said = capfd.readouterr().err
    assert "· text from `review`, label from `sentiment`; 3 classes: neg (20), pos (19), 2 (1)\n" in said
    assert "· labels: 2 = 0, neg = 1, pos = 2\n" in said


def test_columns_by_name(tmp_path: Path) -> None:
    rows = [("title", text, "x", word) for text, word in ROWS]
    (tmp_path / "reviews.csv").write_text(table(rows, ("text", "Body", "label", "Stars")))
    assert read(tmp_path / "reviews.csv", text_column="Body", label_column="stars") == ROWS
    with pytest.raises(SameLoopError, match="no column `nothing`, only text, Body, label, Stars"):
        read(tmp_path / "reviews.csv", text_column="nothing")
    with pytest.raises(SameLoopError, match="is the label's column, too"):
        read(tmp_path / "reviews.csv", text_column="label")


def test_a_column_that_cannot_be_used_is_named(tmp_path: Path, capfd) -> None:
    rows = [{"text": text, "label": word, "meta": {"a": 1}, "tags": []} for text, word in ROWS]
    (tmp_path / "reviews.json").write_text(json.dumps(rows))
    load_slices(config(tmp_path / "reviews.json"))
    said = capfd.readouterr().err
    assert "`meta` holds objects: not used" in said and "`tags` holds lists: not used" in said


# Splits ---------------------------------------------------------------------------------------------


def labelled(words: tuple, prefix: str = "") -> list[tuple]:
    return [(f"{prefix} {number}", words[number % len(words)]) for number in range(24)]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev", "eval", "test"])
def test_a_folder_of_files(name: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "train.csv").write_text(table(labelled(WORDS, "train")))
    (tmp_path / f"{name}.csv").write_text(table(labelled(WORDS, "held out")))
    (tmp_path / "train.pkl").write_bytes(b"\x80\x04.")
    slices = load_slices(config(tmp_path, train_size=24))
    assert slices.eval_split == name
    assert all(text.startswith("held out") for text in slices.eval["text"])
    assert f"evaluating on its split {name}" in capfd.readouterr().err


def test_a_split_without_labels_is_passed_over(tmp_path: Path, capfd) -> None:
    parts = {
        "train": labelled((0, 1), "train"),
        "validation": labelled((-1,), "hidden"),
        "test": labelled((0, 1), "open"),
        "extra": labelled((0, 1), "more"),
    }
    rows = {
        name: datasets.Dataset.from_list([{"text": t, "label": n} for t, n in part]) for name, part in parts.items()
    }
    datasets.DatasetDict(rows).save_to_disk(tmp_path / "saved")
    slices = load_slices(config(tmp_path / "saved"))
    assert slices.eval_split == "test"
    assert "evaluating on its split test; not used: validation (without labels), extra" in capfd.readouterr().err


def test_parts_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(2):
        part = frame(ROWS[number * 12 : number * 12 + 12])
        part.to_parquet(tmp_path / f"data/train-0000{number}-of-00002.parquet")
    assert read(tmp_path) == ROWS


@pytest.mark.parametrize("format_", ["torch", "numpy", "pandas"])
def test_a_saved_format_is_no_matter(format_: str, tmp_path: Path) -> None:
    saved = datasets.Dataset.from_dict({"text": [row[0] for row in ROWS], "label": [n % 2 for n in range(24)]})
    saved.with_format(format_).save_to_disk(tmp_path / "saved")
    assert [text for text, _ in read(tmp_path / "saved")] == [row[0] for row in ROWS]


def test_names_of_classes_are_kept(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["zzz", "aaa"])}
    )
    rows = datasets.Dataset.from_dict(
        {"text": [row[0] for row in ROWS], "label": [n % 2 for n in range(24)]}, features=features
    )
    rows.to_parquet(tmp_path / "reviews.parquet")
    rows.save_to_disk(tmp_path / "saved")
    for path in (tmp_path / "reviews.parquet", tmp_path / "saved"):
        assert load_slices(config(path)).labels == ["zzz", "aaa"]


# Round trips ----------------------------------------------------------------------------------------

texts = st.text(max_size=30).filter(lambda text: bool(text.strip()) and "\0" not in text)
nasty = st.sampled_from(
    [
        '"',
        '\\"',
        'a "b", c',
        "None",
        "NA",
        "null",
        "nan",
        "\u2028",
        "\x85",
        "a\r\nb",
        "a\rb",
        "\ufeff",
        "=1+1",
        "\t",
        ";",
        "|",
        "a\\",
        "\x1a",
    ]
)
labels = st.sampled_from([("neg", "pos"), ("0", "1"), ("1", "2", "3"), ("a,b", 'c"d', "e\tf"), ("None", "NA")])
tables = st.tuples(
    st.lists(st.one_of(texts, nasty, st.tuples(texts, nasty).map("".join)), min_size=4, max_size=12), labels
)
WRITERS: dict[str, Callable[[list[tuple]], tuple[str, str | bytes]]] = {
    "csv": lambda rows: ("r.csv", table(rows)),
    "csv, all quoted": lambda rows: ("r.csv", table(rows, quoting=csv.QUOTE_ALL)),
    "csv of Windows": lambda rows: ("r.csv", table(rows, lineterminator="\r\n")),
    "semicolons": lambda rows: ("r.csv", table(rows, delimiter=";")),
    "bars": lambda rows: ("r.csv", table(rows, delimiter="|")),
    "tabs": lambda rows: ("r.tsv", table(rows, delimiter="\t")),
    # A file without a quote in a review does not tell that its backslashes are escaped, too.
    "backslashes": lambda rows: (
        "r.csv",
        table([('"', rows[0][1]), *rows], quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"),
    ),
    "pandas": lambda rows: ("r.csv", frame(rows).to_csv(index=False)),
    "pandas with an index": lambda rows: ("r.csv", frame(rows).to_csv()),
    "pandas, utf-16": lambda rows: ("r.csv", frame(rows).to_csv(index=False).encode("utf-16")),
    "json lines": lambda rows: ("r.jsonl", lines(rows)),
    "json lines, raw": lambda rows: ("r.jsonl", lines(rows, ensure_ascii=False)),
    "json list": lambda rows: ("r.json", json.dumps([dict(zip(HEADER, row, strict=True)) for row in rows])),
    "json by column": lambda rows: ("r.json", frame(rows).to_json()),
    "json by row": lambda rows: ("r.json", frame(rows).to_json(orient="index")),
    "json split": lambda rows: ("r.json", frame(rows).to_json(orient="split")),
    "gzip": lambda rows: ("r.jsonl.gz", gzip.compress(lines(rows).encode())),
    "parquet": lambda rows: ("r.parquet", frame(rows).to_parquet()),
}


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=tables)
def test_a_round_trip_is_equal_or_refused_by_name(writer: str, drawn: tuple, tmp_path_factory) -> None:
    reviews, words = drawn
    rows = [(text, words[number % len(words)]) for number, text in enumerate(reviews)]
    name, content = WRITERS[writer](rows)
    path = tmp_path_factory.mktemp("trip") / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        back = read(path)
    except SameLoopError as refused:
        assert str(refused).startswith(f"--dataset {path}: ") or "in `" in str(refused) or "labels" in str(refused)
        assert len(str(refused)) < 500 + len(str(path)) and "\n" not in str(refused)
        return
    assert back[-len(rows) :] == rows


def test_all_reviews_of_imdb_through_json_lines(tmp_path: Path) -> None:
    """366 of them hold a character at which `str.splitlines` would break a line; about 5 seconds."""
    reviews = embedded.load_reviews("embedded")
    rows = list(zip(reviews["text"], [WORDS[label] for label in reviews["label"]], strict=True))
    broken = sum(len(text.splitlines()) > len(text.split("\n")) for text, _ in rows)
    assert broken > 300
    (tmp_path / "imdb.jsonl").write_text(lines(rows, ensure_ascii=False))
    assert read(tmp_path / "imdb.jsonl") == rows


# Nothing stays ---------------------------------------------------------------------------------------


def test_nothing_of_a_file_is_left_behind_and_an_edit_with_the_old_date_is_seen(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "reviews.csv"
    path.write_text(table(ROWS))
    before = path.stat()
    first = load_slices(config(path))
    path.write_text(table([(text.replace("review", "opinio"), word) for text, word in ROWS]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = load_slices(config(path))
    assert first.described()["train"] != second.described()["train"]
    assert all(text.startswith("opinio") for text in second.train["text"])
    assert [each.name for each in tmp_path.iterdir()] == ["reviews.csv"]


# The same data all along -------------------------------------------------------------------------------


def test_reviews_that_change_between_the_loops_or_before_a_resume_are_said_as_that(tmp_path: Path, capfd) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text(table(ROWS))
    job = config(path, save_strategy="epoch")
    for loop in LOOPS:
        run_in_process(loop, job, tmp_path / loop)
        path.write_text(table([(f"{text}!", word) for text, word in ROWS]))
    with pytest.raises(SameLoopError, match="its reviews have changed between the two loops"):
        compare_runs(tmp_path / "manual", tmp_path / "trainer")
    (tmp_path / "manual/model.safetensors").unlink()
    with pytest.raises(SameLoopError, match=r"its reviews are not those that .*checkpoint-4 was made with"):
        run_in_process("manual", job, tmp_path / "manual", resume_from_checkpoint="last")
    path.write_text(table(ROWS))
    run_in_process("manual", job, tmp_path / "manual", resume_from_checkpoint="last")
    header = RunRecord.read(tmp_path / "manual").header
    assert header["data"]["labels"] == list(WORDS) and header["data"]["text_column"] == "review"
    manifest = json.loads((tmp_path / "manual/checkpoint-4/manifest.json").read_text())
    assert manifest["data"] == header["data"]
