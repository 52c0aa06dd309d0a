"""Models as people bring them, made small: what `make situations-table` and the tests try."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaModel,
)

from shared.sources import embedded

TINY = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}


def tiny(folder: Path) -> Path:
    return Path(shutil.copytree(embedded.checkpoint("embedded-tiny"), folder / "model"))


def saved(folder: Path, model: Any) -> Path:
    """A model with the embedded vocabulary."""
    model.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(embedded.checkpoint("embedded-tiny")).save_pretrained(folder / "model")
    return folder / "model"


def edited(**values: Any) -> Callable[[Path], Path]:
    """The tiny model with other values in its config.json."""

    def make(folder: Path) -> Path:
        file = tiny(folder) / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
        return folder / "model"

    return make


def config_that_is(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (tiny(folder) / "config.json").write_text(text)
        return folder / "model"

    return make


def gpt2(folder: Path) -> Path:
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64, "vocab_size": 30522}
    model = saved(folder, GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=102, eos_token_id=102)))
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(model)
    return model


def no_end_either(folder: Path) -> Path:
    model = gpt2(folder)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(model)
    return model


def roberta(folder: Path) -> Path:
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return saved(folder, RobertaModel(RobertaConfig(**shape, vocab_size=30522, max_position_embeddings=34)))


def half(folder: Path) -> Path:
    return saved(folder, DistilBertModel(DistilBertConfig(**TINY)).bfloat16())


def head_for(count: int, **values: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        config = DistilBertConfig(**TINY, num_labels=count, **values)
        return saved(folder, DistilBertForSequenceClassification(config))

    return make


def few_words(folder: Path) -> Path:
    return saved(folder, DistilBertModel(DistilBertConfig(**TINY, vocab_size=1000)))


def custom_code(folder: Path) -> Path:
    model = edited(model_type="mine", auto_map={"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"})(folder)
    (model / "mine.py").write_text(f"open({str(folder / 'it-ran')!r}, 'w')\n")
    return model


def broken_tokenizer(folder: Path) -> Path:
    file = tiny(folder) / "tokenizer.json"
    file.write_text(file.read_text()[:1000])
    return folder / "model"


def pickled(folder: Path) -> Path:
    weights = tiny(folder) / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    return folder / "model"
