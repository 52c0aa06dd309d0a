"""The record's lines, made of what the recorder has kept of a step or an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from shared.recording.evidence import FIRST_TOKENS, as_bytes, batch_digests, digest, mask_of, review_digest, reviews_of
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
        now: what was there before and after it; on the CPU, as are the batches.
        micro_batches: its forward passes.
        seconds: by phase.
        loss_is_scaled: whether what is handed to `backward()` is scaled, as with fp16.
    """
    forward_losses = [_number(seen["forward_loss"]) for seen in micro_batches]
    losses = [loss.item() for seen in micro_batches for loss in seen["backward_losses"]]
    # The step's loss is the sum of what was handed to backward(), each batch's share. With fp16 that is scaled;
    # the mean of the model's own losses is the same, unscaled.
    shares = losses
    own = [loss for loss in forward_losses if loss is not None]
    if loss_is_scaled and len(own) == len(forward_losses):
        shares = [loss / len(own) for loss in own]
    reviews = [reviews_of(seen["inputs"]) for seen in micro_batches]
    gradients = gradient_norms(now["gradients"])
    return {
        "step": step,
        "batch": [batch_digests(seen["inputs"]) for seen in micro_batches],
        "reviews": [[review_digest(review) for review in batch] for batch in reviews],
        "lengths": [[len(review) for review in batch] for batch in reviews],
        "labels": [_labels(seen["inputs"]) for seen in micro_batches],
        "first_review": [batch[0][:FIRST_TOKENS].tolist() if batch else [] for batch in reviews],
        "masked": ["attention_mask" in seen["inputs"] for seen in micro_batches],
        "passes": [each for seen in micro_batches for each in seen["passes"]],
        "mode": ["train" if seen["mode"] else "eval" for seen in micro_batches],
        "parts": [seen["parts"] for seen in micro_batches],
        "rng_before": [seen["rng_before"] for seen in micro_batches],
        "optimizer": now["optimizer"],
        "dropout": [seen["dropout"] for seen in micro_batches],
        "autocast": [seen["autocast"] for seen in micro_batches],
        "rng": now["rng"],
        "forward_losses": forward_losses,
        "losses": losses,
        "backward_passes": [len(seen["backward_losses"]) for seen in micro_batches],
        "loss": sum(shares),
        # Scaled gradients say nothing about their norm.
        "unclipped_norm": None if loss_is_scaled else gradients.pop("unclipped"),
        "grad_norm": gradients.pop("at_step"),
        "gradient_sample": now["gradients"]["sample"],
        "gradients": gradients,
        "without_gradient": now["without_gradient"],
        "learning_rate": now["learning_rate"],
        "learning_rates": now["learning_rates"],
        "weights": digest(map(as_bytes, now["weights"])),
        "weights_after": digest(map(as_bytes, now["weights_after"])),
        "memory_mb": now["memory_mb"],
        "seconds": seconds,
    }


def evaluation_line(step: int, batches: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The fields of an evaluation's line, without its counts; the arguments are those of `step_line`."""
    losses = [_number(seen["forward_loss"]) for seen in batches]
    sizes = [len(next(iter(seen["inputs"].values()), ())) for seen in batches]
    reviews = [review for seen in batches for review in reviews_of(seen["inputs"])]
    correct = [
        int((seen["logits"].argmax(-1) == seen["inputs"]["labels"]).sum()) for seen in batches if _has_classes(seen)
    ]
    counted = bool(sizes) and len(correct) == len(batches) and all(sizes)
    keys = [batch_digests(seen["inputs"]) for seen in batches]
    return {
        "step": step,
        "weights": digest(map(as_bytes, batches[0]["weights"])),
        "mode": ["train" if seen["mode"] else "eval" for seen in batches],
        "parts": [seen["parts"] for seen in batches],
        "dropout": [seen["dropout"] for seen in batches],
        "autocast": [seen["autocast"] for seen in batches],
        "graph": any(seen["graph"] for seen in batches),
        "batch": {
            name: digest(each[name].encode() for each in keys)
            for name in keys[0]
            if all(name in each for each in keys)
        },
        "batch_sizes": sizes,
        "losses": losses,
        "correct": correct if counted else None,
        "reviews": digest(sorted(review_digest(review).encode() for review in reviews)),
        "first_review": reviews[0][:FIRST_TOKENS].tolist() if reviews else [],
        "passes": [each for seen in batches for each in seen["passes"]],
        "logits": digest(as_bytes(seen["logits"]) for seen in batches if seen["logits"] is not None),
        # Every review counts alike: each batch's mean, weighted by the batch's size.
        "loss": float(np.average(losses, weights=sizes)) if None not in losses and any(sizes) else None,
        "accuracy": sum(correct) / sum(sizes) if counted else None,
        "seconds": seconds,
    }


def counts(batches: list[dict[str, Any]], is_own_job: bool) -> dict[str, int]:
    """How many examples and tokens there were; of somebody's own job the examples are those of the first input."""
    inputs = [seen["inputs"] for seen in batches if "input_ids" in seen["inputs"]]
    counted = [each["input_ids"] for each in inputs]
    if is_own_job:
        counted = [value for seen in batches for value in [*seen["inputs"].values()][:1] if value.dim()]
    return {
        "samples": sum(map(len, counted)),
        "tokens": sum(int(mask_of(each).sum()) for each in inputs),
        "padded_tokens": sum(each["input_ids"].numel() for each in inputs),
    }


def _labels(inputs: dict[str, torch.Tensor]) -> list[Any]:
    """One of each example; none where each has many, as one per token: the digests have them."""
    return inputs["labels"].tolist() if "labels" in inputs and inputs["labels"].dim() == 1 else []


def _has_classes(seen: dict[str, Any]) -> bool:
    """Whether a batch of an evaluation has scores of classes and the number of the right one for each example."""
    logits, labels = seen["logits"], seen["inputs"].get("labels")
    return (
        logits is not None
        and labels is not None
        and logits.dim() == 2
        and labels.shape == logits.shape[:1]
        and not labels.is_floating_point()
    )


def _number(value: torch.Tensor | None) -> float | None:
    return None if value is None else value.item()
