"""Older releases of transformers: their names, what they lack, and which stacks were run."""

from __future__ import annotations

import difflib
import inspect
from importlib import metadata

import pytest
import transformers
from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks import doctor
from benchmarks.cli import main
from benchmarks.pages.eject import eject
from benchmarks.proofs import versions
from shared import releases
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.releases import INSTALLED, RENAMINGS, check_release, in_release, release_of

NEWEST, OLD = (5, 24), (4, 40)


def eject_for(release: tuple[int, int], **dials: object) -> list[str]:
    config = RunConfig.build("tiny", **{"save_strategy": "no", **dials})
    return eject(config, "trainer", release=release).splitlines()


def renamed_lines(**dials: object) -> list[tuple[str, str]]:
    """The lines in which the Trainer script for an old release is not that for a new one, in pairs."""
    old, new = eject_for(OLD, **dials), eject_for(NEWEST, **dials)
    changed = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
    pairs = zip(changed[::2], changed[1::2], strict=True)
    return [(first[2:].strip(), second[2:].strip()) for first, second in pairs]


def test_the_tutorials_script_in_its_two_spellings_differs_in_the_renamed_arguments_alone() -> None:
    assert renamed_lines() == [
        ('evaluation_strategy="epoch",', 'eval_strategy="epoch",'),
        ("tokenizer=tokenizer,", "processing_class=tokenizer,"),
    ]


def test_every_other_argument_that_was_renamed() -> None:
    dials = {"train_sampling_strategy": "group_by_length", "gradient_checkpointing": True, "warmup_steps": 0.1}
    assert set(renamed_lines(**dials)) - set(renamed_lines()) == {
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
    for each in RENAMINGS:
        if each.owner == "from_pretrained":
            continue
        parameters = inspect.signature(getattr(transformers, each.owner)).parameters
        (name,) = in_release(each.owner, {each.today: each.default})
        assert name in parameters
        if each.value is None and each.since <= INSTALLED:
            assert parameters[each.today].default in (each.default, None)


def test_todays_release_is_used_as_it_is() -> None:
    renamed = {each.owner for each in RENAMINGS if each.since > INSTALLED}
    for name in ("Trainer", "TrainingArguments"):
        assert (getattr(releases, name) is getattr(transformers, name)) == (name not in renamed)
    with pytest.raises(AttributeError, match="no attribute 'Trainr'"):
        _ = releases.Trainr


@pytest.mark.parametrize(
    ("dials", "release", "said"),
    [
        (
            {"train_sampling_strategy": "sequential"},
            (5, 1),
            "sequential: transformers has it since 5.2, and this is 5.1",
        ),
        ({"lr_scheduler_type": "greedy"}, (4, 57), "--lr-scheduler-type greedy: transformers has it since 5.4"),
        (
            {"load_best_model_at_end": True, "save_strategy": "epoch"},
            (5, 5),
            "transformers 5.5 loads a checkpoint without",
        ),
    ],
)
def test_what_a_release_does_not_have_yet_is_one_line(dials: dict, release: tuple[int, int], said: str) -> None:
    config = RunConfig.build("tiny", **dials)
    check_release(config.dials, NEWEST, resumes=True)
    with pytest.raises(SameLoopError, match=said):
        check_release(config.dials, release)


def test_resuming_is_refused_where_weights_would_be_lost() -> None:
    dials = RunConfig.build("tiny").dials
    for release in ((4, 57), (5, 6)):
        check_release(dials, release, resumes=True)
    check_release(dials, (5, 0))
    with pytest.raises(SameLoopError, match=r"transformers 5\.0 loads a checkpoint without"):
        check_release(dials, (5, 0), resumes=True)


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


def test_the_page_is_what_was_measured() -> None:
    text = (versions.ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    assert text == versions.page(versions.measured())


def test_enough_stacks_were_run() -> None:
    results = versions.measured().values()
    of = {name: {each["versions"][name] for each in results} for name in ("transformers", "torch", "python")}
    assert len(of["transformers"]) >= 8
    assert len({each.partition("+")[0] for each in of["torch"]}) >= 3
    assert len({each.rpartition(".")[0] for each in of["python"]}) >= 3


def test_in_our_range_every_stack_is_identical_throughout() -> None:
    """The script that eject writes for it ends with the same weights, too; below our range it runs."""
    ranges = {each.name: each.specifier for each in map(Requirement, metadata.requires("sameloop") or [])}
    for name, result in versions.measured().items():
        outcomes = {case: versions.outcome(found) for case, found in result["cases"].items()}
        assert outcomes[versions.EJECTED] != "failed", name
        del outcomes[versions.WITHOUT_REMEDY]
        if result["versions"]["transformers"] in ranges["transformers"]:
            assert set(outcomes.values()) <= {"identical", "refused"}, name


def test_the_lowest_of_our_range_was_run() -> None:
    ranges = {each.name: each.specifier for each in map(Requirement, metadata.requires("sameloop") or [])}
    for library in ("transformers", "torch"):
        (lowest,) = (Version(each.version) for each in ranges[library] if each.operator == ">=")
        tried = {Version(each["versions"][library]) for each in versions.measured().values()}
        assert any(each.release[:2] == lowest.release[:2] for each in tried), library


def result(transformers: str, torch: str, python: str, verdict: str = "identical") -> dict:
    cases = {
        "fp32": {"verdict": verdict, "max_abs_diff": {"loss": 1.0}},
        versions.WITHOUT_REMEDY: {"verdict": "diverged"},
    }
    found = {"transformers": transformers, "torch": torch, "python": python}
    return {"versions": found, "date": "2026-01-01", "cases": cases}


def test_doctor_says_whether_the_stack_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {"a": result("5.0.0", "2.13.0+cpu", "3.11.2"), "b": result("5.1.0", "2.13.0", "3.11.2", "diverged")}
    monkeypatch.setattr(versions, "measured", lambda: results)
    assert versions.what_is_known("5.0.0", "2.13.1", "3.11.9") == (True, "run on 2026-01-01: 1 of 1 identical")
    fine, said = versions.what_is_known("5.1.0", "2.13.0", "3.11.2")
    assert not fine and "diverged: fp32" in said
    fine, said = versions.what_is_known("5.0.0", "2.6.0", "3.12.1")
    assert fine and "this transformers was run, with torch 2.13.0+cpu, Python 3.11.2" in said
    assert versions.what_is_known("5.0.3", "2.13.0", "3.11.2") == (
        True,
        "transformers 5.0.0 was run, this patch release not",
    )
    assert versions.what_is_known("4.9.0", "2.13.0", "3.11.2") == (
        False,
        "transformers 4.9.0 was not run; these were: 5.0.0, 5.1.0",
    )


def test_doctor_names_what_is_outside_our_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.outside_our_ranges() == []
    asked = [
        "click>=99",
        "no-such-library>=1",
        "rich>=1",
        "tomli>=9; python_version < '3'",
        "pytest>=99; extra == 'test'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    installed = metadata.version("click")
    assert doctor.outside_our_ranges() == [
        f"click: {installed}, where we ask for >=99",
        "no-such-library: missing, where we ask for >=1",
    ]
