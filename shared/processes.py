"""How the processes of one run connect, before anything is read or written."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.config import RunConfig
from shared.determinism import random_states, restore_random_states
from shared.errors import SameLoopError, shown

if TYPE_CHECKING:
    import torch


def launched_world_size() -> int:
    """How many processes a launcher such as `torchrun` started for this run; 1 without one.

    Raises:
        SameLoopError: the variables it sets are not all there, or make no sense.
    """
    world_size = _variable("WORLD_SIZE", least=1)
    rank = _variable("RANK", least=0)
    if rank >= world_size:
        raise SameLoopError(
            f"the environment sets RANK={rank} and WORLD_SIZE={os.environ.get('WORLD_SIZE', 'nothing')}: no launcher "
            "does; `unset RANK WORLD_SIZE`, or start with torchrun"
        )
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if world_size > 1 and missing:
        raise SameLoopError(
            f"the environment sets WORLD_SIZE={world_size} without {', '.join(missing)}, so that this process would "
            "wait for others in vain; `unset WORLD_SIZE`, or start with torchrun"
        )
    return world_size


def launched_rank() -> int:
    """This process's number among them, from 0.

    Raises:
        SameLoopError: the variable that holds it is not a number.
    """
    return _variable("RANK", least=0)


def _variable(name: str, least: int) -> int:
    """A whole number that a launcher sets; the least where it sets none, or sets it to nothing."""
    text = os.environ.get(name, "").strip()
    if not text:
        return least
    if not text.isdecimal() or int(text) < least:
        raise SameLoopError(f"the environment sets {name}={shown(text)}, not a number from {least} on; `unset {name}`")
    return int(text)


def share_the_cores() -> None:
    """Give every process of this machine an equal share of the cores; call it before torch is imported.

    Launchers differ here, and so would sums: how a sum is split over threads decides how it is rounded.
    """
    local = _variable("LOCAL_WORLD_SIZE", least=1)
    if local > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // local)))


@contextmanager
def meeting(config: RunConfig) -> Iterator[None]:
    """Join the other processes, if there are any, for what happens inside; nccl on GPUs, gloo on the CPU.

    Processes that have met already stay together afterwards.

    Raises:
        SameLoopError: they cannot meet.
    """
    if launched_world_size() == 1:
        yield
        return
    import torch

    started_here = not torch.distributed.is_initialized()
    if started_here:
        on_gpu = torch.cuda.is_available() and not config.use_cpu
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        try:
            # After `torchrun --max-restarts` the store still holds the addresses of those that are gone.
            store, rank, world_size = next(torch.distributed.rendezvous("env://"))
            attempt = torch.distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            backend = "nccl" if on_gpu else "gloo"
            torch.distributed.init_process_group(backend, store=attempt, rank=rank, world_size=world_size)
        except (RuntimeError, ValueError) as error:
            meeting_point = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise SameLoopError(
                f"the {launched_world_size()} processes of this run cannot meet at {shown(meeting_point)} "
                f"({shown(error, 120)}); start them all again, with torchrun for example"
            ) from None
    try:
        yield
    finally:
        if started_here:
            # The wrapped model holds the group, and lies in reference cycles. Were it still there when the interpreter
            # exits, the group's threads might be too, and abort the process.
            gc.collect()
            torch.distributed.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process of the run has come here."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


_made_up = False


def pass_is_made_up() -> bool:
    """Whether SameLoop itself is calling the model, to check or prepare something; that is no part of the training."""
    return _made_up


@contextmanager
def made_up_pass() -> Iterator[None]:
    """Inside, a call of the model is no part of the training: a recorder ignores it."""
    global _made_up
    _made_up = True
    try:
        yield
    finally:
        _made_up = False


def settle_buckets(training_model: torch.nn.Module) -> None:
    """Have `DistributedDataParallel` sort the gradients as it does after its first backward pass; no number changes.

    It adds up the processes' gradients in buckets, and sorts these again once it knows in which order the gradients
    arrive (torch's `reducer.cpp`, `rebuild_buckets`). Where a gradient lies in its bucket decides in which order three
    processes or more are added up. A resumed run must therefore begin with the order it had: a pass over two
    made-up tokens establishes it.
    """
    import torch

    model = getattr(training_model, "_orig_mod", training_model)
    if not isinstance(model, torch.nn.parallel.DistributedDataParallel):
        return
    states = random_states()
    tokens = torch.ones((1, 2), dtype=torch.long, device=next(model.parameters()).device)
    with made_up_pass():
        model(input_ids=tokens, attention_mask=tokens, labels=torch.zeros_like(tokens[:, 0])).loss.backward()
    model.zero_grad()
    restore_random_states(states)
