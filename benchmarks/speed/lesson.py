"""A lesson on speed: what each setting gains at the same work, in the manual loop, on the machine that runs it.

It trains on the same reviews once with the plain loop and once with each change alone, every run in a process of its
own; all figures come from the flight recorder. `sameloop speed --lesson` prints them; `make speed-lesson` makes
docs/speed.md from them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.mistakes.mistake import Pieces
from benchmarks.statistics import Spread, wilson
from shared.config import RunConfig, show
from shared.errors import SameLoopError
from shared.recording.kept import Kept
from shared.recording.record import RunRecord, training_seconds
from shared.recording.schema import Environment, Settings, Some
from shared.running.surroundings import settle

LESSON_FILE, PICTURE = "speed.json", "speed.png"
LENGTHS = (128, 512)
# One epoch and one evaluation: two would take an hour on a slow machine.
SETTINGS: dict[str, Any] = {"num_train_epochs": 1, "save_strategy": "no", "logging_strategy": "no"}
# The steps in which a compiled model may be compiled again: for its first batch, and for a batch of another length.
FIRST_STEPS = 3
PLAIN = "plain"
# The settings of the preset `fast` that make it fast.
FAST_SETTINGS = ("train_sampling_strategy", "bf16")

COLLATORS = "https://huggingface.co/docs/transformers/data_collators"
COMPILING = "https://docs.pytorch.org/docs/stable/compile/programming_model.recompilation.html"
AUTOCAST = "https://docs.pytorch.org/docs/stable/amp.html"


@dataclass(frozen=True)
class Change:
    """One change against the plain loop.

    Attributes:
        name: short, for a command line or a file.
        label: for a table.
        why: what it does to the time, in sentences.
        settings: returns the settings that it sets, from those of the plain loop.
        pieces: the pieces of the loop's code that it replaces, where no setting does it.
    """

    name: str
    label: str
    why: str
    settings: Callable[[RunConfig], Mapping[str, Any]] = lambda config: {}
    pieces: Pieces = ()


def fast_settings(config: RunConfig) -> dict[str, Any]:
    """The settings of the preset `fast` that affect speed, as they would be on this machine."""
    fast = RunConfig.build("fast", use_cpu=config.use_cpu, fp16=config.fp16)
    return {name: getattr(fast, name) for name in FAST_SETTINGS}


CHANGES = (
    Change(
        "padded",
        "padded in full",
        'Every review is computed at the full length. Many tutorials do so with `padding="max_length"`. SameLoop has '
        "no setting for it; the loop was edited.",
        pieces=(
            (
                "DataCollatorWithPadding(tokenizer)",
                'DataCollatorWithPadding(tokenizer, padding="max_length", max_length=config.max_length)',
            ),
        ),
    ),
    Change(
        PLAIN,
        "the plain loop",
        f"Each batch is padded to its own longest review ([dynamic padding]({COLLATORS})). The other rows are "
        "compared with this one.",
    ),
    Change(
        "grouped",
        "grouped by length",
        "Reviews of similar length share a batch, so that little is padding. Where nearly all reviews are cut to the "
        "same length, there is nothing to gain.",
        lambda config: {"train_sampling_strategy": "group_by_length"},
    ),
    Change(
        "bf16",
        "bf16",
        f"[Autocast]({AUTOCAST}) computes matrix products in 16 bits. It is faster where the hardware has "
        "instructions for them (avx512_bf16 or amx_bf16 in a processor), and slower elsewhere.",
        lambda config: {"bf16": True, "fp16": False},
    ),
    Change(
        "batch-2",
        "batch size × 2",
        "Half as many steps, the same number of products. Where the processor is busy already, larger batches gain "
        "little, and they need more padding. At the same learning rate fewer steps learn less.",
        lambda config: {"per_device_train_batch_size": 2 * config.per_device_train_batch_size},
    ),
    Change(
        "batch-4",
        "batch size × 4",
        "A quarter of the steps, more padding, more memory.",
        lambda config: {"per_device_train_batch_size": 4 * config.per_device_train_batch_size},
    ),
    Change(
        "workers",
        "2 loader workers",
        "Two processes prepare batches ahead. A batch takes only milliseconds to prepare, because the reviews are "
        "tokenized already. On a CPU the workers take cores from the training.",
        lambda config: {"dataloader_num_workers": 2},
    ),
    Change(
        "frozen",
        "frozen body",
        "There is no backward pass through the body, and only the head learns. The forward pass stays. The model "
        "learns less.",
        lambda config: {"freeze_body": True},
    ),
    Change(
        "compiled",
        "torch.compile",
        "Small operations (activation, dropout, norms) are fused; matrix products, most of the work, are not. "
        f"[The first steps compile]({COMPILING}), and so does the evaluation. A long training gets that time back, a "
        "short one does not. Each run here began with nothing compiled.",
        lambda config: {"torch_compile": True},
    ),
    Change("fast", "preset fast", "What `--preset fast` chooses on this machine.", fast_settings),
)


@dataclass(frozen=True)
class Figures:
    """The figures of one run, from its record.

    Attributes:
        seconds: of all training steps.
        first_seconds: how much longer the first steps took than as many later ones with the same number of tokens.
        tokens, padded_tokens: of the training, without and with padding.
        tokens_per_second: without padding, in the steps after the first ones.
        memory_mb: the peak, in MB (10^6 bytes).
        accuracy: of the last evaluation; None: there was none.
    """

    seconds: float
    first_seconds: float
    tokens: int
    padded_tokens: int
    tokens_per_second: float
    memory_mb: float
    accuracy: float | None

    @property
    def padding(self) -> float:
        """The share of the computed tokens that is padding."""
        return 1 - self.tokens / self.padded_tokens


@dataclass(frozen=True)
class Row:
    """A change at one length.

    Attributes:
        name: the change's.
        max_length: tokens.
        settings: the options that it sets, as on the command line; empty for the plain loop.
        runs: one for each round.
        remark: a remark on the numbers, or why there are none; often empty.
    """

    name: str
    max_length: int
    settings: str
    runs: list[Figures]
    remark: str

    def median(self, quantity: str) -> float:
        """The median over the rounds of a quantity of `Figures`."""
        return statistics.median(getattr(run, quantity) for run in self.runs)


@dataclass(frozen=True)
class Lesson:
    """The whole lesson.

    Attributes:
        job: the model and its data.
        config: the plain loop's settings; each length replaces `max_length`.
        rows: by length, in the order of `CHANGES`.
        environment: versions and device, as in a record's header, with the processor and its cores.
    """

    job: str
    config: Settings
    rows: Some[Row]
    environment: Environment

    @property
    def lengths(self) -> list[int]:
        return list(dict.fromkeys(row.max_length for row in self.rows))

    def at(self, length: int) -> list[Row]:
        return [row for row in self.rows if row.max_length == length]

    def times(self, row: Row) -> Spread | None:
        """The ratio of its useful tokens per second to the plain loop's, over the rounds; None: it has not run."""
        plain = next(other for other in self.at(row.max_length) if other.name == PLAIN)
        pairs = zip(row.runs, plain.runs, strict=bool(row.runs))
        ratios = [run.tokens_per_second / other.tokens_per_second for run, other in pairs]
        return Spread(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None

    def accuracy(self, row: Row) -> Spread | None:
        """A row's accuracy, with its 95 % confidence interval."""
        accuracies = [run.accuracy for run in row.runs if run.accuracy is not None]
        if not accuracies:
            return None
        mean, count = statistics.fmean(accuracies), self.config["eval_size"]
        return Spread(mean, *wilson(mean * count, count))

    @property
    def footnote(self) -> str:
        """The machine and the versions in one line."""
        environment = self.environment
        versions = ", ".join(f"{name} {environment[name]}" for name in ("torch", "transformers", "python"))
        threads, cores = _counted(environment["threads"], "thread"), _counted(environment["cores"], "core")
        gpu = "" if environment["device"] == "cpu" or self.config["use_cpu"] else f"{environment['device']}, "
        return f"{gpu}{environment['processor']}, {cores}, {threads}; {versions}"

    def check(self) -> None:
        """Raise ValueError or KeyError unless a chart can be drawn of it."""
        for row in self.rows:
            if not any(other.name == PLAIN for other in self.at(row.max_length)):
                raise ValueError(f"rows: no plain loop at {row.max_length} tokens")
            _ = change_of(row.name), self.times(row), self.accuracy(row)
        _ = self.footnote


LESSON = Kept(LESSON_FILE, Lesson, "sameloop speed --lesson", schema=1, check=Lesson.check)


def change_of(name: str) -> Change:
    """The change with this name; raises KeyError if there is none."""
    return {change.name: change for change in CHANGES}[name]


def lesson_config(settings: Mapping[str, Any]) -> tuple[RunConfig, tuple[int, ...]]:
    """The plain loop's settings, and the lengths at which every change is run.

    Args:
        settings: the settings that the user has set.

    Raises:
        SameLoopError: as `RunConfig.build`, or a setting that the lesson cannot use.
    """
    config = settle(RunConfig.build(**{**SETTINGS, **settings}))
    if config.loop:
        raise SameLoopError(f"--loop {config.loop}: the lesson changes SameLoop's own loop; leave it out")
    return config, ((config.max_length,) if "max_length" in settings else LENGTHS)


def figures(record: RunRecord) -> Figures:
    """The figures in the record of a finished run."""
    lines = [(training_seconds(line), line["tokens"], line["padded_tokens"]) for line in record.steps]
    first, later = lines[:FIRST_STEPS], lines[FIRST_STEPS:] or lines[1:] or lines
    seconds, tokens, padded = (sum(column) for column in zip(*later, strict=True))
    expected = seconds / padded * sum(value for _, _, value in first)
    footer, evaluations = record.footer, record.evaluations
    return Figures(
        seconds=footer["train_seconds"],
        first_seconds=max(0.0, sum(value for value, _, _ in first) - expected),
        tokens=footer["tokens"],
        padded_tokens=footer["padded_tokens"],
        tokens_per_second=tokens / seconds,
        memory_mb=footer["peak_memory_mb"],
        accuracy=evaluations[-1]["accuracy"] if evaluations else None,
    )


def work(lesson: Lesson) -> str:
    """A description of what every row trains."""
    config = RunConfig(**lesson.config)
    passes = f"{show(config.num_train_epochs)} epochs" if config.num_train_epochs != 1 else "one epoch"
    long = f"{config.max_steps} steps" if config.max_steps > 0 else passes
    return (
        f"{lesson.job}: {config.train_size:,} reviews, {long}, batches of {config.per_device_train_batch_size}; "
        f"accuracy on {config.eval_size:,} others"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
