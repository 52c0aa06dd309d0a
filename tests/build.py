"""Records and comparisons for tests, made without a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from shared.config import RunConfig
from shared.recording.record import SCHEMA, RunRecord

ENVIRONMENT = {"torch": "2", "transformers": "5", "accelerate": "1", "python": "3", "device": "cpu", "threads": 2}
LOSSES = [0.7, 0.69, 0.6, 0.5, 0.55, 0.4, 0.3, 0.35]
# A record's lines with every field that they must have.
WHOLE: dict[str, dict[str, Any]] = {
    "header": {"loop": "manual", "steps_per_epoch": 8, "environment": ENVIRONMENT},
    "start": {
        "model": "M",
        "parameters": 1,
        "trainable_parameters": 1,
        "frozen": [],
        "dtypes": ["float32"],
        "initial_weights": {},
        "optimizer": {"class": "AdamW", "missing": [], "groups": []},
    },
    "step": {
        **{name: [] for name in ("batch", "reviews", "lengths", "labels", "first_review", "masked", "passes", "mode")},
        **{name: [] for name in ("dropout", "autocast", "forward_losses", "losses", "backward_passes")},
        **{name: [] for name in ("without_gradient", "learning_rates")},
        "rng": {},
        "unclipped_norm": None,
        "grad_norm": 1.0,
        "gradients": {"left": 0.0, "backward": [], "between": [], "scaled": []},
        "learning_rate": 0.1,
        "weights": "",
        "samples": 8,
        "tokens": 100,
        "padded_tokens": 120,
        "seconds": {},
    },
    "evaluation": {
        **{name: [] for name in ("mode", "dropout", "autocast", "batch_sizes", "first_review", "passes")},
        "graph": False,
        "batch": {},
        "reviews": "",
        "logits": "",
        "loss": 0.5,
        "accuracy": 0.5,
        "samples": 8,
        "tokens": 100,
        "padded_tokens": 120,
        "seconds": 0.1,
    },
    "footer": {
        **dict.fromkeys(("steps", "samples", "tokens", "padded_tokens", "train_seconds"), 0),
        **dict.fromkeys(("evaluation_seconds", "checkpoint_seconds", "recorder_seconds"), 0),
        **dict.fromkeys(("samples_per_second", "tokens_per_second", "peak_memory_mb"), 0),
        "log_history": [],
    },
}


def whole_line(line: dict[str, Any]) -> dict[str, Any]:
    """A line with what it lacks of the fields that a record's lines have."""
    return {**WHOLE.get(line["kind"], {}), **line}


def header(loop: str = "manual", per_epoch: int = 4, /, **settings: Any) -> dict[str, Any]:
    """The header of a record of the tiny preset with these settings."""
    return {
        "kind": "header",
        "schema": SCHEMA,
        "loop": loop,
        "config": RunConfig.build("tiny", **settings).model_dump(),
        "steps_per_epoch": per_epoch,
        "environment": ENVIRONMENT,
    }


def steps_of(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of steps, numbered from 1."""
    return [{"kind": "step", "step": number, **line} for number, line in enumerate(lines, start=1)]


def record_lines(
    losses: Sequence[float | None] = LOSSES, loop: str = "manual", per_epoch: int = 4, **settings: Any
) -> list[dict]:
    """A record's lines with these losses, and all else that charts show; settings: those of the tiny preset, with a
    clip.

    Each step draws two reviews; the second epoch draws the same ones in turned order.
    """
    steps = []
    for n, loss in enumerate(losses, 1):
        place = (n - 1) % per_epoch
        place = place if n <= per_epoch else per_epoch - 1 - place
        steps.append(
            {
                "kind": "step",
                "step": n,
                "batch": [{"input_ids": f"batch {place}"}],
                "reviews": [[f"review {2 * place}", f"review {2 * place + 1}"]],
                "mode": ["train"],
                "rng": {"torch": str(n)},
                "forward_losses": [loss],
                "losses": [loss],
                "loss": loss,
                "grad_norm": 1 / n,
                "learning_rate": 1e-3 * (1 - (n - 1) / len(losses)),
                "samples": 2,
                "tokens": 60 + n,
                "padded_tokens": 80,
                "memory_mb": 500.0 + n,
                "seconds": {"data": 0.01, "forward": 0.2, "backward": 0.3, "optimizer": 0.05, "checkpoint": 9.0},
            }
        )
    log = [
        {"eval_loss": 0.6 / n, "eval_accuracy": 1 - 0.4 / n, "epoch": float(n), "step": n * per_epoch}
        for n in range(1, len(losses) // per_epoch + 1)
    ]
    return [
        header(loop, per_epoch, **{"max_grad_norm": 1.0, **settings}),
        {"kind": "start", "parameters": 1_011_362},
        *steps,
        {"kind": "footer", "log_history": log, "peak_memory_mb": 640.0},
    ]


def diverged(step: int = 3) -> list[dict]:
    """By hand, with what an earlier step left in the gradients of this step, and other losses after it."""
    content = record_lines()
    for line in content:
        if line["kind"] == "step" and line["step"] == step:
            line["gradients"] = {"left": line["grad_norm"], "backward": [], "between": [], "scaled": []}
        if line["kind"] == "step" and line["step"] >= step:
            line["grad_norm"] *= 2
        if line["kind"] == "step" and line["step"] > step:
            line["loss"] += 0.001
            line["losses"] = line["forward_losses"] = [line["loss"]]
    return content


def record_of(*lines: dict[str, Any]) -> RunRecord:
    """A record in memory, with no field but those that its lines have."""
    return RunRecord(list(lines), "test")


def write_record(folder: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """A run's folder with nothing but a record; what its lines lack they are given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.jsonl").write_text("".join(json.dumps(whole_line(line)) + "\n" for line in lines))
    return folder


def write_records(folder: Path, ours: list[dict] | None = None, theirs: list[dict] | None = None) -> Path:
    """A folder as `sameloop compare` leaves it, with records only; None: those of `LOSSES`."""
    write_record(folder / "manual", record_lines() if ours is None else ours)
    write_record(folder / "trainer", record_lines(loop="trainer") if theirs is None else theirs)
    return folder


def texts_of(svg: bytes) -> list[str]:
    """What is written in a picture, line by line."""
    nodes = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(node.itertext()).split()) for node in nodes]


def words_of(picture: Any) -> str:
    """What is written in a chart, or in an SVG, in one line."""
    return " ".join(texts_of(picture if isinstance(picture, bytes) else picture.content("svg")))
