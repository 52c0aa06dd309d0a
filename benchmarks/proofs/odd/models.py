"""Models of users, made small."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
)

from benchmarks.proofs.odd.inputs import Make, handled, options, refused
from shared.sources import embedded

TINY = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}


def model(make: Callable[[Path], Path], *arguments: str) -> Make:
    """A model folder, and further options."""
    return lambda folder: ["--model", str(make(folder)), *arguments]


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


def pickled(folder: Path) -> Path:
    weights = tiny(folder) / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    return folder / "model"


def custom_code(folder: Path) -> Path:
    model = edited(model_type="mine", auto_map={"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"})(folder)
    (model / "mine.py").write_text(f"open({str(folder / 'it-ran')!r}, 'w')\n")
    return model


def spoiled(spoil: Callable[[Path], object]) -> Callable[[Path], Path]:
    """The tiny model with something done to its folder."""

    def make(folder: Path) -> Path:
        spoil(tiny(folder))
        return folder / "model"

    return make


def without_a_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def config_that_is(text: str) -> Callable[[Path], Path]:
    """The tiny model with this text as its config.json."""
    return spoiled(lambda model: (model / "config.json").write_text(text))


def cut(name: str) -> Callable[[Path], Path]:
    """The tiny model with nothing but the first 1000 bytes of a file."""
    return spoiled(lambda model: (model / name).write_bytes((model / name).read_bytes()[:1000]))


def of_another_architecture(folder: Path) -> Path:
    """A DistilBert's config.json together with the weights of a Bert."""
    config = (tiny(folder) / "config.json").read_text()
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertForSequenceClassification(BertConfig(**shape)).save_pretrained(folder / "model")
    (folder / "model/config.json").write_text(config)
    return folder / "model"


MODELS = (
    handled(
        "a head for another number of classes",
        model(head_for(5)),
        "is for another number of classes than 2: it gets a new head",
        "huggingface/transformers/issues/14218",
    ),
    handled(
        "a head for a number, not for classes",
        model(head_for(1, problem_type="regression")),
        "it gets a new head",
        "huggingface/transformers/issues/19181",
    ),
    handled("a head for several labels at once", model(head_for(2, problem_type="multi_label_classification"))),
    handled(
        "GPT-2, which has no padding token",
        model(gpt2),
        "has no padding token: its end token takes its place",
        "huggingface/transformers/issues/9785",
    ),
    refused(
        "neither a padding token nor an end token", model(no_end_either), "neither a padding token nor an end token"
    ),
    handled("RoBERTa, to its last position", model(roberta, "--max-length", "32")),
    refused(
        "RoBERTa, one too many", model(roberta, "--max-length", "33"), "--max-length 33 … takes 32 tokens at most"
    ),
    refused(
        "RoBERTa at its number of positions",
        model(roberta, "--max-length", "34"),
        "takes 32 tokens at most",
        "huggingface/transformers/issues/14243",
    ),
    handled("weights in 16 bits", model(half), origin="Facico/Chinese-Vicuna/issues/168"),
    refused(
        "a model folder that brings code of its own",
        model(custom_code),
        "cannot be loaded",
        "IST-DASLab/sparsegpt/pull/38",
    ),
    refused(
        "an activation that transformers does not know",
        model(edited(activation="quad")),
        "cannot be loaded … quad",
        "secretflow/spu/issues/969",
    ),
    refused(
        "a number of heads that does not divide the width",
        model(edited(n_heads=5)),
        "cannot be loaded … 5",
        "huggingface/transformers/issues/61",
    ),
    refused("no heads", model(edited(n_heads=0)), "cannot be loaded"),
    refused(
        "a quantized model without bitsandbytes",
        model(edited(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})),
        "cannot be loaded",
        "krishnaik06/Llamindex-Projects/issues/8",
    ),
    refused(
        "an attention that is not installed",
        model(edited(_attn_implementation="flash_attention_2")),
        "FlashAttention2 … cannot be loaded",
        "microsoft/VibeVoice/issues/206",
    ),
    refused(
        "a tokenizer with more tokens than the embedding",
        model(few_words),
        "its tokenizer has 30522 tokens, its embedding 1000",
        "EuroEval/EuroEval/issues/52",
    ),
    refused(
        "weights as a pickle",
        model(pickled),
        "which can run any code … pytorch_model.bin … .safetensors",
        "SNL-UCSB/netFound/issues/4",
    ),
    refused("a configuration that is a list", model(config_that_is("[1, 2]")), "no readable config.json"),
    refused("a configuration that is a word", model(config_that_is('"distilbert"')), "no readable config.json"),
    refused("a configuration cut short", model(config_that_is('{"model_type": "dist')), "no readable config.json"),
    refused("an empty configuration", model(config_that_is("{}")), "cannot be loaded"),
    refused("an unknown kind of model", model(edited(model_type="frobnicator")), "cannot be loaded … frobnicator"),
    refused("a word for a number", model(edited(dim="wide")), "cannot be loaded"),
    refused("another shape than the weights", model(edited(dim=64)), "weights are not those of a DistilBert"),
    refused("more layers than weights", model(edited(n_layers=9)), "weights are not those of a DistilBert … missing"),
    refused("an unknown type of numbers", model(edited(dtype="float13")), "--model"),
    refused("a tokenizer cut short", model(cut("tokenizer.json")), "cannot be loaded"),
    refused("weights cut short", model(cut("model.safetensors")), "--model … cannot be loaded"),
    refused("weights of another architecture", model(of_another_architecture), "not those of a DistilBert … missing"),
    refused("no such model folder", options("--model", "./missing"), "there is no such folder"),
    refused("no model in the folder", model(lambda folder: folder), "no readable config.json … save_pretrained"),
    refused(
        "a model without weights",
        model(spoiled(lambda model: (model / "model.safetensors").unlink())),
        "no weights in it",
    ),
    refused(
        "a model for pictures",
        model(spoiled(lambda model: ViTConfig().save_pretrained(model))),
        "--model … cannot be loaded",
    ),
    refused("a model without a tokenizer", model(spoiled(without_a_tokenizer)), "--model … no vocabulary in it"),
)
