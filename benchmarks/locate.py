"""The second pass: run both loops again up to the first divergence, and name the first tensor that differs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.runs import read_comparison, ready_to_fork, run_in_fresh_process
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.folder import LOOPS
from shared.running.script import kept_scripts
from shared.sources.hub import go_offline_if_unreachable

# The parts of a `detail` line in causal order, and the words for a difference in each.
PARTS = {
    "weights_before": "the weight {name} before the step",
    "outputs": "the output of {name} in the forward pass",
    "gradients": "the gradient of {name}",
    "weights_after": "the weight {name} after the step",
    "evaluation_outputs": "the output of {name} in the evaluation after the step",
}


class Location(NamedTuple):
    """The tensor at which two runs diverge.

    Attributes:
        step: the optimizer step that was examined, counted from 1.
        part: a key of `PARTS`, or None if all its digests are equal.
        name: the parameter or module.
    """

    step: int
    part: str | None
    name: str

    def __str__(self) -> str:
        if self.part is None:
            return f"step {self.step}: every weight, activation and gradient is equal; they diverge outside the model"
        return f"step {self.step}: the first tensor that differs is {PARTS[self.part].format(name=self.name)}"


def locate(output_dir: Path) -> Location | None:
    """Examine the first divergence of the comparison in `output_dir`; None if it found none.

    Both loops run again from the code that the comparison has kept, in fresh processes, up to the step of the
    divergence, with a digest of every weight, every module's output and every gradient of that step. The folder itself
    does not change.

    Raises:
        SameLoopError: there is no comparison in the folder, or none that keeps its code; or a loop did not finish.
    """
    comparison = read_comparison(output_dir)
    first = comparison["first_divergence"]
    if first is None:
        return None
    kept_scripts(output_dir)  # refused before anything runs
    config = RunRecord.read(output_dir / "manual").config
    go_offline_if_unreachable(config)
    step = max(1, first["step"])
    processes = comparison["environment"]["world_size"]
    with tempfile.TemporaryDirectory() as folder, ready_to_fork(processes) as server:
        details = []
        for loop in LOOPS:
            announce(f"the {loop} loop again, up to step {step}")
            run_dir = Path(folder) / loop
            options = ("--detail-step", str(step), "--code", str(output_dir / loop))
            run_in_fresh_process(loop, config, run_dir, processes, *options, server=server)
            details.append(RunRecord.read_all(run_dir)[first["rank"]].detail)
    return next(differences(step, *details), Location(step, None, ""))


def differences(step: int, manual: dict[str, Any], trainer: dict[str, Any]) -> Iterator[Location]:
    """Every tensor whose digests differ, in causal order.

    Args:
        step: the step that was examined.
        manual, trainer: the `detail` lines; each part a list of [name, digest] in the order of the calls.
    """
    for part in PARTS:
        ours, theirs = manual.get(part, []), trainer.get(part, [])
        for mine, other in zip(ours, theirs, strict=False):
            if mine != other:
                yield Location(step, part, mine[0])
        if len(ours) != len(theirs):
            longer = max(ours, theirs, key=len)
            yield Location(step, part, longer[min(len(ours), len(theirs))][0])
