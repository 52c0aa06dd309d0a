"""The other orders of the reviews: the dataset's, and grouped by length."""

from collections.abc import Iterator

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from shared.config import RunConfig
from shared.releases import SEEDS_EVALUATION_ORDER


def make_samplers(
    train_dataset: Dataset, eval_dataset: Dataset, config: RunConfig
) -> tuple[Sampler[int] | None, Sampler[int] | None]:
    """The samplers for training and for the evaluation; None: in the dataset's order."""
    if config.train_sampling_strategy == "sequential":
        return None, None
    # Shuffle: reviews of similar length are grouped, so that little is padded.
    group_size = config.per_device_train_batch_size * config.gradient_accumulation_steps
    train_sampler = LengthGroupedSampler(train_dataset, group_size)
    seed = None
    if SEEDS_EVALUATION_ORDER:
        seed = config.seed if config.data_seed is None else config.data_seed
    return train_sampler, LengthGroupedSampler(eval_dataset, config.per_device_eval_batch_size, seed)


class LengthGroupedSampler(Sampler[int]):
    """Random order, but sorted by length within groups of some 50 batches, so that a batch needs little padding.

    The order of transformers' sampler of the same name: as random as it can be between the stretches, the longest
    review first of all, so that a memory that is too small is noticed at once.

    Args:
        dataset: with a column `input_ids`.
        group_size: how many reviews make up a step.
        seed: of the order, the same one every time; None: drawn from torch's global random state, another every time.
    """

    def __init__(self, dataset: Dataset, group_size: int, seed: int | None = None) -> None:
        self.lengths = [len(ids) for ids in dataset["input_ids"]]
        self.group_size, self.seed = group_size, seed

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        shuffled = torch.randperm(len(self.lengths), generator=generator).tolist()
        # At least four groups, if there are enough reviews.
        size = self.group_size * max(1, min(50, len(self.lengths) // (4 * self.group_size)))
        stretches = [
            sorted(shuffled[start : start + size], key=lambda review: self.lengths[review], reverse=True)
            for start in range(0, len(shuffled), size)
        ]
        # The longest review of all is swapped with the first.
        first = stretches[0]
        longest = max(stretches, key=lambda stretch: self.lengths[stretch[0]])
        first[0], longest[0] = longest[0], first[0]
        return iter([review for stretch in stretches for review in stretch])
