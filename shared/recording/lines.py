"""The record's lines, made from what the recorder has kept of a step or an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from shared.files import digest
from shared.recording.evidence import FIRST_TOKENS, as_bytes, batch_digests, mask_of, review_digest, reviews_of
from shared.recording.gradients import gradient_norms


def step_line(
    step: int,
    now: dict[str, Any],
    micro_batches: list[dict[str, Any]],
    seconds: dict[str, float],
    loss_is_scaled: bool,
) -> dict[str, Any]:
    """The fields of a step's line, without its counts.

    Args:
        step: its number, from 1.
        now: the state before and after it; on the CPU, as are the batches.
        micro_batches: its forward passes.
        seconds: by phase.
        loss_is_scaled: whether what is handed to `backward()` is scaled, as with fp16.
    """
    forward_losses = [_number(batch["forward_loss"]) for batch in micro_batches]
    losses = [loss.item() for batch in micro_batches for loss in batch["backward_losses"]]
    # The step's loss is the sum of what was handed to backward(), each batch's share. With fp16 that is scaled;
    # the mean of the model's own losses is the same, unscaled.
    shares = losses
    own = [loss for loss in forward_losses if loss is not None]
    if loss_is_scaled and len(own) == len(forward_losses):
        shares = [loss / len(own) for loss in own]
    reviews = [reviews_of(batch["inputs"]) for batch in micro_batches]
    gradients = gradient_norms(now["gradients"])
    return {
        "step": step,
        "batch": [batch_digests(batch["inputs"]) for batch in micro_batches],
        "reviews": [[review_digest(review) for review in batch] for batch in reviews],
        "lengths": [[len(review) for review in batch] for batch in reviews],
        "labels": [_labels(batch["inputs"]) for batch in micro_batches],
        "first_review": [batch[0][:FIRST_TOKENS].tolist() if batch else [] for batch in reviews],
        "masked": ["attention_mask" in batch["inputs"] for batch in micro_batches],
        "passes": [forward_pass for batch in micro_batches for forward_pass in batch["passes"]],
        "mode": ["train" if batch["mode"] else "eval" for batch in micro_batches],
        "parts": [batch["parts"] for batch in micro_batches],
        "rng_before": [batch["rng_before"] for batch in micro_batches],
        "optimizer": now["optimizer"],
        "dropout": [batch["dropout"] for batch in micro_batches],
        "autocast": [batch["autocast"] for batch in micro_batches],
        "rng": now["rng"],
        "forward_losses": forward_losses,
        "losses": losses,
        "backward_passes": [len(batch["backward_losses"]) for batch in micro_batches],
        "loss": sum(shares),
        # The norm of scaled gradients has no meaning.
        "unclipped_norm": None if loss_is_scaled else gradients.pop("unclipped"),
        "grad_norm": gradients.pop("at_step"),
        "gradient_sample": now["gradients"]["sample"],
        "gradients": gradients,
        "without_gradient": now["without_gradient"],
        "learning_rate": now["learning_rates"][0],
        "learning_rates": now["learning_rates"],
        "weights": digest(map(as_bytes, now["weights"])),
        "weights_after": digest(map(as_bytes, now["weights_after"])),
        "memory_mb": now["memory_mb"],
        "seconds": seconds,
    }


def evaluation_line(step: int, batches: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The fields of an evaluation's line, without its counts; the arguments are those of `step_line`."""
    losses = [_number(batch["forward_loss"]) for batch in batches]
    sizes = [len(next(iter(batch["inputs"].values()), ())) for batch in batches]
    reviews = [review for batch in batches for review in reviews_of(batch["inputs"])]
    correct = [
        int((batch["logits"].argmax(-1) == batch["inputs"]["labels"]).sum())
        for batch in batches
        if _has_classes(batch)
    ]
    counted = bool(sizes) and len(correct) == len(batches) and all(sizes)
    keys = [batch_digests(batch["inputs"]) for batch in batches]
    return {
        "step": step,
        "weights": digest(map(as_bytes, batches[0]["weights"])),
        "mode": ["train" if batch["mode"] else "eval" for batch in batches],
        "parts": [batch["parts"] for batch in batches],
        "dropout": [batch["dropout"] for batch in batches],
        "autocast": [batch["autocast"] for batch in batches],
        "graph": any(batch["graph"] for batch in batches),
        "batch": {
            name: digest(digests[name].encode() for digests in keys)
            for name in keys[0]
            if all(name in digests for digests in keys)
        },
        "batch_sizes": sizes,
        "losses": losses,
        "correct": correct if counted else None,
        "reviews": digest(sorted(review_digest(review).encode() for review in reviews)),
        "first_review": reviews[0][:FIRST_TOKENS].tolist() if reviews else [],
        "passes": [forward_pass for batch in batches for forward_pass in batch["passes"]],
        "logits": digest(as_bytes(batch["logits"]) for batch in batches if batch["logits"] is not None),
        # Every review counts the same: each batch's mean, weighted by the batch's size.
        "loss": float(np.average(losses, weights=sizes)) if None not in losses and any(sizes) else None,
        "accuracy": sum(correct) / sum(sizes) if counted else None,
        "seconds": seconds,
    }


def counts(batches: list[dict[str, Any]], is_own_job: bool) -> dict[str, int]:
    """How many examples and tokens there were; in a user's own job the examples are those of the first input."""
    inputs = [batch["inputs"] for batch in batches if "input_ids" in batch["inputs"]]
    counted = [tensors["input_ids"] for tensors in inputs]
    if is_own_job:
        counted = [value for batch in batches for value in [*batch["inputs"].values()][:1] if value.dim()]
    return {
        "samples": sum(map(len, counted)),
        "tokens": sum(int(mask_of(tensors).sum()) for tensors in inputs),
        "padded_tokens": sum(tensors["input_ids"].numel() for tensors in inputs),
    }


def _labels(inputs: dict[str, torch.Tensor]) -> list[Any]:
    """The label of each example; none where an example has many, such as one per token: the digests cover those."""
    return inputs["labels"].tolist() if "labels" in inputs and inputs["labels"].dim() == 1 else []


def _has_classes(batch: dict[str, Any]) -> bool:
    """Whether a batch of an evaluation has scores of classes and the number of the right one for each example."""
    logits, labels = batch["logits"], batch["inputs"].get("labels")
    return (
        logits is not None
        and labels is not None
        and logits.dim() == 2
        and labels.shape == logits.shape[:1]
        and not labels.is_floating_point()
    )


def _number(value: torch.Tensor | None) -> float | None:
    return None if value is None else value.item()
