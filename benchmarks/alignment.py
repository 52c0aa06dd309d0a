"""Which lines of the two pages do the same: declared here once, for `sameloop diff` and for whoever shows the pages.

A page is cut into segments, in its own order; each does one thing, its phase. A segment is declared by its phase, its
number of lines and how it begins, so that no line can come, go or move without this file being wrong: then `segments`
says where, and a test fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Phase(NamedTuple):
    """One thing that a training does.

    Attributes:
        name: as the segments call it.
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
    Phase("check", "stop at a loss that is no number", "ExactResume; logging_nan_inf_filter=False"),
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


class Segment(NamedTuple):
    """Consecutive lines of a page that belong to one phase.

    Attributes:
        phase: its name.
        lines: how many, blank ones among them.
        begins: the beginning of the first, without its indent.
    """

    phase: str
    lines: int
    begins: str


MANUAL = (
    Segment("page", 8, '"""Fine-tune DistilBERT on reviews, every line by hand.'),
    Segment("imports", 30, "import math"),
    Segment("function", 3, "def train(config: RunConfig, output_dir: Path, checkpoint: P"),
    Segment("seed", 3, "# 1. Seed: the new head's weights are random, so fix the dic"),
    Segment("data", 4, "# 2. Data: load > shuffle > select > tokenize. No padding ye"),
    Segment("model", 5, "# 3. Model: a pretrained body and a new classification head,"),
    Segment("seed", 2, "# Seed once more: whatever was drawn so far, dropout starts"),
    Segment("determinism", 2, "if config.full_determinism:"),
    Segment("device", 4, "use_gpu = torch.accelerator.is_available() and not config.us"),
    Segment("shuffle", 12, "# 4. Batches: drawn in random order, each padded to its own"),
    Segment("batch", 2, "train_batches = BatchSampler(train_sampler, config.per_devic"),
    Segment("collator", 1, 'options = {"collate_fn": DataCollatorWithPadding(tokenizer),'),
    Segment("batch", 3, "train_loader = DataLoader(train_dataset, batch_sampler=my_sh"),
    Segment("epoch", 3, "steps_per_epoch = math.ceil(len(train_loader) / config.gradi"),
    Segment("optimizer", 11, "# 5. Optimizer: two groups of parameters, because weight dec"),
    Segment("schedule", 4, "# 6. Schedule: by default the learning rate climbs during th"),
    Segment("wrapping", 8, "# 7. Training. Float16 has a small range: the scaler keeps g"),
    Segment("checkpoint", 4, "state = TrainingState(total_loss=torch.tensor(0.0, device=de"),
    Segment("progress", 2, 'progress = tqdm(total=max_steps, initial=state.step, desc="T'),
    Segment("epoch", 1, "for epoch in range(state.step // steps_per_epoch, math.ceil("),
    Segment("shuffle", 3, "# A new order of the batches in every epoch, the same one in"),
    Segment("checkpoint", 5, "steps_done = state.step % steps_per_epoch"),
    Segment("batch", 2, "batches = iter(train_loader)"),
    Segment("epoch", 1, "for step_in_epoch in range(steps_done + 1, steps_per_epoch +"),
    Segment("batch", 4, "# One step learns from gradient_accumulation_steps batches;"),
    Segment("train mode", 2, "# The evaluation switched dropout off; switch it on again."),
    Segment("device", 1, "batch = {name: tensor.to(device) for name, tensor in batch.i"),
    Segment("wrapping", 1, "with without_sync(training_model, unless=number == len(group"),
    Segment("forward", 2, "# Forward: `model(**batch).loss`, a mean over the batch, sha"),
    Segment("loss", 2, "loss = loss / len(group)"),
    Segment("backward", 2, "# Backward: add to the gradient of every parameter."),
    Segment("log", 1, "state.total_loss += loss.detach()"),
    Segment("backward", 3, "# Let go of the graph before the next batch builds its own:"),
    Segment("clip", 4, "# Clip: if all gradients together are longer than max_grad_n"),
    Segment("check", 5, "# A loss that is not a number would make every weight one to"),
    Segment("step", 4, "# Step: move the weights, then the learning rate, then forge"),
    Segment("schedule step", 5, "# After an overflow the scaler leaves the step out, and the"),
    Segment("zero", 1, "optimizer.zero_grad()"),
    Segment("progress", 3, "state.step += 1"),
    Segment("epoch", 4, "training_ends = state.step == max_steps"),
    Segment("log", 8, "# Log: the mean training loss since the last line, and this"),
    Segment("evaluate", 13, "# Evaluate: with `steps` also after the very last step."),
    Segment("checkpoint", 8, "# Checkpoint: all it takes to go on from here, also when Ctr"),
    Segment("epoch", 3, "if training_ends:"),
    Segment("progress", 1, "progress.close()"),
    Segment("checkpoint", 3, "if config.load_best_model_at_end:"),
    Segment("save", 7, "# 8. Saving: weights, configuration and tokenizer in one fol"),
    Segment("evaluate", 25, "# 9. Evaluation: no gradients, no dropout, and every review"),
    Segment("seed", 7, "def set_seed(seed: int) -> None:"),
    Segment("log", 10, "def is_due(strategy: str, step: int, every: int, epoch_ends:"),
)
TRAINER = (
    Segment("page", 7, '"""Fine-tune DistilBERT on reviews through Hugging Face\'s `T'),
    Segment("imports", 12, "import sys"),
    Segment("function", 3, "def train(config: RunConfig, output_dir: Path, checkpoint: P"),
    Segment("seed", 3, "# 1. Seed: the new head's weights are random, so fix the dic"),
    Segment("data", 4, "# 2. Data: load > shuffle > select > tokenize. No padding ye"),
    Segment("model", 4, "# 3. Model: a pretrained body and a new classification head."),
    Segment("loss", 7, "if not config.trainer_defaults:"),
    Segment("arguments", 2, "arguments = TrainingArguments("),
    Segment("device", 1, "use_cpu=config.use_cpu or not torch.accelerator.is_available"),
    Segment("seed", 1, "seed=config.seed,  # Trainer's constructor seeds once more"),
    Segment("determinism", 1, "full_determinism=config.full_determinism,"),
    Segment("batch", 3, "# 4. Batches: Trainer builds both DataLoaders and seeds the"),
    Segment("shuffle", 2, "train_sampling_strategy=config.train_sampling_strategy,"),
    Segment("batch", 3, "dataloader_drop_last=config.dataloader_drop_last,"),
    Segment("optimizer", 7, "# 5. Optimizer: Trainer makes the two groups and never decay"),
    Segment("schedule", 3, "# 6. Schedule."),
    Segment("epoch", 3, "# 7. Training: how long, how the gradients come about, when"),
    Segment("loss", 1, "gradient_accumulation_steps=config.gradient_accumulation_ste"),
    Segment("clip", 1, "max_grad_norm=config.max_grad_norm,"),
    Segment("forward", 3, "label_smoothing_factor=config.label_smoothing_factor,"),
    Segment("wrapping", 2, "gradient_checkpointing=config.gradient_checkpointing or None"),
    Segment("log", 2, "logging_strategy=config.logging_strategy,"),
    Segment("check", 1, "logging_nan_inf_filter=False,  # True, the default, would lo"),
    Segment("evaluate", 2, "eval_strategy=config.eval_strategy,"),
    Segment("wrapping", 1, "ddp_find_unused_parameters=False,  # several processes: ever"),
    Segment("progress", 1, "disable_tqdm=not sys.stderr.isatty(),"),
    Segment("log", 1, 'report_to="none",'),
    Segment("checkpoint", 5, "# 8. Saving: checkpoints on the way. (save_total_limit: the"),
    Segment("arguments", 4, ")"),
    Segment("data", 2, "train_dataset=train_dataset,"),
    Segment("collator", 1, "data_collator=DataCollatorWithPadding(tokenizer),"),
    Segment("save", 1, "processing_class=tokenizer,"),
    Segment("evaluate", 1, "compute_metrics=compute_metrics,"),
    Segment("arguments", 1, ")"),
    Segment("checkpoint", 2, "trainer.add_callback(ExactResume(trainer, config, output_dir"),
    Segment("epoch", 3, "# 7. Training: every line under this heading on the other pa"),
    Segment("save", 5, "# 8. Saving: weights, configuration and tokenizer in one fol"),
    Segment("evaluate", 4, "# 9. Evaluation: Trainer runs it and computes the loss; the"),
)


