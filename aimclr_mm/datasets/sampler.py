"""The order of training samples on several ranks."""

from __future__ import annotations

from collections.abc import Sized

from mmaction.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler


@DATA_SAMPLERS.register_module()
class EvenSampler(DefaultSampler):
    """mmengine's sampler without repeated sequences.

    W ranks with batches of B see the same batches as one rank with batches of W * B: the i-th
    batches of all ranks together are the i-th batch of one rank with the same seed. Where the
    number of sequences is not a multiple of W, the last ones of the epoch's order are left out;
    mmengine's sampler repeats the first ones, which may add a batch.

    Args:
        dataset: the dataset to sample from.
        shuffle: whether each epoch has another order.
        seed: seed of the orders, the same on all ranks.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed, round_up=False)
        self.num_samples = len(dataset) // self.world_size
        self.total_size = self.num_samples * self.world_size
