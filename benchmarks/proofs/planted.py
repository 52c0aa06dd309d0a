"""Does the test suite still find faults? Twenty faults, planted one at a time, and which tests fail for each.

Every fault is one edit of the product. It is made in a copy of the checkout, and the test files that belong to it are
run there. A fault that no test notices is a gap in the suite: exit status 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from shared.starting.children import ROOT


class Fault(NamedTuple):
    """One edit of the product.

    Attributes:
        description: what is wrong then, in a few words.
        file: its path in the checkout.
        right, wrong: the text that the file contains once, and its replacement.
        tests: the test files that should notice, by their names without `test_`.
    """

    description: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "loop: the same order in every epoch",
        "manual_loop/train.py",
        "generator.manual_seed(data_seed + epoch)",
        "generator.manual_seed(data_seed)",
        ("equivalence",),
    ),
    Fault(
        "loop: a short last group is divided by the full number",
        "manual_loop/train.py",
        "loss / batches_of_step(number, train_loader, per_step)",
        "loss / per_step",
        ("equivalence",),
    ),
    Fault(
        "loop: the optimizer's averages are not put back from a checkpoint",
        "manual_loop/checkpoint.py",
        "part.load_state_dict(torch.load(",
        'name == "optimizer" or part.load_state_dict(torch.load(',
        ("resume",),
    ),
    Fault(
        "recorder: train mode is recorded in any mode",
        "shared/recording/recorder.py",
        '"mode": module.training,',
        '"mode": True,',
        ("recorder", "edits"),
    ),
    Fault(
        "recorder: a resumed run forgets what it had counted",
        "shared/recording/recorder.py",
        "(earlier.steps, earlier.evaluations) if earlier else ([], [])",
        "([], [])",
        ("resume",),
    ),
    Fault(
        "verdict: weights that are nearly equal are equal",
        "benchmarks/verdict/verdict.py",
        "elif not torch.equal(mine, other):",
        "elif not torch.allclose(mine, other):",
        ("verdict",),
    ),
    Fault(
        "verdict: gradient norms are not compared",
        "benchmarks/verdict/verdict.py",
        '"losses", "grad_norm", "learning_rate")\nEVALUATION',
        '"losses", "learning_rate")\nEVALUATION',
        ("verdict", "edits"),
    ),
    Fault(
        "causes: a missing zero_grad is not found",
        "benchmarks/judge/ways.py",
        'mine, other = (line.get("gradients", {}).get("left", 0.0) for line in (ours, theirs))',
        "mine, other = 0.0, 0.0",
        ("edits", "equivalence"),
    ),
    Fault(
        "causes: the cause is repeated among the other findings",
        "benchmarks/judge/causes.py",
        "if finding.text not in cause.text and finding.topic not in follows",
        "if finding.topic not in follows",
        ("edits", "own_loop"),
    ),
    Fault(
        "judge: a difference of a tenth is rounding",
        "benchmarks/check/notes.py",
        "BOUND = 1e-4\n",
        "BOUND = 1e-1\n",
        ("check",),
    ),
    Fault(
        "judge: a seed that is set in every step passes",
        "benchmarks/check/judge.py",
        "        judge_seeds(passes, notes)\n",
        "",
        ("check",),
    ),
    Fault(
        "readers: lines are counted from the row after",
        "shared/sources/splits.py",
        'f"line {lines[row]}"',
        'f"line {lines[row] + 1}"',
        ("readers", "bad_input"),
    ),
    Fault(
        "labels: the text 1 and the number 1 are two classes",
        "shared/sources/labels.py",
        "        if not NUMBER.fullmatch(text):\n            return text or None",
        "        return text or None",
        ("readers", "data"),
    ),
    Fault(
        "checkpoints: a flipped bit is not noticed",
        "shared/running/checkpoints.py",
        "if digest_of_file(path) != expected.xxh3_128:",
        'if digest_of_file(path) == "":',
        ("resume",),
    ),
    Fault(
        "checkpoints: the best one is deleted as the oldest",
        "shared/running/checkpoints.py",
        'kept = {folders[-1], output_dir / f"checkpoint-{best_saved}"} & set(folders)',
        "kept = {folders[-1]}",
        ("resume", "equivalence"),
    ),
    Fault(
        "specialize: a branch that is not taken is left out together with its else",
        "benchmarks/pages/blocks.py",
        "return [otherwise] if isinstance(otherwise, cst.If) else list(otherwise.body.body)",
        "return [otherwise] if isinstance(otherwise, cst.If) else []",
        ("fold", "eject"),
    ),
    Fault(
        "report: a review can end the report's script",
        "benchmarks/lesson/report.py",
        'for char in "<>&\\u2028\\u2029":',
        'for char in "&\\u2028\\u2029":',
        ("report",),
    ),
    Fault(
        "command line: a divergence has status 0",
        "benchmarks/cli.py",
        'return 0 if comparison["verdict"] == "identical" else DIVERGED',
        "return 0",
        ("script",),
    ),
    Fault(
        "command line: a fault of ours is reported as the user's",
        "shared/running/command.py",
        "OUR_MISTAKE = 70",
        "OUR_MISTAKE = 2",
        ("cli", "bad_input", "config", "own_loop"),
    ),
    Fault(
        "processes: a stop is not passed on to the loop",
        "shared/starting/launch.py",
        "            self._send(number)\n",
        "            pass\n",
        ("forkserver", "processes"),
    ),
)


def plant(fault: Fault, folder: Path) -> None:
    """Copy the checkout's files to a folder and make one edit there.

    Raises:
        ValueError: the text to be edited is not in the file exactly once.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    file = folder / fault.file
    source = file.read_text(encoding="utf-8")
    if source.count(fault.right) != 1:
        raise ValueError(f"{fault.description}: {fault.file} has {fault.right!r} {source.count(fault.right)} times")
    file.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")


def noticed_by(fault: Fault) -> list[str]:
    """The tests that fail with a fault, as `test_file::test_name`."""
    with tempfile.TemporaryDirectory() as folder:
        plant(fault, Path(folder))
        result = Path(folder) / "result.xml"
        files = [str(file) for name in fault.tests for file in Path(folder, "tests").rglob(f"test_{name}.py")]
        # Processes that a test starts import the copy, too.
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-n", "0", "--durations=0", f"--junitxml={result}", *files]
        subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False)
        cases = ElementTree.parse(result).iter("testcase")
        return [
            f"{case.get('classname', '').split('.')[-1]}::{case.get('name')}"
            for case in cases
            if case.find("failure") is not None or case.find("error") is not None
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant every fault and print which tests notice it; returns 1 if no test notices one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="how many are tried at the same time")
    parser.add_argument("--only", default="", help="only faults whose description has this text")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only in fault.description]
    unnoticed = 0
    with ThreadPoolExecutor(options.at_once) as pool:
        for fault, tests in zip(faults, pool.map(noticed_by, faults), strict=True):
            unnoticed += not tests
            names = "; ".join(tests[:3]) + (f" and {len(tests) - 3} more" if len(tests) > 3 else "")
            print(f"{fault.description}: {names or 'NOT NOTICED'}", flush=True)
    print(f"{len(faults) - unnoticed} of {len(faults)} noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
