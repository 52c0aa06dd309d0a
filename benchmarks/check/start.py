"""`sameloop start`: write a loop with gaps, for a student to begin with."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from benchmarks.check.gaps import STILL_OPEN
from benchmarks.judge.phases import BY_NAME

# The gaps, in the order in which to fill them: before the steps, in each step, and after the last one of an epoch.
BEFORE = ("seed", "shuffle", "collator", "batch", "device", "optimizer")
INSIDE = ("train mode", "forward", "loss", "backward", "clip", "step", "schedule step", "zero")
AFTER = ("evaluate",)
WIDTH = 100

HEAD = '''"""Fine-tune DistilBERT with a loop of your own.

Fill the gaps from top to bottom: replace each `raise` by your lines. Then run

    sameloop check {name}.py --hints

to see which phases are right. You may write it in another way, with functions or classes of your own; only
`train` keeps its name and its parameters.
"""


def train(model, tokenizer, train_dataset, eval_dataset, config):
    """Train `model` in place, and return an evaluation of each epoch.

    model: a classifier of transformers; from input_ids, attention_mask (both batch x tokens) and labels (batch)
        it computes logits (batch x classes) and the loss.
    tokenizer: the model's.
    train_dataset, eval_dataset: each row has input_ids and attention_mask, two lists, and labels, a number.
    config: the settings, named as in TrainingArguments: config.num_train_epochs, config.learning_rate, ...

    Returns a list with a dict for each epoch: eval_loss and eval_accuracy, two floats.
    """
'''


def skeleton(name: str = "my_loop") -> str:
    """The loop with gaps; `name`: of the file, without its suffix."""
    return "".join(
        [
            HEAD.replace("{name}", name),
            "\n".join(_gap(phase, indent=4) for phase in BEFORE),
            "\n    evaluations = []\n    for epoch in range(int(config.num_train_epochs)):\n",
            "        for batch in train_batches:\n",
            "\n".join(_gap(phase, indent=12) for phase in INSIDE),
            "\n",
            "\n".join(_gap(phase, indent=8) for phase in AFTER),
            "    return evaluations\n",
        ]
    )


def _gap(phase: str, indent: int) -> str:
    """A comment that says what must be written here, and a `raise` until it is."""
    space = " " * indent
    heading = phase.capitalize()
    comment = textwrap.fill(
        f"{heading}: {BY_NAME[phase].gap}",
        WIDTH,
        initial_indent=f"{space}# ",
        subsequent_indent=f"{space}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f'{comment}\n{space}raise NotImplementedError("{heading}: {STILL_OPEN}")\n'


def notebook_text(name: str = "my_loop") -> str:
    """A notebook in nbformat 4.5: the task, the skeleton in a cell that writes it to a file, and the check."""
    introduction = (
        "# Write the training loop\n\n"
        "`Trainer` of Hugging Face trains a model in one call. Here you write what it does: fine-tune a small "
        "DistilBERT on movie reviews, step by step.\n\n"
        f"1. Fill the gaps of the next cell, from top to bottom, and run it: it writes `{name}.py`.\n"
        "2. Run the last cell. It trains with your loop on a few reviews, compares each step with the right one, and "
        "asks a question where they differ.\n"
    )
    cells = [
        _cell("what-to-do", "markdown", introduction),
        _cell("the-loop", "code", f"%%writefile {name}.py\n{skeleton(name)}"),
        _cell("the-check", "code", f"!sameloop check {name}.py --hints"),
    ]
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(cell_id: str, kind: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": cell_id, "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return {**cell, "source": text.rstrip("\n").splitlines(keepends=True)}
