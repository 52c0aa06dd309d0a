"""The reviews and weights that pip carries: the published ones. How they get here: `test_fetch.py`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertModel, DistilBertModel

from shared.sources import embedded

# The content hash that stanfordnlp/imdb publishes for its train split.
IMDB_TRAIN_CONTENT = "4639bf1063fddebc3d7a446004a1032832227b0d3d28b01f58f99a4f94c0ab8a"


def test_the_embedded_imdb_is_the_hubs_train_split_row_by_row() -> None:
    reviews = embedded.load_reviews("embedded")
    digest = hashlib.sha256()
    for row in reviews:
        line = json.dumps(
            {"label": row["label"], "text": row["text"]}, ensure_ascii=False, sort_keys=True, separators=(",", ":")
        )
        digest.update(line.encode() + b"\n")
    assert digest.hexdigest() == IMDB_TRAIN_CONTENT
    assert reviews[0]["text"].startswith("I rented I AM CURIOUS-YELLOW")
    assert reviews[12_500]["text"].startswith("Zentropa has much in common with The Third Man")


def test_rotten_tomatoes_has_its_8530_snippets() -> None:
    reviews = embedded.load_reviews("embedded-rotten-tomatoes")
    assert len(reviews) == 8530
    assert sum(reviews["label"]) == 4265


def test_the_rekeyed_distilbert_gives_berts_hidden_states() -> None:
    """Within 1e-4: adding the token-type row to the positions first rounds otherwise (measured: 2.9e-5)."""
    shape = embedded.MODEL_SHAPES["embedded"]
    config = BertConfig(
        hidden_size=shape["dim"],
        num_hidden_layers=shape["n_layers"],
        num_attention_heads=shape["n_heads"],
        intermediate_size=shape["hidden_dim"],
    )
    bert = BertModel(config, add_pooling_layer=False).eval()
    weights = load_file(embedded.locate(embedded.WEIGHTS))
    loaded = bert.load_state_dict({k: v for k, v in weights.items() if not k.startswith("pooler")}, strict=False)
    assert not loaded.missing_keys
    folder = embedded.checkpoint("embedded")
    distilbert = DistilBertModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    texts = embedded.load_reviews("embedded").shuffle(seed=1).select(range(8))["text"]
    batch = tokenizer(list(texts), truncation=True, max_length=128, padding=True, return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask"}
    with torch.no_grad():
        ours = distilbert(**batch).last_hidden_state
        theirs = bert(**batch).last_hidden_state
    real = batch["attention_mask"].bool()
    assert (ours - theirs)[real].abs().max() < 1e-4


def test_writing_the_checkpoint_leaves_the_random_state_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SAMELOOP_CACHE", str(tmp_path))
    for model in embedded.MODEL_SHAPES:
        before = torch.get_rng_state()
        folder = embedded.checkpoint(model)
        assert torch.equal(torch.get_rng_state(), before)
        assert sorted(path.name for path in folder.parent.iterdir() if path.name.startswith(".")) == []
        assert (
            load_file(folder / "model.safetensors").keys()
            == DistilBertModel.from_pretrained(folder).state_dict().keys()
        )


def test_the_tiny_model_is_the_same_on_every_machine(tmp_path: Path, monkeypatch) -> None:
    first = load_file(embedded.checkpoint("embedded-tiny") / "model.safetensors")
    monkeypatch.setenv("SAMELOOP_CACHE", str(tmp_path))
    torch.rand(3)
    again = load_file(embedded.checkpoint("embedded-tiny") / "model.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)
