"""What a check adds to a comparison that has diverged: each step of the loop, held against the right one.

A comparison knows where two whole runs diverge; what comes after has inherited the difference. A check does every step
again, rightly, from where the loop stands, so it can tell a loop's own mistakes from what follows from them.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.check.check import check
from benchmarks.check.formats import evidence
from benchmarks.check.job import OWN_SETTINGS
from benchmarks.check.rubric import FAIL, GOOD, Result
from shared.config import RunConfig

# The check's own are none that a loop has in it by chance.
FIXED_BY_CHECK = ("seed", "learning_rate")


def check_diverged(loop: Path, config: RunConfig) -> Result:
    """Check the loop of a comparison.

    Args:
        loop: the file that ran.
        config: what it ran with. Of its arguments the check's small job has those that a check takes.
    """
    return check(loop, {name: getattr(config, name) for name in OWN_SETTINGS if name not in FIXED_BY_CHECK})


def cause_sentences(result: Result) -> list[str]:
    """A sentence for each part of the loop that is wrong; one that says so where none is."""
    if result.verdict in GOOD:
        return [
            "step by step, on a check's small job, every part of your loop is right: look at what this run has that "
            "the check has not, its other arguments, its data, its device"
        ]
    wrong = [f"{row['item']}, {evidence(row)}" for row in result.rubric if row["status"] == FAIL]
    return [f"step by step, on a check's small job: {cause}" for cause in wrong or [result.why]]
