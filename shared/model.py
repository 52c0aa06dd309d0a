"""DistilBERT with a fresh classification head, and its tokenizer; the same call for both loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.config import RunConfig
from shared.errors import SameLoopError, shown
from shared.files import read_json
from shared.memory import check_memory
from shared.presets import HUB_REVISIONS
from shared.processes import made_up_pass
from shared.progress import announce, is_interactive
from shared.sources import embedded
from shared.sources.hub import check_paths, hub_errors

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(config: RunConfig) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to the `model` setting.

    Raises:
        SameLoopError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    source = _source(config)
    with hub_errors("--model", config.model), _no_report():
        tokenizer = AutoTokenizer.from_pretrained(**source, trust_remote_code=False)
    # Without a vocabulary file transformers makes an empty tokenizer, to which every word is unknown.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise SameLoopError(
            f"--model {config.model}: no vocabulary in it; save the tokenizer there too, with its `save_pretrained`"
        )
    if tokenizer.pad_token_id is None:  # GPT-2 and its like never saw a batch that was not full
        if tokenizer.eos_token_id is None:
            raise SameLoopError(
                f"--model {config.model}: its tokenizer has neither a padding token nor an end token; give it one, "
                'and save it: `tokenizer.pad_token = "[PAD]"`'
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(config: RunConfig, labels: Sequence[str]) -> PreTrainedModel:
    """The pretrained body with a new head of an output for each of `labels`, in float32, on the CPU.

    The head's weights are drawn from torch's global random state: seed it before the call. A head that is there
    already is kept if it has as many outputs.

    Raises:
        SameLoopError: it cannot be loaded, its weights are another architecture's, `max_length` is more than it takes,
            or the memory is too little to train it.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    (logging.enable_progress_bar if is_interactive() else logging.disable_progress_bar)()
    announce(f"loading the model {config.model}")
    source = _source(config)
    with hub_errors("--model", config.model), _no_report():
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            **source,
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            problem_type="single_label_classification",
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    # As Trainer sets it in every model: nothing is generated in a training.
    model.config.use_cache = False
    _check_loaded(model, loading, config.model, len(labels))
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and config.max_length > longest:
        raise SameLoopError(f"--max-length {config.max_length}: {config.model} takes {longest} tokens at most")
    check_memory(model, config)
    if config.model not in embedded.MODEL_SHAPES:
        _check_it_runs(model, config, len(labels))
    for observer in _OBSERVERS:
        observer(model)
    return model


# What is called with each model that is loaded for a loop.
_OBSERVERS: list[Callable[[PreTrainedModel], None]] = []


@contextmanager
def observing_models(observer: Callable[[PreTrainedModel], None]) -> Iterator[None]:
    """Inside, `observer` is called with each model that `load_model` gives to a loop."""
    _OBSERVERS.append(observer)
    try:
        yield
    finally:
        _OBSERVERS.remove(observer)


@contextmanager
def _no_report() -> Iterator[None]:
    """Without transformers' own report, of what a checkpoint lacks for example: `_check_loaded` sees that."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _check_loaded(model: PreTrainedModel, loading: Mapping[str, Any], name: str, num_labels: int) -> None:
    """The head is new, the body must come from the checkpoint; transformers would fill gaps with random weights."""
    other_sizes = {key if isinstance(key, str) else key[0] for key in loading["mismatched_keys"]}
    missing = set(loading["missing_keys"]) | other_sizes
    body = sorted(key for key in missing if key.startswith(model.base_model_prefix + "."))
    # Some architectures keep a pooler for classification that their pretraining leaves out.
    absent = [key for key in body if ".pooler." not in key]
    if other_sizes and not absent:
        announce(f"note: the head of {name} is for another number of classes than {num_labels}: it gets a new head")
    if absent:
        raise SameLoopError(
            f"--model {name}: its weights are not those of a {type(model).__name__} ({len(absent)} are missing, "
            f"{absent[0]} first); give a model whose weights and config.json belong together"
        )


def _check_it_runs(model: PreTrainedModel, config: RunConfig, num_labels: int) -> None:
    """Refuse a model that does not take `max_length` tokens, or none at all, or is no classifier.

    One pass over a text shows it, before time is spent on it.
    """
    import torch

    tokenizer = load_tokenizer(config)
    if model.config.pad_token_id is None:
        announce(f"note: {config.model} has no padding token: its end token takes its place")
        model.config.pad_token_id = tokenizer.pad_token_id
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise SameLoopError(
            f"--model {config.model}: its tokenizer has {len(tokenizer)} tokens, its embedding {known}; give a model "
            "and a tokenizer that belong together"
        )
    special = {*tokenizer.all_special_ids, model.config.pad_token_id}
    token = next((number for number in range(known) if number not in special), 0)

    def problem(tokens: int) -> str | None:
        ids = torch.full((1, tokens), token)
        try:
            with made_up_pass(), torch.random.fork_rng(devices=[]), torch.no_grad():
                output = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0]))
        except Exception as error:  # what others have put together raises almost anything
            return shown(f"{type(error).__name__}: {error}", 120)
        if output.logits.shape != (1, num_labels) or output.loss.shape != ():
            return f"its logits have the shape {tuple(output.logits.shape)}, not (texts, {num_labels} classes)"
        return None

    failure = problem(config.max_length)
    if failure is None:
        return
    if shortest := problem(2):
        raise SameLoopError(f"--model {config.model}: it does not run ({shortest}); give another")
    works, fails = 2, config.max_length
    while fails - works > 1:
        middle = (works + fails) // 2
        works, fails = (works, middle) if problem(middle) else (middle, fails)
    raise SameLoopError(f"--max-length {config.max_length}: {config.model} takes {works} tokens at most ({failure})")


def _source(config: RunConfig) -> dict:
    """Where `from_pretrained` is to look: `pretrained_model_name_or_path`, and a Hub model's `revision`."""
    if config.model in embedded.MODEL_SHAPES:
        return {"pretrained_model_name_or_path": str(embedded.checkpoint(config.model))}
    check_paths(config)
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        _check_folder(folder, config.model)
        return {"pretrained_model_name_or_path": str(folder)}
    if folder.is_file():
        raise SameLoopError(f"--model {config.model}: is a file, not a model folder")
    revision = config.model_revision or HUB_REVISIONS.get(config.model, "main")
    return {"pretrained_model_name_or_path": config.model, "revision": revision}


def _check_folder(folder: Path, name: str) -> None:
    try:
        described = read_json(folder / "config.json")
    except (OSError, ValueError):
        described = None
    if not isinstance(described, dict):
        raise SameLoopError(
            f"--model {name}: no readable config.json in it; give a folder that `save_pretrained` wrote"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = next(
            (path.name for suffix in ("bin", "pt", "pth", "pkl") for path in folder.glob(f"*.{suffix}")), None
        )
        problem = f"its weights are a pickle ({pickled}), which can run any code" if pickled else "no weights in it"
        raise SameLoopError(f"--model {name}: {problem}; save it as .safetensors with `save_pretrained`")
