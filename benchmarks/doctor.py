"""`sameloop doctor`: what this machine has, and which presets can run here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from benchmarks.stacks import what_is_known
from shared import hardware
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.presets import HUB_REVISIONS, PRESETS
from shared.running.run import environment
from shared.running.surroundings import is_apple_silicon
from shared.sources import embedded
from shared.sources.hub import hub_is_reachable, needs_hub

HUB_MODEL, HUB_DATASET = PRESETS["lesson"]["model"], PRESETS["lesson"]["dataset"]
# Padded tokens per review where max_length does not truncate it: IMDB at 512 tokens has a mean of 274; random batches
# of 8 have 1.75 times as many with their padding, the batches grouped by length of `fast` 1.05 times.
IMDB_PADDED_TOKENS, IMDB_GROUPED_TOKENS = 480, 288
# Importing the libraries, loading and tokenizing, per loop.
STARTUP_SECONDS = 8
DISTILBERT_BASE = {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072}


class Finding(NamedTuple):
    """One line of the diagnosis."""

    subject: str
    fine: bool
    detail: str


def print_diagnosis() -> None:
    """Print versions, device, assets, Hub and presets."""
    console = Console(highlight=False)
    reachable = hub_is_reachable()
    table = Table(title="sameloop doctor", title_justify="left", show_header=False)
    for finding in [
        *library_findings(),
        *device_findings(),
        fast_finding(),
        *asset_findings(),
        *hub_findings(reachable),
    ]:
        mark = "[green]ok[/green]" if finding.fine else "[yellow]note[/yellow]"
        table.add_row(mark, finding.subject, finding.detail)
    console.print(table)
    presets = Table(title="Presets on this machine", title_justify="left")
    for heading in ("preset", "can run", "both loops take about"):
        presets.add_column(heading)
    pace = seconds_per_parameter_token()
    for name in PRESETS:
        config = RunConfig.build(name)
        obstacle = obstacle_to(config, reachable)
        presets.add_row(name, obstacle or "yes", readable_seconds(2 * estimated_seconds(config, pace)))
    console.print(presets)


def library_findings() -> Iterator[Finding]:
    """The versions that a result may depend on: whether they are in our ranges, and were tested together."""
    installed = environment()
    names = ("sameloop", "python", "torch", "transformers", "accelerate", "datasets")
    outside = outside_our_ranges()
    versions = ", ".join(f"{name} {installed[name]}" for name in names)
    yield Finding("versions", not outside, "; ".join([versions, *outside]))
    fine, known = what_is_known(installed["transformers"], installed["torch"], installed["python"])
    yield Finding("stack", fine, f"{known} (docs/versions.md)")


def outside_our_ranges() -> list[str]:
    """The libraries that are missing or outside the range that SameLoop requires, each with its range."""
    outside = []
    for text in metadata.requires("sameloop") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            installed = "missing"
        if installed == "missing" or not requirement.specifier.contains(installed, prereleases=True):
            outside.append(f"{requirement.name}: {installed}, where SameLoop requires {requirement.specifier}")
    return outside


def device_findings() -> Iterator[Finding]:
    """GPU and threads."""
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        more = f"; {count} are visible, one is used unless you start with torchrun" if count > 1 else ""
        yield Finding("device", True, f"torch.cuda.is_available() is True: {torch.cuda.get_device_name()}{more}")
    elif is_apple_silicon():
        yield Finding("device", True, "Apple Silicon: its CPU, where runs are bit-identical; --use-mps for its GPU")
    else:
        cuda = torch.version.cuda
        built = "this torch is a CPU build" if cuda is None else f"torch is built for CUDA {cuda}"
        yield Finding(
            "device",
            False,
            f"torch.cuda.is_available() is False: {built}. Without a GPU, use presets up to `quick`. With one: check "
            "that `nvidia-smi` lists it, then install the CUDA build of the pinned torch from pytorch.org",
        )
    yield Finding("threads", True, f"{torch.get_num_threads()} (OMP_NUM_THREADS changes it; keep it for both loops)")


def fast_finding() -> Finding:
    """What the preset `fast` chooses on this machine, and why."""
    config, known = RunConfig.build("fast"), hardware.bf16()
    order = "grouped by length" if config.train_sampling_strategy == "group_by_length" else "random batches"
    return Finding("fast", known.in_hardware, f"{order}; {'' if config.bf16 else 'no '}bf16 ({known.why})")


def asset_findings() -> Iterator[Finding]:
    """The embedded reviews and weights: present and intact?"""
    for asset in embedded.ASSETS:
        try:
            embedded.locate(asset)
        except SameLoopError as error:
            yield Finding("embedded", False, str(error))
        else:
            yield Finding("embedded", True, f"{asset.distribution} {asset.version}: {asset.name} intact")


def hub_findings(reachable: bool) -> Iterator[Finding]:
    """The Hub, and which of the files that presets need are in its cache."""
    yield Finding("Hub", reachable, "reachable" if reachable else "not reachable; only `lesson` and `full` need it")
    for name, cached in ((HUB_MODEL, is_model_cached()), (HUB_DATASET, is_dataset_cached())):
        yield Finding("Hub cache", cached, f"{name} {'present' if cached else 'not downloaded'}")


def is_model_cached() -> bool:
    """Whether the pinned revision of the presets' Hub model has been downloaded."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(HUB_MODEL, "model.safetensors", revision=HUB_REVISIONS[HUB_MODEL])
    return isinstance(path, str)


def is_dataset_cached() -> bool:
    """Whether the pinned revision of the presets' Hub dataset has been prepared by `datasets`."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE) / HUB_DATASET.replace("/", "___")
    return any(folder.glob(f"*/*/{HUB_REVISIONS[HUB_DATASET]}"))


def obstacle_to(config: RunConfig, reachable: bool) -> str | None:
    """Why this preset cannot run here, or None."""
    if needs_hub(config):
        if reachable or (is_model_cached() and is_dataset_cached()):
            return None
        return "no: needs the Hub or its cache"
    if not all(finding.fine for finding in asset_findings()):
        return "no: the embedded assets are missing"
    return None


def seconds_per_parameter_token() -> float:
    """How long this machine takes for one training step, per body parameter and token: measured, not guessed.

    Three steps of the embedded model's shape with random weights on a batch of 8 x 128 tokens; the fastest counts.
    """
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = embedded.MODEL_SHAPES["embedded"]
    model = DistilBertForSequenceClassification(DistilBertConfig(**shape)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(1000, 2000, (8, 128), device=device)
    labels = torch.zeros(8, dtype=torch.long, device=device)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds) / (body_parameters(shape) * ids.numel())


def body_parameters(shape: dict[str, int]) -> int:
    """Parameters of the transformer layers: four dim x dim and two dim x hidden_dim matrices each."""
    return shape["n_layers"] * (4 * shape["dim"] ** 2 + 2 * shape["dim"] * shape["hidden_dim"])


def estimated_seconds(config: RunConfig, pace: float) -> float:
    """About how long one loop takes. An evaluation pass costs a third of a training pass (no backward)."""
    grouped = config.train_sampling_strategy == "group_by_length"
    tokens = min(config.max_length, IMDB_GROUPED_TOKENS if grouped else IMDB_PADDED_TOKENS)
    reviews = config.num_train_epochs * (config.train_size + config.eval_size / 3)
    parameters = body_parameters(embedded.MODEL_SHAPES.get(config.model, DISTILBERT_BASE))
    return STARTUP_SECONDS + pace * parameters * tokens * reviews


def readable_seconds(seconds: float) -> str:
    """`40 seconds`, `4 minutes`, `12 hours`."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
