"""The notice about new weights: what it says, which weights they are, and the model's accuracy with them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any

from benchmarks.gotchas.base import Gotcha, quiet, range_text
from benchmarks.statistics import wilson
from shared.config import RunConfig, job_name
from shared.determinism import one_thread
from shared.progress import announce


@dataclass(frozen=True)
class WeightCheck:
    """The notice, and the model before any training.

    Attributes:
        job: the model and the reviews.
        notice: the lines that the release prints, joined; empty if it prints none.
        new: the new parameters by name, with how many numbers each has.
        of_body: how many of the checkpoint's parameters are new; it must be 0.
        parameters: how many numbers the model has.
        reviews: how many it was evaluated on.
        accuracy: its share of right answers.
    """

    job: str
    notice: str
    new: dict[str, int]
    of_body: int
    parameters: int
    reviews: int
    accuracy: float

    @property
    def share(self) -> float:
        """The new numbers' share of the model."""
        return sum(self.new.values()) / self.parameters


def run(model: str = "embedded", reviews: int = 200, max_length: int = 64) -> WeightCheck:
    """Load a pretrained body with a new head, as the tutorial does, and evaluate it before it is trained.

    Args:
        model: `embedded` or `embedded-tiny`.
        reviews: how many to evaluate on, each cut to `max_length` tokens.
    """
    import torch
    import transformers
    from rich.text import Text

    from benchmarks.mistakes.costs import evaluate_rightly
    from shared.data import load_subsets, tokenized
    from shared.model import load_tokenizer
    from shared.sources import embedded

    config = RunConfig.build("quick", model=model, eval_size=reviews, max_length=max_length)
    announce(f"loading the model, and evaluating it on {reviews} IMDB reviews")
    with quiet(), one_thread():
        tokenizer = load_tokenizer(config)
        dataset = tokenized(load_subsets(config).eval, tokenizer, max_length)
        torch.manual_seed(config.seed)
        with _notices() as notices:
            loaded, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                embedded.checkpoint(model), num_labels=2, output_loading_info=True
            )
        accuracy, _ = evaluate_rightly(loaded, tokenizer, dataset)
    # Without the codes for bold letters.
    notice = Text.from_ansi(notices.getvalue()).plain.rstrip()
    sizes = {name: parameter.numel() for name, parameter in loaded.named_parameters()}
    new = {name: sizes[name] for name in sizes if name in info["missing_keys"]}
    prefix = f"{loaded.base_model_prefix}."
    return WeightCheck(
        job_name(config, sum(sizes.values())),
        notice,
        new,
        sum(name.startswith(prefix) for name in new),
        sum(sizes.values()),
        reviews,
        accuracy,
    )


@contextmanager
def _notices() -> Iterator[StringIO]:
    """Capture what transformers logs at its default level, instead of printing it."""
    from transformers.utils import logging as transformers_logging

    text = StringIO()
    keeper, verbosity = logging.StreamHandler(text), transformers_logging.get_verbosity()
    logger = logging.getLogger("transformers")  # whose own `remove_handler` fails in older releases
    transformers_logging.disable_default_handler()
    logger.addHandler(keeper)
    transformers_logging.set_verbosity_warning()
    try:
        yield text
    finally:
        transformers_logging.set_verbosity(verbosity)
        logger.removeHandler(keeper)
        transformers_logging.enable_default_handler()


def printed(check: WeightCheck) -> Iterator[Any]:
    """The notice word for word, the new parameters, and the accuracy before training."""
    import transformers
    from rich.table import Table
    from rich.text import Text

    yield (
        f"transformers {transformers.__version__} says, on loading {check.job.partition(' on ')[0]} with a new head:"
    )
    yield Text(check.notice or "nothing", "yellow")
    yield ""
    table = Table(title="new, and so random", title_justify="left")
    table.add_column("parameter")
    table.add_column("numbers", justify="right")
    for name, numbers in check.new.items():
        table.add_row(name, f"{numbers:,}")
    yield table
    yield (
        f"{sum(check.new.values()):,} of {check.parameters:,} numbers, {check.share:.2%} of the model; of the "
        f"pretrained body {check.of_body or 'none'}"
    )
    low, high = wilson(check.accuracy * check.reviews, check.reviews)
    yield (
        f"accuracy before training, on {check.reviews} IMDB reviews: {check.accuracy:.1%} (95 % interval "
        f"{range_text(low, high)}; guessing has 50 %)"
    )


WEIGHTS = Gotcha(
    "weights",
    "the notice that some weights are new",
    "The warning that some weights are newly initialized is no cause for worry: the pretrained head is thrown away, "
    "and a new one takes its place.",
    run,
    printed,
    "Ignore the notice once, because the next thing is training; if it names a layer of the body, or comes when you "
    "load a model that you have trained, stop.",
)
