"""Identity under every setting: a table of setting values and pairs, and a search through whole configurations.

`make parity-table` writes docs/parity.md, `make parity-sweep` runs the search. Both compare every run in full, with
the verdict of `sameloop compare`; they run in one process, because importing torch takes longer than a run.
"""

from __future__ import annotations

import importlib
import itertools
import random
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import xxhash
from tqdm import tqdm

from benchmarks.pages.eject import beyond_accelerate, eject
from benchmarks.proofs.measuring import DOCS, page, quietly, where, where_measured, write_table
from benchmarks.runs import run_here, run_in_fresh_process, run_text_here
from benchmarks.verdict.verdict import compare_runs
from shared.config import METRIC_SCHEDULES, Optim, RunConfig, SamplingStrategy, Schedule, option, show
from shared.errors import SameLoopError
from shared.progress import announce
from shared.running.folder import LOOPS, is_finished
from shared.running.script import LoopScript, package_script
from shared.schedules import NEEDED

# One pair of runs ---------------------------------------------------------------------------------


def compare_in_process(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Run both loops in this process, as `python -m` would, in `manual/` and `trainer/` of a folder, and compare them.

    Returns:
        The content of `comparison.json`.
    """
    for loop in LOOPS:
        run_here(loop, imported_script(loop), config, folder / loop)
    return compare_runs(*(folder / loop for loop in LOOPS))


@cache
def imported_script(loop: str) -> LoopScript:
    """The package's own script of a loop, imported once for all runs."""
    return package_script(loop, importlib.import_module(f"{loop}_loop.train"))


def kept_run(loop: str, config: RunConfig, kept: Path) -> Path:
    """The run of the package's own loop, made once in the folder `kept` and shared; copy it to change it."""
    folder = kept / f"{loop}-{xxhash.xxh3_128_hexdigest(config.model_dump_json().encode())}"
    if not is_finished(folder):
        run_here(loop, imported_script(loop), config, folder)
    return folder


# The table ----------------------------------------------------------------------------------------

# On top of the `tiny` preset: sizes that the batch sizes do not divide evenly, and two epochs.
UNEVEN = {"num_train_epochs": 2, "train_size": 45, "eval_size": 19}


# The further arguments of schedules in the table and in the search: they change the schedule's learning rates.
KWARGS: dict[str, dict[str, Any]] = {
    "cosine": {"num_cycles": 0.75},
    "cosine_with_restarts": {"num_cycles": 2},
    "polynomial": {"power": 2, "lr_end": 1e-5},
    "inverse_sqrt": {"timescale": 5},
    "reduce_lr_on_plateau": {"mode": "max", "patience": 0, "factor": 0.5},
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-5, "warmup_lr_rate": 0.2},
    "warmup_stable_decay": {"num_decay_steps": 4, "decay_type": "1-sqrt", "min_lr_ratio": 0.1},
    "greedy": {"patience": 0, "factor": 0.5, "min_lr": 0, "smooth": True, "window_size": 2},
}


class Cell(NamedTuple):
    """One line of the table.

    Attributes:
        settings: what is set, on top of `tiny` and `UNEVEN`.
        nproc_per_node: processes per loop.
        expected: the verdict it must get.
        note: why the verdict is not `identical`, or another remark.
    """

    settings: dict[str, Any]
    nproc_per_node: int = 1
    expected: str = "identical"
    note: str = ""


