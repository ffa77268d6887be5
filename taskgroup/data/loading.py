"""From a data set to batches, in this process: order, subsets, and a cache of opened splits."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch

from taskgroup.data.base import Batch, DatasetConfig, Split, VisionDataset

OPEN_DATASETS = 16
"""Opened splits that a process keeps; trials of one study use two per task set."""


def batches(
    dataset: VisionDataset,
    *,
    batch_size: int,
    indices: Sequence[int] | None = None,
    count: int | None = None,
    shuffle: torch.Generator | None = None,
) -> Iterator[Batch]:
    """Go once over a data set, or over some of it.

    Args:
        dataset: An opened split.
        batch_size: Samples per batch; the last batch holds what is left and is never dropped.
        indices: Positions to visit, in this order; by default all.
        count: Visit only the first ``count`` of them; more than there are means all.
        shuffle: Draws the order of what is visited; None keeps it.

    Yields:
        Batches whose sizes add up to the number of samples visited.
    """
    visited = torch.as_tensor(range(len(dataset)) if indices is None else list(indices))[:count]
    if shuffle is not None:
        visited = visited[torch.randperm(len(visited), generator=shuffle)]
    for start in range(0, len(visited), batch_size):
        yield dataset.batch(visited[start : start + batch_size].tolist())


def open_dataset(config: DatasetConfig, split: Split, tasks: Sequence[str]) -> VisionDataset:
    """Open a split once per process: warm workers keep what they have decoded between trials.

    Raises:
        ConfigError: A task that the data set lacks.
        DataError: The files are missing, foreign, or damaged.
    """
    return _open_once(config, split, tuple(tasks))


@lru_cache(maxsize=OPEN_DATASETS)
def _open_once(config: DatasetConfig, split: Split, tasks: tuple[str, ...]) -> VisionDataset:
    return config.open(split, tasks)
