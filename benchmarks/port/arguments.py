"""`TrainingArguments` as JSON, what their `to_json_string()` writes, in the places of our settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.files import read_json

# How arguments begin that change no number of the training on our job: where it goes, who hears of it, how it is run.
SILENT = (
    *("output_dir", "overwrite_output_dir", "log", "run_name", "project", "trackio", "report_to", "disable_tqdm"),
    *("hub_", "push_to_hub", "save_", "ddp_", "local_rank", "do_", "debug", "skip_memory", "resume", "ignore_data"),
    *("restore_", "enable_jit", "dataloader_pin", "dataloader_persistent", "dataloader_prefetch", "dataloader_multi"),
    *("dataloader_in_order", "eval_accumulation", "eval_use_gather", "eval_do_concat", "remove_unused", "label_names"),
    *("include_num_input", "use_cache", "length_column", "greater_is_better", "torch_empty_cache", "average_tokens"),
)
# Arguments that may be right only along with others.
TOGETHER = (
    ("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs"),
    ("eval_strategy", "eval_steps", "save_strategy", "save_steps", "load_best_model_at_end", "metric_for_best_model"),
)
READ_BIN = "import torch; print(torch.load('training_args.bin', weights_only=False).to_json_string())"


def possible(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a run can have, as its settings; those that it cannot are left out.

    Args:
        preset: whose job it is.
        given: by name, each a setting's.
    """
    found = {}
    for name, value in given.items():
        others = {each: given[each] for group in TOGETHER if name in group for each in group if each in given}
        for beside in ({}, others):
            with suppress(SameLoopError):
                found[name] = getattr(RunConfig.build(preset, **{**beside, name: value}), name)
    return found


def settings_of(file: Path, preset: str) -> tuple[dict[str, Any], list[str]]:
    """The settings that a file of arguments sets, and what of it they cannot say, a line each.

    Args:
        file: JSON.
        preset: whose job it is.

    Raises:
        SameLoopError: it cannot be read, or holds no `TrainingArguments`.
    """
    if file.suffix == ".bin":
        raise SameLoopError(
            f'{file}: it is a pickle, which can run code; write it as JSON first: python -c "{READ_BIN}" > args.json'
        )
    try:
        given = read_json(file)
    except (OSError, ValueError) as error:
        raise SameLoopError(
            f"{file}: it cannot be read as JSON ({error}); give what to_json_string() writes"
        ) from None
    if not isinstance(given, dict) or "output_dir" not in given:
        raise SameLoopError(f"{file}: it holds no TrainingArguments; give what to_json_string() writes")
    from transformers import TrainingArguments

    default = TrainingArguments(given["output_dir"]).to_dict()
    ours = {name: value for name, value in given.items() if name in RunConfig.model_fields and value is not None}
    settings, left = possible(preset, ours), []
    for name, value in given.items():
        if name in RunConfig.model_fields:
            if name in ours and name not in settings:
                left.append(f"{name}={value!r}")
        elif value not in (None, default.get(name, False), [], {}) and not name.startswith(SILENT):
            left.append(f"{name}={value!r}" if name in default else f"{name}={value!r}, which this release has not")
    return settings, left
