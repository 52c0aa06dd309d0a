"""What several processes need beyond the loop: each its share of the batches, and one result from all.

`torchrun` starts the same program once per GPU; `shared/processes.py` has let them meet before `train` begins. Every
process holds a copy of the model. In one process alone, everything here gives back what it is given.
"""

from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np
import torch
from torch import distributed
from torch.utils.data import BatchSampler, DataLoader, Sampler


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first_process() -> bool:
    """Whether this is the process that prints and saves."""
    return rank() == 0


def my_share(loader: DataLoader) -> DataLoader:
    """A loader of the batches that this process takes: every `world_size`-th, starting with its own number."""
    if world_size() == 1:
        return loader
    batches = EveryNthBatch(loader.batch_sampler, rank(), world_size())
    return DataLoader(
        loader.dataset, batch_sampler=batches, num_workers=loader.num_workers, collate_fn=loader.collate_fn
    )


class EveryNthBatch(Sampler[list[int]]):
    """Batch 0 goes to process 0, batch 1 to process 1, and so on round after round.

    All processes must take equally many steps with equally large batches, so the last round is filled up with reviews
    from the start of the epoch, or left out where the sampler drops a last batch that is not full.
    """

    def __init__(self, batches: BatchSampler, rank: int, world_size: int) -> None:
        self.batches, self.rank, self.world_size = batches, rank, world_size

    def __len__(self) -> int:
        rounds, rest = divmod(len(self.batches), self.world_size)
        return rounds if self.batches.drop_last or not rest else rounds + 1

    def __iter__(self) -> Iterator[list[int]]:
        indices = [index for batch in self.batches for index in batch]
        size = self.batches.batch_size
        for number in range(len(self)):
            first = (number * self.world_size + self.rank) * size
            missing = max(0, first + size - len(indices))
            # Where in the filling this process's part begins: earlier processes have taken theirs.
            skipped = max(0, first - len(indices))
            yield indices[first : first + size] + list(islice(cycle(indices), skipped, skipped + min(missing, size)))


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """All processes' tensors of this shape, joined along the first dimension in the order of the processes."""
    if world_size() == 1:
        return tensor
    gathered = [torch.empty_like(tensor) for _ in range(world_size())]
    distributed.all_gather(gathered, tensor.contiguous())
    return torch.cat(gathered)


def average(tensor: torch.Tensor) -> torch.Tensor:
    """The mean of all processes' scalars."""
    if world_size() == 1:
        return tensor
    return gather(tensor.unsqueeze(0)).mean()


def join(parts: list[torch.Tensor], loader: DataLoader) -> np.ndarray:
    """One array of what `gather` gave for every batch, without the reviews that fill up the last round."""
    if world_size() == 1:
        return torch.cat(parts).cpu().numpy()
    return torch.cat(parts).cpu().numpy()[: len(loader.dataset)]
