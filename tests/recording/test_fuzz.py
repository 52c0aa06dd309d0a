"""Hypothesis throws whatever it likes at what reads the outside: an error of ours, or none."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import LOOPS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.cli import main
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.data import load_slices
from shared.errors import SameLoopError
from shared.files import write_json
from shared.recording.record import FILE_NAME, RunRecord
from shared.running import checkpoints

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
    """Read a file with this content."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SameLoopError):
        path = Path(folder) / name
        path.write_bytes(content)
        load_slices(RunConfig.build("tiny", dataset=str(path), train_size=2, eval_size=1))


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


@FEW
@given(json_values | st.fixed_dictionaries({"files": json_values, "config": json_values, "world_size": json_values}))
def test_any_manifest(content: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint-3"
        checkpoint.mkdir()
        (checkpoint / checkpoints.MANIFEST).write_text(json.dumps(content), encoding="utf-8")
        with contextlib.suppress(SameLoopError):
            checkpoints.find(Path(folder), "last", RunConfig.build("tiny"), 1, {})


# A finished comparison with one value in it that is another.
ODD = (None, -1, 0, 1.5, "x", "", [], {}, [None], {"a": 1}, True, 1e400, float("nan"), "9" * 50, [[[]]], 10**30)


def damaged(content: Any, dice: random.Random) -> None:
    """Change or remove one value of nested dictionaries and lists."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            walk(value[key])

    walk(content)
    holder, key = dice.choice(places)
    if isinstance(holder, dict) and dice.random() < 0.3:
        del holder[key]
    else:
        holder[key] = dice.choice(ODD)


def damage_a_run(seed: int, file: str, runs: dict[str, Path], folder: Path) -> None:
    dice = random.Random(seed)
    for loop, run in runs.items():
        shutil.copytree(run, folder / loop)
    write_json(folder / "comparison.json", compare_runs(*(folder / loop for loop in LOOPS)))
    whole = file == "comparison.json"
    lines = [(folder / file).read_text()] if whole else (folder / file).read_text().splitlines()
    kinds = [json.loads(line).get("kind") for line in lines]
    wanted = dice.choice(sorted(set(kinds), key=str))
    number = dice.choice([number for number, kind in enumerate(kinds) if kind == wanted])
    content = json.loads(lines[number])
    damaged(content, dice)
    lines[number] = json.dumps(content)
    (folder / file).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("file", ["manual/record.jsonl", "trainer/record.jsonl", "comparison.json"])
@pytest.mark.parametrize("seed", range(6))
def test_any_value_in_a_run(seed: int, file: str, tiny_runs: dict[str, Path], tmp_path: Path, capsys) -> None:
    damage_a_run(seed, file, tiny_runs, tmp_path)
    for command in (["plot", str(tmp_path), "--kind", "losses", "--format", "svg"], ["locate", str(tmp_path)]):
        assert main(command) in (0, 1, 2), capsys.readouterr().err
        assert capsys.readouterr().err.count("sameloop: error") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_any_value_in_a_comparison_that_is_reported(
    seed: int, tiny_runs: dict[str, Path], tmp_path: Path, capsys
) -> None:
    """Two minutes."""
    damage_a_run(100 + seed, "comparison.json", tiny_runs, tmp_path)
    assert main(["report", str(tmp_path)]) in (0, 2), capsys.readouterr().err
