"""What surrounds a plain loop, `train(model, tokenizer, train_dataset, eval_dataset, config)`.

It does what the manual loop does before its epochs and after them, so that a loop from a tutorial can be compared
unchanged.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.config import RunConfig
from shared.data import load_data
from shared.determinism import use_deterministic_algorithms
from shared.model import load_model, load_tokenizer
from shared.processes import launched_rank


def train_fresh(
    train: Callable[..., Any],
    config: RunConfig,
    tokenizer: Any,
    train_dataset: Any,
    eval_dataset: Any,
    labels: Sequence[str],
) -> tuple[Any, Any, float]:
    """Call `train` with a new model, the head as the seed draws it, and with data that are loaded already.

    Returns:
        The trained model, what `train` has returned, and the seconds that it took.
    """
    torch.manual_seed(config.seed)
    model = load_model(config, labels)
    started = time.perf_counter()
    returned = train(model, tokenizer, train_dataset, eval_dataset, config)
    return model, returned, time.perf_counter() - started


def run_plain(train: Callable[..., Any], config: RunConfig, output_dir: Path) -> Any:
    """Load data and model, call `train` with them, and save the model to `output_dir`; returns what `train` does."""
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config)
    train_dataset, eval_dataset, labels = load_data(config, tokenizer)
    model = load_model(config, labels)
    if config.freeze_body:
        model.base_model.requires_grad_(False)
    if config.full_determinism:
        use_deterministic_algorithms()
    returned = train(model, tokenizer, train_dataset, eval_dataset, config)
    if launched_rank() == 0:
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
    return returned
