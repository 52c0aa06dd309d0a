"""What a user can get wrong: one line that says what and what to do, exit status 2, and nothing touched."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import NamedTuple

import datasets
import pytest
from once import read_reviews
from transformers import BertConfig, BertForSequenceClassification, ViTConfig

from benchmarks.cli import main
from shared import memory
from shared.running.run import _explained
from shared.sources import embedded

ROWS = [{"text": f"review {number}", "label": number % 2} for number in range(24)]
LAST_OF_THE_SHUFFLE = datasets.Dataset.from_dict({"n": range(24)}).shuffle(seed=0, keep_in_memory=True)["n"][-1]
Make = Callable[[Path], list[str]]


class Bad(NamedTuple):
    """One mistake.

    Attributes:
        options: the options that make it, or what prepares a folder and gives them.
        said: what the line must contain: the fault and the remedy.
    """

    options: list[str] | Make
    said: tuple[str, ...]


def rows(change: Callable[[list[dict]], list[dict]]) -> Make:
    """A Parquet file with rows that are not as they should be."""

    def make(folder: Path) -> list[str]:
        path = folder / "reviews.parquet"
        datasets.Dataset.from_list(change([dict(row) for row in ROWS])).to_parquet(path)
        return ["--dataset", str(path), "--train-size", "12", "--eval-size", "8"]

    return make


def file(name: str, content: bytes) -> Make:
    """A dataset file with this content."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return ["--dataset", str(folder / name), "--train-size", "12", "--eval-size", "8"]

    return make


def parquet_cut_short(folder: Path) -> list[str]:
    options = rows(lambda all_rows: all_rows)(folder)
    path = folder / "reviews.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    return options


def split_with_a_label_of_its_own(folder: Path) -> list[str]:
    test = [{**row, "label": 7} for row in ROWS[:9]]
    splits = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(test)}
    datasets.DatasetDict(splits).save_to_disk(folder / "both")
    return ["--dataset", str(folder / "both"), "--train-size", "12", "--eval-size", "8"]


def no_train_split(folder: Path) -> list[str]:
    datasets.DatasetDict({"all": datasets.Dataset.from_list(ROWS)}).save_to_disk(folder / "odd")
    return ["--dataset", str(folder / "odd")]


