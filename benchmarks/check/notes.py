"""What a judge notes of a loop: its findings, what there was to judge, and how far from the right values it came."""

from __future__ import annotations

import math
from typing import Any

import torch

from benchmarks.check.replay import Tensors, all_equal
from benchmarks.judge.finding import Finding

# Up to here two values are equal up to rounding, relative to the right one's size: a norm for gradients, the largest
# for logits, 1 at least for a loss. Where it comes from: a float32 rounds by u = 2**-24. A dot product of n terms is
# off by n*u at most; here n is 128 at most, and the longest chain from ids to a gradient has some 40 of them, forth
# and back: 128 * 40 * 2**-24 = 3.1e-4 if every rounding went the same way, about its square root's share, 4e-6, as
# they go. `make check-table` measures both sides: the largest difference of right loops, the smallest of mistakes.
BOUND = 1e-4


class Notes:
    """What a judge has found.

    Attributes:
        findings: what is wrong, in the order in which it was found.
        reached: the items of which there was something to judge.
        exact: whether everything compared so far has equal bits.
        rounding: the largest difference that counts as rounding, relative.
        smallest: by item the difference that was the reason of a finding, relative.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.reached: set[str] = set()
        self.exact = True
        self.rounding = 0.0
        self.smallest: dict[str, float] = {}

    def add(self, code: str, text: str, student: Any = "", right: Any = "", step: int = 0) -> None:
        """Note something that is wrong, with the loop's value and the right one; step 0: of the whole run."""
        self.findings.append(Finding(code, step, text, {"student": str(student), "right": str(right)}))

    def has(self, code: str) -> bool:
        """Whether such a finding was made."""
        return any(finding.code == code for finding in self.findings)

    def add_difference(self, code: str, text: str, ours: torch.Tensor, right: torch.Tensor, step: int) -> None:
        """Note tensors that are not equal, by their first numbers."""
        student, expected = (", ".join(f"{x:.6g}" for x in tensor.flatten()[:2].tolist()) for tensor in (ours, right))
        self.add(code, text, student, expected, step)
        if ours.shape == right.shape:
            self.smallest.setdefault(self.findings[-1].phase, _relative_difference(ours, right))

    def equal(self, ours: torch.Tensor, right: torch.Tensor) -> bool:
        """Whether two tensors are equal, or up to rounding; keeps which."""
        if torch.equal(ours, right):
            return True
        self.exact = False
        return ours.shape == right.shape and self.is_rounding(_relative_difference(ours, right))

    def is_rounding(self, difference: float) -> bool:
        """Whether a relative difference is rounding; keeps the largest that is."""
        if not difference <= BOUND:
            return False
        self.rounding = max(self.rounding, difference)
        return True

    def same_gradients(self, ours: Tensors, right: Tensors, count: bool = True) -> bool:
        """Whether gradients are equal, or up to rounding; one that is not there is zero.

        Args:
            ours, right: by the parameters' names.
            count: whether it says something of the loop's arithmetic, and so is kept; not where ways are tried out.
        """
        if all_equal(ours, right):
            return True
        square, size, equal = 0.0, 0.0, True
        for name in {*ours, *right}:
            a, b = ours.get(name), right.get(name)
            a = torch.zeros_like(b) if a is None else a
            b = torch.zeros_like(a) if b is None else b
            gap = (a.double() - b.double()).square().sum().item()
            equal = equal and gap == 0
            square, size = square + gap, size + b.double().square().sum().item()
        if equal:
            return True
        difference = math.sqrt(square) / max(math.sqrt(size), 1e-30)
        if not count:
            return difference <= BOUND
        self.exact = False
        return self.is_rounding(difference)


def norm_of(gradients: Tensors) -> float:
    """The norm of all gradients together."""
    return math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients.values()))


def _relative_difference(ours: torch.Tensor, right: torch.Tensor) -> float:
    return ((ours.float() - right.float()).abs().max() / max(1.0, right.float().abs().max().item())).item()
