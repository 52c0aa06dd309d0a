"""What happens without a line: what is taken out of the manual page for every phase, and what was seen then.

`make whatif` measures it and keeps it in `whatif.json`; the report and the lesson show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.mistakes.catalogue import Pieces

# What was measured for the lesson: `whatif.json`, and `ladder.json` beside it.
MEASURED = Path(__file__).with_name("measured")
FILE = MEASURED / "whatif.json"
# What can be seen of a step without looking into it, in the order in which it comes about.
IN_A_STEP = {
    "forward_losses": "loss",
    "unclipped_norm": "gradient norm",
    "grad_norm": "gradient norm",
    "learning_rate": "learning rate",
}
ANSWERS = (*dict.fromkeys(IN_A_STEP.values()), "evaluation", "nothing")


@dataclass(frozen=True)
class Edit:
    """One line taken out of the page.

    Attributes:
        phase: whose line it is.
        without: what is done instead, in words that go on from "Without it".
        pieces: of the folded page what is replaced, and by what.
        asked: whether the lesson asks what differs first.
        dials: under which there is such a line.
    """

    phase: str
    without: str
    pieces: Pieces
    asked: bool = False
    dials: Mapping[str, Any] = field(default_factory=dict)


EDITS = (
    Edit(
        "seed",
        "the head is drawn from another seed, as in a run that has none",
        (
            (
                "    # Seed: the new head's weights are random, so fix the dice before they are thrown.\n"
                "    set_seed(42)\n",
                "    set_seed(7)\n",
            ),
        ),
    ),
    Edit(
        "data",
        "the slice is taken of the sorted set: all its reviews are of one class",
        (
            (
                "    train_dataset, eval_dataset, labels = load_data(config, tokenizer)\n",
                "    train_dataset, eval_dataset, labels = load_data(config, tokenizer)\n"
                '    negative = [row for row, label in enumerate(train_dataset["labels"]) if label == 0]\n'
                "    train_dataset = train_dataset.select(negative)\n",
            ),
        ),
    ),
    Edit(
        "model",
        "the body is as random as the head",
        (
            (
                "    model = load_model(config, labels)\n",
                "    model = load_model(config, labels)\n    model = type(model)(model.config)\n",
            ),
        ),
    ),
    Edit(
        "device",
        "neither model nor batch is moved; without a GPU they are in one memory anyway",
        (("    model.to(device)\n", ""), ("            batch = batch.to(device)", "            pass")),
    ),
    Edit(
        "shuffle",
        "every epoch has the same order",
        (("order.manual_seed(42 + epoch)", "order.manual_seed(42)"),),
    ),
    Edit(
        "collator",
        "every review is padded to the greatest length that a review may have",
        (
            (
                "DataCollatorWithPadding(tokenizer)",
                'DataCollatorWithPadding(tokenizer, padding="max_length", max_length=config.max_length)',
            ),
        ),
        asked=True,
    ),
    Edit(
        "batch",
        "batches are twice as large, and there are half as many steps",
        (("DataLoader(train_dataset, 8, ", "DataLoader(train_dataset, 16, "),),
    ),
    Edit(
        "epoch",
        "one pass over the reviews, and the learning rate falls as if there were two",
        (("    for epoch in range(2):", "    for epoch in range(1):"),),
    ),
    Edit(
        "optimizer",
        "weights decay by 0.01, torch's own default",
        ((", weight_decay=0,", ","),),
        asked=True,
    ),
    Edit(
        "schedule",
        "the learning rate stays what it is",
        (("lambda step: (max_steps - step) / max_steps", "lambda step: 1.0"),),
    ),
    Edit(
        "train mode",
        "dropout is off from the first step on, for from_pretrained hands over a model in eval mode",
        (("            model.train()", "            pass"),),
        asked=True,
    ),
    Edit(
        "forward",
        "the attention mask stays behind, and padding counts as words",
        (
            (
                "            loss = model(**batch).loss\n",
                '            loss = model(input_ids=batch["input_ids"], labels=batch["labels"]).loss\n',
            ),
        ),
    ),
    Edit(
        "loss",
        "with two batches to a step, their losses are added up, not averaged",
        (("            loss = loss / min(2, ", "            loss = loss / min(1, "),),
        dials={"gradient_accumulation_steps": 2},
    ),
    Edit(
        "backward",
        "there are no gradients",
        (("            loss.backward()", "            pass"),),
    ),
    Edit(
        "log",
        "the losses are added up with their graphs",
        (
            (
                "            total_loss += loss.detach()",
                "            total_loss = total_loss + loss",
            ),
            ("        total_loss.zero_()\n", "        total_loss = torch.tensor(0.0, device=device)\n"),
        ),
        asked=True,
    ),
    Edit(
        "clip",
        "gradients stay as long as they are",
        (("clip_grad_norm_(model.parameters(), 1.0)", 'clip_grad_norm_(model.parameters(), float("inf"))'),),
        asked=True,
    ),
    Edit(
        "step",
        "no weight is moved",
        (("            optimizer.step()", "            pass"),),
    ),
    Edit(
        "schedule step",
        "the schedule is never told of a step",
        (("            scheduler.step()", "            pass"),),
        asked=True,
    ),
    Edit(
        "zero",
        "each gradient is added to all earlier ones",
        (("            optimizer.zero_grad()", "            pass"),),
        asked=True,
    ),
    Edit(
        "evaluate",
        "dropout stays on in the evaluation",
        (("    model.eval()\n", "    pass\n"),),
        asked=True,
    ),
    Edit(
        "progress",
        "there is no bar",
        (("            progress.update()", "            pass"),),
    ),
    Edit(
        "save",
        "nothing is left of the run",
        (("    model.save_pretrained(output_dir)\n", ""),),
    ),
    Edit(
        "checkpoint",
        "nothing is saved on the way",
        (
            (
                "            part.save_pretrained(folder)\n",
                "            pass\n",
            ),
        ),
        dials={"save_strategy": "epoch"},
    ),
)


@dataclass(frozen=True)
class Seen:
    """What a run showed.

    Attributes:
        loss: of each step, the mean of what the model returned for its batches.
        accuracy, eval_loss: after each epoch.
        padded_tokens: how many tokens the model was given in training, padding included.
        error: why there is nothing of all this, in a line; None as a rule.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    eval_loss: list[float] = field(default_factory=list)
    padded_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True)
