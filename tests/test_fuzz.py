"""Hypothesis throws whatever it likes at what reads the outside: an error of ours, or none."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from unittest import mock

import datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import checkpoints
from shared.config import RunConfig
from shared.data import load_slices
from shared.errors import SameLoopError
from shared.record import FILE_NAME, RunRecord

MANY = settings(max_examples=300, deadline=None, derandomize=True)
FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
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
def test_any_values_as_dials(dials: dict) -> None:
    preset = dials.pop("preset", "tiny")
    try:
        config = RunConfig.build(preset if isinstance(preset, str) else "tiny", **dials)
    except SameLoopError as error:
        assert "\n" not in str(error).strip() or len(str(error)) < 1000
    else:
        assert RunConfig.build(config.preset, **config.dials) == config


def load(name: str, content: bytes) -> None:
    """Read a file with this content, with a cache that goes with it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", Path(folder) / "cache"),
        contextlib.suppress(SameLoopError),
    ):
        path = Path(folder) / name
        path.write_bytes(content)
        load_slices(RunConfig.build("tiny", dataset=str(path), train_size=2, eval_size=1))


@FEW
@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.json", "a.jsonl", "a.parquet"]))
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


@FEW
@given(json_values | st.fixed_dictionaries({"files": json_values, "config": json_values, "world_size": json_values}))
def test_any_manifest(content: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint-3"
        checkpoint.mkdir()
        (checkpoint / checkpoints.MANIFEST).write_text(json.dumps(content), encoding="utf-8")
        with contextlib.suppress(SameLoopError):
            checkpoints.find(Path(folder), "last", RunConfig.build("tiny"), 1, {})
