"""The label column's name, for `Trainer` and by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.gotchas.base import Gotcha, attempt, make_trainer, one_thread, quiet, tiny_job
from shared.progress import announce

if TYPE_CHECKING:
    from rich.console import Console

WRONG = "sentiment"
RIGHT = ("labels", "label")


@dataclass(frozen=True)
class Found:
    """What the installed release does with each name.

    Attributes:
        columns: of the dataset with the wrong name.
        trainer_error: what `Trainer` raises, class and message.
        call_error: what `model(**batch)` raises by hand; None: nothing.
        has_loss: whether that call gave a loss.
        backward_error: what `loss.backward()` raises by hand.
        repaired: by the name that the column is given, what `Trainer` raises then; None: it trains.
    """

    columns: list[str]
    trainer_error: str | None
    call_error: str | None
    has_loss: bool
    backward_error: str | None
    repaired: dict[str, str | None]


def find() -> Found:
    """Rename the column, and hand the dataset to `Trainer` and to the model; then repair it."""
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
        repaired = {
            name: attempt(lambda name=name: make_trainer(model, tokenizer, wrong.rename_column(WRONG, name)).train())
            for name in RIGHT
        }
    return Found(wrong.column_names, trainer_error, call_error, has_loss, backward_error, repaired)


def show(found: Found, console: Console) -> None:
    """The errors word for word, and the repair."""
    from rich.text import Text

    console.print(Text(f"the dataset's columns: {', '.join(found.columns)}"))
    console.print(Text.assemble(("Trainer(...).train()", "bold")))
    console.print(Text(f"  {found.trainer_error or 'trains'}", "red" if found.trainer_error else "green"))
    console.print(Text.assemble(("manual: model(**batch)", "bold")))
    if found.call_error:
        console.print(Text(f"  {found.call_error}", "red"))
    elif not found.has_loss:
        console.print(Text(f"  no error: the model takes any name and does not look at {WRONG}; its loss is None"))
        console.print(Text.assemble(("manual: loss.backward()", "bold")))
        console.print(Text(f"  {found.backward_error}", "red"))
    else:
        console.print(Text("  gives a loss", "green"))
    for name, error in found.repaired.items():
        console.print(Text.assemble((f'dataset.rename_column("{WRONG}", "{name}")', "bold")))
        console.print(Text(f"  {error or 'Trainer trains'}", "red" if error else "green"))


LABELS = Gotcha(
    "labels",
    "the label column must have the name that the model takes",
    "Rename the column label to labels, because the model expects an argument labels.",
    find,
    show,
    "An error that says there is no loss is about the label column: call it labels (or label, which the collator "
    "renames).",
)