class WhatIf:
    """What happens without a phase's line.

    Attributes:
        phase, without, asked: as `Edit`.
        diff: what was changed in the page, a line each, beginning with `-` or `+`.
        whole: the page as it is, under the same dials.
        seen: the page without the line.
        quantity: what differs first of what one can see, one of `ANSWERS`.
        step: where; None if nothing differs.
        values: of the whole page, and without the line.
        same_weights: whether the trained weights are the same, bit for bit.
    """

    phase: str
    without: str
    asked: bool
    diff: list[str]
    whole: Seen
    seen: Seen
    quantity: str
    step: int | None
    values: list[float | None]
    same_weights: bool

    @property
    def sentence(self) -> str:
        """What was tried and what happened, in words."""
        return f"Without it, {self.without}. {self.outcome}"

    @property
    def outcome(self) -> str:
        """What happened, each with its figures."""
        if self.seen.error:
            return f"SameLoop says: {self.seen.error.partition(': ')[2]}."
        if self.step is None:
            parts = ["Nothing differs" + ("" if self.same_weights else " but the last bits of the weights") + "."]
        else:
            right, wrong = _told_apart(self.values)
            parts = [f"The {self.quantity} differs first, at step {self.step}: {wrong} instead of {right}."]
        if self.seen.accuracy[-1:] != self.whole.accuracy[-1:] and self.seen.accuracy:
            parts.append(
                f"In the end {self.seen.accuracy[-1]:.1%} of the reviews are told right, not "
                f"{self.whole.accuracy[-1]:.1%}."
            )
        elif self.step is not None:
            parts.append(f"In the end {self.whole.accuracy[-1]:.1%} are told right, as with it.")
        if self.seen.padded_tokens > 1.05 * self.whole.padded_tokens:
            times = self.seen.padded_tokens / self.whole.padded_tokens
            parts.append(f"The model computes {times:.2f} times the tokens.")
        return " ".join(parts)


def _told_apart(values: Sequence[float | None]) -> list[str]:
    """Two numbers that are not the same, with as few digits as it takes to see it, but four."""
    for digits in (4, 6, 9, 17):
        texts = ["none" if value is None else f"{value:.{digits}g}" for value in values]
        if texts[0] != texts[1]:
            break
    return texts


@dataclass(frozen=True)
class Measured:
    """All of it.

    Attributes:
        job: what was trained on what.
        eval_size: on how many reviews the accuracies are.
        what_ifs: by phase.
        environment: versions and device, as a record's header has them.
    """

    job: str
    eval_size: int
    what_ifs: dict[str, WhatIf]
    environment: dict[str, Any]


def read_measured(file: Path = FILE) -> Measured:
    """What `measure` found when it was last run."""
    content = json.loads(file.read_text(encoding="utf-8"))
    what_ifs = {
        phase: WhatIf(**{**each, "whole": Seen(**each["whole"]), "seen": Seen(**each["seen"])})
        for phase, each in content.pop("what_ifs").items()
    }
    return Measured(**content, what_ifs=what_ifs)
