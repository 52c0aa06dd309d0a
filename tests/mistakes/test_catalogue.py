"""The one list of mistakes: each edit applies, and every phase, every item and every cause has an entry."""

from __future__ import annotations

import ast
import csv
import json
import re
from pathlib import Path

import pytest

from benchmarks.check.rubric import ITEMS
from benchmarks.judge import batches, causes, losses, randomness, reported, ways
from benchmarks.judge.finding import PHASE_OF_TOPIC
from benchmarks.judge.phases import PHASES
from benchmarks.mistakes.catalogue import GALLERY, LADDER_STEPS, MISTAKES, QUESTIONS
from benchmarks.mistakes.mistake import MINIMAL, Mistake, Pieces, edited, right_script, wrong_script
from benchmarks.mistakes.rewrites import REWRITES
from benchmarks.proofs.gallery import COLUMNS, COSTS, PAGE, TABLE, document
from shared.running.script import own_script, package_script

DOCUMENT = PAGE.read_text(encoding="utf-8")
with (PAGE.parent / "data" / f"{TABLE}.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))
MODULES = (batches, causes, losses, randomness, reported, ways)
# What a comparison can find that no edit of a script causes, and why.
NOT_OF_A_SCRIPT = {
    "environment.config": "two runs, not a script",
    "environment.processes": "two runs, not a script",
    "environment.not_reproducible": "a GPU or torch.compile",
    "loss.upstream": "Trainer's, not the script's: tests/test_equivalence.py",
    "backward.not_decided": "not decided",
    "batch.not_decided": "not decided: records that do not tell more",
    "clip.not_decided": "not decided",
    "mode.not_decided": "not decided: records that do not tell more",
    "schedule.not_decided": "not decided: records that do not tell more",
    "mode.other": "Trainer trains in train mode, so that a mode that differs is eval",
    "evaluate.loss": "of equal batches: the model itself would have to change",
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_an_edit_applies_to_its_script_and_changes_it(mistake: Mistake) -> None:
    before, after = right_script(mistake), wrong_script(mistake)
    assert not (mistake.pieces and mistake.whole)
    if mistake.pieces or mistake.whole:
        assert after.source != before.source
        if mistake.name != "syntax":
            compile(after.source, mistake.name, "exec")
    else:
        assert mistake.question


@pytest.mark.parametrize("pieces", REWRITES.values(), ids=REWRITES)
def test_a_rewrite_applies(pieces: Pieces) -> None:
    script = package_script("manual")
    assert edited(script, pieces).source != script.source


def test_an_edit_that_no_longer_applies_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 times, not once"):
        own_script(MINIMAL).edited("a line that is not there", "")


def test_every_mistake_is_there_once() -> None:
    every = list(MISTAKES.values())
    assert all(name == mistake.name for name, mistake in MISTAKES.items())
    assert len({mistake.what for mistake in every}) == len(every)
    edits = [(mistake.setting, mistake.pieces, mistake.whole, mistake.compared_settings.items()) for mistake in every]
    assert all(edits.count(edit) == 1 for edit in edits)
    asked = [mistake.phase for mistake in every if mistake.question]
    assert len(asked) == len(set(asked)) == len(QUESTIONS)
    places = [fix.step.place for fix in LADDER_STEPS.values() if fix.step]
    assert places == list(range(1, len(LADDER_STEPS) + 1))


def test_what_people_have_made_is_seen_by_a_check_in_one_phase() -> None:
    assert len(GALLERY) >= 35
    for mistake in GALLERY.values():
        assert mistake.pieces and len(mistake.fails) == 1 and mistake.compared


def test_every_item_of_the_rubric_has_a_mistake_that_fails_it() -> None:
    assert {mistake.phase for mistake in MISTAKES.values()} <= {phase.name for phase in PHASES}
    failed = {item for mistake in MISTAKES.values() for item in mistake.fails}
    # On a CPU, where a check runs, everything is in one memory.
    assert failed == set(ITEMS) - {"device"}
    assert "device" in {mistake.phase for mistake in MISTAKES.values()}


def codes() -> set[str]:
    """Every code that the judge's modules can give a finding."""
    texts = [Path(module.__file__).read_text(encoding="utf-8") for module in MODULES]
    constants = [node.value for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    named = [value for value in constants if isinstance(value, str) and re.fullmatch(r"[a-z]+\.[a-z_]+", value)]
    return {value for value in named if value.partition(".")[0] in PHASE_OF_TOPIC}


def test_every_cause_is_the_cause_of_a_mistake() -> None:
    """In the table of findings, or in tests/verdict/test_findings.py."""
    elsewhere = (Path(__file__).parents[1] / "verdict" / "test_findings.py").read_text(encoding="utf-8")
    assert len(codes()) > 60
    listed = {code for row in ROWS for column in COLUMNS[-2:] for code in row[column].split(", ")}
    unlisted = {code for code in codes() - listed if f'"{code}"' not in elsewhere}
    assert unlisted == set(NOT_OF_A_SCRIPT)


def test_the_table_has_every_mistake_and_what_was_found_is_what_must_be() -> None:
    listed = [tuple(row[column] for column in COLUMNS[:2]) for row in ROWS]
    compared = [mistake for mistake in MISTAKES.values() if mistake.compared]
    rewrites = [("a right rewrite", what) for what in REWRITES]
    assert listed == [(mistake.name, mistake.what) for mistake in compared] + rewrites, "run `make gallery-page`"
    for row, mistake in zip(ROWS, compared, strict=False):
        expected = mistake.compared
        assert expected.stopped or expected.where in row["first difference"], mistake.name
        assert row["sameloop compare finds"] == ", ".join(filter(None, (expected.code, *expected.also))), mistake.name
        assert row["sameloop check finds"].startswith(mistake.checked), mistake.name
    assert not any("WRONG" in value for row in ROWS for value in row.values())
    assert all(row["first difference"] == "identical" for row in ROWS[len(compared) :])


def test_the_page_has_the_costs_that_were_measured_last() -> None:
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    assert set(costs["mistakes"]) == set(GALLERY)
    assert DOCUMENT.startswith(document(costs, [], []).split("## What finds them")[0]), "run `make gallery-page`"
