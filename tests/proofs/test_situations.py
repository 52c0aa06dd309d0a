"""What people bring: the table in the docs is this one, and the run comes to its end where it is to.

What is refused is in test_bad_input.py, what is read in test_readers.py, models in test_models.py.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.proofs.odd.inputs import Odd
from benchmarks.proofs.odd.running import EXPECTED, HANDLED, ONE_LINE, FinishedRun, Outcome, outcome, try_input
from benchmarks.proofs.situations import GITHUB, SITUATIONS, TABLE

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_long_enough_and_the_document_up_to_date() -> None:
    assert len({odd.description for odd in TABLE}) == len(TABLE) >= 200
    assert len(SITUATIONS) >= 76
    with (DOCS / "data" / "situations.csv").open(encoding="utf-8", newline="") as file:
        rows = [row[:3] for row in csv.reader(file)]
    assert rows[1:] == [[odd.description, f"{GITHUB}{odd.origin}", EXPECTED[odd.status]] for odd in SITUATIONS]
    text = (DOCS / "situations.md").read_text(encoding="utf-8")
    assert f"{len(SITUATIONS)} situations" in text and ", 0 in anything else" in text


@pytest.mark.slow
@pytest.mark.parametrize("odd", [odd for odd in SITUATIONS if not odd.status], ids=lambda odd: odd.description)
def test_handled(odd: Odd, tmp_path: Path) -> None:
    """All of them about half a minute."""
    assert try_input(odd, tmp_path).kind == HANDLED


def test_a_fault_would_be_seen() -> None:
    def kind_of(status: int, *messages: str, printed: str = "", expected: tuple[str, ...] = ()) -> str:
        return outcome(FinishedRun(status, list(messages), printed), expected).kind

    assert kind_of(70, "sameloop: error: this should not happen") == "status 70, 1 lines"
    assert kind_of(2, "sameloop: error: a", "UserWarning: b") == "status 2, 1 lines"
    assert kind_of(2, "sameloop: error: a", printed="b") == "status 2, 1 lines"
    assert kind_of(2, "sameloop: error: a", expected=("a", "b")) == "one line, without saying `b`"
    assert kind_of(0, "· loading", expected=("2 classes",)) == "handled, without saying `2 classes`"
    assert outcome(FinishedRun(2, ["sameloop: error: a"], ""), ("a",)) == Outcome(ONE_LINE, "a")
