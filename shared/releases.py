"""What older releases of transformers call by another name, or do otherwise; the one place that knows.

The pages speak as today's release does. On an older one `Trainer` and `TrainingArguments`, imported from here, take
today's names all the same, and the neighbours of the manual page follow what that release does by the constants below.
`sameloop eject --trainer --transformers 4.46` writes the names of that release.

Each fact was read in transformers' source (`trainer.py`, `training_args.py`) of the release it names and the one
before, and is tried by `make versions`, docs/versions.md.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, NamedTuple

from shared.config import option
from shared.errors import SameLoopError

Release = tuple[int, int]

OLDEST: Release = (4, 40)


def release_of(version: str) -> Release:
    """`4.46.3` and `4.46` become (4, 46).

    Raises:
        SameLoopError: it is no version, or one that nothing is known of.
    """
    found = re.match(r"(\d+)\.(\d+)(?:[.a-z]|$)", version)
    release = (int(found[1]), int(found[2])) if found else None
    if release is None or release < OLDEST:
        raise SameLoopError(f"{version}: not a release of transformers that is known here; the oldest is 4.40")
    return release


def shown(release: Release) -> str:
    """(4, 46) as `4.46`."""
    return f"{release[0]}.{release[1]}"


INSTALLED: Release = release_of(metadata.version("transformers"))

# What the installed release does, as far as it matters by hand -----------------------------------------

# Evaluation batches are grouped by length with the training's; before, they came as they lie.
GROUPS_EVALUATION = INSTALLED >= (4, 41)
# Their order comes from `data_seed`; before, from torch's global random state, another in every evaluation.
SEEDS_EVALUATION_ORDER = INSTALLED >= (5, 16)
# An epoch's last step, which may have fewer batches, learns from their mean; before, each counted as in a whole step.
AVERAGES_LAST_STEP = INSTALLED >= (4, 55)
# The training loss is logged as it is; before, rounded to four decimals.
LOGS_WHOLE_LOSS = INSTALLED >= (5, 0)

# A model's method that computes activations again; before, `gradient_checkpointing_enable`.
CHECKPOINTS_ACTIVATIONS = INSTALLED >= (5, 23)


class Renaming(NamedTuple):
    """An argument's name of today and the one before.

    Attributes:
        owner: what is called with it: `TrainingArguments`, `Trainer` or `from_pretrained`.
        today: its name now.
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

# Values of dials that came later.
NEWER_VALUES = (("train_sampling_strategy", "sequential", (5, 2)), ("lr_scheduler_type", "greedy", (5, 4)))

# A default that was another: a script that is to mean the same under every release has to give these.
CHANGED_DEFAULTS = {"optim": (5, 0), "report_to": (5, 0)}


def in_release(owner: str, arguments: Mapping[str, Any], release: Release = INSTALLED) -> dict[str, Any]:
    """Arguments by today's names as a release's own.

    Args:
        owner: what is called with them: `TrainingArguments`, `Trainer` or `from_pretrained`.
        arguments: by today's names.
        release: of transformers.

    """
    renamings = {each.today: each for each in RENAMINGS if each.owner == owner and release < each.since}
    found = {}
    for name, value in arguments.items():
        renaming = renamings.get(name)
        if renaming is not None:
            value = value if renaming.value is None else renaming.value(value)
            name = renaming.before
        found[name] = value
    if owner == "TrainingArguments" and release < (5, 0) and "warmup_steps" in found:
        # A share of all steps had an argument of its own.
        warmup = found.pop("warmup_steps")
        found |= {"warmup_ratio": warmup} if 0 < warmup < 1 else {"warmup_steps": int(warmup)}
    return found


# They save LayerNorm's weights under the names `gamma` and `beta`, and `Trainer` looks for `weight` and `bias` when it
# loads a checkpoint: it goes on without them, and says so in a warning only.
LOSES_WEIGHTS = ((5, 0), (5, 6))


def check_release(dials: Mapping[str, Any], release: Release = INSTALLED, resumes: bool = False) -> None:
    """Refuse what a release does not have yet, or does wrong.

    Args:
        dials: of the run.
        release: of transformers.
        resumes: whether the run goes on from a checkpoint.

    Raises:
        SameLoopError: one line.
    """
    first, fixed = LOSES_WEIGHTS
    if first <= release < fixed and (resumes or dials["load_best_model_at_end"]):
        what = "--resume-from-checkpoint" if resumes else "--load-best-model-at-end"
        raise SameLoopError(
            f"{what}: transformers {shown(release)} loads a checkpoint without its LayerNorm weights; take one before "
            f"{shown(first)}, or from {shown(fixed)} on"
        )
    for name, value, since in NEWER_VALUES:
        if dials[name] == value and release < since:
            raise SameLoopError(
                f"{option(name)} {value}: transformers has it since {shown(since)}, and this is {shown(release)}"
            )


@functools.cache
def __getattr__(name: str) -> Any:
    """`Trainer` and `TrainingArguments`: transformers' own, which on an older release take today's names."""
    if name not in ("Trainer", "TrainingArguments"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import transformers

    theirs = getattr(transformers, name)
    if all(each.since <= INSTALLED for each in RENAMINGS if each.owner == name):
        return theirs

    def init(self: Any, **today: Any) -> None:
        # Older releases leave a run's precision behind, for the next one in the same process.
        os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
        theirs.__init__(self, **in_release(name, today))

    return type(name, (theirs,), {"__init__": init, "__module__": __name__, "__doc__": theirs.__doc__})
