"""The forward pass: the model's own loss, or a smoothed one, in 16 bits if asked for."""

import torch

from shared.config import RunConfig


def forward(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], config: RunConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the model on one batch; without special dials this is `model(**batch)` and nothing else.

    Args:
        batch: `input_ids` and `attention_mask`, both (batch, tokens), and `labels` (batch,).

    Returns:
        The mean loss over the batch, a scalar, and the logits (batch, classes) in float32.
    """
    smoothing = config.label_smoothing_factor
    inputs = {name: tensor for name, tensor in batch.items() if not (smoothing and name == "labels")}
    # Autocast runs the matrix products in 16 bits and keeps in float32 what needs its precision, the loss among it.
    low_precision = torch.bfloat16 if config.bf16 else torch.float16
    with torch.autocast(batch["labels"].device.type, low_precision, enabled=config.bf16 or config.fp16):
        output = model(**inputs)
    logits = output.logits.float()
    return (smoothed_cross_entropy(logits, batch["labels"], smoothing) if smoothing else output.loss), logits


def smoothed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy against labels of which `smoothing` is spread evenly over all classes.

    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7. In the order of
    operations of transformers' `LabelSmoother`: `torch.nn.functional.cross_entropy(label_smoothing=...)` is the same
    formula, but rounds otherwise.

    Args:
        logits: (batch, classes).
        labels: (batch,).
        smoothing: the share that is spread, between 0 and 1.

    Returns:
        The mean over the batch, a scalar.
    """
    negative_log_probabilities = -torch.nn.functional.log_softmax(logits, dim=-1)
    of_the_label = negative_log_probabilities.gather(dim=-1, index=labels.unsqueeze(-1)).sum() / len(labels)
    of_all = negative_log_probabilities.sum(dim=-1, keepdim=True).sum() / negative_log_probabilities.numel()
    return (1 - smoothing) * of_the_label + smoothing * of_all
