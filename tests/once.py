"""What hundreds of runs read alike is read once in a test worker. Nothing of it decides a number."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

from shared import data
from shared.config import RunConfig
from shared.sources import embedded

read_reviews = cache(embedded.load_reviews)
# What the subsets depend on.
SUBSET_SETTINGS = (
    "dataset",
    "dataset_config",
    "dataset_revision",
    "text_column",
    "label_column",
    "train_size",
    "eval_size",
    "shuffle",
    "slice_seed",
)


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside, the embedded reviews are read once, and so is each subset of them, which is tokenized once per length;
    the embedded models and their tokenizers, too, a model once per random state that its head is drawn in. What a
    tokenizer writes it writes again as it is."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(embedded, "load_reviews", read_reviews))
        patches.enter_context(patch.object(data, "load_subsets", _subsets_once(data.load_subsets)))
        # Not for a few tests that need no library.
        if "torch" in sys.modules:
            from accelerate.utils import imports, memory
            from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

            tokenizers: dict[Path, Any] = {}
            read_tokenizer = _tokenizers_once(AutoTokenizer.from_pretrained, tokenizers)
            patches.enter_context(patch.object(AutoTokenizer, "from_pretrained", read_tokenizer))
            patches.enter_context(patch.object(data, "tokenized", _tokenized_once(data.tokenized, tokenizers)))
            read_model = _models_once(AutoModelForSequenceClassification.from_pretrained)
            patches.enter_context(patch.object(AutoModelForSequenceClassification, "from_pretrained", read_model))
            write_tokenizer = _written_once(PreTrainedTokenizerFast._save_pretrained, tokenizers)
            patches.enter_context(patch.object(PreTrainedTokenizerFast, "_save_pretrained", write_tokenizer))
            # `Trainer` asks for it in every run: 70 ms among all that the tests hold.
            patches.enter_context(patch.object(memory, "gc"))
            # And, 30 times in every run, for what is installed.
            patches.enter_context(patch.object(imports, "_is_package_available", cache(imports._is_package_available)))
        yield


def _subsets_once(load_subsets: Callable[[RunConfig], data.Subsets]) -> Callable[[RunConfig], data.Subsets]:
    known: dict[tuple, data.Subsets] = {}

    def read_subsets(config: RunConfig) -> data.Subsets:
        if config.dataset not in embedded.REVIEW_SOURCES:
            return load_subsets(config)
        key = tuple(getattr(config, name) for name in SUBSET_SETTINGS)
        if key not in known:
            known[key] = load_subsets(config)
        return known[key]

    return read_subsets


def _is_embedded(arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether `from_pretrained` is called with these as the product does, for an embedded model."""
    path = Path(options.get("pretrained_model_name_or_path", ""))
    return not arguments and path.parent == embedded.cache_folder()


def _tokenizers_once(from_pretrained: Callable[..., Any], known: dict[Path, Any]) -> Callable[..., Any]:
    def read_tokenizer(*arguments: Any, **options: Any) -> Any:
        if not _is_embedded(arguments, options):
            return from_pretrained(*arguments, **options)
        path = Path(options["pretrained_model_name_or_path"])
        if path not in known:
            known[path] = from_pretrained(**options)
        # How an earlier run has cut and padded is forgotten.
        known[path].backend_tokenizer.no_truncation()
        known[path].backend_tokenizer.no_padding()
        return copy.copy(known[path])

    return read_tokenizer


def _is_one_of(tokenizers: dict[Path, Any], tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return any(tokenizer.backend_tokenizer is backend for tokenizer in tokenizers.values())


def _written_once(save: Callable[..., tuple[str, ...]], tokenizers: dict[Path, Any]) -> Callable[..., tuple[str, ...]]:
    known: dict[tuple, bytes] = {}

    def write_tokenizer(tokenizer: Any, save_directory: Any, file_names: tuple[str, ...], **options: Any) -> Any:
        backend = tokenizer.backend_tokenizer
        key = (id(backend), str(backend.truncation), str(backend.padding), backend.get_vocab_size())
        if key in known:
            path = Path(save_directory) / "tokenizer.json"
            path.write_bytes(known[key])
            return (*file_names, str(path))
        written = save(tokenizer, save_directory=save_directory, file_names=file_names, **options)
        if _is_one_of(tokenizers, tokenizer):
            known[key] = Path(written[-1]).read_bytes()
        return written

    return write_tokenizer


def _tokenized_once(tokenized: Callable[..., Any], tokenizers: dict[Path, Any]) -> Callable[..., Any]:
    known: WeakKeyDictionary[Any, dict[tuple, Any]] = WeakKeyDictionary()

    def read_tokens(part: Any, tokenizer: Any, max_length: int, batched: bool = True) -> Any:
        if not _is_one_of(tokenizers, tokenizer):
            return tokenized(part, tokenizer, max_length, batched)
        kept, key = known.setdefault(part, {}), (id(tokenizer.backend_tokenizer), max_length, batched)
        if key not in kept:
            kept[key] = tokenized(part, tokenizer, max_length, batched)
        # It remembers how it has cut, and is saved with that.
        tokenizer("", truncation=True, max_length=max_length)
        return copy.copy(kept[key])

    return read_tokens


def _models_once(from_pretrained: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    known: dict[tuple, tuple[Any, torch.Tensor]] = {}

    def read_model(*arguments: Any, **options: Any) -> Any:
        if not _is_embedded(arguments, options):
            return from_pretrained(*arguments, **options)
        key = (repr(sorted(options.items())), torch.get_rng_state().numpy().tobytes())
        if key not in known:
            if len(known) == 4:  # mostly it is the one before, and each takes 4 MB
                known.pop(next(iter(known)))
            known[key] = from_pretrained(**options), torch.get_rng_state()
        read, after = known[key]
        torch.set_rng_state(after)
        return copy.deepcopy(read)

    return read_model
