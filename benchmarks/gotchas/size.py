"""The size setting: what more training reviews cost in time, and what they add in accuracy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gotchas.base import Gotcha, quiet, range_text
from benchmarks.judge.finding import counted
from benchmarks.statistics import wilson
from shared.config import RunConfig, job_name, option
from shared.determinism import one_thread
from shared.errors import SameLoopError
from shared.progress import announce
from shared.recording.kept import Kept
from shared.recording.schema import Amount, Count, Environment, Positive, Share, Some

SIZE_FILE, PICTURE = "size.json", "size.png"
SIZES = (64, 125, 250, 500, 1000, 2000)
SEEDS = 3
# In two epochs the tiny model learns nothing from 1,000 snippets, in four it does; and 1,000 to evaluate on, because
# the interval of 500 is wider than most steps of the curve.
LONGER: dict[str, Any] = {"num_train_epochs": 4, "eval_size": 1000}


@dataclass(frozen=True)
class Point:
    """All trainings with one size.

    Attributes:
        size: training reviews.
        seconds: the time of the training with its evaluations, one per seed.
        accuracies: after the last epoch, one per seed.
    """

    size: Count
    seconds: Some[Amount]
    accuracies: Some[Share]

    @property
    def accuracy(self) -> float:
        """The mean of the seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float:
        """The standard deviation of the seeds; 0 for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True)
class Size:
    """Time and accuracy by the number of training reviews.

    Attributes:
        job: the model and the data.
        points: smallest first.
        epochs: the number of epochs of each training; each ends with an evaluation.
        eval_size: how many reviews the accuracy is counted on, the same ones for every point.
        config: the settings of the largest training with seed 0.
        environment: versions and device, as a record's header has them.
    """

    job: str
    points: Some[Point]
    epochs: Count
    eval_size: Positive
    config: dict[str, Any]
    environment: Environment

    def interval(self, point: Point) -> tuple[float, float]:
        """The 95 % interval of a point's mean accuracy: the evaluation's reviews are a sample, too."""
        return wilson(point.accuracy * self.eval_size, self.eval_size)

    @property
    def seeds(self) -> int:
        return len(self.points[0].seconds)


SIZE_KEPT = Kept(SIZE_FILE, Size, "sameloop gotcha size", schema=1)


def size_config(preset: str, sizes: Sequence[int]) -> RunConfig:
    """The settings of the largest training.

    Raises:
        SameLoopError: as `RunConfig.build`.
    """
    from benchmarks.mistakes.costs import FOR_TINY
    from benchmarks.mistakes.mistake import AS_MINIMAL

    settings = {**AS_MINIMAL, **({**FOR_TINY, **LONGER} if preset == "tiny" else {})}
    return RunConfig.build(preset, **{**settings, "train_size": max(sizes), "seed": 0})


def sizes_from(text: str) -> tuple[int, ...]:
    """What `--sizes` asks for, smallest first, each once.

    Raises:
        SameLoopError: something in it is no number of reviews.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal() or int(part) < 2:
            raise SameLoopError(f"--sizes {text}: {part!r} is no number from 2 on; give for example 64,500,2000")
    return tuple(sorted({int(part) for part in parts}))


def run(preset: str = "tiny", sizes: Sequence[int] = SIZES, seeds: int = SEEDS, **settings: Any) -> Size:
    """Train the minimal loop with every size and every seed.

    A smaller subset is the beginning of a larger one; all are evaluated on the same reviews.

    Args:
        seeds: how many trainings of each size, seeded from 0.
        settings: settings that differ from the preset's.

    Raises:
        SameLoopError: a setting is wrong, or there are too few reviews.
    """
    from manual_loop.minimal import train
    from shared.data import load_data
    from shared.model import load_tokenizer
    from shared.running.plain import train_fresh
    from shared.running.run import environment

    config = size_config(preset, sizes).model_copy(update=settings)
    announce(f"training with {', '.join(map(str, sizes))} reviews, {counted(seeds, 'seed')} each")
    # Before anything is timed: otherwise the first training would include the loading and tokenizing.
    try:
        with quiet():
            tokenizer = load_tokenizer(config)
            data = load_data(config, tokenizer)
    except SameLoopError as error:
        # The option of this command that asks for the reviews.
        raise SameLoopError(str(error).replace(option("train_size"), "--sizes")) from None
    points = []
    with one_thread():
        for size in sizes:
            train_dataset = data.train_dataset.select(range(size))
            seconds, accuracies = [], []
            for seed in range(seeds):
                own = config.model_copy(update={"train_size": size, "seed": seed})
                with quiet():
                    model, evaluations, took = train_fresh(train, own, tokenizer, train_dataset, *data[1:])
                seconds.append(took)
                accuracies.append(evaluations[-1]["eval_accuracy"])
            points.append(Point(size, seconds, accuracies))
            announce(f"{size:,} reviews: {statistics.median(seconds):.1f} s, {points[-1].accuracy:.1%}")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return Size(
            job_name(config, parameters),
            points,
            int(config.num_train_epochs),
            config.eval_size,
            config.model_dump(),
            environment(),
        )


def size_folder(folder: Path) -> Path:
    """A folder to write to.

    Raises:
        SameLoopError: it holds something that is not this gotcha's, or cannot be read.
    """
    try:
        holds = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return folder
    except OSError as error:
        raise SameLoopError(f"--output-dir {folder}: {error.strerror}; name another folder") from None
    if any(not name.startswith(Path(SIZE_FILE).stem) for name in holds):
        raise SameLoopError(f"--output-dir {folder}: it holds something else; name a new or empty folder")
    return folder


def printed(curve: Size) -> Iterator[Any]:
    """A row per size: seconds, accuracy, the seeds' spread, and the evaluation's interval."""
    from rich.table import Table

    epochs, seeds = counted(curve.epochs, "epoch"), counted(curve.seeds, "seed")
    table = Table(title=f"{curve.job}, {epochs}, {seeds} each", title_justify="left")
    for heading in ("reviews", "seconds", "accuracy", "seeds differ by", "95 % interval"):
        table.add_column(heading, justify="right")
    for point in curve.points:
        seconds, (low, high) = statistics.median(point.seconds), curve.interval(point)
        table.add_row(
            f"{point.size:,}",
            f"{seconds:.1f}",
            f"{point.accuracy:.1%}",
            # A single seed says nothing about others.
            f"± {100 * point.spread:.1f}" if curve.seeds > 1 else "-",
            range_text(low, high),
        )
    yield table
    yield (
        f"seconds: of training with its evaluations, median; accuracy: mean of the seeds, ± their standard deviation "
        f"in points; interval: what {curve.eval_size:,} evaluation reviews leave open (Wilson)"
    )


SIZE = Gotcha(
    "size",
    "train_size: time and accuracy against the number of training examples",
    "Take a smaller subset of the dataset to fine-tune on: it takes less time.",
    run,
    printed,
    "Time grows linearly with the number of reviews, and accuracy does not; a gain within the interval, or within "
    "seed-to-seed variation, is not a gain.",
)
