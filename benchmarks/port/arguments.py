"""Take settings from `TrainingArguments` as JSON, as their `to_json_string()` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.files import read_json

# Prefixes of arguments that change no number of the training on our job: output, logging, hardware.
SILENT = (
    *("output_dir", "overwrite_output_dir", "log", "run_name", "project", "trackio", "report_to", "disable_tqdm"),
    *("hub_", "push_to_hub", "save_", "ddp_", "local_rank", "do_", "debug", "skip_memory", "resume", "ignore_data"),
    *("restore_", "enable_jit", "dataloader_pin", "dataloader_persistent", "dataloader_prefetch", "dataloader_multi"),
    *("dataloader_in_order", "eval_accumulation", "eval_use_gather", "eval_do_concat", "remove_unused", "label_names"),
    *("include_num_input", "use_cache", "length_column", "greater_is_better", "torch_empty_cache", "average_tokens"),
)
# Arguments that may be valid only together with others.
TOGETHER = (
    ("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs"),
    ("eval_strategy", "eval_steps", "save_strategy", "save_steps", "load_best_model_at_end", "metric_for_best_model"),
)
READ_BIN = "import torch; print(torch.load('training_args.bin', weights_only=False).to_json_string())"


def valid_settings(
    preset: str, arguments: Mapping[str, Any], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The arguments that are valid settings of a run, all together; the others are left out.

    Args:
        preset: whose job it is.
        arguments: by name, each is the name of a setting.
        given: valid settings that the run has, too.
    """
    settings: dict[str, Any] = {}
    for name, value in arguments.items():
        together = {key: arguments[key] for group in TOGETHER if name in group for key in group if key in arguments}
        for added in ({name: value}, {**together, name: value}):
            with suppress(SameLoopError):
                config = RunConfig.build(preset, **{**(given or {}), **settings, **added})
                settings |= {key: getattr(config, key) for key in added}
                break
    return settings


def settings_of(file: Path, preset: str) -> tuple[dict[str, Any], list[str]]:
    """The settings that a file of arguments sets, and the arguments that are not carried over, a line each.

    Args:
        file: JSON.
        preset: whose job it is.

    Raises:
        SameLoopError: the file cannot be read, or holds no `TrainingArguments`.
    """
    if file.suffix == ".bin":
        raise SameLoopError(
            f'{file}: it is a pickle, which can run code; write it as JSON first: python -c "{READ_BIN}" > args.json'
        )
    try:
        arguments = read_json(file)
    except (OSError, ValueError) as error:
        raise SameLoopError(
            f"{file}: it cannot be read as JSON ({error}); give what to_json_string() writes"
        ) from None
    if not isinstance(arguments, dict) or "output_dir" not in arguments:
        raise SameLoopError(f"{file}: it holds no TrainingArguments; give what to_json_string() writes")
    from transformers import TrainingArguments

    default = TrainingArguments(arguments["output_dir"]).to_dict()
    ours = {name: value for name, value in arguments.items() if name in RunConfig.model_fields and value is not None}
    settings, rest = valid_settings(preset, ours), []
    for name, value in arguments.items():
        if name in RunConfig.model_fields:
            if name in ours and name not in settings:
                rest.append(f"{name}={value!r}")
        elif value not in (None, default.get(name, False), [], {}) and not name.startswith(SILENT):
            rest.append(f"{name}={value!r}" if name in default else f"{name}={value!r}, unknown in this release")
    return settings, rest
