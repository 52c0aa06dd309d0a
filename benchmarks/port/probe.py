"""One batch of a script's data, run through its model without training: the facts that the loop is written for."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from shared.determinism import random_states, restore_random_states
from shared.errors import ScriptError, shown
from shared.recording.evidence import rng_digests


@dataclass
class Probe:
    """The facts that one batch shows.

    Attributes:
        batches: of an epoch, where the script makes its own loader or sampler.
        is_prepared: whether accelerate fetches the training batches, each one ahead.
        is_reseeded: whether accelerate seeds the order of an own loader or sampler again in every epoch.
        foreign_loader: the type of an own loader that is no `DataLoader` of torch.
        eval_batch_size, is_eval_prepared: of an own evaluation loader; None where the script makes none.
        draws: whether making the batch draws random numbers, as a collator that masks words does.
        unused: the columns of each data set that Trainer removes, by the data set's name.
        extra_keys: the same for examples that are dictionaries in a data set of the user's own.
        has_labels_key: whether the batch has `labels`.
        labels_per_example: how many numbers `labels` has for each example.
        labels: the names of what Trainer takes as labels; none where the batch lacks any of them.
        is_plain: whether the batch is a dictionary of tensors; `is_encoding`: one with a method `to`.
        output: `attribute`, `key` or `place`: how the model gives its loss; None: the model was not run.
        scores: the names of its other outputs, from which metrics are computed; none where it gives no dictionary.
        is_joined: whether these are one matrix, a row per example, which can be concatenated as it is.
        counts: whether the model divides its loss by the `num_items_in_batch` that it is given.
        share: that loss with the number that Trainer counts, divided by its mean loss.
    """

    batches: int | None = None
    is_prepared: bool = True
    is_reseeded: bool = False
    foreign_loader: str = ""
    eval_batch_size: int | None = None
    is_eval_prepared: bool | None = None
    draws: bool = False
    unused: dict[str, list[str]] = field(default_factory=dict)
    extra_keys: list[str] = field(default_factory=list)
    has_labels_key: bool = False
    labels_per_example: int = 0
    labels: list[str] = field(default_factory=list)
    is_plain: bool = True
    is_encoding: bool = False
    output: str | None = None
    scores: list[str] = field(default_factory=list)
    is_joined: bool = False
    counts: bool = False
    share: float = 1.0


def probe(trainer: Any) -> Probe:
    """Examine one batch; random states and the modules' modes are restored.

    Raises:
        ScriptError: the batch cannot be made, or the model does not take it.
    """
    result = Probe()
    if trainer.train_dataset is None or isinstance(trainer.train_dataset, torch.utils.data.IterableDataset):
        return result
    _look_at_columns(trainer, result)
    with _left_as_it_was(trainer.model):
        try:
            _look_at_eval_loader(trainer, result)
            batch = _batch_of(trainer, result)
            if isinstance(batch, Mapping):
                _look_at_batch(trainer, result, batch)
                _look_at_output(trainer, result, batch)
        except Exception as error:
            problem = f"{type(error).__name__}: {shown(error, 200)}"
            raise ScriptError(f"the first batch cannot be trained on, here or in Trainer: {problem}") from error
    return result


def _look_at_columns(trainer: Any, result: Probe) -> None:
    import datasets

    sets = {"train_dataset": trainer.train_dataset}
    others = trainer.eval_dataset
    if isinstance(others, dict):
        sets |= {f"eval_dataset[{name!r}]": dataset for name, dataset in others.items()}
    elif others is not None:
        sets["eval_dataset"] = others
    if not trainer.args.remove_unused_columns:
        return
    trainer._set_signature_columns_if_needed()
    known = trainer._signature_columns
    for name, dataset in sets.items():
        if isinstance(dataset, datasets.Dataset):
            result.unused[name] = [column for column in dataset.column_names if column not in known]
    if not isinstance(trainer.train_dataset, datasets.Dataset):
        example = trainer.train_dataset[0]
        result.extra_keys = [key for key in example if key not in known] if isinstance(example, Mapping) else []


def _own_loader(trainer: Any, result: Probe) -> Any:
    """The training loader, where the script makes it or its sampler; else None."""
    from accelerate.data_loader import DataLoaderShard, SeedableRandomSampler, get_sampler
    from torch.utils.data import DataLoader
    from transformers import Trainer

    methods = ("get_train_dataloader", "_get_train_sampler")
    if all(getattr(type(trainer), name) is getattr(Trainer, name) for name in methods):
        return None
    loader = trainer.get_train_dataloader()
    if not isinstance(loader, DataLoader):
        result.foreign_loader = type(loader).__name__
        return None
    result.batches = len(loader)
    result.is_prepared = isinstance(loader, DataLoaderShard)
    result.is_reseeded = result.is_prepared and isinstance(get_sampler(loader), SeedableRandomSampler)
    return loader


def _look_at_eval_loader(trainer: Any, result: Probe) -> None:
    from accelerate.data_loader import DataLoaderShard
    from transformers import Trainer

    is_own = type(trainer).get_eval_dataloader is not Trainer.get_eval_dataloader
    if is_own and trainer.eval_dataset is not None and not isinstance(trainer.eval_dataset, dict):
        loader = trainer.get_eval_dataloader()
        result.eval_batch_size = getattr(loader, "batch_size", None)
        result.is_eval_prepared = isinstance(loader, DataLoaderShard)


def _batch_of(trainer: Any, result: Probe) -> Any:
    """The batch that the first examples make, and whether making it has drawn anything."""
    from transformers.trainer_utils import RemoveColumnsCollator

    loader = _own_loader(trainer, result)
    if loader is not None:
        examples, collator = loader.dataset, loader.collate_fn
    else:
        examples, collator = trainer.train_dataset, trainer.data_collator
        if result.unused.get("train_dataset"):
            examples = examples.remove_columns(result.unused["train_dataset"])
        if result.extra_keys:
            collator = RemoveColumnsCollator(collator, trainer._signature_columns)
    # Copies: it may have a random generator of its own, which must not advance here, and may change its examples.
    collator = copy.deepcopy(collator)
    before = rng_digests()
    indices = range(min(len(examples), trainer.args.train_batch_size))
    batch, again = (collator([copy.deepcopy(examples[index]) for index in indices]) for _ in range(2))
    result.draws = before != rng_digests() or not _equal(batch, again)
    return batch


def _look_at_batch(trainer: Any, result: Probe, batch: Mapping[str, Any]) -> None:
    result.has_labels_key = "labels" in batch
    labels = batch.get("labels")
    result.labels_per_example = labels[0].numel() if isinstance(labels, torch.Tensor) and labels.dim() else 0
    names = list(trainer.label_names)
    result.labels = names if names and all(batch.get(name) is not None for name in names) else []
    result.is_plain = all(isinstance(value, torch.Tensor) for value in batch.values())
    result.is_encoding = hasattr(batch, "to")


def _look_at_output(trainer: Any, result: Probe, batch: Mapping[str, Any]) -> None:
    """The model's own output for the batch; with a loss of the user's own, it may not take labels at all."""
    from transformers import Trainer

    model = trainer.model
    if trainer.compute_loss_func is not None or trainer.label_smoother is not None:
        batch = {name: value for name, value in batch.items() if name != "labels"}
    batch = trainer._prepare_inputs(dict(batch))
    if type(trainer).compute_loss is not Trainer.compute_loss:
        _, output = trainer.compute_loss(model, dict(batch), return_outputs=True)
    else:
        output = model(**batch)
    if isinstance(output, Mapping):
        ignored = getattr(getattr(model, "config", None), "keys_to_ignore_at_inference", None) or []
        names = [name for name in output if name not in (*ignored, "loss")]
        result.scores = names
        result.output = "attribute" if hasattr(output, "logits") or hasattr(output, "loss") else "key"
        only = output[names[0]] if len(names) == 1 else None
    else:
        result.output = "place"
        result.scores = [str(place) for place in range(1, len(output))] if isinstance(output, tuple) else []
        only = output[1] if isinstance(output, tuple) and len(output) == 2 else None
    result.is_joined = isinstance(only, torch.Tensor) and only.dim() == 2 and len(result.labels) == 1
    result.is_joined = result.is_joined and batch.get(result.labels[0], only).dim() <= 2
    if trainer.model_accepts_loss_kwargs and "labels" in batch and isinstance(output, Mapping) and "loss" in output:
        counted = trainer._get_num_items_in_batch([batch], trainer.args.device)
        once, twice = (model(**batch, num_items_in_batch=counted * times)["loss"] for times in (1, 2))
        result.counts = not torch.equal(once, twice)
        result.share = (once / model(**batch)["loss"]).item() if result.counts else 1.0


@contextmanager
def _left_as_it_was(model: torch.nn.Module) -> Iterator[None]:
    """Put the model in eval mode without gradients; afterwards its modes and all random states are as before."""
    modes = [(module, module.training) for module in model.modules()]
    states = random_states()
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        restore_random_states(states)


def _equal(batch: Any, other: Any) -> bool:
    if not isinstance(batch, Mapping) or not isinstance(other, Mapping):
        return True
    return all(
        value.shape == other[name].shape and torch.equal(value, other[name])
        for name, value in batch.items()
        if isinstance(value, torch.Tensor)
    )
