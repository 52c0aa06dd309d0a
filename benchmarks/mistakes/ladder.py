"""`sameloop ladder`: from the loop that courses teach to `Trainer`, one fix at a time.

The start is `manual_loop/minimal.py` without any of the fixes, by declared edits; no copy of the script is kept. The
fixes are put back one by one, and after each the script runs and is compared with one run of `Trainer`: up to which
step are the two equal?
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mistakes.catalogue import LADDER_STEPS
from benchmarks.mistakes.line import ACCELERATE, CLIP_OF_ACCELERATE, SEEDABLE
from benchmarks.mistakes.mistake import AS_MINIMAL, MINIMAL, differing_lines, edited
from benchmarks.runs import run_here, run_text_here
from shared.config import RunConfig, job_name
from shared.errors import Interrupted, SameLoopError
from shared.files import write_json
from shared.progress import announce
from shared.recording.kept import Kept
from shared.recording.record import RunRecord
from shared.recording.schema import Environment, Some
from shared.running.folder import COMPARISON_FILE, output_folder
from shared.running.script import LoopScript, own_script, package_script

if TYPE_CHECKING:
    from rich.console import Console

START = "course's loop"
LADDER_FILE = "ladder.json"
PAGES_FOLDER = "pages"
# The fixes that are other lines with accelerate.
WITH_ACCELERATE = {"shuffle": SEEDABLE, "clip": ((CLIP_OF_ACCELERATE, ""),)}
# With batches of 8, no gradient of the tiny model is longer than 1: a clip without effect would not be missed.
FOR_TINY = {"per_device_train_batch_size": 4}
# The settings that `minimal.py` takes from its config, or that are used before it begins.
SETTINGS = (
    *("preset", "dataset", "dataset_config", "dataset_revision", "text_column", "label_column"),
    *("model", "model_revision", "train_size", "eval_size", "max_length", "slice_seed"),
    *("per_device_train_batch_size", "per_device_eval_batch_size", "learning_rate", "seed", "full_determinism"),
)
# The quantities of a step and the evaluation after it, in causal order, as benchmarks.verdict.verdict compares them.
IN_A_STEP = (
    *("batch", "mode", "rng", "forward_losses", "losses", "grad_norm", "learning_rate"),
    *("eval_forward_batch", "eval_forward_mode", "eval_forward_logits", "eval_forward_loss", "eval_forward_accuracy"),
    *("eval_loss", "eval_accuracy"),
)


@dataclass(frozen=True)
class Row:
    """One script of the ladder, and up to where it is equal to `Trainer`.

    Attributes:
        name: the fix that this row adds; `START` for the row without one.
        why: the fix's reason, in a sentence.
        diff: what the fix changed in the script, a line each, beginning with `-` or `+`.
        step, quantity: the first difference; None if there is none.
        cause: its likely cause.
        steps: optimizer steps of the whole run.
        eval_accuracy: after each epoch, a fraction.
        code: the code of the finding that is the likely cause.
    """

    name: str
    why: str
    diff: list[str]
    step: int | None
    quantity: str | None
    cause: str | None
    steps: int
    eval_accuracy: list[float]
    code: str | None = None

    @property
    def is_exact(self) -> bool:
        return self.quantity is None

    @property
    def equal_steps(self) -> float:
        """How many steps are equal in the two runs; of the step where they diverge, the share that is equal."""
        if self.step is None or self.quantity is None:
            return self.steps
        if self.quantity in IN_A_STEP:
            return max(self.step - 1 + IN_A_STEP.index(self.quantity) / len(IN_A_STEP), 0)
        return self.step

    @property
    def where(self) -> str:
        """`step 9, mode`."""
        return "identical" if self.is_exact else f"step {self.step}, {self.quantity}"


@dataclass(frozen=True)
class Ladder:
    """All rows, from the course's loop to the last fix.

    Attributes:
        job: what was trained on what.
        steps_per_epoch: the number of steps before each evaluation.
        rows: the first without a fix, the last with all of them.
        config: the settings.
        environment: versions and device, as a record's header has them.
    """

    job: str
    steps_per_epoch: int
    rows: Some[Row]
    config: dict[str, Any]
    environment: Environment


LADDER = Kept(LADDER_FILE, Ladder, "sameloop ladder", schema=1)


def script_without(steps: Collection[str], accelerate: bool = False) -> LoopScript:
    """`minimal.py` without these fixes, whatever their order; `accelerate`: the loop with accelerate instead.

    Raises:
        ValueError: the script no longer holds one of the pieces exactly once.
    """
    replaced = WITH_ACCELERATE if accelerate else {}
    pieces = (piece for name in steps for piece in replaced.get(name, LADDER_STEPS[name].pieces))
    return edited(own_script(MINIMAL), (*(ACCELERATE if accelerate else ()), *pieces))


def order_from(text: str | None) -> tuple[str, ...]:
    """The order of the steps that `--order` asks for, names with commas between; those that it leaves out come last.

    Raises:
        SameLoopError: there is no such step, or it is named twice.
    """
    named = [name.strip().replace("-", "_") for name in (text or "").split(",") if name.strip()]
    for name in named:
        if name not in LADDER_STEPS:
            raise SameLoopError(f"--order: there is no step {name!r}; choose among {', '.join(LADDER_STEPS)}")
        if named.count(name) > 1:
            raise SameLoopError(f"--order: {name} is named {named.count(name)} times; name it once")
    return (*named, *(name for name in LADDER_STEPS if name not in named))


def ladder_config(preset: str | None = None, **settings: Any) -> RunConfig:
    """The settings of a ladder: the preset's, but as `minimal.py` has them, and no last batch is full.

    What the user asks for is not changed.

    Raises:
        SameLoopError: as `RunConfig.build`.
    """
    settings = {**AS_MINIMAL, **(FOR_TINY if preset == "tiny" else {}), **settings}
    config = RunConfig.build(preset, **settings)
    for subset in ("train", "eval"):
        size = getattr(config, f"{subset}_size")
        batch = getattr(config, f"per_device_{subset}_batch_size")
        if f"{subset}_size" not in settings and size % batch == 0:
            # With batches of one size, the mean of their means is the mean, and no mistake.
            settings[f"{subset}_size"] = max(size - batch // 2, 1)
    return RunConfig.build(preset, **settings)


def write_ladder(
    config: RunConfig, order: Sequence[str], output_dir: Path, overwrite: bool = False, accelerate: bool = False
) -> Ladder:
    """Run the ladder, and write the results to `output_dir`.

    The folder is then that of a comparison, of the last script and `Trainer`, with `ladder.json` and every row's
    script in `pages/`.

    Args:
        config: as `ladder_config` gives it.
        order: every step once.
        output_dir: made if absent.
        overwrite: replace a run with other settings too.
        accelerate: start from the course's loop with accelerate.

    Raises:
        SameLoopError: the folder holds something else, or a loop did not finish.
        ValueError: `minimal.py` no longer holds what a fix replaces.
        Interrupted: Ctrl-C or SIGTERM.
    """
    with output_folder(output_dir, config, overwrite):
        try:
            result = _run(config, order, output_dir, accelerate)
        except Interrupted as error:
            raise Interrupted("the ladder was interrupted; start it again", error.exit_status - 128) from None
        LADDER.write(output_dir, result)
        return result


def _run(config: RunConfig, order: Sequence[str], folder: Path, accelerate: bool) -> Ladder:
    """Run `Trainer` once and the script of every row, all in this process, and compare."""
    # Before anything runs: an edit that no longer applies must not cost a minute.
    scripts = [script_without(order[done:], accelerate) for done in range(len(order) + 1)]
    # Unfinished results lie elsewhere, so that the folder that a kill leaves behind is as good as empty.
    with tempfile.TemporaryDirectory() as work:
        trainer, manual = Path(work) / "trainer", Path(work) / "manual"
        announce("Trainer, once for all steps")
        with redirect_stdout(sys.stderr):  # `Trainer` prints its log lines; stdout is for the ladder
            run_here("trainer", package_script("trainer"), config, trainer)
        rows = []
        for done, script in enumerate(scripts):
            name = order[done - 1] if done else START
            announce(f"step {done} of {len(order)}: {name}")
            file = Path(work) / PAGES_FOLDER / f"{done}-{name.replace(' ', '-').replace(chr(39), '')}.py"
            if manual.exists():
                shutil.rmtree(manual)
            own = config.model_copy(update={"loop": str(folder / PAGES_FOLDER / file.name)})
            run_text_here(script.source, file, own, manual)
            # It imports torch, which must not be imported before `run_loop` has chosen the device.
            from benchmarks.verdict.verdict import compare_runs

            comparison = compare_runs(manual, trainer)
            rows.append(_row(name, scripts[max(done - 1, 0)], script, comparison))
        record = RunRecord.read(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        for path in (trainer, manual, Path(work) / PAGES_FOLDER):
            shutil.move(path, folder / path.name)
        write_json(folder / COMPARISON_FILE, comparison)
    return Ladder(
        job=job_name(record.config, record.start.get("parameters")),
        steps_per_epoch=record.steps_per_epoch,
        rows=rows,
        config=config.model_dump(),
        environment=comparison["environment"],
    )


def _row(name: str, before: LoopScript, script: LoopScript, comparison: dict[str, Any]) -> Row:
    first = comparison["first_divergence"] or {}
    fix = LADDER_STEPS[name].step if name in LADDER_STEPS else None
    return Row(
        name=name,
        why=fix.why if fix else "AdamW, shuffle=True, model.train() once, nothing else.",
        diff=[f"{sign} {line.strip()}" for sign, line in differing_lines(before, script)],
        step=first.get("step"),
        quantity=first.get("quantity"),
        cause=first.get("likely_cause"),
        code=first["findings"][0]["code"] if first else None,
        steps=comparison["steps"],
        eval_accuracy=comparison["manual"]["eval_accuracy"],
    )


def print_ladder(ladder: Ladder, console: Console) -> None:
    """Print a bar per row up to its first difference from `Trainer`, then what each fix changed and why."""
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    steps = ladder.rows[0].steps
    title = f"From the course's loop to Trainer: {ladder.job}, {steps} steps"
    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("", no_wrap=True)
    table.add_column("equal, bit for bit", ratio=1)
    table.add_column("first difference", no_wrap=True)
    for number, row in enumerate(ladder.rows):
        bar = Bar(steps, 0, row.equal_steps, color="green" if row.is_exact else "yellow")
        where = Text(row.where, "bold green" if row.is_exact else "red")
        table.add_row(f"+ {row.name}" if number else row.name, bar, where)
    console.print(table)
    for row in ladder.rows[1:]:
        console.print(Text.assemble((f"+ {row.name}", "bold"), f": {row.why}"))
        for line in row.diff:
            console.print(Text(f"    {line}", "green" if line[0] == "+" else "red"))
    last = ladder.rows[-1]
    if last.is_exact:
        console.print(
            Text.assemble(
                ("identical", "bold green"),
                f" with all {len(ladder.rows) - 1} fixes: all {steps} steps, every evaluation and every weight",
            )
        )
    else:
        console.print(Text.assemble(("diverged", "bold red"), f" with every fix: {last.where}\n{last.cause}"))
