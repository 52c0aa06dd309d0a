"""What people bring: nothing silent, no status 70, and the table in the docs is this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.proofs.situations import ALONE, GITHUB, HANDLED, ONE_LINE, SITUATIONS, Outcome, _outcome, try_situation

PAGE = Path(__file__).parents[2] / "docs/situations.md"
REFUSED = [name for name, situation in SITUATIONS.items() if situation.expected == ONE_LINE]


def test_the_table_is_long_enough_and_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [(each.what, each.origin) for each in SITUATIONS.values()]
    rows += [(what, origin) for what, origin, _, _ in ALONE.values()]
    assert len(rows) >= 60
    for what, origin in rows:
        assert f"| {what} | " in text and f"({GITHUB}{origin})" in text
    assert f"{len(rows)} situations" in text and "**" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_one_line(name: str) -> None:
    """All of them about half a minute; most are in test_readers.py and test_models.py, too."""
    assert try_situation(name).what == ONE_LINE


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SITUATIONS if name not in REFUSED])
def test_handled(name: str) -> None:
    """All of them about half a minute; most are in test_readers.py and test_models.py, too."""
    assert try_situation(name).what == HANDLED


def test_a_fault_would_be_seen() -> None:
    assert _outcome(70, ["sameloop: error: this should not happen"], "").what == "status 70, 1 lines"
    assert _outcome(2, ["sameloop: error: a", "UserWarning: b"], "").what == "status 2, 1 lines"
    assert _outcome(0, ["· loading"], "2 classes").what == "handled, without saying `2 classes`"
    assert _outcome(2, ["sameloop: error: a"], "a") == Outcome(ONE_LINE, "a")
