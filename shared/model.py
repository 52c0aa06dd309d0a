"""DistilBERT with a fresh classification head, and its tokenizer; the same call for both loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from shared import embedded
from shared.config import HUB_REVISIONS, RunConfig
from shared.errors import SameLoopError
from shared.hub import hub_errors
from shared.progress import announce, is_interactive

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(config: RunConfig) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to the `model` dial.

    Raises:
        SameLoopError: it cannot be had.
    """
    from transformers import AutoTokenizer

    source = _source(config)
    with hub_errors("--model", config.model):
        return AutoTokenizer.from_pretrained(**source)


def load_model(config: RunConfig, num_labels: int) -> PreTrainedModel:
    """The pretrained body with a new head of `num_labels` outputs, in float32, on the CPU.

    The head's weights are drawn from torch's global random state: seed it before the call.

    Raises:
        SameLoopError: it cannot be had, or `max_length` is more than it takes.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    (logging.enable_progress_bar if is_interactive() else logging.disable_progress_bar)()
    announce(f"loading the model {config.model}")
    source = _source(config)
    with hub_errors("--model", config.model):
        model = AutoModelForSequenceClassification.from_pretrained(
            **source, num_labels=num_labels, dtype=torch.float32
        )
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and config.max_length > longest:
        raise SameLoopError(f"--max-length {config.max_length}: {config.model} takes {longest} tokens at most")
    return model


def _source(config: RunConfig) -> dict:
    """Where `from_pretrained` is to look: `pretrained_model_name_or_path`, and a Hub model's `revision`."""
    if config.model in embedded.MODEL_SHAPES:
        return {"pretrained_model_name_or_path": str(embedded.checkpoint(config.model))}
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        _check_folder(folder, config.model)
        return {"pretrained_model_name_or_path": str(folder)}
    if folder.is_file() or config.model.startswith((".", "~", "/")) or config.model.count("/") > 1:
        what = "is a file, not a model folder" if folder.is_file() else "there is no such folder"
        raise SameLoopError(f"--model {config.model}: {what}")
    revision = config.model_revision or HUB_REVISIONS.get(config.model, "main")
    return {"pretrained_model_name_or_path": config.model, "revision": revision}


def _check_folder(folder: Path, name: str) -> None:
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SameLoopError(
            f"--model {name}: no readable config.json in it; give a folder that `save_pretrained` wrote"
        ) from None
    if not any(folder.glob("*.safetensors")):
        raise SameLoopError(
            f"--model {name}: no .safetensors weights in it; save them with `save_pretrained` of a recent transformers"
        )
