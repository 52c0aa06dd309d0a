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
    """

    name: str
    does: str
    bought: str


PHASES = (
    Phase("page", "what the page is", "not part of the job: the page's own introduction"),
    Phase("imports", "imports", "not part of the job: what the lines below are made of"),
    Phase("function", "the function", "not part of the job: the same signature on both pages"),
    Phase("seed", "seed every random number generator", "set_seed(); TrainingArguments(seed=)"),
    Phase("data", "load, shuffle, select, tokenize", "Trainer(train_dataset=, eval_dataset=)"),
    Phase("model", "the pretrained body and a new head", "Trainer(model=)"),
    Phase("determinism", "deterministic algorithms only", "full_determinism="),
    Phase("device", "move model and batches to the GPU", "use_cpu=; else by itself"),
    Phase("shuffle", "the order of the reviews, epoch by epoch", "train_sampling_strategy=, data_seed="),
    Phase("batch", "cut the order into batches and load them", "per_device_train_batch_size= and its like"),
    Phase("collator", "pad each batch to its longest review", "Trainer(data_collator=)"),
    Phase("optimizer", "AdamW over two groups of parameters", "optim=, learning_rate=, weight_decay=, adam_..."),
    Phase("schedule", "how the learning rate changes", "lr_scheduler_type=, warmup_steps="),
    Phase(
        "wrapping", "16-bit gradients, compiler, processes", "gradient_checkpointing=, torch_compile=; else by itself"
    ),
    Phase("epoch", "how long: epochs and steps", "trainer.train(); num_train_epochs=, max_steps="),
    Phase("train mode", "switch dropout on", "trainer.train()"),
    Phase("forward", "forward pass", "trainer.train(); bf16=, fp16=, label_smoothing_factor="),
    Phase("loss", "share the loss out over accumulated batches", "gradient_accumulation_steps=, and the remedy"),
    Phase("backward", "backward pass", "trainer.train()"),
    Phase("clip", "clip the gradients", "max_grad_norm="),
    Phase("step", "move the weights", "trainer.train()"),
    Phase("schedule step", "move the learning rate", "trainer.train()"),
    Phase("zero", "forget the gradients", "trainer.train()"),
    Phase("log", "log the mean loss", "logging_strategy=, logging_steps=, report_to="),
    Phase("evaluate", "evaluate: loss and accuracy, no gradients", "eval_strategy=, eval_steps=; compute_metrics="),
    Phase("checkpoint", "save what it takes to go on, and go on", "save_strategy= and its like; ExactResume"),
    Phase("progress", "show the progress", "disable_tqdm="),
    Phase("save", "save weights and tokenizer", "trainer.save_model(); processing_class="),
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
