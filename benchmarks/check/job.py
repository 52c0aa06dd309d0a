"""The job of a checked loop: a small subset of real reviews and a small model that make mistakes visible."""

from __future__ import annotations

import io
import random
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.config import METRIC_SCHEDULES, RunConfig, option
from shared.errors import SameLoopError

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase

# 45 reviews in batches of 7, and 29 in batches of 6 for the evaluation: nothing divides evenly, and only the longest
# review is truncated. Nobody hard-codes these epochs, sizes and this rate by chance, so a loop that does not read its
# config is noticed. Only the clip's limit is the usual one, which the shortest loop has hard-coded.
SETTINGS: dict[str, Any] = {
    "seed": 1729,
    "train_size": 45,
    "num_train_epochs": 4,
    "per_device_train_batch_size": 7,
    "per_device_eval_batch_size": 6,
    "learning_rate": 7e-4,
    "max_length": 48,
    "max_grad_norm": 1.0,
    "logging_strategy": "no",
    "use_cpu": True,
}
# The settings that a check accepts. All others are fixed, because under some of them mistakes would not be visible.
OWN_SETTINGS = (
    "gradient_accumulation_steps",
    "weight_decay",
    "warmup_steps",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "learning_rate",
    "seed",
)
# The tiny model's random weights are so small that all its logits are alike, and that the gradients' norm is below the
# clip's limit of 1.0. With weights times this the norm is 20 to 50 at every step, and the logits differ per review.
SPREAD = 12.0


class Job(NamedTuple):
    """The arguments that a loop is called with; equal settings give equal jobs.

    Attributes:
        model: on the CPU, in float32.
        train_dataset, eval_dataset: rows of `input_ids`, `attention_mask` and `labels`, not padded.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    train_dataset: datasets.Dataset
    eval_dataset: datasets.Dataset
    config: RunConfig


def job_config(**settings: Any) -> RunConfig:
    """The configuration of a check; `settings` are those of `OWN_SETTINGS`.

    Raises:
        SameLoopError: a setting is not one of them, or its value is wrong.
    """
    for name in settings:
        if name not in OWN_SETTINGS:
            raise SameLoopError(f"a check has no option {option(name)}; it has {', '.join(OWN_SETTINGS)}")
    config = RunConfig.build("tiny", **{**SETTINGS, **settings})
    if config.lr_scheduler_type in METRIC_SCHEDULES:
        raise SameLoopError(
            f"--lr-scheduler-type {config.lr_scheduler_type}: it follows the evaluation, and a check needs none"
        )
    return config


def make_job(config: RunConfig) -> Job:
    """Load data and model, and leave the random states seeded, as a loop expects them."""
    import numpy as np
    import torch

    from shared.data import load_data
    from shared.model import load_model, load_tokenizer

    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    with redirect_stderr(io.StringIO()):  # Messages about loading are of no interest: it is always the same data.
        tokenizer = load_tokenizer(config)
        train_dataset, eval_dataset, labels = load_data(config, tokenizer)
        model = load_model(config, labels)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.mul_(SPREAD)
    return Job(model, tokenizer, train_dataset, eval_dataset, config)


def for_a_script(job: Job, folder: Path) -> RunConfig:
    """The settings of the same job for a script that loads its model by itself: `train(config, output_dir)`."""
    job.model.save_pretrained(folder)
    job.tokenizer.save_pretrained(folder)
    return job.config.model_copy(update={"model": str(folder)})
