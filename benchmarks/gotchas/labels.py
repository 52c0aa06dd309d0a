"""The label column's name, for `Trainer` and for a manual loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.gotchas.base import Gotcha, attempt, make_trainer, quiet, tiny_job
from shared.determinism import one_thread
from shared.progress import announce

WRONG = "sentiment"
RIGHT = ("labels", "label")


@dataclass(frozen=True)
class LabelCheck:
    """What the installed release does with each name.

    Attributes:
        columns: the columns of the dataset with the wrong name.
        trainer_error: what `Trainer` raises, class and message.
        call_error: what `model(**batch)` raises in a manual loop; None if nothing.
        has_loss: whether that call gave a loss.
        backward_error: what `loss.backward()` raises in a manual loop.
        fixed: what `Trainer` raises with the column renamed, by the new name; None if it trains.
    """

    columns: list[str]
    trainer_error: str | None
    call_error: str | None
    has_loss: bool
    backward_error: str | None
    fixed: dict[str, str | None]


def run() -> LabelCheck:
    """Rename the column, and pass the dataset to `Trainer` and to the model; then fix the name."""
    from transformers import DataCollatorWithPadding

    announce("training with a label column of another name, and with the right one")
    with quiet(), one_thread():
        model, tokenizer, dataset = tiny_job()
        wrong = dataset.rename_column("labels", WRONG)
        trainer_error = attempt(lambda: make_trainer(model, tokenizer, wrong).train())
        batch = DataCollatorWithPadding(tokenizer)([wrong[number] for number in range(8)]).to(model.device)
        outputs = []
        call_error = attempt(lambda: outputs.append(model(**batch)))
        has_loss = bool(outputs) and outputs[0].loss is not None
        backward_error = attempt(lambda: outputs[0].loss.backward()) if outputs else None
        fixed = {
            name: attempt(lambda name=name: make_trainer(model, tokenizer, wrong.rename_column(WRONG, name)).train())
            for name in RIGHT
        }
    return LabelCheck(wrong.column_names, trainer_error, call_error, has_loss, backward_error, fixed)


def printed(check: LabelCheck) -> Iterator[Any]:
    """The errors word for word, and the fix."""
    from rich.text import Text

    yield Text(f"the dataset's columns: {', '.join(check.columns)}")
    yield Text.assemble(("Trainer(...).train()", "bold"))
    yield Text(f"  {check.trainer_error or 'trains'}", "red" if check.trainer_error else "green")
    yield Text.assemble(("manual: model(**batch)", "bold"))
    if check.call_error:
        yield Text(f"  {check.call_error}", "red")
    elif not check.has_loss:
        yield Text(f"  no error: the model takes any name and does not look at {WRONG}; its loss is None")
        yield Text.assemble(("manual: loss.backward()", "bold"))
        yield Text(f"  {check.backward_error}", "red")
    else:
        yield Text("  gives a loss", "green")
    for name, error in check.fixed.items():
        yield Text.assemble((f'dataset.rename_column("{WRONG}", "{name}")', "bold"))
        yield Text(f"  {error or 'Trainer trains'}", "red" if error else "green")


LABELS = Gotcha(
    "labels",
    "the label column must have the name that the model takes",
    "Rename the column label to labels, because the model expects an argument labels.",
    run,
    printed,
    "An error that says there is no loss is about the label column: call it labels (or label, which the collator "
    "renames).",
)
