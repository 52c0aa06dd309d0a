"""The machine's memory: whether a training can fit into it, checked before it starts, and reuse between steps."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from shared.config import RunConfig
from shared.errors import SameLoopError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Numbers of four bytes that each optimizer keeps per weight.
OPTIMIZER_STATE = {"adamw_torch": 2, "adamw_torch_fused": 2, "sgd": 0, "adafactor": 0}
CGROUP = Path("/sys/fs/cgroup")
# From glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def available_memory() -> int:
    """Bytes that this process can still have: the machine's free memory, or a container's, if that is less."""
    import psutil

    available = psutil.virtual_memory().available
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit.isdecimal():
            available = min(available, int(limit) - int((CGROUP / "memory.current").read_text()))
    except OSError:
        pass  # no container, or one that sets no limit
    return available


def least_memory(model: PreTrainedModel, config: RunConfig) -> int:
    """Bytes that training takes at the very least, on top of the weights.

    Gradients and the optimizer's averages, four bytes each per trained weight, and what the layers keep for the
    backward pass (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", equation
    1): s b h (34 + 5 a s / h) bytes per layer in 16 bits, 2 s b h with gradient checkpointing; twice that in 32 bits.
    The real need is above it (measured 1.5 times on the quick preset), so nothing is refused that fits.
    """
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    shape = model.config
    tokens = config.per_device_train_batch_size * config.max_length
    hidden, heads = shape.hidden_size, shape.num_attention_heads
    per_token = 2 * hidden if config.gradient_checkpointing else 34 * hidden + 5 * heads * config.max_length
    layers = 1 if config.freeze_body else shape.num_hidden_layers
    activations = layers * tokens * per_token * (1 if config.bf16 or config.fp16 else 2)
    return 4 * trained * (1 + OPTIMIZER_STATE[config.optim]) + activations


def check_memory(model: PreTrainedModel, config: RunConfig) -> None:
    """Refuse a training that cannot fit, on the CPU; on a GPU torch itself raises an error at once."""
    import torch

    if torch.accelerator.is_available() and not config.use_cpu:
        return
    needed, available = least_memory(model, config), available_memory()
    if needed > available:
        raise SameLoopError(
            f"too little memory: {needed / 1e9:.1f} GB more are needed at least, {available / 1e9:.1f} GB are free; "
            "close other programs, lower --per-device-train-batch-size or --max-length, or use --preset quick"
        )


def keep_freed_memory() -> None:
    """Let the next step have the memory that a step has freed.

    glibc gives large blocks back to the system and fetches them again, a page at a time, each filled with zeros first:
    some 10,000 to 40,000 page faults a step of `quick`, 730,000 at 512 tokens. How many depends on what happens to lie
    at the heap's end, so the same loop, or the other one, is some percent faster or slower by chance. The price is
    memory where batches differ in length, as blocks of many sizes leave gaps between them: none at 128 tokens, a
    quarter at 512 (4.75 GB at most, 3.84 without, for 18 % less time; 20 steps of 8 reviews in the manual loop, both
    at once, one thread each). For other C libraries nothing is done.

    Source: `man 3 mallopt`.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)  # large blocks from the heap, as all others
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # and the heap's end is never given back
