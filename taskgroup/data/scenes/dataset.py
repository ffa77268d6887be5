"""Rendered scenes as a data set: rows of memory-mapped arrays, brought to float on the way out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taskgroup.data.base import Batch, VisionDataset
from taskgroup.data.scenes.labels import Format
from taskgroup.data.scenes.render import IMAGE, STORED
from taskgroup.tasks.base import IGNORE, Target


class SceneDataset(VisionDataset):
    """One split of the scenes, read from a cache folder.

    Pickles as the folder's path, so that loader processes map the same files.

    Args:
        folder: A complete cache folder.
        count: Number of samples; the folder may hold more.
        tasks: Tasks to deliver targets for.
    """

    def __init__(self, folder: Path, count: int, tasks: tuple[str, ...]) -> None:
        self._arguments = (folder, count, tasks)
        self._count = count
        self._tasks = tasks
        names = [IMAGE, *(task for task in tasks if task in STORED)]
        self._arrays = {
            name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in names
        }

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> tuple[type["SceneDataset"], tuple[Path, int, tuple[str, ...]]]:
        return SceneDataset, self._arguments

    def stored(self, indices: Sequence[int]) -> dict[str, NDArray[np.generic]]:
        """The rows at ``indices`` in their stored types, ``image`` first; see ``STORED``.

        Raises:
            IndexError: An index outside ``[-len, len)``.
        """
        rows = self._rows(indices)
        return {name: array.take(rows, axis=0) for name, array in self._arrays.items()}

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at ``indices``, float32; the same index gives the same sample at any time."""
        arrays = self.stored(indices)
        images = _deliver(arrays[IMAGE], STORED[IMAGE])
        targets = {}
        for task in self._tasks:
            values = _deliver(arrays[task], STORED[task]) if task in arrays else images
            targets[task] = Target(values, _valid(values))
        return Batch(images, targets, torch.from_numpy(self._rows(indices)))

    def _rows(self, indices: Sequence[int]) -> NDArray[np.int64]:
        rows = np.asarray(indices, dtype=np.int64)
        rows = np.where(rows < 0, rows + self._count, rows)
        if len(rows) and (rows.min() < 0 or rows.max() >= self._count):
            raise IndexError(f"indices must lie in [0, {self._count}), got {list(indices)}")
        return rows


def _deliver(stored: NDArray[np.generic], form: Format) -> Tensor:
    """Stored rows as class numbers (int64) or measures (float32)."""
    if form.is_class:
        return torch.from_numpy(stored.astype(np.int64))
    values = torch.from_numpy(stored.astype(np.float32))
    return values if form.scale == 1 else values.mul_(form.scale)


def _valid(values: Tensor) -> Tensor:
    """All of a measure is valid; of classes, what is not 255."""
    if values.dtype == torch.int64:
        return values != IGNORE
    return torch.ones(len(values), *values.shape[2:], dtype=torch.bool)
