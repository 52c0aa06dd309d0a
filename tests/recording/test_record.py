"""The record on disk: exact, and clear about damage."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from build import whole_line

from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.recording.record import SCHEMA, RecordWriter, RunRecord


def write(folder: Path, schema: int = SCHEMA) -> Path:
    writer = RecordWriter(folder / "record.jsonl")
    config = RunConfig.build("tiny").model_dump()
    for line in (
        {"kind": "header", "schema": schema, "config": config},
        {"kind": "step", "step": 1, "loss": 0.1 + 0.2},
        {"kind": "step", "step": 2, "loss": math.inf},
    ):
        writer.write(**whole_line(line))
    writer.close()
    return folder / "record.jsonl"


def test_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path)
    record = RunRecord.read(tmp_path)
    assert [line["loss"] for line in record.steps] == [0.1 + 0.2, math.inf]
    assert record.config == RunConfig.build("tiny")
    assert record.footer == {}


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path)
    with path.open("a") as file:
        file.write('{"kind": "step", "step": 3, "lo')
    assert len(RunRecord.read(path).steps) == 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace('"step": 1', '"step": 1,,'), "is not JSON"),
        (lambda text: text.replace('{"kind": "step", ', "{", 1), "not a line"),
        (lambda text: text.replace('"samples": 8', '"samples": -8'), "line 2 is damaged .step.samples"),
        (lambda text: text.replace('"samples": 8, ', ""), "line 2 is damaged .step.samples: Field required"),
        (lambda text: text.replace('"loss": Infinity', '"loss": "Infinity"'), "line 3 is damaged .step.loss"),
        (lambda text: text.replace('"step": 2', '"step": 3'), "has not every step once"),
        (lambda text: text.replace('"batch": []', '"batch": ' + "[" * 10**5 + "]" * 10**5), "line 2"),
        (lambda text: "\n".join(text.splitlines()[1:]), "no header"),
        (lambda text: text.replace(f'"schema": {SCHEMA}', '"schema": 99'), "format 99"),
        (lambda text: text.replace('"config": {', '"config": {"nonsense": 1, '), "without the run's settings"),
        (lambda text: "", "no header"),
    ],
)
def test_damage_is_one_clear_line(damage, said: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(SameLoopError, match=said):
        RunRecord.read(path)


def test_a_missing_record_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SameLoopError, match="cannot read the record"):
        RunRecord.read(tmp_path)
