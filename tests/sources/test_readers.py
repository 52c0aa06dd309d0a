"""What people bring: every format and separator, read back as it was written, or refused by name."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from conftest import LOOPS, run_in_process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.proofs.odd.inputs import HEADER, ROWS, WORDS, Odd, frame, lines, table
from benchmarks.proofs.odd.running import prepared
from benchmarks.proofs.situations import TABLE
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.data import load_subsets
from shared.errors import SameLoopError
from shared.recording.record import RunRecord
from shared.sources import embedded
from shared.sources.labels import classes_of, ids_of
from shared.sources.origin import load_splits


def config(path: Path | str, **settings: Any) -> RunConfig:
    return RunConfig.build("tiny", dataset=str(path), **{"train_size": 12, "eval_size": 8, **settings})


def read(path: Path | str, **settings: Any) -> list[tuple[str, Any]]:
    """Every review of a source, and its label as the name of its class."""
    split = load_splits(config(path, **settings))["train"]()
    classes = classes_of(split, "")
    names = dict(enumerate(classes.names))
    return list(zip(split.rows["text"], [names[label] for label in ids_of(split, classes, "")], strict=True))


@pytest.mark.parametrize("odd", [odd for odd in TABLE if odd.rows is not None], ids=lambda odd: odd.description)
def test_reviews_are_read_as_they_are_and_it_is_said_how(odd: Odd, tmp_path: Path, capfd) -> None:
    with prepared(odd, tmp_path) as (_, path):
        assert read(path) == odd.rows
        load_subsets(config(path))
    errors = capfd.readouterr().err
    assert all(part in errors for part in odd.pieces), errors


@pytest.mark.skipif(not hasattr(pyarrow, "string_view"), reason="string views came with pyarrow 16")
def test_string_views_in_parquet(tmp_path: Path) -> None:
    view = pyarrow.schema([(name, pyarrow.string_view()) for name in HEADER])
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(frame()).cast(view), tmp_path / "reviews.parquet")
    assert read(tmp_path / "reviews.parquet") == ROWS


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
    subsets = load_subsets(config(path, train_size=16))
    assert subsets.labels == names
    by_text = dict(rows)
    for part in (subsets.train, subsets.eval):
        for text, label in zip(part["text"], part["label"], strict=True):
            assert names[label] == str(by_text[text]).strip().removesuffix(".0")


def test_the_classes_are_counted_and_numbered_in_a_line(tmp_path: Path, capfd) -> None:
    rows = [("a", "neg")] * 20 + [("b", "pos")] * 19 + [("c", "2")]
    (tmp_path / "reviews.csv").write_text(table(rows))
    load_subsets(config(tmp_path / "reviews.csv"))
    errors = capfd.readouterr().err
    assert "· text from `review`, label from `sentiment`; 3 classes: neg (20), pos (19), 2 (1)\n" in errors
    assert "· labels: 2 = 0, neg = 1, pos = 2\n" in errors


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
    load_subsets(config(tmp_path / "reviews.json"))
    errors = capfd.readouterr().err
    assert "`meta` holds objects: not used" in errors and "`tags` holds lists: not used" in errors


# Splits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev", "eval", "test"])
def test_a_folder_of_files(name: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "train.csv").write_text(table())
    (tmp_path / f"{name}.csv").write_text(table([(f"held out: {text}", word) for text, word in ROWS]))
    (tmp_path / "train.pkl").write_bytes(b"\x80\x04.")
    subsets = load_subsets(config(tmp_path, train_size=24))
    assert subsets.eval_split == name
    assert all(text.startswith("held out") for text in subsets.eval["text"])
    assert f"evaluating on its split {name}" in capfd.readouterr().err


def test_parts_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(2):
        part = frame(ROWS[number * 12 : number * 12 + 12])
        part.to_parquet(tmp_path / f"data/train-0000{number}-of-00002.parquet")
    assert read(tmp_path) == ROWS


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
        assert load_subsets(config(path)).labels == ["zzz", "aaa"]


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
    first = load_subsets(config(path))
    path.write_text(table([(text.replace("review", "opinio"), word) for text, word in ROWS]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = load_subsets(config(path))
    assert first.described()["train"] != second.described()["train"]
    assert all(text.startswith("opinio") for text in second.train["text"])
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.csv"]


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
    with pytest.raises(SameLoopError, match=r"its data is not what .*checkpoint-4 was made with"):
        run_in_process("manual", job, tmp_path / "manual", resume_from_checkpoint="last")
    path.write_text(table(ROWS))
    run_in_process("manual", job, tmp_path / "manual", resume_from_checkpoint="last")
    header = RunRecord.read(tmp_path / "manual").header
    assert header["data"]["labels"] == list(WORDS) and header["data"]["text_column"] == "review"
    manifest = json.loads((tmp_path / "manual/checkpoint-4/manifest.json").read_text())
    assert manifest["data"] == header["data"]
