"""Hypothesis throws whatever it likes at what reads the outside: an error of ours, or none."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from damage import damaged, json_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.cli import main
from shared.config import RunConfig
from shared.data import load_subsets
from shared.errors import SameLoopError
from shared.model import load_model
from shared.recording.record import FILE_NAME, RunRecord
from shared.running import checkpoints

MANY = settings(max_examples=300, deadline=None, derandomize=True)
FEW = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

kinds = st.sampled_from(["header", "start", "step", "evaluation", "footer", "resume", "nonsense"])
record_lines = st.dictionaries(
    st.sampled_from(["schema", "loop", "config", "step", "seconds", "world_size", "log_history"]), json_values
).flatmap(lambda fields: kinds.map(lambda kind: {"kind": kind, **fields}))
headers = st.fixed_dictionaries({"schema": st.just(1), "config": st.just(RunConfig.build("tiny").model_dump())}).map(
    lambda fields: {"kind": "header", "loop": "manual", **fields}
)


def read_everything(folder: Path) -> None:
    record = RunRecord.read_all(folder)[0]
    assert record.loop == "manual" or isinstance(record.loop, str)
    assert record.log_history is not None


@MANY
@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_bytes_as_a_record(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SameLoopError):
        (Path(folder) / FILE_NAME).write_bytes(content)
        read_everything(Path(folder))


@MANY
@given(st.none() | headers, st.lists(record_lines | json_values, max_size=6))
def test_any_lines_as_a_record(header: dict | None, lines: list) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SameLoopError):
        text = "\n".join(map(json.dumps, [header, *lines] if header else lines))
        (Path(folder) / FILE_NAME).write_text(text, encoding="utf-8")
        read_everything(Path(folder))


@MANY
@given(st.dictionaries(st.sampled_from([*RunConfig.model_fields, "unknown"]), st.text() | json_values, max_size=5))
def test_any_values_as_settings(settings: dict) -> None:
    preset = settings.pop("preset", "tiny")
    try:
        config = RunConfig.build(preset if isinstance(preset, str) else "tiny", **settings)
    except SameLoopError as error:
        assert "\n" not in str(error).strip() or len(str(error)) < 1000
    else:
        assert RunConfig.build(config.preset, **config.settings) == config


def load(name: str, content: bytes) -> None:
    """Read a file with this content."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SameLoopError):
        path = Path(folder) / name
        path.write_bytes(content)
        load_subsets(RunConfig.build("tiny", dataset=str(path), train_size=2, eval_size=1))


@FEW
@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet", "a.csv.gz"]))
def test_any_bytes_as_reviews(content: bytes, name: str) -> None:
    load(name, content)


@FEW
@given(st.lists(st.fixed_dictionaries({"text": json_values, "label": json_values}) | json_values, max_size=6))
def test_any_rows_as_reviews(rows: list) -> None:
    load("a.jsonl", "\n".join(map(json.dumps, rows)).encode())


@FEW
@given(st.lists(st.lists(st.text(max_size=10), max_size=4), max_size=6))
def test_any_cells_as_reviews(rows: list[list[str]]) -> None:
    load("a.csv", ("text,label\n" + "\n".join(",".join(row) for row in rows)).encode("utf-8", "surrogatepass"))


MANIFEST = {
    "config": RunConfig.build("tiny").model_dump(),
    "code": {"page": "train.py", "digest": "0", "shared": "1"},
    "data": {"text_column": "text"},
    "world_size": 1,
    "files": {"weights": {"bytes": 2, "xxh3_128": ""}},
}


@MANY
@given(damaged(json.dumps(MANIFEST).encode()) | damaged(json.dumps({**MANIFEST, "files": {}}).encode()))
def test_any_manifest(content: bytes) -> None:
    config = RunConfig.build("tiny")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint-3"
        checkpoint.mkdir()
        (checkpoint / checkpoints.MANIFEST).write_bytes(content)
        with contextlib.suppress(SameLoopError):
            resumed = checkpoints.find(Path(folder), "last", config, 1, MANIFEST["code"])
            checkpoints.check_data(resumed, config, MANIFEST["data"])


# What reads which file of a comparison; a status of 1 says that the runs differ.
READERS = {
    "comparison.json": ("locate",),
    "manual/record.jsonl": ("plot", "--kind", "losses", "--format", "svg"),
    "manual/code.json": ("diff", "--phase", "clip"),
    "manual/config.json": ("plot", "--kind", "confusion", "--format", "svg"),
}


@pytest.mark.parametrize("file", READERS)
@FEW
@given(data=st.data())
def test_whatever_happens_to_a_file_of_a_comparison_is_one_line(
    file: str, tiny_comparison: Path, data: st.DataObject
) -> None:
    command, *options = READERS[file]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(tiny_comparison, run)
        (run / file).write_bytes(data.draw(damaged((run / file).read_bytes())))
        one_line_or_none(command, str(run), *options)


def one_line_or_none(*arguments: str) -> None:
    """Run a command: it does what it should, or one line says why not."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = main(arguments)
    assert status in (0, 1, 2), errors.getvalue()
    assert errors.getvalue().count("sameloop: error: ") == (status == 2), errors.getvalue()


@pytest.mark.slow
@settings(FEW, max_examples=20)
@given(data=st.data())
def test_whatever_happens_to_a_comparison_that_is_reported(tiny_comparison: Path, data: st.DataObject) -> None:
    """Two minutes."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(tiny_comparison, run)
        (run / "comparison.json").write_bytes(data.draw(damaged((run / "comparison.json").read_bytes())))
        one_line_or_none("report", str(run))


@FEW
@given(data=st.data())
def test_whatever_happens_to_the_config_of_a_model_is_one_line(tiny_comparison: Path, data: st.DataObject) -> None:
    """Of a model that is to be trained; the one that was trained is among `READERS`."""
    whole = (tiny_comparison / "manual" / "config.json").read_bytes()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SameLoopError):
        for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tiny_comparison / "manual" / name, folder)
        (Path(folder) / "config.json").write_bytes(data.draw(damaged(whole)))
        load_model(RunConfig.build("tiny", model=folder), ["neg", "pos"])
