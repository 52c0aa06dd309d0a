"""Letting the processes of one run meet, before anything is read or written."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from shared.config import RunConfig


def launched_world_size() -> int:
    """How many processes a launcher such as `torchrun` started for this run; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", 1))


def launched_rank() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", 0))


def share_the_cores() -> None:
    """Give every process of this machine an equal share of the cores; call it before torch is imported.

    Launchers differ here, and so would sums: how a sum is split over threads decides how it is rounded.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if local > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // local)))


@contextmanager
def meeting(config: RunConfig) -> Iterator[None]:
    """Join the other processes, if there are any, for what happens inside; nccl on GPUs, gloo on the CPU.

    Processes that have met already stay together afterwards.
    """
    import torch

    if launched_world_size() == 1:
        yield
        return
    started_here = not torch.distributed.is_initialized()
    if started_here:
        on_gpu = torch.cuda.is_available() and not config.use_cpu
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        # The first process has prepared the output folder before it comes here.
        torch.distributed.barrier()
        yield
    finally:
        if started_here:
            # The wrapped model holds the group, and lies in reference cycles. Were it still there when the interpreter
            # exits, the group's threads might be too, and abort the process.
            gc.collect()
            torch.distributed.destroy_process_group()
