"""Identity under other releases: `make versions` builds an environment for each of `STACKS`, runs both loops in it
under the dials of `CASES`, and writes docs/versions.md.

What was measured is kept in `measured/versions.json`, a stack at a time, so that one can be measured anew alone, and
`sameloop doctor` can say whether the installed stack is among them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import click
from packaging.requirements import Requirement

from shared.progress import announce
from shared.releases import NEWER_VALUES, RENAMINGS, shown
from shared.sources import embedded

ROOT = Path(__file__).parents[2]
MEASURED = Path(__file__).with_name("measured") / "versions.json"
ENVIRONMENTS = ROOT / ".versions"


class Stack(NamedTuple):
    """An environment to try.

    Attributes:
        pins: what pip is asked for besides SameLoop's own dependencies.
        python: of which release.
        why: what it stands for.
    """

    pins: dict[str, str]
    python: str = "3.11"
    why: str = ""

    @property
    def name(self) -> str:
        """For the command line and the folder: `transformers-4.46.3-torch-2.13.0-python-3.11`."""
        return f"transformers-{self.pins['transformers']}-torch-{self.pins['torch']}-python-{self.python}"


def _stack(transformers: str, torch: str = "2.13.0", python: str = "3.11", why: str = "", **others: str) -> Stack:
    return Stack({"transformers": transformers, "torch": torch, **others}, python, why)


STACKS = (
    _stack("4.40.2", why="not in our range: the log and an epoch's shorter last step differ"),
    _stack("4.46.3", why="not in our range: as 4.40, and accumulated gradients are not divided"),
    _stack("4.50.3", why="not in our range: as 4.40"),
    _stack("4.51.3", "2.6.0", why="not in our range: an epoch's shorter last step is not counted"),
    _stack("4.51.3", why="not in our range: an epoch's shorter last step is not counted"),
    _stack("4.57.6", why="not in our range: `Trainer` sets the train mode once more, which the x-ray shows"),
    _stack("5.0.0", why="not in our range: checkpoints are loaded without some weights"),
    _stack("5.2.0", why="not in our range: as 5.0, and accumulated gradients are divided twice"),
    _stack("5.4.0", why="not in our range: as 5.2"),
    _stack("5.6.0", "2.6.0", why="the lowest of our ranges"),
    _stack("5.6.2"),
    _stack("5.8.1"),
    _stack("5.12.1"),
    _stack("5.16.1", why="the evaluation's order is seeded"),
    _stack("5.20.2", python="3.10", why="the last for Python 3.10"),
    _stack("5.20.2"),
    _stack("5.24.0", why="the newest, and what `make` installs"),
    _stack("5.24.0", python="3.12"),
    _stack("5.24.0", python="3.13"),
    _stack("5.24.0", "2.14.1", why="the newest torch of those tried"),
)

# On top of `tiny`: sizes that nothing divides evenly.
UNEVEN = {"num_train_epochs": 2, "train_size": 45, "eval_size": 19}
CASES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"bf16": True},
    "accumulation": {"gradient_accumulation_steps": 2},
    "accumulation with a shorter last step": {"gradient_accumulation_steps": 4},
    "accumulation without the remedy": {"gradient_accumulation_steps": 2, "trainer_defaults": True},
    "warm-up as a share": {"warmup_steps": 0.25},
    "cosine with warm-up": {"lr_scheduler_type": "cosine", "warmup_steps": 3},
    "plateau": {"lr_scheduler_type": "reduce_lr_on_plateau"},
    "greedy": {"lr_scheduler_type": "greedy"},
    "length groups": {"train_sampling_strategy": "group_by_length"},
    "length groups with accumulation": {
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
# Each loop stopped in the middle of an epoch, with losses not logged yet, and gone on with.
RESUMED = {
    "resume": {"logging_strategy": "steps", "logging_steps": 5},
    "resume with accumulation": {"logging_strategy": "steps", "logging_steps": 3, "gradient_accumulation_steps": 2},
    "resume with length groups": {"train_sampling_strategy": "group_by_length"},
}

# What `sameloop eject --trainer` writes for the installed release.
EJECTED = "ejected Trainer script"


# In the environment itself -----------------------------------------------------------------------------


def run_cases() -> dict[str, dict[str, Any]]:
    """Every case, run by the installed releases in this process: `{case: {"verdict": ..., ...}}`."""
    from benchmarks.proofs.parity import _quietly

    return {
        **{name: _quietly(_tried, _run_case, dials) for name, dials in CASES.items()},
        **{name: _quietly(_tried, _run_resumed, dials) for name, dials in RESUMED.items()},
        EJECTED: _quietly(_tried, _run_ejected),
    }


def _tried(run: Callable[..., dict[str, Any]], *dials: dict[str, Any]) -> dict[str, Any]:
    from shared.errors import SameLoopError

    try:
        return run(*dials)
    except SameLoopError as error:
        return {"verdict": "refused", "why": str(error)}
    except Exception as error:  # whatever a release that was not made for this raises is what is to be known
        return {"verdict": "failed", "why": f"{type(error).__name__}: {error}"[:300]}


def _run_case(dials: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.proofs.parity import compare_in_process
    from shared.config import RunConfig

    with tempfile.TemporaryDirectory() as folder:
        comparison = compare_in_process(RunConfig.build("tiny", **{**UNEVEN, **dials}), Path(folder))
        return {**_found(comparison), **_first_step(Path(folder))}


def _first_step(folder: Path) -> dict[str, Any]:
    """The first step's loss and gradient norm by both loops, and whether Trainer rounds what it logs."""
    from shared.recording.record import RunRecord

    records = {loop: RunRecord.read(folder / loop) for loop in ("manual", "trainer")}
    first = {loop: {name: record.steps[0][name] for name in ("loss", "grad_norm")} for loop, record in records.items()}
    logged = [line["loss"] for line in records["trainer"].footer["log_history"] if "loss" in line]
    return {"first_step": first, "rounded": bool(logged) and all(round(loss, 4) == loss for loss in logged)}


