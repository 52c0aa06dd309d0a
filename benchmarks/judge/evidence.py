"""What a rule about causes may look at: where two runs diverge, and both records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.judge.finding import Finding, line_of
from benchmarks.judge.ways import findings
from shared.recording.record import RunRecord


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at.

    Attributes:
        step: the optimizer step of the first divergence, from 1; 0 is before the first.
        quantity: the quantity that differs first.
        manual, trainer: the two records.
    """

    step: int
    quantity: str
    manual: RunRecord
    trainer: RunRecord

    @property
    def lines(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both records' lines of the diverging step."""
        return line_of(self.manual, self.step), line_of(self.trainer, self.step)

    @property
    def evaluations(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both records' lines of the evaluation after that step."""
        ours, theirs = (
            next((line for line in record.evaluations if line["step"] == self.step), {})
            for record in (self.manual, self.trainer)
        )
        return ours, theirs

    @property
    def starts_epoch(self) -> bool:
        return (self.step - 1) % self.trainer.steps_per_epoch == 0

    @property
    def weights_differ(self) -> bool:
        """Whether the step began with other weights."""
        ours, theirs = self.lines
        return ours.get("weights") != theirs.get("weights")

    @cached_property
    def ways(self) -> list[Finding]:
        """Every way of working in which the two loops differ; cached, because it goes through all steps."""
        return findings(self.manual, self.trainer)

    def first_of(self, *topics: str) -> Finding | None:
        """The finding of the first of these topics that has one up to this step; None if none has one."""
        findings = [finding for finding in self.ways if finding.step <= max(self.step, 1)]
        return next((finding for topic in topics for finding in findings if finding.topic == topic), None)

    def finding(self, code: str, text: str, values: dict[str, Any] = {}) -> Finding:  # noqa: B006 - it is never changed
        """A finding at the step of the divergence."""
        return Finding(code, self.step, text, values)


def epoch_start(evidence: Evidence) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both loops' first step of this epoch, where the pass over the loader began."""
    start = (evidence.step - 1) // evidence.trainer.steps_per_epoch * evidence.trainer.steps_per_epoch + 1
    return line_of(evidence.manual, start), line_of(evidence.trainer, start)
