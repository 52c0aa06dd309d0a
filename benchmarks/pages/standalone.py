"""What an ejected script does in place of SameLoop's own modules, because it must stand alone.

`eject` specializes these functions like the loop's helper modules, and they replace those of the same names: they
load with `transformers` and `datasets` alone, and save what a run leaves behind without the state for resuming it.
`config` has the settings, and what `eject` knows of the data: it disappears when the script is specialized.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import DatasetDict, load_dataset, load_from_disk
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from manual_loop.processes import is_first_process
from shared.sources.embedded import MODEL_SHAPES, REVIEW_SOURCES, checkpoint, load_reviews


def load_tokenizer(config: Any) -> Any:
    """The tokenizer that belongs to the model."""
    if config.model in MODEL_SHAPES:
        return AutoTokenizer.from_pretrained(checkpoint(config.model))
    return AutoTokenizer.from_pretrained(config.model, revision=config.model_revision)


def load_model(config: Any, labels: list) -> Any:
    """The pretrained body with a new head, in float32."""
    if config.model in MODEL_SHAPES:
        folder = checkpoint(config.model)
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=config.num_labels)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(
            config.model,
            revision=config.model_revision,
            num_labels=config.num_labels,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )
    if config.is_named:
        model.config.id2label = config.id2label
        model.config.label2id = config.label2id
    return model


def load_data(config: Any, tokenizer: Any) -> tuple[Any, Any, int]:
    """The two subsets, tokenized, and the classes' names."""
    if config.dataset in REVIEW_SOURCES:
        examples = load_reviews(config.dataset)
    elif config.dataset_format == "folder":
        splits = load_from_disk(config.dataset)
    elif config.dataset_format == "hub":
        splits = load_dataset(config.dataset, config.dataset_config, revision=config.dataset_revision)
    elif config.separator is not None:
        splits = load_dataset("csv", data_files=config.data_files, sep=config.separator)
    else:
        splits = load_dataset(config.dataset_format, data_files=config.data_files)
    if config.is_renamed:
        splits = splits.rename_columns(config.renamed)
    if config.train_split is not None:
        examples = splits[config.train_split].select_columns(["text", "label"])
    if config.eval_split is not None:
        validation = splits[config.eval_split].select_columns(["text", "label"])
    if config.is_mapped:
        classes = config.classes  # as the data has them
        examples = examples.map(lambda row: {"labels": classes[row["label"]]})
        examples = examples.remove_columns("label")
        if config.eval_split is not None:
            validation = validation.map(lambda row: {"labels": classes[row["label"]]})
            validation = validation.remove_columns("label")
    if config.shuffle:
        examples = examples.shuffle(seed=config.slice_seed)
        if config.eval_split is not None:
            validation = validation.shuffle(seed=config.slice_seed)
    if config.eval_split is None:
        validation = examples.select(range(len(examples) - config.eval_size, len(examples)))  # the end
    else:
        validation = validation.select(range(config.eval_size))
    data = DatasetDict(train=examples.select(range(config.train_size)), validation=validation)
    tokenize = partial(tokenizer, truncation=True, max_length=config.max_length)
    data = data.map(tokenize, batched=True, input_columns="text", remove_columns="text")
    return data["train"], data["validation"], config.num_labels


def log(log_history: list, values: dict, epoch: float, step: int) -> None:
    """Keep a line of the log, and show it."""
    log_history.append({**values, "epoch": epoch, "step": step})
    if is_first_process():
        print(log_history[-1])


def save_checkpoint(output_dir: str, state: Any, pretrained: tuple, parts: dict, config: Any) -> None:
    """Weights and tokenizer, as `from_pretrained` takes them."""
    folder = f"{output_dir}/checkpoint-{state.step}"
    if config.load_best_model_at_end and state.best_step == state.step:
        state.best_saved = state.step
    for part in pretrained:
        part.save_pretrained(folder)
    if config.save_total_limit is not None:
        delete_older_checkpoints(output_dir, state.best_saved, config)


def delete_older_checkpoints(output_dir: str, best_saved: int | None, config: Any) -> None:
    """All but the newest, and the best."""
    folders = Path(output_dir).glob("checkpoint-*")
    steps = sorted(int(folder.name.partition("-")[2]) for folder in folders)
    for old in steps[: -config.save_total_limit]:
        if not config.load_best_model_at_end or old != best_saved:
            shutil.rmtree(f"{output_dir}/checkpoint-{old}")


def load_best_model(output_dir: str, state: Any, model: Any) -> None:
    """The weights of the best evaluation."""
    if state.best_saved is not None:
        model.load_state_dict(load_file(f"{output_dir}/checkpoint-{state.best_saved}/model.safetensors"))
