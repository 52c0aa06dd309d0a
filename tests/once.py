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

from shared import data
from shared.config import RunConfig
from shared.sources import embedded

read_reviews = cache(embedded.load_reviews)


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside, the embedded reviews, their slices and the embedded models' tokenizers are read once each."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(embedded, "load_reviews", read_reviews))
        patches.enter_context(patch.object(data, "load_slices", _slices_once(data.load_slices)))
        # Not for a few tests that need no library.
        if "torch" in sys.modules:
            from accelerate.utils import memory
            from transformers import AutoTokenizer

            read_tokenizer = _tokenizers_once(AutoTokenizer.from_pretrained)
            patches.enter_context(patch.object(AutoTokenizer, "from_pretrained", read_tokenizer))
            # `Trainer` asks for it in every run: 70 ms among all that the tests hold.
            patches.enter_context(patch.object(memory, "gc"))
        yield


def _slices_once(load_slices: Callable[[RunConfig], data.Slices]) -> Callable[[RunConfig], data.Slices]:
    known: dict[tuple, data.Slices] = {}

    def read_slices(config: RunConfig) -> data.Slices:
        if config.dataset not in embedded.REVIEW_SOURCES:
            return load_slices(config)
        key = tuple(getattr(config, name) for name in data.SLICE_DIALS)
        if key not in known:
            known[key] = load_slices(config)
        return known[key]

    return read_slices


def _tokenizers_once(from_pretrained: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Path, Any] = {}

    def read_tokenizer(*arguments: Any, **options: Any) -> Any:
        path = Path(options.get("pretrained_model_name_or_path", ""))
        if arguments or path.parent != embedded.cache_folder():
            return from_pretrained(*arguments, **options)
        if path not in known:
            known[path] = from_pretrained(**options)
        # How an earlier run has cut and padded is forgotten.
        known[path].backend_tokenizer.no_truncation()
        known[path].backend_tokenizer.no_padding()
        return copy.copy(known[path])

    return read_tokenizer
