"""What of `lr_scheduler_kwargs` each of transformers' schedules takes.

Names and types are those of the functions in transformers' `optimization.py`, of `GreedyLR` there, and of torch's
`ReduceLROnPlateau`. They would refuse a mistake only once model and data are loaded, or divide by zero at some step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

# Where the polynomial schedule ends: `lr_end` of transformers' get_polynomial_decay_schedule_with_warmup.
POLYNOMIAL_END = 1e-7

_KINDS: tuple[tuple[Any, str], ...] = (
    (Annotated[int, Field(ge=0, lt=2**32)], "cooldown num_decay_steps num_stable_steps patience reset_start warmup"),
    (Annotated[int, Field(ge=1, lt=2**32)], "timescale window_size"),
    (
        Annotated[float, Field(ge=0)],
        "eps lr_end max_lr min_lr min_lr_rate min_lr_ratio power threshold warmup_lr_rate",
    ),
    # What the cosine is taken of has to stay finite.
    (Annotated[float, Field(ge=0, le=10_000)], "num_cycles"),
    (Annotated[float, Field(gt=0, lt=1)], "factor"),
    (Literal["linear", "cosine", "1-sqrt"], "decay_type warmup_type"),
    (Literal["min", "max"], "mode"),
    (Literal["rel", "abs"], "threshold_mode"),
    (bool, "smooth verbose"),
)
_KIND_OF = {name: kind for kind, names in _KINDS for name in names.split()}
_OF_METRIC = "mode factor patience threshold threshold_mode cooldown min_lr eps"
TAKEN = {
    "cosine": "num_cycles",
    "cosine_with_restarts": "num_cycles",
    "polynomial": "lr_end power",
    "inverse_sqrt": "timescale",
    "reduce_lr_on_plateau": _OF_METRIC,
    "cosine_with_min_lr": "num_cycles min_lr min_lr_rate",
    "cosine_warmup_with_min_lr": "num_cycles min_lr min_lr_rate warmup_lr_rate",
    "warmup_stable_decay": "num_decay_steps num_stable_steps warmup_type decay_type min_lr_ratio num_cycles",
    "greedy": f"{_OF_METRIC} warmup max_lr verbose smooth window_size reset_start",
}
# What a schedule cannot do without, as an example; `min_lr` may stand for `min_lr_rate`, and only one of them.
NEEDED: dict[str, dict[str, Any]] = {
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 10},
}


def as_json(arguments: Mapping[str, Any]) -> str:
    """As on a command line, without a space at which a shell or a line would break."""
    return json.dumps(arguments, separators=(",", ":"))


def problem_with(schedule: str, arguments: Mapping[str, Any]) -> str | None:
    """Why a schedule does not take these, or what it needs, in one line; None if all is well."""
    accepted = TAKEN.get(schedule, "").split()
    for name, value in arguments.items():
        if name not in accepted:
            return f"--lr-scheduler-kwargs {name}: {schedule} takes {', '.join(accepted) or 'nothing of the kind'}"
        try:
            TypeAdapter(_KIND_OF[name], config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            return f"--lr-scheduler-kwargs {name} {json.dumps(value)}: {reason[0].lower()}{reason[1:]}"
    if {"min_lr", "min_lr_rate"} <= arguments.keys():
        return "--lr-scheduler-kwargs min_lr and min_lr_rate exclude each other: choose one"
    needed = NEEDED.get(schedule, {})
    if needed.keys() - ({"min_lr_rate"} if "min_lr" in arguments else set()) <= arguments.keys():
        return None
    return f"--lr-scheduler-type {schedule} needs more: add --lr-scheduler-kwargs '{as_json(needed)}'"
