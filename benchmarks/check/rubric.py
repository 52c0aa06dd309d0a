"""What comes of a check: a line per phase, with evidence, a cause in words, and a question that leads to the line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.judge.finding import Finding
from benchmarks.judge.phases import BY_NAME

# The phases that a loop is judged by, in the order in which a rubric has them.
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


# Findings about what no row is there for are shown in this one.
ITEM_OF = {"model": "step", "weights": "step"}


@dataclass
class Result:
    """What a check says of a loop.

    Attributes:
        name: the file's name.
        verdict: `identical`: every step has the right one's bits; `equivalent`: up to rounding; `different`;
            `unfinished`: gaps are still open; `failed`: there was nothing to judge to the end.
        rubric: a row per item: `item`, `status`, the finding's `code` and `cause`, `step`, `student`, `right`,
            `points`, `most`.
        score, most: the points, and how many there are.
        seconds: that the loop's process took, imports included.
        why: of a loop that failed, in one sentence.
        peak_mb: the most memory that it had, in MB.
        rounding: the largest difference that was put down to rounding, relative.
        output: what the loop printed, in part.
        traceback: where it crashed; empty if it did not.
        smallest: by item, the relative difference that a finding was made for.
    """

    name: str
    verdict: str
    rubric: list[dict[str, Any]]
    score: float
    most: float
    seconds: float
    why: str = ""
    peak_mb: float = 0.0
    rounding: float = 0.0
    output: str = ""
    traceback: str = ""
    smallest: dict[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether what was right has its points: not where a loop was stopped, or has trained nothing."""
        return self.verdict != FAILED or self.score > 0

    @property
    def failures(self) -> list[str]:
        """The items that failed."""
        return [row["item"] for row in self.rubric if row["status"] == FAIL]

    def as_dict(self) -> dict[str, Any]:
        """As `--format json` prints it."""
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
    """A row per item; of several findings of one item the first counts.

    Args:
        findings: in the order in which they were made.
        reached: the items of which there was something to judge.
        points: what an item is worth; 1 if it is not named.
        open_items: the items whose gap is still open, of which nothing is said.
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
