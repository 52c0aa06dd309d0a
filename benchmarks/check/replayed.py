"""Check a loop after a comparison that has diverged: compare each of its steps with the right one.

A comparison knows where two whole runs diverge; everything after that has inherited the difference. A check computes
every step again from the loop's own state, so it can separate a loop's own mistakes from their consequences.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.check.check import check
from benchmarks.check.formats import evidence
from benchmarks.check.job import OWN_SETTINGS
from benchmarks.check.rubric import FAIL, GOOD, Result
from shared.config import RunConfig

# A check has its own values of these, which nobody hard-codes by chance.
FIXED_BY_CHECK = ("seed", "learning_rate")


def check_diverged(loop: Path, config: RunConfig) -> Result:
    """Check the loop of a comparison.

    Args:
        loop: the file that ran.
        config: the arguments that it ran with. The check's small job has those of them that a check accepts.
    """
    return check(loop, {name: getattr(config, name) for name in OWN_SETTINGS if name not in FIXED_BY_CHECK})


def cause_sentences(result: Result) -> list[str]:
    """A sentence for each part of the loop that is wrong, or one that says that none is."""
    if result.verdict in GOOD:
        return [
            "step by step, on a check's small job, every part of your loop is right: look at what this run has and "
            "the check has not: its other arguments, its data, its device"
        ]
    wrong = [f"{row['item']}, {evidence(row)}" for row in result.rubric if row["status"] == FAIL]
    return [f"step by step, on a check's small job: {cause}" for cause in wrong or [result.why]]
