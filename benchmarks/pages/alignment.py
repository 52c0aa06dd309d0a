"""What the lines of a page do, phase by phase: told by the page itself, for whoever shows it.

A comment that begins with a phase's name, as `# Clip: ...`, begins a block; it ends where the next one begins.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Phase(NamedTuple):
    """One thing that a training does.

    Attributes:
        name: as the pages' comments call it.
        does: what it is, in a few words.
        bought: what buys it from `Trainer`: an argument or a call. Or, where neither page does it for the sake of
            training, why it stands there.
        why: why it is there, in a sentence or two; empty where it is not part of the training.
    """

    name: str
    does: str
    bought: str
    why: str = ""


PHASES = (
    Phase("page", "what the page is", "not part of the job: the page's own introduction"),
    Phase("imports", "imports", "not part of the job: what the lines below are made of"),
    Phase("function", "the function", "not part of the job: the same signature on both pages"),
    Phase(
        "seed",
        "seed every random number generator",
        "set_seed(); TrainingArguments(seed=)",
        "The new head's weights, dropout and the order of the reviews are drawn at random. From the same seed "
        "the same numbers are drawn, so that a run can be repeated, and two loops can be compared at all.",
    ),
    Phase(
        "data",
        "load, shuffle, select, tokenize",
        "Trainer(train_dataset=, eval_dataset=)",
        "IMDB is sorted by label: its first 12,500 reviews are all negative. So the set is shuffled before a slice is "
        "taken of it. Then words become numbers, the same ones that the model was pretrained with.",
    ),
    Phase(
        "model",
        "the pretrained body and a new head",
        "Trainer(model=)",
        "The body has read a great deal of text already; only the head, two small layers, is new and random. That is "
        "why a few hundred reviews are enough.",
    ),
    Phase(
        "determinism",
        "deterministic algorithms only",
        "full_determinism=",
        "On a GPU the fastest algorithms add up in another order every time, so that no run equals itself in the last "
        "bits. These do not.",
    ),
    Phase(
        "device",
        "move model and batches to the GPU",
        "use_cpu=; else by itself",
        "A model and its batch must be in the same memory. By hand both are moved, the model once and each batch in "
        "its turn; `Trainer` does it unasked.",
    ),
    Phase(
        "shuffle",
        "the order of the reviews, epoch by epoch",
        "train_sampling_strategy=, data_seed=",
        "In a fixed order the model would learn the order, too: each batch would always follow the same one. The "
        "order has a generator of its own, seeded for each epoch; drawn from dropout's, it would change dropout.",
    ),
    Phase(
        "batch",
        "cut the order into batches and load them",
        "per_device_train_batch_size= and its like",
        "A gradient over all reviews is exact and slow, over one review fast and noisy. A batch is between, and its "
        "size decides how many steps an epoch has.",
    ),
    Phase(
        "collator",
        "pad each batch to its longest review",
        "Trainer(data_collator=)",
        "A batch is a rectangle of numbers, reviews have different lengths. Padded to the longest of its batch, a "
        "review costs no more than it must; the attention mask says what is padding.",
    ),
    Phase(
        "optimizer",
        "AdamW over the parameters",
        "optim=, learning_rate=, weight_decay=, adam_...",
        "AdamW moves each weight by its own mean gradient, divided by how much that varies. torch's own AdamW lets "
        "weights decay by 0.01, `Trainer` does not unless it is asked to: the defaults differ.",
    ),
    Phase(
        "schedule",
        "how the learning rate changes",
        "lr_scheduler_type=, warmup_steps=",
        "Large steps at first, to come near; small ones in the end, to settle. `Trainer` takes the rate in a straight "
        "line to 0 unless it is told otherwise.",
    ),
    Phase(
        "wrapping",
        "16-bit gradients, compiler, processes",
        "activation_checkpointing=, torch_compile=; else by itself",
        "What the model is trained through: it changes how fast it goes and how much memory it takes, not what is "
        "computed.",
    ),
    Phase(
        "epoch",
        "how long: epochs and steps",
        "trainer.train(); num_train_epochs=, max_steps=",
        "An epoch is one pass over the reviews. The schedule must know before the first step how many there will be.",
    ),
    Phase(
        "train mode",
        "switch dropout on",
        "trainer.train()",
        "Dropout leaves out a tenth of the activations at random, so that the model does not rely on single ones. An "
        "evaluation switches it off, and nobody switches it on again unless this line does.",
    ),
    Phase(
        "forward",
        "forward pass",
        "trainer.train(); bf16=, fp16=, label_smoothing_factor=",
        "From token ids and attention mask to a number for each class, and from these and the labels to the loss: how "
        "surprised the model is by the truth.",
    ),
    Phase(
        "loss",
        "share the loss out over accumulated batches",
        "gradient_accumulation_steps=, and the remedy",
        "Gradients add up over the batches of a step. Each batch's loss is divided by their number, so that the sum "
        "is a mean again, as of one large batch.",
    ),
    Phase(
        "backward",
        "backward pass",
        "trainer.train()",
        "By the chain rule, back from the loss to each weight: how much would the loss change with this weight? That "
        "is its gradient.",
    ),
    Phase(
        "clip",
        "clip the gradients",
        "max_grad_norm=",
        "One odd batch can have a gradient many times as long as the others. Scaled down to a longest length it keeps "
        "its direction and cannot throw the model far off. `Trainer` does it by default, torch never.",
    ),
    Phase(
        "step",
        "move the weights",
        "trainer.train()",
        "Only here is anything learned: each weight goes a little way against its gradient.",
    ),
    Phase(
        "schedule step",
        "move the learning rate",
        "trainer.train()",
        "The schedule does not know that a step was made: it has to be told, after each one.",
    ),
    Phase(
        "zero",
        "forget the gradients",
        "trainer.train()",
        "backward() adds to what is there. What is not forgotten is added to every later gradient.",
    ),
    Phase(
        "log",
        "log the mean loss",
        "logging_strategy=, logging_steps=, report_to=",
        "One batch's loss says little; the mean over an epoch says whether it learns. detach() keeps the sum out of "
        "the graph: it is a number to look at, nothing to learn from.",
    ),
    Phase(
        "evaluate",
        "evaluate: loss and accuracy, no gradients",
        "eval_strategy=, eval_steps=; compute_metrics=",
        "On reviews that it has not learned from, without dropout and without gradients, and with each review counted "
        "once: a small last batch weighs less than the others.",
    ),
    Phase(
        "checkpoint",
        "save what it takes to go on, and go on",
        "save_strategy= and its like; ExactResume",
        "A run that is cut off can go on from here. It takes more than the weights: the optimizer's memory, the "
        "schedule, and the state of every random generator.",
    ),
    Phase(
        "progress",
        "show the progress",
        "disable_tqdm=",
        "For whoever waits. It changes nothing.",
    ),
    Phase(
        "save",
        "save weights and tokenizer",
        "trainer.save_model(); processing_class=",
        "A model without its tokenizer cannot read; both go into one folder, from which from_pretrained takes them.",
    ),
    Phase("arguments", "hand everything over", "TrainingArguments(...), Trainer(...): by hand nothing is handed over"),
)


NAMES = {phase.name.capitalize(): phase.name for phase in PHASES}
# A comment that begins a block: `# Schedule step: the learning rate of the next step.`
BEGINS = re.compile(rf"#\s+({'|'.join(sorted(NAMES, key=len, reverse=True))})[:.]")


def phase_of(comment: str) -> str | None:
    """The phase that a comment begins; None if it begins none."""
    found = BEGINS.match(comment)
    return NAMES[found.group(1)] if found else None


class Stretch(NamedTuple):
    """Consecutive lines of a page that belong to one phase: the phase, the number of the first line, and the lines."""

    phase: str
    first: int
    lines: list[str]


def stretches(source: str) -> list[Stretch]:
    """Cut a page where its comments say so; every line is in one stretch.

    What no comment tells: a page begins with what it is and with its imports, a `train` with its first lines, and a
    function that a phase calls belongs to this phase.
    """
    lines = source.splitlines()
    begins: dict[int, str] = {0: "page"}
    outside, previous = True, ""
    for number, line in enumerate(lines):
        text = line.strip()
        comment = re.search(r"(?:^|  )(# .*)$", text)
        if comment and (phase := phase_of(comment[1])):
            begins[number] = phase
        elif re.match(r"(import|from) \w", line) and outside and not any(begins[each] == "imports" for each in begins):
            begins[number] = "imports"
        elif found := re.match(r"(?:def|class) (\w+)", line):
            outside = False
            # A comment or a decorator above it has begun its block already.
            if not previous.startswith(("#", "@")):
                begins[number] = "function" if found.group(1) in ("train", "main") else found.group(1)
        previous = line
    starts = sorted(begins)
    found = [Stretch(begins[a], a + 1, lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    known = {phase.name for phase in PHASES}
    callers = {each.phase: _caller(each.phase, found) for each in found if each.phase not in known}
    while any(phase in callers for phase in callers.values()):
        callers = {name: callers.get(phase, phase) if phase != name else "function" for name, phase in callers.items()}
    return [each._replace(phase=callers.get(each.phase, each.phase)) for each in found]


def _caller(name: str, found: list[Stretch]) -> str:
    """The phase of the first line that mentions a function."""
    uses = re.compile(rf"\b{name}\b")
    return next(
        (each.phase for each in found if each.phase not in (name, "imports") and any(map(uses.search, each.lines))),
        "function",
    )


def by_phase(source: str) -> dict[str, list[Stretch]]:
    """A page's stretches by phase, in the order of `PHASES`; every phase is there, perhaps without lines."""
    found: dict[str, list[Stretch]] = {phase.name: [] for phase in PHASES}
    for stretch in stretches(source):
        found[stretch.phase].append(stretch)
    return found


def code_lines(stretches: list[Stretch]) -> int:
    """How many lines of code there are: neither blank nor comments alone."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for each in stretches for line in each.lines)
