"""What the gotchas share: the description of one, and small helpers to run them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

from shared.config import RunConfig


class Gotcha(NamedTuple):
    """One gotcha.

    Attributes:
        name: what `sameloop gotcha` calls it.
        title: what it is, in one line.
        tutorial: what the tutorial says about it, in our words.
        run: runs it and returns the result; its parameters make it smaller or larger.
        printed: what is printed of that result, as rich prints it.
        lesson: the sentence to take home.
    """

    name: str
    title: str
    tutorial: str
    run: Callable[..., Any]
    printed: Callable[[Any], Iterator[Any]]
    lesson: str


def attempt(action: Callable[[], Any]) -> str | None:
    """Try an action, and return its error as Python prints it, `ValueError: ...`; None if there is none."""
    try:
        action()
    except Exception as error:  # whatever a release raises is the result
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what loaders and `Trainer` print, and transformers' notices and progress bars, in this block."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    try:
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()


def make_trainer(model: Any, tokenizer: Any, train_dataset: Any, /, **arguments: Any) -> Any:
    """A `Trainer` for a short try, with these arguments in addition: it trains two steps and saves nothing."""
    from transformers import DataCollatorWithPadding, Trainer

    collator = DataCollatorWithPadding(tokenizer)
    return Trainer(
        model=model, args=make_arguments(), train_dataset=train_dataset, data_collator=collator, **arguments
    )


def make_arguments(**arguments: Any) -> Any:
    """The `TrainingArguments` of such a try, with these arguments in addition."""
    from transformers import TrainingArguments

    return TrainingArguments(
        # A folder that exists, so that none is created; nothing is written to it.
        output_dir=tempfile.gettempdir(),
        max_steps=2,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **arguments,
    )


def tiny_job() -> tuple[Any, Any, Any]:
    """The tiny model, its tokenizer, and its training subset of Rotten Tomatoes snippets.

    Returns:
        model, tokenizer, dataset with `input_ids`, `attention_mask` and `labels`.
    """
    import torch

    from shared.data import load_data
    from shared.model import load_model, load_tokenizer

    config = RunConfig.build("tiny")
    tokenizer = load_tokenizer(config)
    data = load_data(config, tokenizer)
    torch.manual_seed(config.seed)
    return load_model(config, data.labels), tokenizer, data.train_dataset


def range_text(low: float, high: float) -> str:
    """`46.0 to 59.8 %`."""
    return f"{100 * low:.1f} to {100 * high:.1f} %"