def model_with(change: Callable[[Path], None]) -> Make:
    """A copy of the tiny model with something done to it."""

    def make(folder: Path) -> list[str]:
        shutil.copytree(embedded.checkpoint("embedded-tiny"), folder / "model")
        change(folder / "model")
        return ["--model", str(folder / "model")]

    return make


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def cut_short(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def of_another_architecture(model: Path) -> None:
    tiny = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    config = (model / "config.json").read_text()
    BertForSequenceClassification(tiny).save_pretrained(model)
    (model / "config.json").write_text(config)


def in_a_folder(prepare: Callable[[Path], None]) -> Make:
    """An output folder that is not fit for a run."""

    def make(folder: Path) -> list[str]:
        prepare(folder / "out")
        return ["--output-dir", str(folder / "out")]

    return make


def a_file_within(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("three years of work")


def hub(kind: str) -> list[str]:
    return [f"--{kind}", "nobody/nothing-of-this-name"]


BAD: dict[str, Bad] = {
    # Dials
    "unknown preset": Bad(["--preset", "huge"], ("no preset 'huge'", "choose one of")),
    "unknown dial": Bad(["--learning-rat", "1"], ("--learning-rat",)),
    "no value": Bad(["--learning-rate"], ("--learning-rate",)),
    "an argument too many": Bad(["please"], ("please",)),
    "not a number": Bad(["--learning-rate", "fast"], ("--learning-rate fast", "valid number")),
    "NaN": Bad(["--learning-rate", "nan"], ("--learning-rate nan", "finite")),
    "infinite": Bad(["--weight-decay", "1e999"], ("--weight-decay", "finite")),
    "not whole": Bad(["--train-size", "2.5"], ("--train-size 2.5", "integer")),
    "zero": Bad(["--train-size", "0"], ("--train-size 0", "greater than")),
    "negative": Bad(["--eval-size", "-3"], ("--eval-size -3",)),
    "seed too large": Bad(["--seed", str(2**32)], ("--seed 4294967296", "less than")),
    "no such optimizer": Bad(["--optim", "adam"], ("--optim adam", "adamw_torch")),
    "eval_steps without steps": Bad(["--eval-steps", "5"], ("--eval-steps 5 needs --eval-strategy steps",)),
    "no steps at all": Bad(["--max-steps", "0"], ("--max-steps 0", "give a number of steps")),
    "bf16 and fp16": Bad(["--bf16", "--fp16"], ("exclude each other", "choose one")),
    "fp16 without a GPU": Bad(["--fp16", "--use-cpu"], ("--fp16 needs a GPU", "use --bf16")),
    "best without checkpoints": Bad(
        ["--load-best-model-at-end"], ("--load-best-model-at-end needs a checkpoint", "must be the same")
    ),
    "best with other steps": Bad(
        [
            "--load-best-model-at-end",
            "--save-strategy",
            "steps",
            "--save-steps",
            "5",
            "--eval-strategy",
            "steps",
            "--eval-steps",
            "2",
        ],
        ("--save-steps 5 must be a multiple of the 2 steps",),
    ),
    "metric without a use": Bad(["--metric-for-best-model", "accuracy"], ("no effect without --load-best",)),
    "no batch left": Bad(["--dataloader-drop-last", "--train-size", "7"], ("leaves no batch", "raise --train-size")),
    "more tokens than it takes": Bad(["--max-length", "513"], ("--max-length 513", "512 tokens at most")),
    # Reviews
    "more than there is": Bad(["--train-size", "9000"], ("has only 8530 reviews",)),
    "slices that overlap": Bad(rows(lambda r: r[:15]), ("add up to more than the 15", "no review may be in both")),
    "no such file": Bad(["--dataset", "missing.csv"], ("there is no such file",)),
    "no such format": Bad(file("reviews.txt", b"hello"), ("cannot tell its format", ".csv")),
    "a folder that is a file": Bad(file("saved", b"hello"), ("cannot tell its format", "save_to_disk")),
    "a folder that was not saved": Bad(
        lambda f: ["--dataset", str(f)], ("not a folder that `datasets.save_to_disk` wrote", "train.csv")
    ),
    "no split to train on": Bad(no_train_split, ("no split called `train`, only all", "rename one")),
    "no text column": Bad(
        rows(lambda r: [{"body": x["text"], "label": x["label"]} for x in r]),
        ("no column `text`, only body, label", "--text-column NAME"),
    ),
    "label under another name": Bad(
        rows(lambda r: [{"text": x["text"], "stars": x["label"]} for x in r]),
        ("no column `label`, only text, stars", "--label-column NAME"),
    ),
    "text that is no text": Bad(rows(lambda r: [{**x, "text": 3} for x in r]), ("`text`", "holds no text but")),
    "empty texts": Bad(
        rows(lambda r: [{**x, "text": "  "} for x in r]), ("row 1 has no text", "24 of 24 rows", "remove such rows")
    ),
    "missing texts": Bad(
        rows(lambda r: [{**x, "text": None if x["label"] else "a"} for x in r]),
        ("row 2 has no text in `text`", "12 of 24 rows"),
    ),
    "labels that are fractions": Bad(
        rows(lambda r: [{**x, "label": 0.5} for x in r]),
        ("row 1 has the label 0.5, a fraction", "words or whole numbers"),
    ),
    "missing labels": Bad(
        rows(lambda r: [{**x, "label": None if x["text"].endswith("3") else 1} for x in r]),
        ("row 4 has no label in `label`", "remove the row"),
    ),
    "labels that are dates": Bad(
        rows(lambda r: [{**x, "label": date(2026, 1, 1 + x["label"])} for x in r]),
        ("`label` holds Value(", "'date32'", "--label-column"),
    ),
    "labels that are structs": Bad(
        rows(lambda r: [{**x, "label": {"stars": x["label"]}} for x in r]), ("`label` holds", "no plain values")
    ),
    "one class only": Bad(rows(lambda r: [{**x, "label": 0} for x in r]), ("two classes at least",)),
    "one class in the slice": Bad(
        rows(lambda r: [{"text": "a", "label": int(n == LAST_OF_THE_SHUFFLE)} for n in range(24)]),
        ("all reviews of the slice have the label 0", "--slice-seed"),
    ),
    "a label only in the test split": Bad(
        split_with_a_label_of_its_own, ("to evaluate on has the label 7, which no review to train on has",)
    ),
    "CSV that is not UTF-8": Bad(
        file("latin.csv", "text,label\ncafé,1\n".encode("latin-1") * 9), ("line 2 is not UTF-8", "iconv")
    ),
    "ragged CSV": Bad(file("ragged.csv", b"text,label\na,1\nb,0,5,6\n"), ("line 3 has 4 fields",)),
    "empty CSV": Bad(file("empty.csv", b""), ("it is empty",)),
    "CSV with a header only": Bad(file("header.csv", b"text,label\n"), ("--dataset",)),
    "CSV with a million columns": Bad(
        file("wide.csv", b"a," * 10**6 + b"b\n1"), ("more than 1000 columns", "keep only")
    ),
    "JSON cut short": Bad(file("broken.jsonl", b'{"text": "a", "label": '), ("line 1 is not JSON", "cut short")),
    "JSON nested too deep": Bad(file("deep.json", b"[" * 10**5), ("nested too deep",)),
    "Parquet cut short": Bad(parquet_cut_short, ("not a readable parquet file",)),
    "a dataset not in the cache, no network": Bad(hub("dataset"), ("the Hub cannot be reached", "--preset quick")),
    "an impossible name": Bad(["--dataset", "x" * 500], ("--dataset xxx", "can have this name")),
    # Models
    "a model not in the cache, no network": Bad(hub("model"), ("the Hub cannot be reached", "--preset quick")),
    "no such model folder": Bad(["--model", "./missing"], ("there is no such folder",)),
    "no model in the folder": Bad(lambda f: ["--model", str(f)], ("no readable config.json", "save_pretrained")),
    "a model without weights": Bad(model_with(lambda m: (m / "model.safetensors").unlink()), ("no weights in it",)),
    "a pickled model": Bad(model_with(pickled), ("pytorch_model.bin", "can run any code", ".safetensors")),
    "weights cut short": Bad(model_with(cut_short), ("--model", "cannot be loaded")),
    "weights of another architecture": Bad(
        model_with(of_another_architecture), ("not those of a DistilBert", "missing")
    ),
    "a model for pictures": Bad(model_with(lambda m: ViTConfig().save_pretrained(m)), ("--model", "cannot be loaded")),
    "a model without a tokenizer": Bad(
        model_with(lambda m: [path.unlink() for path in m.glob("tokenizer*")]), ("--model", "no vocabulary in it")
    ),
    # Folders
    "a file in place of the folder": Bad(in_a_folder(lambda p: p.write_text("mine")), ("a file is in the way",)),
    "a folder with other files": Bad(in_a_folder(a_file_within), ("not a SameLoop run", "name a new or empty folder")),
    "a folder that cannot be": Bad(["--output-dir", "/proc/nothing"], ("cannot be written", "name another folder")),
    "nothing to resume": Bad(["--resume-from-checkpoint", "last"], ("no whole checkpoint", "start without it")),
    "no such checkpoint": Bad(["--resume-from-checkpoint", "runs/nowhere"], ("no such checkpoint", "give `last`")),
}


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: the files with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def lines_said(captured: str) -> list[str]:
    """What was said besides naming what is being done."""
    return [line for line in captured.splitlines() if line.strip() and not line.startswith("·")]


def test_the_table_is_long_enough() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_line_and_nothing_touched(bad: Bad, tmp_path: Path, monkeypatch, capfd, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path.parent / "hf"))
    options = bad.options if isinstance(bad.options, list) else bad.options(tmp_path)
    before = tree(tmp_path)
    capfd.readouterr()
    assert main(["manual", "--preset", "tiny", *options]) == 2
    captured = capfd.readouterr()
    (line,) = lines_said(captured.err)
    assert line.startswith("sameloop: error: ")
    assert all(part.lower() in line.lower() for part in bad.said), line
    assert len(line) < 600
    assert not captured.out
    # What a library logs would be another line.
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    after = tree(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) <= {"runs"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path: Path, capfd) -> None:
    tmp_path.chmod(0o555)
    assert main(["manual", "--preset", "tiny", "--output-dir", str(tmp_path / "run")]) == 2
    assert "cannot be written" in capfd.readouterr().err


def test_two_runs_at_once_in_one_folder(tmp_path: Path, capfd) -> None:
    with ExitStack() as stack:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for command in ("manual", "trainer", "compare"):
            assert main([command, "--preset", "tiny", "--output-dir", str(tmp_path)]) == 2
            (line,) = lines_said(capfd.readouterr().err)
            assert "another run is writing there; wait for its end" in line
    assert list(tmp_path.iterdir()) == []


def test_a_loop_that_a_killed_comparison_left_running(tmp_path: Path, capfd) -> None:
    (tmp_path / "run/manual").mkdir(parents=True)
    (tmp_path / "run/manual/record.jsonl").write_text("{")
    with ExitStack() as stack:
        descriptor = os.open(tmp_path / "run/manual", os.O_RDONLY)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert main(["compare", "--preset", "tiny", "--output-dir", str(tmp_path / "run")]) == 2
    (line,) = lines_said(capfd.readouterr().err)
    assert "run/manual: another run is writing there" in line
    assert (tmp_path / "run/manual/record.jsonl").read_text() == "{"


def test_a_run_writes_only_into_its_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for loop in ("manual", "trainer"):
        assert main([loop, "--preset", "tiny", "--save-strategy", "epoch", "--output-dir", f"runs/{loop}"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["manual", "trainer"]


def test_too_little_memory(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 200_000_000)
    assert main(["trainer", "--preset", "quick", "--output-dir", str(tmp_path / "run")]) == 2
    (line,) = lines_said(capfd.readouterr().err)
    assert "too little memory: 0.5 GB more are needed at least, 0.2 GB are free" in line
    assert list(tmp_path.iterdir()) == []


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_memory() > 1_000_000
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert memory.available_memory() == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() > 1_000_000


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("manual", "compare"):
        assert main([command, "--preset", "tiny", "--output-dir", os.fsdecode(b"x\xff")]) == 2
        (line,) = lines_said(capfd.readouterr().err)
        assert "cannot read this name as text" in line
    assert not any(tmp_path.iterdir())


def test_missing_and_corrupt_assets_name_the_command(tmp_path: Path, monkeypatch, capfd) -> None:
    wrong = embedded.REVIEWS._replace(sha256="0" * 64)
    monkeypatch.setattr(embedded, "REVIEWS", wrong)
    monkeypatch.setattr(embedded, "load_reviews", read_reviews.__wrapped__)
    assert main(["manual", "--preset", "tiny", "--slice-seed", "5", "--output-dir", str(tmp_path / "run")]) == 2
    (line,) = lines_said(capfd.readouterr().err)
    assert "is not the published file" in line
    assert "sameloop fetch" in line


def test_debug_shows_where_and_the_line_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "manual_loop", "--preset", "tiny", "--train-size", "0", "--debug"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert finished.returncode == 2
    assert "Traceback" in finished.stderr
    assert finished.stderr.splitlines()[-1].startswith("sameloop: error: --train-size 0")


def test_a_mistake_of_ours_is_one_line_too(monkeypatch, capfd) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("shared.running.command.default_output_dir", lambda *_: broken(""))
    assert main(["manual", "--preset", "tiny"]) == 70
    (line,) = lines_said(capfd.readouterr().err)
    assert "this should not happen (ZeroDivisionError: oh); please report what --debug shows" in line


def test_the_default_job_opens_no_socket(tmp_path: Path) -> None:
    """Both loops and the verdict, with every connection refused: about 10 seconds."""
    code = """
import socket, sys
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
from benchmarks.cli import main
statuses = [main([loop, "--preset", "tiny", "--output-dir", loop]) for loop in ("manual", "trainer")]
from benchmarks.verdict.verdict import compare_runs
from pathlib import Path
assert compare_runs(Path("manual"), Path("trainer"))["verdict"] == "identical"
sys.exit(max(statuses))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    environment.pop("HF_HUB_OFFLINE")
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert finished.returncode == 0, finished.stderr
    assert "socket" not in finished.stderr


def test_a_review_is_text_whatever_it_says(tmp_path: Path) -> None:
    """Markup for the terminal or for a page goes through as it is."""
    nasty = [
        {"text": f"[bold]{number}[/] <script>alert(1)</script> \x1b[2J", "label": number % 2} for number in range(24)
    ]
    (tmp_path / "nasty.jsonl").write_text("\n".join(map(json.dumps, nasty)))
    options = ["--dataset", str(tmp_path / "nasty.jsonl"), "--train-size", "12", "--eval-size", "8"]
    assert main(["manual", "--preset", "tiny", *options, "--output-dir", str(tmp_path / "run")]) == 0
    assert "<script>" not in (tmp_path / "run/record.jsonl").read_text()


@pytest.mark.parametrize(
    "error",
    [
        Exception("No space left on device (os error 28)"),  # as tokenizers says it
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
    ],
)
def test_a_full_disk_is_said_as_that_whoever_says_it(error: Exception) -> None:
    assert "make room there, then start again" in str(_explained(error, Path("nowhere")))
