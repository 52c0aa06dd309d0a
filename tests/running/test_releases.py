"""Older releases of transformers: their names, what they lack, and which stacks were run."""

from __future__ import annotations

import ast
import difflib
import inspect
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
import transformers
from conftest import run_in_process
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from safetensors.torch import save_file

from benchmarks import doctor, stacks
from benchmarks.cli import main
from benchmarks.pages.eject import eject
from benchmarks.proofs import versions
from shared import releases
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.releases import (
    INSTALLED,
    OLDEST_TO_RUN,
    RENAMINGS,
    check_installed,
    check_release,
    in_release,
    release_of,
)

NEWEST, OLD = (5, 24), (4, 40)


def eject_for(release: tuple[int, int], **settings: object) -> list[str]:
    config = RunConfig.build("tiny", **{"save_strategy": "no", **settings})
    return eject(config, "trainer", release=release).splitlines()


def renamed_lines(**settings: object) -> list[tuple[str, str]]:
    """The lines in which the Trainer script for an old release is not that for a new one, in pairs."""
    old, new = eject_for(OLD, **settings), eject_for(NEWEST, **settings)
    changed = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
    pairs = zip(changed[::2], changed[1::2], strict=True)
    return [(first[2:].strip(), second[2:].strip()) for first, second in pairs]


def test_the_tutorials_script_in_its_two_spellings_differs_in_the_renamed_arguments_alone() -> None:
    assert renamed_lines() == [
        ('evaluation_strategy="epoch",', 'eval_strategy="epoch",'),
        ("tokenizer=tokenizer,", "processing_class=tokenizer,"),
    ]


def test_every_other_argument_that_was_renamed() -> None:
    settings = {"train_sampling_strategy": "group_by_length", "gradient_checkpointing": True, "warmup_steps": 0.1}
    assert set(renamed_lines(**settings)) - set(renamed_lines()) == {
        ("group_by_length=True,", 'train_sampling_strategy="group_by_length",'),
        ("gradient_checkpointing=True,", "activation_checkpointing=True,"),
        ("warmup_ratio=0.1,", "warmup_steps=0.1,"),
    }
    assert "warmup_steps=3," in "".join(eject_for(OLD, warmup_steps=3))


def test_without_a_release_the_installed_ones_names_are_written() -> None:
    config = RunConfig.build("tiny", save_strategy="no")
    assert eject(config, "trainer").splitlines() == eject_for(INSTALLED)


def test_the_installed_release_has_the_names_that_the_table_gives_it() -> None:
    """`dtype` is no parameter of `from_pretrained` by name."""
    for renaming in RENAMINGS:
        if renaming.owner == "from_pretrained":
            continue
        parameters = inspect.signature(getattr(transformers, renaming.owner)).parameters
        (name,) = in_release(renaming.owner, {renaming.today: renaming.default})
        assert name in parameters
        if renaming.value is None and renaming.since <= INSTALLED:
            assert parameters[renaming.today].default in (renaming.default, None)


def test_todays_release_is_used_as_it_is() -> None:
    renamed = {renaming.owner for renaming in RENAMINGS if renaming.since > INSTALLED}
    ours = releases.TrainingArguments
    assert (ours is transformers.TrainingArguments) == ("TrainingArguments" not in renamed)
    with pytest.raises(AttributeError, match="no attribute 'Trainr'"):
        _ = releases.Trainr


@pytest.mark.parametrize(
    ("settings", "release", "said"),
    [
        (
            {"train_sampling_strategy": "sequential"},
            (5, 1),
            "sequential: transformers has it since 5.2, and this is 5.1",
        ),
        (
            {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 2}},
            (4, 48),
            "--lr-scheduler-type warmup_stable_decay: transformers has it since 4.49",
        ),
        (
            {"lr_scheduler_type": "inverse_sqrt", "lr_scheduler_kwargs": {"timescale": 2}},
            (5, 3),
            "--lr-scheduler-kwargs timescale: transformers has it since 5.4, and this is 5.3",
        ),
        ({"lr_scheduler_type": "greedy"}, (4, 57), "--lr-scheduler-type greedy: transformers has it since 5.4"),
        (
            {"load_best_model_at_end": True, "save_strategy": "epoch"},
            (5, 5),
            "transformers 5.5 loads a checkpoint without",
        ),
    ],
)
def test_what_a_release_does_not_have_yet_is_one_line(settings: dict, release: tuple[int, int], said: str) -> None:
    config = RunConfig.build("tiny", **settings)
    check_release(config.settings, NEWEST)
    with pytest.raises(SameLoopError, match=said):
        check_release(config.settings, release)


