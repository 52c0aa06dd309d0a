"""What a mistake costs: accuracy and loss over several seeds on real reviews, seconds, memory.

Every mistake is compared with the right loop with the same settings and the same seed. There are two numbers: what the
loop reports, and what its model achieves on the same reviews when they are evaluated rightly.
"""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from typing import Any

import psutil

from benchmarks.mistakes.catalogue import GALLERY, MISTAKES
from benchmarks.mistakes.mistake import AS_MINIMAL, Mistake, Pieces, right_script, wrong_script
from shared.config import RunConfig, job_name
from shared.progress import announce
from shared.recording.kept import Kept
from shared.recording.schema import Settings, Some
from shared.running.script import LoopScript, train_of
from shared.starting.launch import pool

# The tiny model learns something from 2,000 snippets: from chance to about 67 % in two seconds.
FOR_TINY: dict[str, Any] = {
    "train_size": 2000,
    "eval_size": 500,
    "max_length": 24,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "learning_rate": 3e-3,
}
# The batches of a step where the mistake is about accumulation: two cost the least time.
ACCUMULATED = 2
# A difference of means counts as one only beyond this many of its standard errors.
SURE = 2.0
# What one can notice without a check: another accuracy, a wrong report, more time, more memory.
SIGNS = ("accuracy", "report", "time", "memory", "nothing")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        reported_accuracy, reported_loss: what the loop returned for its last evaluation.
        accuracy, loss: its model's, evaluated rightly on the same reviews.
        seconds: the time of `train`.
        memory_mb: by how much the process grew at most during the training, in MB (10^6 bytes).
    """

    reported_accuracy: float
    reported_loss: float
    accuracy: float
    loss: float
    seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Cost:
    """A mistake against the right loop, run by run with the same seed.

    Attributes:
        name: the mistake's name.
        right, wrong: the runs, one per seed.
    """

    name: str
    right: list[Run]
    wrong: list[Run]

    def difference(self, quantity: str) -> list[float]:
        """Wrong minus right of a quantity of `Run`, by seed."""
        return [getattr(w, quantity) - getattr(r, quantity) for r, w in zip(self.right, self.wrong, strict=True)]

    @property
    def accuracy(self) -> float:
        """The model's accuracy, wrong minus right, mean over the seeds."""
        return statistics.fmean(self.difference("accuracy"))

    @property
    def overstated(self) -> float:
        """The accuracy that the loop reports minus that of its model, mean over the seeds."""
        return statistics.fmean(run.reported_accuracy - run.accuracy for run in self.wrong)

    @property
    def overstated_loss(self) -> float:
        """The same for the loss."""
        return statistics.fmean(run.reported_loss - run.loss for run in self.wrong)

    @property
    def seconds(self) -> float:
        """The time as a multiple of the right loop's, median over the seeds."""
        return statistics.median(w.seconds / r.seconds for r, w in zip(self.right, self.wrong, strict=True))

    def is_sure(self, quantity: str = "accuracy") -> bool:
        """Whether the difference is more than seed-to-seed variation: beyond `SURE` standard errors of its mean."""
        differences = self.difference(quantity)
        # A difference that is not finite comes from a loss that overflowed, or from a damaged file.
        if len(differences) < 2 or not all(map(math.isfinite, differences)):
            return False
        error = statistics.stdev(differences) / len(differences) ** 0.5
        return abs(statistics.fmean(differences)) > SURE * error and any(differences)

    @property
    def signs(self) -> list[str]:
        """What one could notice without a check, each of `SIGNS`."""
        overstates = abs(self.overstated) > 0.002 or abs(self.overstated_loss) > 0.01
        slower, larger = self.seconds > 1.25, statistics.median(self.difference("memory_mb")) > 50
        noticeable = dict(zip(SIGNS, (self.is_sure(), overstates, slower, larger), strict=False))
        return [sign for sign, is_noticeable in noticeable.items() if is_noticeable] or [SIGNS[-1]]

    def noticed(self) -> str:
        """What one would notice without a check, in words."""
        signs, sentences = self.signs, []
        if "accuracy" in signs:
            sentences.append(f"accuracy {100 * self.accuracy:+.1f} points")
        if "report" in signs:
            accuracy, loss = f"{100 * self.overstated:+.1f} points", f"{self.overstated_loss:+.3f}"
            sentences.append(f"the reported numbers are wrong: accuracy {accuracy}, loss {loss}")
        if "time" in signs:
            sentences.append(f"{self.seconds:.1f} times the seconds")
        if "memory" in signs:
            sentences.append(f"{statistics.median(self.difference('memory_mb')):.0f} MB more")
        if sentences:
            return "; ".join(sentences)
        if not any(self.difference("accuracy")) and not any(self.difference("loss")):
            return "nothing: the same model, bit for bit"
        return f"within seed-to-seed variation ({100 * self.accuracy:+.1f} points)"


def job_of(config: RunConfig) -> str:
    """What is trained on what, and how much of it."""
    return f"{job_name(config, None)}, {config.train_size:,} reviews"


@dataclass(frozen=True)
class Gallery:
    """The costs as they are kept in `gallery.json`.

    Attributes:
        config: the settings of the trainings.
        mistakes: in the order in which they are shown.
    """

    config: Settings
    mistakes: Some[Cost]

    @property
    def job(self) -> str:
        return job_of(RunConfig(**self.config))

    def check(self) -> None:
        """Raise ValueError unless every mistake is one of ours, with two runs of every seed."""
        for cost in self.mistakes:
            if cost.name not in GALLERY or not len(cost.right) == len(cost.wrong) > 0:
                raise ValueError(f"mistakes: {cost.name}")