SEGMENTS = {"manual": MANUAL, "trainer": TRAINER}


class Stretch(NamedTuple):
    """A segment found on its page: the phase, the number of its first line, and the lines."""

    phase: str
    first: int
    lines: list[str]


def segments(page: str, source: str) -> list[Stretch]:
    """Cut a page as declared.

    Args:
        page: `manual` or `trainer`.
        source: its text.

    Raises:
        ValueError: the page is not as declared; says where.
    """
    source_lines = source.splitlines()
    found, position = [], 0
    for segment in SEGMENTS[page]:
        lines = source_lines[position : position + segment.lines]
        if len(lines) < segment.lines or not lines[0].strip().startswith(segment.begins):
            got = lines[0].strip() if lines else "the end of the page"
            raise ValueError(
                f"the page of {page}, line {position + 1}: {segment.phase!r} should begin here with "
                f"{segment.begins!r}, not {got!r}"
            )
        found.append(Stretch(segment.phase, position + 1, lines))
        position += segment.lines
    if position != len(source_lines):
        raise ValueError(f"{page}: the lines from {position + 1} on are not declared")
    return found


def aligned(page: str, source: str) -> list[Stretch]:
    """Cut a page that may not be the package's own any more, for whoever tries things out on it.

    As `segments`, but a segment ends where the next one that still can be found begins; new lines belong to the one
    before them.
    """
    try:
        return segments(page, source)
    except ValueError:
        lines = source.splitlines()
    # What stands above the first one that is found is the beginning of the page.
    begins = {0: SEGMENTS[page][0].phase, **_found_begins(SEGMENTS[page], [line.strip() for line in lines])}
    ends = [*sorted(begins)[1:], len(lines)]
    return [
        Stretch(begins[start], start + 1, lines[start:end]) for start, end in zip(sorted(begins), ends, strict=True)
    ]


