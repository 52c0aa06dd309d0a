"""The forward pass: the model's own loss, or a smoothed one, in 16 bits if the settings say so."""

import torch

from shared.config import RunConfig


def forward(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], device: torch.device, config: RunConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the model on one batch; without special settings this is `model(**batch)` and nothing else.

    Args:
        batch: `input_ids` and `attention_mask`, both (batch, tokens), and `labels` (batch,).
        device: where model and batch are.

    Returns:
        The mean loss over the batch, a scalar, and the logits (batch, classes).
    """
    if config.label_smoothing_factor > 0:
        return smoothed_loss(model, batch, device, config)
    if config.bf16 or config.fp16:
        # 16 bits for matrix products, not for sensitive operations such as the loss.
        with torch.autocast(device.type, torch.bfloat16 if config.bf16 else torch.float16):
            output = model(**batch)
    else:
        output = model(**batch)
    return output.loss, output.logits


def training_loss(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], device: torch.device, config: RunConfig
) -> torch.Tensor:
    """The loss of `forward` alone: unused logits would stay in memory until the next batch."""
    loss, _ = forward(model, batch, device, config)
    return loss


def smoothed_loss(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], device: torch.device, config: RunConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `forward`, with a share of each label spread evenly over all classes.

    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7. In the order of
    operations of transformers' `LabelSmoother`: `torch.nn.functional.cross_entropy(label_smoothing=...)` is the same
    formula, but rounds otherwise.
    """
    labels = batch["labels"]
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    if config.bf16 or config.fp16:
        with torch.autocast(device.type, torch.bfloat16 if config.bf16 else torch.float16):
            logits = model(**inputs).logits.float()
    else:
        logits = model(**inputs).logits
    surprise = -torch.nn.functional.log_softmax(logits, dim=-1)
    of_the_label = surprise.gather(dim=-1, index=labels.unsqueeze(-1)).sum() / len(labels)
    of_all = surprise.sum(dim=-1, keepdim=True).sum() / surprise.numel()
    share = config.label_smoothing_factor
    return (1 - share) * of_the_label + share * of_all, logits