GALLERY_KEPT = Kept("gallery.json", Gallery, "sameloop break --all", schema=1, check=Gallery.check)


def cost_config(preset: str, seed: int, settings: Mapping[str, Any]) -> RunConfig:
    """The settings of a run whose cost is measured.

    Raises:
        SameLoopError: there is no such preset.
    """
    settings = {**AS_MINIMAL, **(FOR_TINY if preset == "tiny" else {}), **settings, "seed": seed}
    if "gradient_accumulation_steps" in settings:
        settings["gradient_accumulation_steps"] = ACCUMULATED
    config = RunConfig.build(preset, **settings)
    if config.gradient_accumulation_steps == 1:
        return config
    # A step has as many reviews as without accumulation, or there would be fewer steps.
    size = max(1, config.per_device_train_batch_size // ACCUMULATED)
    return config.model_copy(update={"per_device_train_batch_size": size})


def costs_of(
    mistakes: Sequence[Mistake],
    preset: str,
    seeds: int,
    processes: int = 2,
    also: Callable[[Mistake], Any] | None = None,
) -> tuple[list[Cost], list[Any]]:
    """Train every mistake and its right loop with every seed.

    Args:
        seeds: how many, from 0.
        also: is called with each mistake, in the same processes.

    Returns:
        A cost per mistake, and what `also` gave for each; empty without it.

    Raises:
        SameLoopError: there is no such preset.
    """
    cost_config(preset, 0, {})  # a wrong name is an error at once
    announce(f"training each with {seeds} seeds, and the right loops, {processes} at once")
    rights = {_right_key(mistake): mistake.name for mistake in mistakes}
    tasks = [(name, False, seed) for name in rights.values() for seed in range(seeds)]
    tasks += [(mistake.name, True, seed) for mistake in mistakes for seed in range(seeds)]
    runs: dict[tuple[str, bool, int], Run] = {}
    with pool(processes) as workers:
        futures = {workers.submit(train_once, *task, preset): task for task in tasks}
        others = [workers.submit(also, mistake) for mistake in mistakes] if also else []
        for done, future in enumerate(as_completed(futures), start=1):
            runs[futures[future]] = future.result()
            if done % max(1, len(tasks) // 10) == 0:
                announce(f"{done} of {len(tasks)}")
        results = [future.result() for future in others]
    costs = [
        Cost(
            mistake.name,
            [runs[rights[_right_key(mistake)], False, seed] for seed in range(seeds)],
            [runs[mistake.name, True, seed] for seed in range(seeds)],
        )
        for mistake in mistakes
    ]
    return costs, results


def by_cost(costs: Iterable[Cost]) -> list[Cost]:
    """The most costly first."""
    return sorted(costs, key=lambda cost: cost.accuracy)


def train_once(name: str, is_wrong: bool, seed: int, preset: str) -> Run:
    """Train one loop, a mistake's or the right one that it is compared with, in this process."""
    mistake = MISTAKES[name]
    script = wrong_script(mistake) if is_wrong else right_script(mistake)
    return _train(script, cost_config(preset, seed, mistake.settings))


def _right_key(mistake: Mistake) -> tuple[Pieces, tuple]:
    settings = cost_config("tiny", 0, mistake.settings).settings
    return mistake.setting, tuple(sorted((name, str(value)) for name, value in settings.items()))


@cache
def _data(preset: str) -> tuple[Any, Any, Any, Any]:
    from shared.data import load_data
    from shared.model import load_tokenizer

    config = cost_config(preset, 0, {})
    tokenizer = load_tokenizer(config)
    return tokenizer, *load_data(config, tokenizer)


def _train(script: LoopScript, config: RunConfig) -> Run:
    from shared.running.plain import train_fresh

    with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        tokenizer, *data = _data(config.preset)
        with script.loaded() as module:
            train = _watched(train_of(module, script)[0])
            model, (returned, growth), seconds = train_fresh(train, config, tokenizer, *data)
    accuracy, loss = evaluate_rightly(model, tokenizer, data[1])
    last = returned[-1]
    return Run(last["eval_accuracy"], last["eval_loss"], accuracy, loss, seconds, growth)


def evaluate_rightly(model: Any, tokenizer: Any, dataset: Any) -> tuple[float, float]:
    """A model's accuracy and mean loss over a subset, evaluated rightly, on the CPU wherever it was trained."""
    import torch
    from torch.utils.data import DataLoader
    from transformers import DataCollatorWithPadding

    for module in model.modules():
        module.__dict__.pop("forward", None)  # what a mistake has replaced in a layer
    model.cpu().float().eval()
    losses, right = [], []
    with torch.no_grad():
        for batch in DataLoader(dataset, 64, collate_fn=DataCollatorWithPadding(tokenizer)):
            labels = batch["labels"]
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            losses += torch.nn.functional.cross_entropy(logits, labels, reduction="none").tolist()
            right += (logits.argmax(-1) == labels).tolist()
    return statistics.fmean(right), statistics.fmean(losses)


def _watched(train: Callable[..., Any]) -> Callable[..., tuple[Any, float]]:
    """The loop, returning also by how much the process has grown at most, in MB, sampled every 20 ms."""

    def watched(*job: Any) -> tuple[Any, float]:
        process, done, peak = psutil.Process(), threading.Event(), 0.0
        before = process.memory_info().rss

        def sample() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, (process.memory_info().rss - before) / 1e6)

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            return train(*job), peak
        finally:
            done.set()
            thread.join()

    return watched