def cells() -> list[Cell]:
    """Every setting with its values, then pairs of settings that affect the same lines, then several processes."""
    singles: list[dict[str, Any]] = [
        {},
        *({"train_sampling_strategy": name} for name in get_args(SamplingStrategy)),
        *({"optim": name} for name in get_args(Optim)),
        *({"lr_scheduler_type": name} for name in get_args(Schedule) if name not in NEEDED),
        *(
            {"lr_scheduler_type": name, "lr_scheduler_kwargs": kwargs, "eval_strategy": "steps", "eval_steps": 1}
            for name, kwargs in KWARGS.items()
        ),
        *({"max_grad_norm": value} for value in (0, 0.05, 1.0)),
        *({"gradient_accumulation_steps": value} for value in (2, 4)),
        *({"warmup_steps": value} for value in (3, 0.25)),
        *({"num_train_epochs": value} for value in (0.4, 1.3, 3)),
        *({"max_steps": value} for value in (1, 11)),
        *({"eval_strategy": "steps", "eval_steps": value} for value in (1, 5)),
        {"eval_strategy": "no"},
        *({"logging_strategy": "steps", "logging_steps": value} for value in (1, 5)),
        {"logging_strategy": "no"},
        {"save_strategy": "epoch"},
        {"save_strategy": "steps", "save_steps": 4},
        {"bf16": True},
        {"label_smoothing_factor": 0.1},
        {"weight_decay": 0.1},
        {"learning_rate": 0.1},
        {"adam_beta1": 0.5},
        {"adam_beta2": 0.9},
        {"adam_epsilon": 1e-3},
        {"seed": 7},
        {"data_seed": 3},
        {"slice_seed": 5},
        {"per_device_train_batch_size": 1},
        {"per_device_train_batch_size": 64},
        {"per_device_eval_batch_size": 5},
        {"dataloader_drop_last": True},
        {"dataloader_num_workers": 2},
        {"max_length": 8},
        {"freeze_body": True},
        {"gradient_checkpointing": True},
        {"full_determinism": True},
        {"use_cpu": True},
        {"trainer_defaults": True},
    ]
    accumulation = {"gradient_accumulation_steps": 4}
    grouped = {"train_sampling_strategy": "group_by_length"}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "accuracy", "learning_rate": 0.02}
    early = {"early_stopping_patience": 2, "num_train_epochs": 6, "logging_strategy": "steps", "logging_steps": 3}
    pairs: list[dict[str, Any]] = [
        {**accumulation, "bf16": True},
        {**accumulation, "label_smoothing_factor": 0.1},
        {**accumulation, "dataloader_drop_last": True},
        {**accumulation, "max_steps": 3},
        {**accumulation, "num_train_epochs": 1.3},
        {**accumulation, "max_grad_norm": 0},
        {**accumulation, "gradient_checkpointing": True},
        {**accumulation, **grouped},
        {**accumulation, "logging_strategy": "steps", "logging_steps": 2},
        {**accumulation, "eval_strategy": "steps", "eval_steps": 2},
        {**accumulation, "per_device_train_batch_size": 64},
        {"bf16": True, "label_smoothing_factor": 0.1},
        {"bf16": True, "gradient_checkpointing": True},
        {"bf16": True, "optim": "adafactor"},
        {"bf16": True, "max_grad_norm": 0},
        {**grouped, "dataloader_drop_last": True},
        {**grouped, "data_seed": 3},
        {**grouped, "dataloader_num_workers": 2},
        {"lr_scheduler_type": "cosine", "warmup_steps": 0.25, "num_train_epochs": 1.3},
        {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "steps", "eval_steps": 2},
        {"lr_scheduler_type": "greedy", "eval_strategy": "steps", "eval_steps": 1},
        {"optim": "sgd", "weight_decay": 0.1},
        {"optim": "adafactor", "weight_decay": 0.1},
        {"freeze_body": True, "weight_decay": 0.1},
        {"freeze_body": True, "gradient_checkpointing": True},
        {"max_steps": 11, "eval_strategy": "steps", "eval_steps": 4},
        {**best, "eval_strategy": "epoch", "save_strategy": "epoch"},
        {**best, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, **accumulation},
        {**best, "eval_strategy": "epoch", "save_strategy": "epoch", "lr_scheduler_type": "reduce_lr_on_plateau"},
        {**best, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 3},
        {**best, **early, "eval_strategy": "epoch", "save_strategy": "epoch"},
        {**best, **early, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2},
    ]
    processes: list[dict[str, Any]] = [
        {},
        {"bf16": True},
        accumulation,
        {**accumulation, "label_smoothing_factor": 0.1},
        {"dataloader_drop_last": True},
        grouped,
        {"max_grad_norm": 0, "optim": "sgd"},
        {"train_size": 5, "eval_size": 3},
    ]
    upstream = "the upstream fault, on purpose"
    return [
        *(Cell(settings) for settings in (*singles, *pairs)),
        Cell({"torch_compile": True, "full_determinism": True, "num_train_epochs": 1}),
        *(Cell(settings, nproc_per_node=2) for settings in processes),
        Cell({"trainer_defaults": True, **accumulation}, expected="diverged", note=upstream),
        Cell({"trainer_defaults": True}, nproc_per_node=2, expected="diverged", note=upstream),
    ]


