"""Identity under other releases: `make versions` builds an environment for each of `STACKS`, runs there the two
scripts that `sameloop eject` writes for it with the settings of `CASES`, and writes docs/versions.md.

The scripts are plain files, the manual loop and `Trainer` with that release's argument names, and do not import
SameLoop: an environment below our range does not have it. They run by themselves, and their final weights are
compared. Within our range SameLoop's own tests of identity and of resuming run in that environment as well.

The results are kept in `benchmarks/stacks.jsonl`, so that one stack can be measured again alone.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import click
from packaging.requirements import Requirement
from safetensors.torch import load_file

from benchmarks.pages.eject import eject
from benchmarks.proofs.measuring import DOCS, page
from benchmarks.proofs.parity import UNEVEN
from benchmarks.stacks import FILE, WITHOUT_REMEDY, Stack, numbers, tried
from benchmarks.verdict.verdict import compare_weights
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.progress import announce
from shared.releases import NEWER_VALUES, RENAMINGS, Release, release_of, shown
from shared.running.folder import WEIGHTS_FILE
from shared.sources import embedded
from shared.starting.children import ROOT

PAGE = DOCS / "versions.md"
ENVIRONMENTS = ROOT / ".versions"
SCRIPTS = {"manual": "by_hand.py", "trainer": "through_trainer.py"}
TESTS = (
    "tests/test_equivalence.py::test_both_loops_are_identical_under_every_dial",
    "tests/running/test_resume.py::test_resumed_equals_never_stopped",
    "tests/running/test_resume.py::test_both_loops_with_checkpoints_are_one",
)
LIBRARIES = ("transformers", "torch", "accelerate", "datasets", "tokenizers", "numpy")


class Target(NamedTuple):
    """An environment to test.

    Attributes:
        transformers, torch: the versions that are installed, in addition to what the scripts import.
        python: the release of Python.
        why: the reason why it is tested.
    """

    transformers: str
    torch: str = "2.13.0"
    python: str = "3.11"
    why: str = ""

    @property
    def name(self) -> str:
        """For the command line and the folder: `transformers-4.46.3-torch-2.13.0-python-3.11`."""
        return f"transformers-{self.transformers}-torch-{self.torch}-python-{self.python}"


STACKS = (
    Target("4.40.2", why="not in our range: an epoch's shorter last step and evaluations grouped by length differ"),
    Target("4.46.3", why="not in our range: as 4.40, and accumulated gradients are not divided"),
    Target("4.50.3", why="not in our range: as 4.40"),
    Target("4.51.3", "2.6.0", why="not in our range: an epoch's shorter last step is not counted"),
    Target("4.51.3", why="not in our range: an epoch's shorter last step is not counted"),
    Target("4.57.6", why="not in our range: `Trainer` sets the train mode once more, which the x-ray shows"),
    Target("5.0.0", why="not in our range: checkpoints are loaded without some weights"),
    Target("5.2.0", why="not in our range: as 5.0, and accumulated gradients are divided twice"),
    Target("5.4.0", why="not in our range: as 5.2"),
    Target("5.6.0", "2.6.0", why="the lowest of our ranges"),
    Target("5.6.2"),
    Target("5.8.1"),
    Target("5.12.1"),
    Target("5.16.1", why="the evaluation's order is seeded"),
    Target("5.20.2", python="3.10", why="the last for Python 3.10"),
    Target("5.20.2"),
    Target("5.24.0", why="the newest, and what `make` installs"),
    Target("5.24.0", python="3.12"),
    Target("5.24.0", python="3.13"),
    Target("5.24.0", "2.14.1", why="the newest torch of those tried"),
)

CASES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"bf16": True},
    "accumulation": {"gradient_accumulation_steps": 2},
    "accumulation with a shorter last step": {"gradient_accumulation_steps": 4},
    WITHOUT_REMEDY: {
        "gradient_accumulation_steps": 2,
        "trainer_defaults": True,
        "logging_strategy": "steps",
        "logging_steps": 1,
    },
    "warm-up as a share": {"warmup_steps": 0.25},
    "cosine with warm-up": {"lr_scheduler_type": "cosine", "warmup_steps": 3},
    "plateau": {"lr_scheduler_type": "reduce_lr_on_plateau"},
    "greedy": {"lr_scheduler_type": "greedy"},
    "grouped by length": {"train_sampling_strategy": "group_by_length"},
    "grouped by length with accumulation": {
        "train_sampling_strategy": "group_by_length",
        "gradient_accumulation_steps": 2,
    },
    "in the order they lie": {"train_sampling_strategy": "sequential"},
    "unfused AdamW with decay": {"optim": "adamw_torch", "weight_decay": 0.1},
    "Adafactor": {"optim": "adafactor"},
    "label smoothing": {"label_smoothing_factor": 0.1, "gradient_accumulation_steps": 2},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "workers": {"dataloader_num_workers": 2},
    "log by steps": {"logging_strategy": "steps", "logging_steps": 5},
    "best at the end": {
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "learning_rate": 0.02,
    },
}

# The scripts, and their data ----------------------------------------------------------------------------

# Runs one script in each folder: in a process of its own, but forked from one that has imported the libraries, because
# the imports take ten times as long as the script.
RUNNER = """
import os, runpy, sys, traceback
import datasets, torch, transformers
from transformers import AutoModelForSequenceClassification, Trainer

