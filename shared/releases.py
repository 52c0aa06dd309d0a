"""What releases of transformers name or do differently; the only module that depends on it.

SameLoop runs on 5.6 and newer. The loops use the names of today's release: on the first releases of that range
`TrainingArguments`, imported from here, accepts today's names too, and the helper modules of the manual loop follow
the installed release by the constants below. Older releases matter only for the scripts that
`sameloop eject --trainer --transformers 4.46` writes with the names of that release.

Each fact was read in transformers' source (`trainer.py`, `training_args.py`) of the release it names and the one
before, and is tried by `make versions`, docs/versions.md.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, NamedTuple

from shared.config import option
from shared.errors import SameLoopError

Release = tuple[int, int]

# The first that a script is written for, and the first that SameLoop runs on, as pyproject.toml has it.
OLDEST: Release = (4, 40)
OLDEST_TO_RUN: Release = (5, 6)


def release_of(version: str) -> Release:
    """`4.46.3` and `4.46` become (4, 46).

    Raises:
        SameLoopError: it is not a version, or not a known one.
    """
    match = re.match(r"(\d+)\.(\d+)(?:[.a-z]|$)", version)
    release = (int(match[1]), int(match[2])) if match else None
    if release is None or release < OLDEST:
        raise SameLoopError(f"{version}: not a release of transformers that is known here; the oldest is 4.40")
    return release


def shown(release: Release) -> str:
    """(4, 46) as `4.46`."""
    return f"{release[0]}.{release[1]}"


INSTALLED: Release = release_of(metadata.version("transformers"))

# What the installed release does, as far as the manual loop depends on it ------------------------------

# Since which release, by the constant that a loop reads.
SINCE: dict[str, Release] = {
    # The order of an evaluation grouped by length comes from `data_seed`; before, from torch's global random state,
    # another in every evaluation.
    "SEEDS_EVALUATION_ORDER": (5, 16),
    # A model's method is called `activation_checkpointing_enable`; before, `gradient_checkpointing_enable`.
    "CHECKPOINTS_ACTIVATIONS": (5, 23),
}
SEEDS_EVALUATION_ORDER = SINCE["SEEDS_EVALUATION_ORDER"] <= INSTALLED
CHECKPOINTS_ACTIVATIONS = SINCE["CHECKPOINTS_ACTIVATIONS"] <= INSTALLED


class Renaming(NamedTuple):
    """An argument's name of today and the one before.

    Attributes:
        owner: what is called with it: `TrainingArguments`, `Trainer` or `from_pretrained`.
        since: the first release with that name.
        before: the name in older releases.
        default: by today's name.
        value: today's value to the older one's; None: it is the same.
    """

    owner: str
    today: str
    since: Release
    before: str
    default: Any = None
    value: Callable[[Any], Any] | None = None


RENAMINGS = (
    Renaming("TrainingArguments", "eval_strategy", (4, 41), "evaluation_strategy", "no"),
    Renaming(
        "TrainingArguments",
        "train_sampling_strategy",
        (5, 2),
        "group_by_length",
        "random",
        lambda strategy: strategy == "group_by_length",
    ),
    Renaming("TrainingArguments", "activation_checkpointing", (5, 23), "gradient_checkpointing", False),
    Renaming("Trainer", "processing_class", (4, 46), "tokenizer"),
    Renaming("from_pretrained", "dtype", (4, 56), "torch_dtype"),
)

# Values of settings that came later, or meant something else before: warmup_stable_decay needed the number of its
# stable steps until 4.49, and its warm-up and decay had one form each.
NEWER_VALUES = (
    ("train_sampling_strategy", "sequential", (5, 2)),
    ("lr_scheduler_type", "warmup_stable_decay", (4, 49)),
    ("lr_scheduler_type", "cosine_warmup_with_min_lr", (4, 54)),
    ("lr_scheduler_type", "greedy", (5, 4)),
    # Before, `get_scheduler` ignored it without a warning.
    ("lr_scheduler_kwargs", "timescale", (5, 4)),
)

# A default that was another: a script that is to mean the same under every release has to give these.
CHANGED_DEFAULTS = {"optim": (5, 0), "report_to": (5, 0)}


def in_release(owner: str, arguments: Mapping[str, Any], release: Release = INSTALLED) -> dict[str, Any]:
    """Arguments by today's names as a release's own; `owner`: what is called with them, as in `Renaming`."""
    renamings = {entry.today: entry for entry in RENAMINGS if entry.owner == owner and release < entry.since}
    renamed = {}
    for name, value in arguments.items():
        renaming = renamings.get(name)
        if renaming is not None:
            value = value if renaming.value is None else renaming.value(value)
            name = renaming.before
        renamed[name] = value
    if owner == "TrainingArguments" and release < (5, 0) and "warmup_steps" in renamed:
        # A share of all steps had an argument of its own.
        warmup = renamed.pop("warmup_steps")
        renamed |= {"warmup_ratio": warmup} if 0 < warmup < 1 else {"warmup_steps": int(warmup)}
    return renamed


# They save LayerNorm's weights under the names `gamma` and `beta`, and `Trainer` looks for `weight` and `bias` when it
# loads a checkpoint: it continues without them, with only a warning.
LOSES_WEIGHTS = ((5, 0), (5, 6))


def check_installed(release: Release = INSTALLED) -> None:
    """Refuse to train with a release that is older than what SameLoop follows."""
    if release < OLDEST_TO_RUN:
        raise SameLoopError(
            f"transformers {shown(release)} is installed, and SameLoop runs on {shown(OLDEST_TO_RUN)} or newer: "
            f"pip install 'transformers>={shown(OLDEST_TO_RUN)},<6'; `sameloop eject --trainer --transformers "
            f"{shown(release)}` writes a script for it"
        )


def check_release(settings: Mapping[str, Any], release: Release) -> None:
    """Refuse to write a script for a release that does not have what the settings ask for yet, or does it wrong."""
    first, fixed = LOSES_WEIGHTS
    if first <= release < fixed and settings["load_best_model_at_end"]:
        raise SameLoopError(
            f"--load-best-model-at-end: transformers {shown(release)} loads a checkpoint without its LayerNorm "
            f"weights; take one before {shown(first)}, or from {shown(fixed)} on"
        )
    for name, value, since in NEWER_VALUES:
        is_asked = settings[name] == value or (isinstance(settings[name], dict) and value in settings[name])
        if is_asked and release < since:
            raise SameLoopError(
                f"{option(name)} {value}: transformers has it since {shown(since)}, and this is {shown(release)}"
            )


@functools.cache
def __getattr__(name: str) -> Any:
    """`TrainingArguments`: transformers' own, which before 5.23 takes today's names, too."""
    if name != "TrainingArguments":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import transformers

    theirs = transformers.TrainingArguments
    if all(renaming.since <= INSTALLED for renaming in RENAMINGS if renaming.owner == name):
        return theirs

    def init(self: Any, **today: Any) -> None:
        theirs.__init__(self, **in_release(name, today))

    return type(name, (theirs,), {"__init__": init, "__module__": __name__, "__doc__": theirs.__doc__})