def cell_config(cell: Cell) -> RunConfig:
    """The cell's settings on the tiny preset."""
    return RunConfig.build("tiny", **{**UNEVEN, **cell.settings})


def run_cell(cell: Cell) -> dict[str, Any]:
    """Run one cell, in this process unless it needs its own, and return its comparison."""
    config = cell_config(cell)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if cell.nproc_per_node == 1 and not config.torch_compile:
            return compare_in_process(config, folder)
        for loop in LOOPS:
            run_in_fresh_process(loop, config, folder / loop, cell.nproc_per_node)
        return compare_runs(*(folder / loop for loop in LOOPS))


def parity_page(results: Sequence[tuple[Cell, dict[str, Any]]]) -> str:
    """docs/parity.md; every cell with its verdict is written to docs/data/parity.csv."""
    red = sum(comparison["verdict"] != cell.expected for cell, comparison in results)
    identical = sum(comparison["verdict"] == "identical" for _, comparison in results)
    table = []
    for cell, comparison in results:
        settings = " ".join(f"{option(name)} {show(value)}" for name, value in cell.settings.items()) or "the preset"
        verdict = comparison["steps"], comparison["verdict"], where(comparison)
        table.append((settings, cell.nproc_per_node, *verdict, cell.note))
    write_table("parity", ("settings", "processes", "steps", "verdict", "first difference", "note"), table)
    return page(
        "parity.md",
        cells=len(results),
        identical=identical,
        on_purpose=len(results) - identical - red,
        unexplained=red,
        where_measured=where_measured(),
    )


# The search ---------------------------------------------------------------------------------------

# The values that the search draws from. Every pair of values of two settings should occur in some configuration.
SEARCH_SPACE: dict[str, tuple[Any, ...]] = {
    "train_size": (45, 64, 9),
    "eval_size": (19, 32),
    "max_length": (16, 64),
    "freeze_body": (False, True),
    "per_device_train_batch_size": (8, 5),
    "per_device_eval_batch_size": (8, 7),
    "train_sampling_strategy": get_args(SamplingStrategy),
    "data_seed": (None, 3),
    "dataloader_drop_last": (False, True),
    "dataloader_num_workers": (0, 2),
    "optim": get_args(Optim),
    "weight_decay": (0.0, 0.1),
    "adam_beta1": (0.9, 0.5),
    "adam_epsilon": (1e-8, 1e-3),
    "max_grad_norm": (1.0, 0.05, 0.0),
    "lr_scheduler_type": get_args(Schedule),
    "warmup_steps": (0, 3, 0.25),
    "num_train_epochs": (1, 1.3, 2),
    "max_steps": (-1, 7),
    "gradient_accumulation_steps": (1, 2, 4),
    "label_smoothing_factor": (0.0, 0.1),
    "bf16": (False, True),
    "gradient_checkpointing": (False, True),
    "seed": (42, 7),
    "full_determinism": (False, True),
    "logging_strategy": ("epoch", "steps", "no"),
    "logging_steps": (500, 3),
    "eval_strategy": ("epoch", "steps", "no"),
    "eval_steps": (None, 2),
}
CANDIDATES = 60

Pair = tuple[tuple[str, Any], tuple[str, Any]]


def search_config(settings: dict[str, Any]) -> RunConfig | None:
    """The configuration of these settings, with their schedule's arguments; None if `RunConfig` refuses it."""
    try:
        return RunConfig.build("tiny", **settings, lr_scheduler_kwargs=KWARGS.get(settings["lr_scheduler_type"]))
    except SameLoopError:
        return None


def pairs_of(settings: dict[str, Any]) -> set[Pair]:
    """All pairs of (setting, value) in one configuration."""
    return set(itertools.combinations(sorted(settings.items(), key=lambda item: item[0]), 2))


def all_pairs() -> set[Pair]:
    """Every pair of values of two different settings that some configuration can have."""
    impossible = {
        # eval_steps is valid only with `steps`; some schedules follow the evaluation.
        *((("eval_steps", 2), ("eval_strategy", other)) for other in ("epoch", "no")),
        *((("eval_strategy", "no"), ("lr_scheduler_type", name)) for name in METRIC_SCHEDULES),
    }
    names = sorted(SEARCH_SPACE)
    return {
        ((name, a), (other, b))
        for name, other in itertools.combinations(names, 2)
        for a in SEARCH_SPACE[name]
        for b in SEARCH_SPACE[other]
    } - impossible