def _found_begins(declared: Sequence[Segment], lines: Sequence[str]) -> dict[int, str]:
    """The lines at which segments begin, and their phases: as many as can be found in the declared order.

    The longest common subsequence of what segments begin with and of the lines.
    """
    # most[s][n]: how many of the segments from s on can be found in the lines from n on.
    most = [[0] * (len(lines) + 1) for _ in range(len(declared) + 1)]
    for s in reversed(range(len(declared))):
        for n in reversed(range(len(lines))):
            here = 1 + most[s + 1][n + 1] if lines[n].startswith(declared[s].begins) else 0
            most[s][n] = max(here, most[s + 1][n], most[s][n + 1])
    found, s, n = {}, 0, 0
    while s < len(declared) and n < len(lines):
        if lines[n].startswith(declared[s].begins) and most[s][n] == 1 + most[s + 1][n + 1]:
            found[n] = declared[s].phase
            s, n = s + 1, n + 1
        elif most[s][n] == most[s][n + 1]:
            n += 1
        else:
            s += 1
    return found


def by_phase(page: str, source: str) -> dict[str, list[Stretch]]:
    """A page's segments by phase, in the order of `PHASES`; every phase is there, perhaps without lines."""
    found: dict[str, list[Stretch]] = {phase.name: [] for phase in PHASES}
    for stretch in aligned(page, source):
        found[stretch.phase].append(stretch)
    return found


def code_lines(stretches: list[Stretch]) -> int:
    """How many lines of code there are: neither blank nor comments alone."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for each in stretches for line in each.lines)
