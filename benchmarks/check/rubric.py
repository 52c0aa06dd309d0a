"""The result of a check: per phase the evidence, a cause in words, and a question that leads to the wrong line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.judge.finding import Finding
from benchmarks.judge.phases import BY_NAME

# The phases by which a loop is judged, in the order of the rubric.
ITEMS = (
    "seed",
    "shuffle",
    "batch",
    "collator",
    "device",
    "train mode",
    "forward",
    "loss",
    "backward",
    "clip",
    "step",
    "optimizer",
    "schedule step",
    "zero",
    "evaluate",
)
HINTS = {item: BY_NAME[item].hint for item in ITEMS}
PASS, FAIL, NOT_REACHED, OPEN = "pass", "fail", "not reached", "open"
IDENTICAL, EQUIVALENT, DIFFERENT = "identical", "equivalent", "different"
UNFINISHED, FAILED = "unfinished", "failed"
GOOD = (IDENTICAL, EQUIVALENT)
# Findings without a row of their own are shown in this row.
ITEM_OF = {"model": "step", "weights": "step"}


@dataclass
class Result:
    """The result of checking a loop.

    Attributes:
        name: the file's name.
        verdict: `identical`: every step is bit-identical to the right one; `equivalent`: equal up to rounding;
            `different`; `unfinished`: gaps are still open; `failed`: it could not be judged to the end.
        rubric: a row per item: `item`, `status`, the finding's `code` and `cause`, `step`, `student`, `right`,
            `points`, `most`.
        score: the points.
        seconds: the duration of the loop's process, imports included.
        why: the reason why a loop failed or is unfinished, in one sentence.
        peak_mb: its peak memory, in MB.
        rounding: the largest relative difference that counts as rounding.
        output: the beginning and the end of what the loop printed.
        traceback: of its crash; empty if it did not crash.
        smallest: for each item the relative difference that caused a finding.
    """

    name: str
    verdict: str
    rubric: list[dict[str, Any]]
    score: float
    seconds: float
    why: str = ""
    peak_mb: float = 0.0
    rounding: float = 0.0
    output: str = ""
    traceback: str = ""
    smallest: dict[str, float] = field(default_factory=dict)

    @property
    def most(self) -> float:
        """The largest number of points that are possible."""
        return float(sum(row["most"] for row in self.rubric))

    @property
    def counts(self) -> bool:
        """Whether the right phases get points: not if the loop was stopped or has trained nothing."""
        return self.verdict != FAILED or self.score > 0

    @property
    def failures(self) -> list[str]:
        """The items that failed."""
        return [row["item"] for row in self.rubric if row["status"] == FAIL]

    def as_dict(self) -> dict[str, Any]:
        """The content of `--format json`."""
        fields = ("item", "status", "code", "cause", "step", "student", "right")
        return {
            "file": self.name,
            "verdict": self.verdict,
            "why": self.why or None,
            "rubric": [{name: row[name] for name in fields} for row in self.rubric],
            "score": self.score,
            "max_score": self.most,
            "seconds": round(self.seconds, 2),
            "peak_memory_mb": round(self.peak_mb),
            "rounding": self.rounding,
            "output": self.output,
        }


def make_rubric(
    findings: Iterable[Finding],
    reached: Iterable[str],
    points: Mapping[str, float] | None = None,
    open_items: Collection[str] = (),
) -> list[dict[str, Any]]:
    """One row per item; the first of several findings for an item counts.

    Args:
        findings: in the order in which they were made.
        reached: the items for which there was something to judge.
        points: of each item; 1 for an item that is not named.
        open_items: the items whose gap is still open; they get no finding.
    """
    by_item: dict[str, Finding] = {}
    for finding in findings:
        item = ITEM_OF.get(finding.phase, finding.phase)
        if item not in open_items:
            by_item.setdefault(item, finding)
    reached = set(reached)
    rows = []
    for item in ITEMS:
        failure, most = by_item.get(item), (points or {}).get(item, 1)
        status = FAIL if failure else PASS if item in reached else NOT_REACHED
        status = OPEN if item in open_items else status
        rows.append(
            {
                "item": item,
                "status": status,
                "code": failure.code if failure else None,
                "cause": failure.text if failure else None,
                "step": (failure.step or None) if failure else None,
                "student": failure.values.get("student") if failure else None,
                "right": failure.values.get("right") if failure else None,
                "points": most if status == PASS else 0,
                "most": most,
            }
        )
    return rows


def summary(results: Sequence[Result]) -> str:
    """`20 loops: 8 right, 11 wrong, 1 not judged`."""
    right = sum(result.verdict in GOOD for result in results)
    failed = sum(result.verdict == FAILED for result in results)
    unfinished = sum(result.verdict == UNFINISHED for result in results)
    wrong = len(results) - right - failed - unfinished
    parts = [f"{right} right", f"{wrong} wrong"]
    parts += [f"{unfinished} unfinished"] if unfinished else []
    parts += [f"{failed} not judged"] if failed else []
    return f"{len(results)} loop{'' if len(results) == 1 else 's'}: {', '.join(parts)}"