def covering_configurations(count: int) -> Iterator[tuple[RunConfig, float]]:
    """A fixed sequence of configurations, each chosen to add as many new pairs as possible.

    Of `CANDIDATES` random draws the one with the most pairs not yet seen is taken (a greedy covering array, after
    Cohen et al. 1997, "The AETG System"); the sequence is the same every time.

    Yields:
        The configuration, and the share of all possible pairs seen so far.
    """
    dice = random.Random(0)
    every = all_pairs()
    missing = set(every)
    for _ in range(count):
        candidates: list[tuple[dict[str, Any], RunConfig]] = []
        while len(candidates) < CANDIDATES:
            settings = {name: dice.choice(values) for name, values in SEARCH_SPACE.items()}
            if missing:
                # Start from a pair that is still missing, so that the last ones are found too.
                settings.update(dice.choice(sorted(missing, key=repr)))
            if (config := search_config(settings)) is not None:
                candidates.append((settings, config))
        best, config = max(candidates, key=lambda candidate: len(pairs_of(candidate[0]) & missing))
        missing -= pairs_of(best)
        yield config, 1 - len(missing) / len(every)


def ejected_difference(config: RunConfig, folder: Path, trainer: Path | None = None, loop: str = "manual") -> str:
    """Eject the loop of these settings, run it against `Trainer` in this process, and compare in full.

    Args:
        folder: gets the script, `ejected/` and `Trainer`'s run, if there is none.
        trainer: an existing run of `Trainer` with these settings.

    Returns:
        What differs first; empty if every step, evaluation and weight is equal.
    """
    script = folder / "my_loop.py"
    run_text_here(eject(config, loop, file=script), script, config, folder / "ejected")
    if trainer is None:
        trainer = kept_run("trainer", config, folder)
    return where(compare_runs(folder / "ejected", trainer))


# The commands -------------------------------------------------------------------------------------


@click.group()
def parity() -> None:
    """Identity under every setting: tables and search."""


@parity.command()
def table() -> None:
    """Write docs/parity.md; exit status 1 if a cell is not as it should be."""
    results = [(cell, quietly(run_cell, cell)) for cell in tqdm(cells(), desc="parity.md", disable=None)]
    (DOCS / "parity.md").write_text(parity_page(results), encoding="utf-8")
    announce(f"docs/parity.md: {len(results)} lines")
    raise SystemExit(0 if all(comparison["verdict"] == cell.expected for cell, comparison in results) else 1)


@parity.command()
@click.option("--configurations", type=click.IntRange(min=1), default=300, show_default=True)
def sweep(configurations: int) -> None:
    """Search: whole configurations, three loops each, compared in full; exit status 1 if any two runs differ."""

    def difference(config: RunConfig, folder: Path) -> str:
        if first := compare_in_process(config, folder)["first_divergence"]:
            return str(first)
        if beyond_accelerate(config):
            return ""
        return ejected_difference(config, folder, folder / "trainer", "accelerate")

    _search("configurations", configurations, difference, "sameloop compare")


@parity.command("sweep-ejected")
@click.option("--configurations", type=click.IntRange(min=1), default=100, show_default=True)
def sweep_ejected(configurations: int) -> None:
    """The same search with ejected scripts against Trainer; exit status 1 if any pair of runs differs."""
    _search("ejected scripts", configurations, ejected_difference, "sameloop eject")


def _search(noun: str, count: int, difference: Callable[[RunConfig, Path], str], command: str) -> None:
    started, different, covered = time.perf_counter(), 0, 0.0
    for config, covered in tqdm(covering_configurations(count), total=count, disable=None):  # noqa: B007
        with tempfile.TemporaryDirectory() as folder:
            result = quietly(difference, config, Path(folder))
        if result:
            different += 1
            click.echo(f"{result}\n  {command} {shlex.join(config.flags())}")
    minutes = (time.perf_counter() - started) / 60
    click.echo(
        f"{count} {noun}, {different} different; {covered:.1%} of all pairs of values met; {minutes:.1f} minutes"
    )
    raise SystemExit(min(different, 1))


if __name__ == "__main__":
    parity()