def _run_resumed(dials: dict[str, Any]) -> dict[str, Any]:
    import importlib

    from benchmarks.verdict.verdict import compare_runs
    from shared.config import RunConfig
    from shared.running.page import package_page
    from shared.running.run import run_loop

    saving = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": None}
    config = RunConfig.build("tiny", **{**UNEVEN, **saving, **dials})
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for loop in ("manual", "trainer"):
            page = package_page(loop, importlib.import_module(f"{loop}_loop.train"))
            whole, resumed = Path(scratch, loop), Path(scratch, f"{loop}-resumed")
            run_loop(loop, page, config, whole)
            shutil.copytree(whole, resumed)
            (resumed / "model.safetensors").unlink()
            run_loop(loop, page, config, resumed, resume_from_checkpoint=str(resumed / "checkpoint-2"))
            found[loop] = _found(compare_runs(whole, resumed))
            if found[loop]["verdict"] != "identical":
                return {**found[loop], "loop": loop}
        return _found(compare_runs(*(Path(scratch, f"{loop}-resumed") for loop in ("manual", "trainer"))))


def _run_ejected() -> dict[str, Any]:
    """Trainer's script by the names of the installed release, run alone: are its weights those of the page?"""
    import torch
    from safetensors.torch import load_file

    from benchmarks.pages.eject import eject
    from benchmarks.proofs.parity import compare_in_process
    from shared.config import RunConfig
    from shared.running.folder import WEIGHTS_FILE

    config = RunConfig.build("tiny", **UNEVEN, train_sampling_strategy="group_by_length")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        compare_in_process(config, folder)
        (folder / "my_trainer.py").write_text(eject(config, "trainer", file=folder / "my_trainer.py"), "utf-8")
        ran = subprocess.run(
            [sys.executable, "my_trainer.py"], cwd=folder, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            return {"verdict": "failed", "why": ran.stderr.strip().splitlines()[-1][:300]}
        ours, theirs = (load_file(folder / name / WEIGHTS_FILE) for name in ("trainer", "my_trainer"))
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    return {"verdict": "identical" if same else "diverged"}


def _found(comparison: dict[str, Any]) -> dict[str, Any]:
    first = comparison["first_divergence"]
    return {
        "verdict": comparison["verdict"],
        "steps": comparison["steps"],
        "max_abs_diff": comparison["max_abs_diff"],
        "first": first and {name: first.get(name) for name in ("step", "quantity", "manual", "trainer")},
    }


# From outside ------------------------------------------------------------------------------------------


def build(stack: Stack, python: str) -> Path:
    """A virtual environment with the stack in it; returns its Python.

    Raises:
        subprocess.CalledProcessError: uv could not install it; what it printed says why.
    """
    folder = ENVIRONMENTS / stack.name
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--clear", "--python", python, str(folder)], check=True)
    inside = folder / "bin" / "python"
    install = [*uv, "pip", "install", "--python", str(inside)]
    pinned = [f"{name}=={version}" for name, version in stack.pins.items()]
    subprocess.run([*install, *pinned, *_other_dependencies(stack)], check=True)
    subprocess.run([*install, "--no-deps", "--editable", str(ROOT)], check=True)
    assets = folder / "share" / "sameloop"
    assets.mkdir(parents=True)
    for asset in embedded.ASSETS:
        os.link(embedded.locate(asset), assets / embedded.locate(asset).name)
    return inside


def _other_dependencies(stack: Stack) -> list[str]:
    """What SameLoop asks for besides the pins: a release below our range can be tried, too."""
    requirements = [Requirement(text) for text in metadata.requires("sameloop") or []]
    return [
        str(each)
        for each in requirements
        if each.name not in stack.pins and (each.marker is None or each.marker.evaluate({"extra": ""}))
    ]


def measured() -> dict[str, dict[str, Any]]:
    """What has been measured: `{name of the stack: result}`."""
    return json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.is_file() else {}


def keep(name: str, result: dict[str, Any]) -> None:
    """Add a stack's result to what has been measured, and write docs/versions.md."""
    MEASURED.parent.mkdir(exist_ok=True)
    found = {**measured(), name: result}
    MEASURED.write_text(json.dumps(dict(sorted(found.items(), key=_order)), indent=1) + "\n", encoding="utf-8")
    (ROOT / "docs" / "versions.md").write_text(page(measured()), encoding="utf-8")


def _order(item: tuple[str, dict[str, Any]]) -> list[list[int]]:
    versions = item[1]["versions"]
    return [[int(part) for part in re.findall(r"\d+", versions[name])] for name in ("transformers", "torch", "python")]


def result_here(cases: dict[str, dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The cases with what they ran on."""
    names = ("transformers", "torch", "accelerate", "datasets", "tokenizers", "numpy")
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
    return {
        "date": date.today().isoformat(),
        "versions": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "seconds": round(seconds),
        "cases": cases,
    }


# What is said of it ------------------------------------------------------------------------------------


def outcome(found: dict[str, Any]) -> str:
    """`identical`, `log` where only what is logged differs, `diverged`, `refused` or `failed`."""
    if found["verdict"] == "diverged" and not any((found.get("max_abs_diff") or {"": 1}).values()):
        return "log"
    return found["verdict"]


def summary(result: dict[str, Any]) -> str:
    """`21 of 23 identical`, and what the others are, the one without the remedy apart."""
    outcomes = {name: outcome(found) for name, found in result["cases"].items() if name != WITHOUT_REMEDY}
    said = [f"{sum(each == 'identical' for each in outcomes.values())} of {len(outcomes)} identical"]
    for kind, words in OTHERWISE.items():
        names = [name for name, each in outcomes.items() if each == kind]
        if names:
            said.append(f"{words}: {', '.join(names) if len(names) <= 6 else f'{len(names)} cases'}")
    return "; ".join(said)


WITHOUT_REMEDY = "accumulation without the remedy"
OTHERWISE = {
    "log": "every step, evaluation and weight identical, but not the log",
    "diverged": "diverged",
    "refused": "refused",
    "failed": "does not run",
}


def factor(result: dict[str, Any]) -> float | None:
    """The first step's loss by Trainer over that by hand, two batches accumulated, without the remedy."""
    first = result["cases"][WITHOUT_REMEDY].get("first_step")
    return first and first["trainer"]["loss"] / first["manual"]["loss"]


def page(results: dict[str, dict[str, Any]]) -> str:
    """docs/versions.md."""
    total = len(CASES) + len(RESUMED)
    lines = [
        "# Which releases were run",
        "",
        "<!-- made by `make versions` -->",
        "",
        f"Both loops on the `tiny` preset with 45 + 19 reviews and two epochs, under {total - 1} sets of dials that",
        "touch what has changed between releases, three of them stopped in mid-epoch and resumed; then the script",
        "that `sameloop eject --trainer` writes for that release, run alone. `identical` is a difference of exactly",
        "0.0 in every step, evaluation, logged line and weight. Every row was run, on the CPU, in an environment of",
        "its own. `python -m benchmarks.proofs.versions here` adds the one that you have.",
        "",
        "| transformers | torch | Python | beside them | outcome | run |",
        "|---|---|---|---|---|---|",
    ]
    reasons = {stack.name: stack.why for stack in STACKS}
    for name, result in results.items():
        versions = result["versions"]
        beside = ", ".join(f"{name} {versions[name]}" for name in ("accelerate", "datasets", "numpy"))
        said = "; ".join(filter(None, [reasons.get(name), summary(result)]))
        cells = (versions["transformers"], versions["torch"], versions["python"], beside, said)
        lines.append(f"| {' | '.join(cells)} | {result['date']}, {result['seconds']} s |")
    lines += [
        "",
        "## What differs, and why",
        "",
        "| release | what | first difference: by hand and by Trainer |",
        "|---|---|---|",
    ]
    for result in results.values():
        for name, found in result["cases"].items():
            if outcome(found) in ("diverged", "failed") and name != WITHOUT_REMEDY:
                lines.append(f"| {_label(result)} | {name} | {_first(found)} |")
    lines += ["", *_facts(results)]
    return "\n".join(lines) + "\n"


def _label(result: dict[str, Any]) -> str:
    return f"transformers {result['versions']['transformers']}, torch {result['versions']['torch']}"


def _first(found: dict[str, Any]) -> str:
    first = found.get("first")
    if not first:
        return re.sub(r"\x1b\[\d*m", "", found.get("why", "the weights").partition("\n")[0]).replace("|", "\\|")
    whose = f", {found['loop']} loop against itself resumed" if "loop" in found else ""
    return f"step {first['step']}, {first['quantity']}: {first['manual']} and {first['trainer']}{whose}"


def _facts(results: dict[str, dict[str, Any]]) -> list[str]:
    """What the releases do otherwise, each measured where it can be."""
    factors = ", ".join(
        f"{result['versions']['transformers']}: {found:.3g}"
        for result in results.values()
        if (found := factor(result)) is not None
    )
    rounded = [
        result["versions"]["transformers"]
        for result in results.values()
        if any(found.get("rounded") for found in result["cases"].values())
    ]
    return [
        "## What older releases do otherwise",
        "",
        "Known in one place, `shared/releases.py`; the neighbours of the manual page follow it, so that a release is",
        "met by the same loop.",
        "",
        "- **Names.** " + "; ".join(_renaming(each) for each in RENAMINGS) + ".",
        "- **Not there yet.** "
        + "; ".join(f"`{value}` before {shown(since)}" for _, value, since in NEWER_VALUES)
        + ".",
        "- **The loss's scale under accumulation**, without our remedy: the first step's loss by `Trainer` over that",
        f"  by hand, with two batches to a step, measured: {factors}. Where it is 2, DistilBERT's `**kwargs` make",
        "  `Trainer` believe that the model divides its loss itself (huggingface/transformers#47688).",
        "- **Who divides.** From 5.2 to 5.4 `Trainer` with our remedy divides the loss, and accelerate, which is told",
        "  of the accumulation (`num_steps`), does so again in the backward pass. In 4.46 the loss that is logged is",
        "  divided, the gradient not; where it is clipped, that is hard to see.",
        "- **An epoch's last step**, where it has fewer batches, learned before 4.55 as if it had them all. Before",
        "  4.52 it was not counted when the steps were planned, so that the training ended early and the rate fell",
        "  faster.",
        "- **Checkpoints of 5.0 to 5.5.** `save_pretrained` writes the weights of LayerNorm as `gamma` and `beta`;",
        "  `from_pretrained` knows them again, but `Trainer`, which loads them itself to resume and for the best",
        "  model, does not, and goes on without them. Both loops refuse that there, and our range begins with 5.6.",
        f"- **Rounding.** Before 5.0 the training loss is logged with four decimals (seen in {', '.join(rounded)}).",
        "- **The logged learning rate** is the step's own since 4.51; before, that of the step after. The manual loop",
        "  logs its own, so on an older release the log differs.",
        "- **A new head** is drawn otherwise up to 4.50 where `from_pretrained` may ignore weights of other sizes.",
        "- **Evaluation under `group_by_length`**: its order comes from `data_seed` since 5.16; before, from torch's",
        "  global random state, another in every evaluation; up to 4.40 it is as the reviews lie.",
        "- **Resuming.** Before 5.3 the losses since the last log line are a variable of `Trainer`'s loop, not an",
        "  attribute; before 4.50 the best checkpoint is known by its path alone. `trainer_loop/callbacks.py` makes",
        "  up for both. Since 4.52 `Trainer` loads an optimizer's state with torch 2.6 or newer only; the first of",
        "  the releases above do not load their own random state with a torch that new.",
    ]


def _renaming(each: Any) -> str:
    return f"`{each.today}` was `{each.before}` before {shown(each.since)}"


def what_is_known(transformers: str, torch: str, python: str) -> tuple[bool, str]:
    """Whether a stack was run and all was identical, and a sentence on it, for `sameloop doctor`.

    Args:
        transformers, torch, python: the installed versions.
    """
    results = measured().values()
    same = [each for each in results if each["versions"]["transformers"] == transformers]
    ours = (_minor(torch), _minor(python))
    exact = [each for each in same if (_minor(each["versions"]["torch"]), _minor(each["versions"]["python"])) == ours]
    if exact:
        return not _bad(exact[0]), f"run on {exact[0]['date']}: {summary(exact[0])}"
    if same:
        others = ", ".join(f"torch {each['versions']['torch']}, Python {each['versions']['python']}" for each in same)
        return True, f"this transformers was run, with {others}: {summary(same[0])}"
    near = [
        each["versions"]["transformers"]
        for each in results
        if _minor(each["versions"]["transformers"]) == _minor(transformers)
    ]
    if near:
        return True, f"transformers {near[0]} was run, this patch release not"
    known = sorted({each["versions"]["transformers"] for each in results}, key=_numbers)
    return False, f"transformers {transformers} was not run; these were: {', '.join(known)}"


def _bad(result: dict[str, Any]) -> bool:
    kinds = {outcome(found) for name, found in result["cases"].items() if name != WITHOUT_REMEDY}
    return bool(kinds - {"identical", "refused"})


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _minor(version: str) -> list[int]:
    return _numbers(version)[:2]


# The command -------------------------------------------------------------------------------------------


@click.group()
def versions() -> None:
    """Both loops under other releases of what they stand on."""


@versions.command("cases")
def _cases() -> None:
    """Run every case in this environment, and print what came of it as JSON."""
    started = time.perf_counter()
    cases = run_cases()
    click.echo(json.dumps(result_here(cases, time.perf_counter() - started)))


@versions.command("here")
def _here() -> None:
    """Run every case in this environment, and add it to docs/versions.md."""
    started = time.perf_counter()
    result = result_here(run_cases(), time.perf_counter() - started)
    found = result["versions"]
    keep(_stack(found["transformers"], found["torch"], ".".join(found["python"].split(".")[:2])).name, result)
    announce(summary(result))


@versions.command("page")
def _page() -> None:
    """Write docs/versions.md from what has been measured."""
    (ROOT / "docs" / "versions.md").write_text(page(measured()), encoding="utf-8")


@versions.command("measure")
@click.argument("names", nargs=-1)
@click.option("--keep-environments", is_flag=True, help="leave them in .versions, 1 to 6 GB each")
def _measure(names: Sequence[str], keep_environments: bool) -> None:
    """Build the environments whose name contains one of NAMES, or all, run every case in each, and write the page."""
    failed = []
    for stack in STACKS:
        if names and not any(name in stack.name for name in names):
            continue
        python = shutil.which(f"python{stack.python}")
        if python is None:
            announce(f"{stack.name}: there is no python{stack.python} here; what was measured before stays")
            continue
        announce(f"{stack.name}: building")
        try:
            inside = build(stack, python)
            announce(f"{stack.name}: running")
            command = [str(inside), "-m", "benchmarks.proofs.versions", "cases"]
            quiet = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=1800, env=quiet)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            announce(f"{stack.name}: {error}")
            failed.append(stack.name)
            continue
        result = json.loads(ran.stdout.splitlines()[-1])
        keep(stack.name, result)
        announce(f"{stack.name}: {summary(result)}")
        if not keep_environments:
            shutil.rmtree(ENVIRONMENTS / stack.name)
    raise SystemExit(min(len(failed), 1))


if __name__ == "__main__":
    versions()