script, *folders = sys.argv[1:]
for folder in folders:
    if os.fork() == 0:
        os.chdir(folder)
        output = os.open(script + ".txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1), os.dup2(output, 2)
        try:
            runpy.run_path(script, run_name="__main__")
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def run_scripts(python: Path, release: Release) -> tuple[dict[str, str], dict[str, str], float | None]:
    """Write both scripts for a release with every set of settings, run them, and compare their weights.

    Returns:
        `outcomes`, `seen` and `scale` of a `Stack`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        data_settings = _user_files(Path(scratch))
        folders: dict[str, Path] = {}
        outcomes, details = {}, {}
        for number, (name, settings) in enumerate(CASES.items()):
            folder = Path(scratch, str(number))
            folder.mkdir()
            config = RunConfig.build("tiny", **{**data_settings, **settings})
            try:
                for loop, file in SCRIPTS.items():
                    (folder / file).write_text(eject(config, loop, file=folder / file, release=release), "utf-8")
                folders[name] = folder
            except SameLoopError as error:
                outcomes[name], details[name] = "refused", str(error)
        for file in SCRIPTS.values():
            quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
            quiet["HF_DATASETS_CACHE"] = str(Path(scratch, "cache"))
            command = [str(python), "-c", RUNNER, file, *map(str, folders.values())]
            subprocess.run(command, cwd=scratch, check=True, timeout=1800, env=quiet)
        for name, folder in folders.items():
            outcomes[name], first = _compare_weights(folder)
            if first:
                details[name] = first
        return {name: outcomes[name] for name in CASES}, details, _scale(folders[WITHOUT_REMEDY])


def _user_files(folder: Path) -> dict[str, Any]:
    """Write reviews and a model into files, as a user has them; returns the settings that name them."""
    model, reviews = folder / "model", folder / "reviews.csv"
    shutil.copytree(embedded.checkpoint("embedded-tiny"), model)
    embedded.load_reviews("embedded").shuffle(seed=0).select(range(200)).to_csv(reviews, index=False)
    return {"model": str(model), "dataset": str(reviews), "save_strategy": "no", **UNEVEN}


def _compare_weights(folder: Path) -> tuple[str, str]:
    """The outcome of both scripts in a folder, and the difference or error if they are not identical."""
    # Saving them is the last thing that a script does.
    saved = {file: folder / Path(file).stem / WEIGHTS_FILE for file in SCRIPTS.values()}
    for file, weights in saved.items():
        if not weights.is_file():
            output = (folder / f"{file}.txt").read_text(encoding="utf-8").strip().splitlines()
            return "failed", f"{file}: {output[-1] if output else 'it says nothing'}"[:300]
    unequal, most = compare_weights(*saved.values())
    if not unequal:
        return "identical", ""
    if most is None:
        return "diverged", f"tensors of one alone: {', '.join(unequal)}"
    total = len(load_file(weights))
    return "diverged", f"{len(unequal)} of {total} tensors of weights, by {most:.1g} at most"


def _scale(folder: Path) -> float | None:
    """The first gradient norm that Trainer's script printed, divided by the other script's; None if one is missing."""
    first = []
    for file in SCRIPTS.values():
        text = (folder / f"{file}.txt").read_text(encoding="utf-8")
        start = text.find("{'loss'")
        if start < 0:
            return None
        # The current Trainer prints a number as text.
        first.append(float(ast.literal_eval(text[start : text.index("}", start) + 1])["grad_norm"]))
    return round(first[1] / first[0], 2)


# The environments ---------------------------------------------------------------------------------------


def build(environment: Target, python: str) -> Path:
    """Build a virtual environment with the stack, and SameLoop if it is in our range; returns its Python.

    Raises:
        subprocess.CalledProcessError: uv could not install it; what it printed says why.
    """
    folder = ENVIRONMENTS / environment.name
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--clear", "--python", python, str(folder)], check=True)
    inside = folder / "bin" / "python"
    install = [*uv, "pip", "install", "--python", str(inside)]
    pinned = [f"transformers=={environment.transformers}", f"torch=={environment.torch}"]
    subprocess.run([*install, *pinned, "accelerate", "datasets"], check=True)
    if is_ours(environment.transformers):
        editable = ["--config-settings", "editable_mode=compat", "--editable", str(ROOT)]
        subprocess.run([*install, *pinned, "pytest", "pytest-xdist", *editable], check=True)
        assets = folder / "share" / "sameloop"
        assets.mkdir(parents=True)
        for asset in embedded.ASSETS:
            os.link(embedded.locate(asset), assets / embedded.locate(asset).name)
    return inside


def is_ours(transformers: str) -> bool:
    """Whether a release of transformers is in the range of pyproject.toml."""
    ranges = {library.name: library.specifier for library in map(Requirement, metadata.requires("sameloop") or [])}
    return transformers in ranges["transformers"]


def measure(python: Path) -> Stack:
    """Run the scripts, and within our range the tests, in an environment.

    Raises:
        subprocess.SubprocessError: its libraries cannot be imported, or it takes longer than half an hour.
    """
    started = time.perf_counter()
    versions = _versions(python)
    outcomes, details, scale = run_scripts(python, release_of(versions["transformers"]))
    tests = _run_tests(python) if is_ours(versions["transformers"]) else None
    minor = ".".join(versions["python"].split(".")[:2])
    return Stack(
        name=Target(versions["transformers"], versions["torch"].partition("+")[0], minor).name,
        date=date.today().isoformat(),
        how="two scripts",
        seconds=round(time.perf_counter() - started),
        versions=versions,
        outcomes=outcomes,
        seen=details,
        scale=scale,
        tests=tests,
    )


def _versions(python: Path) -> dict[str, str]:
    ask = (
        "import json, platform, sys; from importlib.metadata import version; "
        "print(json.dumps({'python': platform.python_version(), **{name: version(name) for name in sys.argv[1:]}}))"
    )
    ran = subprocess.run([str(python), "-c", ask, *LIBRARIES], check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def _run_tests(python: Path) -> str:
    """The result of SameLoop's own tests of identity and of resuming in an environment: pytest's last line."""
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *TESTS]
    ran = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True, timeout=1800)
    counts = ran.stdout.strip().splitlines()[-1].partition(" in ")[0].strip(" =")
    return f"tests of identity and resuming: {counts}"


def keep(stack: Stack) -> None:
    """Add a stack to those that were tested, replacing an earlier result of it, and write docs/versions.md."""
    stacks = {earlier.name: earlier for earlier in tried()} | {stack.name: stack}
    names = ("transformers", "torch", "python")
    ordered = sorted(stacks.values(), key=lambda stack: [numbers(stack.versions[name]) for name in names])
    lines = [json.dumps(entry.model_dump(exclude_defaults=True)) for entry in ordered]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    PAGE.write_text(document(tried()), encoding="utf-8")


# The document ------------------------------------------------------------------------------------------


def document(stacks: Sequence[Stack]) -> str:
    """docs/versions.md."""
    reasons = {environment.name: environment.why for environment in STACKS}
    return page(
        PAGE.name,
        cases=len(CASES) - 1,
        rows=[(stack, "; ".join(filter(None, [reasons.get(stack.name), stack.summary]))) for stack in stacks],
        scales=[stack for stack in stacks if stack.scale is not None],
        renamings=RENAMINGS,
        newer=NEWER_VALUES,
        shown=shown,
    )


# The command -------------------------------------------------------------------------------------------


@click.group()
def versions() -> None:
    """The ejected scripts under other releases of their libraries."""


@versions.command("here")
def _here() -> None:
    """Run every case in this environment, and add it to docs/versions.md."""
    stack = measure(Path(sys.executable))
    keep(stack)
    announce(stack.summary)


@versions.command("page")
def _document() -> None:
    """Write docs/versions.md from the kept results."""
    PAGE.write_text(document(tried()), encoding="utf-8")


@versions.command("measure")
@click.argument("names", nargs=-1)
@click.option("--keep-environments", is_flag=True, help="leave them in .versions, 1 to 6 GB each")
def _measure(names: Sequence[str], keep_environments: bool) -> None:
    """Build the environments whose name contains one of NAMES, or all, run every case in each, and write it."""
    failed = False
    for environment in STACKS:
        if names and not any(name in environment.name for name in names):
            continue
        python = shutil.which(f"python{environment.python}")
        if python is None:
            announce(f"{environment.name}: there is no python{environment.python} here; the earlier result stays")
            continue
        try:
            announce(f"{environment.name}: building")
            inside = build(environment, python)
            announce(f"{environment.name}: running")
            stack = measure(inside)
        except subprocess.SubprocessError as error:
            announce(f"{environment.name}: {error}")
            failed = True
            continue
        keep(stack)
        announce(f"{environment.name}: {stack.summary}")
        if not keep_environments:
            shutil.rmtree(ENVIRONMENTS / environment.name)
    raise SystemExit(failed)


if __name__ == "__main__":
    versions()
