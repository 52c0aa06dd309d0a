"""A saved model's predictions, in the batches, the order and the precision of an evaluation of its own run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shared.config import RunConfig
from shared.data import Subsets, tokenized
from shared.errors import SameLoopError, shown
from shared.model import load_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_model(folder: Path) -> PreTrainedModel:
    """The model that a loop has saved.

    Raises:
        SameLoopError: it is not one that transformers can load whole.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    remedy = "end the loop's train with model.save_pretrained(output_dir)"
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # a user's loop may have saved almost anything
        raise SameLoopError(f"the model in {folder} cannot be loaded ({shown(error, 120)}): {remedy}") from None
    if missing := sorted(loading["missing_keys"]):
        raise SameLoopError(f"the model in {folder} lacks {len(missing)} weights, {missing[0]} first: {remedy}")
    return model.eval()


def answer(model: PreTrainedModel, folder: Path, subsets: Subsets, config: RunConfig) -> tuple[torch.Tensor, float]:
    """A model's logits for every review, in the subset's order, and their mean loss.

    Batches, order, padding, device, precision and loss are those of an evaluation of the run: `manual_loop.train`.
    """
    import torch
    from torch.utils.data import DataLoader
    from transformers import DataCollatorWithPadding

    from manual_loop.forward import forward
    from manual_loop.sampling import make_samplers

    own = config.model_copy(update={"model": str(folder)})
    tokenizer = load_tokenizer(own if (folder / "tokenizer_config.json").is_file() else config)
    dataset = tokenized(subsets.eval, tokenizer, config.max_length)
    order = list(range(len(dataset)))
    if config.train_sampling_strategy != "random":
        order = list(make_samplers(dataset, dataset, config)[1] or order)
    use_gpu = torch.accelerator.is_available() and not config.use_cpu
    device = torch.accelerator.current_accelerator() if use_gpu else torch.device("cpu")
    model.to(device)
    batch_size, collator = config.per_device_eval_batch_size, DataCollatorWithPadding(tokenizer)
    losses, logits = [], []
    with torch.no_grad():
        for batch in DataLoader(dataset, batch_size, sampler=order, collate_fn=collator):
            try:
                loss, batch_logits = forward(model, batch.to(device), device, config)
                losses.append(loss.repeat(len(batch["labels"])))
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
                raise SameLoopError(
                    f"the model in {folder} gives no loss for a review ({shown(error, 120)}): its config.json is not "
                    "that of a model that was trained; run `sameloop compare` again"
                ) from None
            logits.append(batch_logits.float().cpu())
    # numpy's mean, as in both loops.
    mean = torch.cat(losses).float().cpu().numpy().mean().item()
    back = torch.tensor(order).argsort()
    return torch.cat(logits)[back], mean


def equal_rows(ours: torch.Tensor, theirs: torch.Tensor) -> int:
    """The number of rows in which all numbers are equal, bit for bit."""
    import torch

    if ours.shape != theirs.shape:
        return 0
    return int((ours.view(torch.int32) == theirs.view(torch.int32)).all(dim=1).sum())