def test_a_release_below_our_range_is_refused_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lowest = next(bound.version for bound in our_ranges()["transformers"] if bound.operator == ">=")
    assert release_of(lowest) == OLDEST_TO_RUN
    check_installed()
    check_installed(OLDEST_TO_RUN)
    monkeypatch.setattr(check_installed, "__defaults__", ((5, 5),))
    with pytest.raises(SameLoopError, match=r"transformers 5\.5 is installed, and SameLoop runs on 5\.6 or newer"):
        run_in_process("manual", RunConfig.build("tiny"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_loop_by_hand_follows_what_a_release_does() -> None:
    settings = {"train_sampling_strategy": "group_by_length", "gradient_checkpointing": True, "save_strategy": "no"}
    config = RunConfig.build("tiny", **settings)
    scripts = {release: eject(config, release=release) for release in (NEWEST, (5, 22), (5, 15))}
    seeded = "eval_sampler = LengthGroupedSampler(eval_dataset, 8, 42)"
    assert [seeded in source for source in scripts.values()] == [True, True, False]
    assert ["model.gradient_checkpointing_enable()" in source for source in scripts.values()] == [False, True, True]


@pytest.mark.parametrize("text", ["new", "4", "4.39.3", "3.5.1", ""])
def test_a_release_that_is_none_is_one_line(text: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SameLoopError, match=r"the oldest is 4\.40"):
        release_of(text)
    if text:
        assert main(["eject", "--preset", "tiny", "--trainer", "--transformers", text]) == 2
        assert "the oldest is 4.40" in capsys.readouterr().err


def test_a_release_is_for_the_trainer_script_alone(capsys: pytest.CaptureFixture) -> None:
    assert main(["eject", "--preset", "tiny", "--transformers", "4.46"]) == 2
    assert "add --trainer" in capsys.readouterr().err


# What was run -------------------------------------------------------------------------------------


def our_ranges() -> dict[str, SpecifierSet]:
    return {needs.name: needs.specifier for needs in map(Requirement, metadata.requires("sameloop") or [])}


def test_the_page_is_what_was_measured() -> None:
    assert versions.PAGE.read_text(encoding="utf-8") == versions.document(stacks.tried())


def test_enough_stacks_were_run() -> None:
    tried = stacks.tried()
    assert [stack.name for stack in tried] == [stack.name for stack in versions.STACKS]
    of = {name: {stack.versions[name] for stack in tried} for name in ("transformers", "torch", "python")}
    assert len(of["transformers"]) >= 8
    assert len({version.partition("+")[0] for version in of["torch"]}) >= 3
    assert len({version.rpartition(".")[0] for version in of["python"]}) >= 3


def test_every_stack_is_as_it_must_be() -> None:
    """In our range all is identical, and both ways are proven; below, every script that eject writes runs."""
    ways = set()
    for tried in stacks.tried():
        ours = versions.is_ours(tried.versions["transformers"])
        ways.add((ours, tried.how))
        if ours:
            assert tried.fine and set(tried.outcomes) >= set(versions.CASES), tried.name
            assert (tried.how == "both loops") == (tried.tests is None), tried.name
        if tried.how == "two scripts":
            assert list(tried.outcomes) == list(versions.CASES), tried.name
            assert "failed" not in tried.outcomes.values(), tried.name
            assert tried.outcomes["fp32"] == "identical", tried.name
        else:
            assert tried.outcomes["ejected Trainer script"] != "failed", tried.name
    assert {(True, "two scripts"), (False, "two scripts")} <= ways


def test_the_lowest_of_our_range_was_run() -> None:
    ranges = our_ranges()
    for library in ("transformers", "torch"):
        (lowest,) = (Version(bound.version) for bound in ranges[library] if bound.operator == ">=")
        tried = {Version(stack.versions[library]) for stack in stacks.tried()}
        assert any(version.release[:2] == lowest.release[:2] for version in tried), library


@pytest.mark.slow
def test_both_scripts_run_by_themselves_and_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this environment, half a minute; without the remedy they differ, which shows that a difference is seen."""
    cases = {name: versions.CASES[name] for name in ("fp32", stacks.WITHOUT_REMEDY)}
    monkeypatch.setattr(versions, "CASES", cases)
    outcomes, versions_run, scale = versions.run_scripts(Path(sys.executable), INSTALLED)
    assert outcomes == {"fp32": "identical", stacks.WITHOUT_REMEDY: "diverged"}
    assert list(versions_run) == [stacks.WITHOUT_REMEDY]
    assert scale == pytest.approx(2, abs=0.02)


def test_the_scripts_import_nothing_of_ours(tmp_path: Path) -> None:
    brought = versions._user_files(tmp_path)
    for loop, file in versions.SCRIPTS.items():
        source = eject(RunConfig.build("tiny", **brought), loop, file=tmp_path / file, release=(4, 46))
        imported = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        }
        assert imported <= {"datasets", "functools", "torch", "transformers"}


def left_by(folder: Path, file: str, weights: dict[str, list[float]], printed: str) -> None:
    """What a script leaves in its folder."""
    (folder / f"{file}.txt").write_text(printed)
    saved = folder / Path(file).stem
    saved.mkdir(exist_ok=True)
    save_file({name: torch.tensor(values) for name, values in weights.items()}, saved / "model.safetensors")


def test_what_two_scripts_leave_is_compared(tmp_path: Path) -> None:
    (tmp_path / "by_hand.py.txt").write_text("Traceback\nValueError: no")
    assert versions._compare_weights(tmp_path) == ("failed", "by_hand.py: ValueError: no")
    weights = {"head": [1.0, 2.0], "body": [3.0]}
    left_by(tmp_path, "by_hand.py", weights, "Map: 100%\n{'loss': 0.5, 'grad_norm': 0.25, 'step': 1}\n")
    left_by(tmp_path, "through_trainer.py", weights, "\r 0%|  |{'loss': '0.5', 'grad_norm': '0.5'}\n{'loss': 9}")
    assert versions._compare_weights(tmp_path) == ("identical", "")
    assert versions._scale(tmp_path) == 2
    left_by(tmp_path, "through_trainer.py", {**weights, "body": [3.5]}, "no line of a log")
    assert versions._compare_weights(tmp_path) == ("diverged", "1 of 2 tensors of weights, by 0.5 at most")
    assert versions._scale(tmp_path) is None
    left_by(tmp_path, "through_trainer.py", {"head": [1.0, 2.0]}, "")
    assert versions._compare_weights(tmp_path) == ("diverged", "tensors of one alone: body")


def stack(transformers: str, torch: str, python: str, outcome: str = "identical") -> stacks.Stack:
    return stacks.Stack(
        name="",
        date="2026-01-01",
        how="two scripts",
        seconds=1,
        versions={"transformers": transformers, "torch": torch, "python": python},
        outcomes={"fp32": outcome, stacks.WITHOUT_REMEDY: "diverged"},
    )


def test_doctor_says_whether_the_stack_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = [stack("5.0.0", "2.13.0+cpu", "3.11.2"), stack("5.1.0", "2.13.0", "3.11.2", "diverged")]
    monkeypatch.setattr(stacks, "tried", lambda: tried)
    assert stacks.what_is_known("5.0.0", "2.13.1", "3.11.9") == (True, "tested on 2026-01-01: 1 of 1 identical")
    fine, detail = stacks.what_is_known("5.1.0", "2.13.0", "3.11.2")
    assert not fine and "diverged: fp32" in detail
    fine, detail = stacks.what_is_known("5.0.0", "2.6.0", "3.12.1")
    assert fine and "this transformers was tested with torch 2.13.0+cpu, Python 3.11.2" in detail
    assert stacks.what_is_known("5.0.3", "2.13.0", "3.11.2") == (
        True,
        "transformers 5.0.0 was tested, this patch release was not",
    )
    assert stacks.what_is_known("4.9.0", "2.13.0", "3.11.2") == (
        False,
        "transformers 4.9.0 was not tested; these were: 5.0.0, 5.1.0",
    )


def test_a_test_that_fails_in_a_stack_is_told() -> None:
    failed = stack("5.6.0", "2.6.0", "3.11.2").model_copy(update={"tests": "tests: 1 failed, 2 passed"})
    assert not failed.fine and failed.summary.endswith("; tests: 1 failed, 2 passed")


def test_doctor_names_what_is_outside_our_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.outside_our_ranges() == []
    requirements = [
        "click>=99",
        "no-such-library>=1",
        "rich>=1",
        "tomli>=9; python_version < '3'",
        "pytest>=99; extra == 'test'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    installed = metadata.version("click")
    assert doctor.outside_our_ranges() == [
        f"click: {installed}, where SameLoop requires >=99",
        "no-such-library: missing, where SameLoop requires >=1",
    ]
