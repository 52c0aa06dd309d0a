"""A judge's notes on a loop: the findings, the phases that were reached, and the differences from the right values."""

from __future__ import annotations

import math
from typing import Any

import torch

from benchmarks.check.replay import Tensors, all_equal
from benchmarks.check.sentences import SENTENCES
from benchmarks.judge.finding import Finding

# Two values are equal up to rounding if they differ by no more than this, relative to the size of the right one: the
# norm for gradients, the largest for logits, at least 1 for a loss. Where it comes from: a float32 rounds by u =
# 2**-24. A dot product of n terms is off by n*u at most; here n is 128 at most, and the longest chain from ids to a
# gradient has about 40 of them, forward and backward: 128 * 40 * 2**-24 = 3.1e-4 if all roundings had one direction,
# but sqrt(128 * 40) * 2**-24 = 4e-6 as they have random ones. `make check-table` measures both sides: the largest
# difference of right loops, and the smallest of mistakes.
BOUND = 1e-4


class Notes:
    """The notes of a judge.

    Attributes:
        findings: in the order in which they were made.
        reached: the items for which there was something to judge.
        exact: whether everything compared so far is bit-identical.
        rounding: the largest relative difference that counts as rounding.
        smallest: for each item the relative difference that caused a finding.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.reached: set[str] = set()
        self.exact = True
        self.rounding = 0.0
        self.smallest: dict[str, float] = {}

    def add(
        self, code: str, student: Any = "", right: Any = "", step: int = 0, text: str = "", **values: object
    ) -> None:
        """Add a finding.

        Args:
            code: what was found.
            student, right: the loop's value and the right one.
            step: 0: it is about the whole run.
            text: what to say of it, if not the code's sentence.
            values: what that sentence has in braces.
        """
        text = text or SENTENCES[code].format(**values)
        self.findings.append(Finding(code, step, text, {"student": str(student), "right": str(right)}))

    def has(self, code: str) -> bool:
        """Whether there is a finding with this code."""
        return any(finding.code == code for finding in self.findings)

    def add_difference(
        self, code: str, actual: torch.Tensor, right: torch.Tensor, step: int, text: str = "", **values: object
    ) -> None:
        """Add a finding about unequal tensors; it shows their first two numbers."""
        student, expected = (", ".join(f"{x:.6g}" for x in t.flatten()[:2].tolist()) for t in (actual, right))
        self.add(code, student, expected, step, text, **values)
        if actual.shape == right.shape:
            self.smallest.setdefault(self.findings[-1].phase, _relative_difference(actual, right))

    def equal(self, actual: torch.Tensor, right: torch.Tensor) -> bool:
        """Whether two tensors are equal, exactly or up to rounding; this notes which."""
        if torch.equal(actual, right):
            return True
        self.exact = False
        return actual.shape == right.shape and self.is_rounding(_relative_difference(actual, right))

    def is_rounding(self, difference: float) -> bool:
        """Whether a relative difference is rounding; this notes the largest one."""
        if not difference <= BOUND:
            return False
        self.rounding = max(self.rounding, difference)
        return True

    def same_gradients(self, actual: Tensors, right: Tensors, count: bool = True) -> bool:
        """Whether gradients are equal, exactly or up to rounding; a missing gradient is zero.

        Args:
            actual, right: by the parameters' names.
            count: whether this notes the result; False where the caller tries out possible causes.
        """
        if all_equal(actual, right):
            return True
        none = torch.zeros(())
        gaps = {name: actual.get(name, none).double() - right.get(name, none).double() for name in {*actual, *right}}
        if not any(gap.any() for gap in gaps.values()):
            return True
        difference = norm_of(gaps) / max(norm_of(right), 1e-30)
        if not count:
            return difference <= BOUND
        self.exact = False
        return self.is_rounding(difference)


def norm_of(gradients: Tensors) -> float:
    """The joint norm of all gradients."""
    return math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients.values()))


def _relative_difference(actual: torch.Tensor, right: torch.Tensor) -> float:
    return ((actual.float() - right.float()).abs().max() / max(1.0, right.float().abs().max().item())).item()
