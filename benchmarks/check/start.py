"""`sameloop start`: a loop with gaps, to begin with."""

from __future__ import annotations

import json
import textwrap
from typing import Any

# What must be there, by phase: enough to know what to write, and no code.
BEFORE = (
    ("seed", "every random number generator starts from config.seed: once, before anything is drawn."),
    (
        "shuffle",
        "each epoch goes through all reviews of train_dataset in a random order, each epoch in another one. Dropout "
        "must not draw from the same generator, or it would be other dropout.",
    ),
    (
        "collator",
        "the reviews of a batch have different lengths. Pad them to the longest of this batch, not of all; the "
        "padding's attention_mask is 0. The tokenizer knows which id pads.",
    ),
    (
        "batch",
        "cut the order into batches of config.per_device_train_batch_size; the last of an epoch may be smaller, and "
        "no review is left out. eval_dataset, in its own order, has config.per_device_eval_batch_size. Below, the "
        "training's batches are called train_batches.",
    ),
    ("device", "the model goes to the GPU if there is one, and each batch to where the model is."),
    (
        "optimizer",
        "AdamW over all parameters, with config.learning_rate, betas 0.9 and 0.999, epsilon 1e-8 and "
        "config.weight_decay, which biases and the weights of LayerNorm do not have. It is made once.",
    ),
)
INSIDE = (
    ("train mode", "dropout is on in every step, also in those after an evaluation."),
    ("forward", "the model answers the batch; it needs to know what is padding."),
    (
        "loss",
        "the mean over the reviews of the batch. If a step is made from several batches, each gives its share, so "
        "that the shares add up to a mean again.",
    ),
    ("backward", "the gradients of this loss, once."),
    (
        "clip",
        "all gradients together, as one vector, are no longer than config.max_grad_norm when the optimizer "
        "takes them.",
    ),
    (
        "step",
        "the optimizer moves the weights: once for every config.gradient_accumulation_steps batches, and once for "
        "what is left at an epoch's end.",
    ),
    (
        "schedule step",
        "the learning rate of the next step. It begins at config.learning_rate and falls in a straight line, step by "
        "step, to 0 after the last step of the last epoch; make the schedule before the loop. With "
        "config.warmup_steps it rises from 0 first; config.lr_scheduler_type names another form.",
    ),
    ("zero", "the gradients are forgotten before the next step's are added up."),
)
AFTER = (
    (
        "evaluate",
        "dropout off, no gradients. Over all reviews of eval_dataset the mean loss, in which each review counts the "
        "same, and the share of the reviews whose largest logit is their label's; append both to evaluations.",
    ),
)
GAPS = (*BEFORE, *INSIDE, *AFTER)
WIDTH = 100

HEAD = '''"""Fine-tune DistilBERT by hand.

Fill the gaps from top to bottom: put your lines in the place of each `raise`. Then ask

    sameloop check {name}.py --hints

which of the phases are right. You may write it in another way, with functions or classes of your own; only
`train` keeps its name and its parameters.
"""


def train(model, tokenizer, train_dataset, eval_dataset, config):
    """Train `model` where it is, and return an evaluation of each epoch.

    model: a classifier of transformers; of input_ids, attention_mask (both batch x tokens) and labels (batch)
        it makes logits (batch x classes) and the loss.
    tokenizer: the model's.
    train_dataset, eval_dataset: of each row input_ids and attention_mask, two lists, and labels, a number.
    config: the dials, called as in TrainingArguments: config.num_train_epochs, config.learning_rate, ...

    Returns a list with a dict for each epoch: eval_loss and eval_accuracy, two floats.
    """
'''


def skeleton(name: str = "my_loop") -> str:
    """The page with gaps; `name`: of the file, without its suffix."""
    return "".join(
        [
            HEAD.replace("{name}", name),
            "\n".join(_gap(*each, indent=4) for each in BEFORE),
            "\n    evaluations = []\n    for epoch in range(int(config.num_train_epochs)):\n",
            "        for batch in train_batches:\n",
            "\n".join(_gap(*each, indent=12) for each in INSIDE),
            "\n",
            "\n".join(_gap(*each, indent=8) for each in AFTER),
            "    return evaluations\n",
        ]
    )


def _gap(phase: str, sentence: str, indent: int) -> str:
    """A comment that says what must be there, and a line that says that it is not."""
    space = " " * indent
    heading = phase.capitalize()
    comment = textwrap.fill(
        f"{heading}: {sentence}",
        WIDTH,
        initial_indent=f"{space}# ",
        subsequent_indent=f"{space}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f'{comment}\n{space}raise NotImplementedError("{heading}: this gap is still to be filled")\n'


def notebook_text(name: str = "my_loop") -> str:
    """A notebook in nbformat 4.5: what the job is, the skeleton in a cell that writes it, and the check."""
    introduction = (
        "# Write the training loop\n\n"
        "`Trainer` of Hugging Face trains a model in one call. Here you write what it does: fine-tune a small "
        "DistilBERT on movie reviews, step by step.\n\n"
        f"1. Fill the gaps of the next cell, from top to bottom, and run it: it writes `{name}.py`.\n"
        "2. Run the last cell. It trains with your loop on 61 reviews, compares each step with the right one, and "
        "asks a question where they part.\n"
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
