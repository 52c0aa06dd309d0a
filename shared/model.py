"""DistilBERT with a fresh classification head, and its tokenizer; the same call for both loops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared import embedded
from shared.config import HUB_REVISIONS, RunConfig
from shared.errors import SameLoopError
from shared.hub import hub_errors
from shared.memory import check_memory
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
        tokenizer = AutoTokenizer.from_pretrained(**source)
    # Without a vocabulary file transformers makes an empty tokenizer, to which every word is unknown.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise SameLoopError(
            f"--model {config.model}: no vocabulary in it; save the tokenizer there, too, with its `save_pretrained`"
        )
    return tokenizer


def load_model(config: RunConfig, num_labels: int) -> PreTrainedModel:
    """The pretrained body with a new head of `num_labels` outputs, in float32, on the CPU.

    The head's weights are drawn from torch's global random state: seed it before the call.

    Raises:
        SameLoopError: it cannot be had, its weights are another architecture's, `max_length` is more than it takes, or
            the memory is too little to train it.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    (logging.enable_progress_bar if is_interactive() else logging.disable_progress_bar)()
    announce(f"loading the model {config.model}")
    source = _source(config)
    with hub_errors("--model", config.model), _no_report():
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            **source, num_labels=num_labels, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    _check_loaded(model, loading["missing_keys"], config.model)
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and config.max_length > longest:
        raise SameLoopError(f"--max-length {config.max_length}: {config.model} takes {longest} tokens at most")
    check_memory(model, config)
    return model


@contextmanager
def _no_report() -> Iterator[None]:
    """Without transformers' report of what the checkpoint lacks: the head; `_check_loaded` sees the rest."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _check_loaded(model: PreTrainedModel, missing: set[str], name: str) -> None:
    """The head is new, the body must come from the checkpoint; transformers would fill gaps with random weights."""
    body = sorted(key for key in missing if key.startswith(model.base_model_prefix + "."))
    # Some architectures keep a pooler for classification that their pretraining leaves out.
    absent = [key for key in body if ".pooler." not in key]
    if absent:
        raise SameLoopError(
            f"--model {name}: its weights are not those of a {type(model).__name__} ({len(absent)} are missing, "
            f"{absent[0]} first); give a model whose weights and config.json belong together"
        )


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
        pickled = next(
            (path.name for suffix in ("bin", "pt", "pth", "pkl") for path in folder.glob(f"*.{suffix}")), None
        )
        what = f"its weights are a pickle ({pickled}), which can run any code" if pickled else "no weights in it"
        raise SameLoopError(f"--model {name}: {what}; save it as .safetensors with `save_pretrained`")
