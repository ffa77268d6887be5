"""A cache of opened splits."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from taskgroup.data.base import DatasetConfig, Split, VisionDataset
from taskgroup.data.files.locate import data_folder

OPEN_DATASETS = 16
"""Opened splits that a process keeps; trials of one study use two per task set."""


def open_dataset(config: DatasetConfig, split: Split, tasks: Sequence[str]) -> VisionDataset:
    """Open a split once per process: warm workers keep what they have decoded between trials.

    Raises:
        ConfigError: A task that the data set lacks.
        DataError: The files are missing, foreign, or damaged.
    """
    return _open_once(config, split, tuple(tasks), data_folder())


@lru_cache(maxsize=OPEN_DATASETS)
def _open_once(
    config: DatasetConfig, split: Split, tasks: tuple[str, ...], data: Path | None
) -> VisionDataset:
    """One split; ``data`` is only part of the key: a configuration without a root reads there."""
    return config.open(split, tasks)
