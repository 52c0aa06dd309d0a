"""The job that a checked loop is given: a small subset of real reviews and a small model under which mistakes show."""

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

# 45 reviews in batches of 7 and 29 in batches of 6 for the evaluation: nothing divides evenly, no review is cut but
# the longest. Epochs, sizes and rate are none that a loop has in it by chance: one that does not ask its config
# for them is noticed. Only the clip's limit is the usual one, which the shortest loop of all has written in.
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
# What a check takes besides. Everything else is fixed, or a loop could be asked for what no mistake shows under.
OWN_SETTINGS = (
    "gradient_accumulation_steps",
    "weight_decay",
    "warmup_steps",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "learning_rate",
    "seed",
)
# The tiny model's random weights are so small that all its answers are alike, and its gradients shorter than the clip
# at 1.0. Times this they are 20 to 50 long at every step, and its answers differ from review to review.
SPREAD = 12.0


class Job(NamedTuple):
    """What a loop is called with; two calls with equal settings give equal ones.

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
    """The settings of a check; `settings` as `OWN_SETTINGS` has them.

    Raises:
        SameLoopError: one is not among them, or its value is wrong.
    """
    for name in settings:
        if name not in OWN_SETTINGS:
            raise SameLoopError(f"a check has no option {option(name)}: it has {', '.join(OWN_SETTINGS)}")
    config = RunConfig.build("tiny", **{**SETTINGS, **settings})
    if config.lr_scheduler_type in METRIC_SCHEDULES:
        raise SameLoopError(
            f"--lr-scheduler-type {config.lr_scheduler_type}: it follows the evaluation; a check asks for none"
        )
    return config


def make_job(config: RunConfig) -> Job:
    """Load data and model; leaves the random states seeded, as a loop finds them."""
    import numpy as np
    import torch

    from shared.data import load_data
    from shared.model import load_model, load_tokenizer

    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    with redirect_stderr(io.StringIO()):  # What is loaded is always the same, and nobody's question.
        tokenizer = load_tokenizer(config)
        train_dataset, eval_dataset, labels = load_data(config, tokenizer)
        model = load_model(config, labels)
    if config.model == RunConfig.build("tiny").model:
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
