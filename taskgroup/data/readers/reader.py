"""What all readers of files share: finding the folder, four splits, tasks, batches.

A reader names its layout and writes one method, ``read``, that lists what a folder holds; pixels
are decoded when a batch first needs them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationInfo, field_validator

from taskgroup.data.base import SPLITS, Batch, DatasetConfig, Split, VisionDataset, check_tasks
from taskgroup.data.files.download import Download, fetch
from taskgroup.data.files.locate import Layout, data_folder, find_layout
from taskgroup.data.files.pictures import LazyRows, Size
from taskgroup.data.files.splits import SplitPart, cut_splits
from taskgroup.data.label_free import label_free_infos, label_free_targets
from taskgroup.errors import ConfigError, DataError
from taskgroup.paths import is_file
from taskgroup.tasks.base import IGNORE, Target, TaskInfo

MAPS_AT_ONCE = 16
"""Class maps that are counted at once."""
UNLABELLED = -1
"""Class number of an image without a label, inside a reader."""


@dataclass(frozen=True)
class Contents:
    """What a folder holds, before it is split; ``P`` pictures in all.

    Attributes:
        published: Names of the samples of each published split; positions count through them.
        images: Pictures ``(P, C, H, W)`` with one or three channels.
        maps: Class maps ``(P, H, W)`` by task, 255 where invalid.
        vectors: Class numbers ``(P,)`` int64 by task, -1 where unlabelled.
        class_names: Names of the classes by labelled task.
        groups: Group of each sample that must stay in one split, or None.
        numbers: Maps of numbers ``(P, C, H, W)`` float32 by task, NaN where invalid; a label-free
            task that is among them is not computed from the picture.
        files: The files of a picture's target by task, where they may be missing.
        optional: Those tasks of ``files`` of which single files may be missing, but not all.
    """

    published: Mapping[Split, Sequence[str]]
    images: LazyRows[np.uint8]
    maps: Mapping[str, LazyRows[np.uint8]]
    vectors: Mapping[str, NDArray[np.int64]]
    class_names: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, str] | None = None
    numbers: Mapping[str, LazyRows[np.float32]] = field(default_factory=dict)
    files: Mapping[str, Callable[[int], Sequence[Path]]] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()


class ReaderConfig(DatasetConfig):
    """Base of the data sets that are read from files."""

    layout: ClassVar[Layout]
    archive: ClassVar[Download | None] = None
    group: ClassVar[str] = "video sequence"
    """What a split that is missing is never cut across, in words."""

    @field_validator("root")
    @classmethod
    def _make_absolute(cls, root: Path | None) -> Path | None:
        """Workers may run in another folder than the command that read the space."""
        return None if root is None else root.expanduser().absolute()

    @field_validator("download")
    @classmethod
    def _check_download(cls, download: bool, info: ValidationInfo) -> bool:
        if download and cls.archive is None:
            raise ValueError(
                f"download must be left out for {info.data.get('name')}, which has no free source "
                "to fetch from; put its files below dataset.root"
            )
        return download

    def read(self, folder: Path) -> Contents:
        """List what a folder in the data set's layout holds.

        Raises:
            DataError: Files are missing, foreign, or damaged.
        """
        raise NotImplementedError

    def folder(self) -> Path:
        """The folder of the files, fetched first where ``download`` says so.

        Raises:
            DataError: There is none, or it cannot be fetched.
        """
        advice = ", or set download: true" if self.archive is not None else ""
        try:
            return find_layout(self.layout, self.root, advice="" if self.download else advice)
        except DataError:
            if not self.download or self.archive is None:
                raise
        target = self.root or data_folder()
        if target is None:
            raise ConfigError(
                "dataset.download needs a folder to write to, got none; "
                "set dataset.root or TASKGROUP_DATA"
            )
        fetch(self.archive, target)
        return find_layout(self.layout, target)

    @property
    def size(self) -> Size | None:
        """Height and width that samples are brought to, or None."""
        return None if self.image_size is None else (self.image_size, self.image_size)

    def counts(self) -> dict[Split, int | None]:
        """Samples asked for of each split."""
        return {split: getattr(self, split) for split in SPLITS}

    def split_parts(self) -> Mapping[Split, SplitPart]:
        """Which samples make each split, how it came about, and a digest to record."""
        return _opened(self).parts

    def count(self, split: Split) -> int:
        """Number of images of a split."""
        return len(self.split_parts()[split].positions)

    def sample_size(self) -> Size:
        """Height and width of every sample."""
        _, height, width = _opened(self).contents.images.shape
        return height, width

    def class_counts(self, task: str) -> dict[Split, dict[str, int]]:
        """Images of each class by split; empty for a task without one class per image."""
        opened = _opened(self)
        vector = opened.contents.vectors.get(task)
        if vector is None:
            return {split: {} for split in SPLITS}
        names = opened.contents.class_names[task]
        return {
            split: {
                name: int((vector[part.positions] == number).sum())
                for number, name in enumerate(names)
            }
            for split, part in opened.parts.items()
        }

    def tasks(self) -> Mapping[str, TaskInfo]:
        """Every task that this data set has targets for, the label-free ones included.

        Raises:
            DataError: The files are missing or not in the expected layout.
        """
        return _describe_tasks(self, data_folder())

    def open(self, split: Split, tasks: Sequence[str]) -> "PictureDataset":
        """Open one split with targets for ``tasks``.

        Raises:
            ConfigError: A task that the data set lacks.
            DataError: The files are missing, foreign, or damaged.
        """
        check_tasks(self, tasks)
        self.check_split(split, ())
        opened = _opened(self)
        return PictureDataset(opened.contents, opened.parts[split].positions, tuple(tasks))

    def check_split(self, split: Split, tasks: Sequence[str]) -> None:
        """Check that a split has samples, and files for ``tasks``; nothing is decoded.

        Raises:
            DataError: It has none, or files are missing.
        """
        opened = _opened(self)
        positions = opened.parts[split].positions
        if not len(positions):
            raise DataError(
                f"split {split} of data set {self.name!r} must be published or cut from train, but "
                f"every {self.group} of train is in another split too; add files for it"
            )
        for task in tasks:
            _check_files(opened.contents, positions, task=task, split=split)


class PictureDataset(VisionDataset):
    """One split of pictures read from files.

    Args:
        contents: What the folder holds.
        positions: Which of its pictures the split has, ``(N,)``.
        tasks: Tasks that batches have targets for.
    """

    def __init__(
        self, contents: Contents, positions: NDArray[np.int64], tasks: tuple[str, ...]
    ) -> None:
        self._contents = contents
        self._positions = positions
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._positions)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at ``indices``; images are float32, bytes over 255.

        Raises:
            IndexError: An index outside ``[-len, len)``.
            DataError: A file is missing or damaged.
        """
        index = np.arange(len(self))[np.asarray(indices, np.int64)]
        positions = self._positions[index]
        pixels = torch.from_numpy(self._contents.images.rows(positions))
        images = (pixels.float() / 255).expand(-1, 3, -1, -1).contiguous()
        stored = self._contents.numbers
        targets = label_free_targets(images, [task for task in self._tasks if task not in stored])
        labelled = {
            task: self._target(task, positions) for task in self._tasks if task not in targets
        }
        ordered = {task: (targets | labelled)[task] for task in self._tasks}
        return Batch(images, ordered, torch.from_numpy(index))

    def _target(self, task: str, positions: NDArray[np.int64]) -> Target:
        if task in self._contents.maps:
            values = torch.from_numpy(self._contents.maps[task].rows(positions)).long()
            return Target(values, values != IGNORE)
        if task in self._contents.numbers:
            values = torch.from_numpy(self._contents.numbers[task].rows(positions))
            return Target(values.nan_to_num(nan=0.0), ~values.isnan().any(1))
        numbers = torch.from_numpy(self._contents.vectors[task][positions])
        return Target(numbers.where(numbers != UNLABELLED, IGNORE), numbers != UNLABELLED)


@dataclass(frozen=True)
class DecodedContents:
    """The same contents as plain arrays, to be sent to machines that lack the files.

    Attributes:
        contents: All but the pixels.
        images: Every picture, ``(P, C, H, W)`` uint8.
        maps: Every class map, ``(P, H, W)`` uint8, by task.
        numbers: Every map of numbers, ``(P, C, H, W)`` float32, by task.
    """

    contents: Contents
    images: NDArray[np.uint8]
    maps: Mapping[str, NDArray[np.uint8]]
    numbers: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, config: ReaderConfig) -> "DecodedContents":
        """Decode everything that a data set's folder holds.

        Raises:
            DataError: A file is missing or damaged, or there are too many pictures.
        """
        contents = _opened(config).contents
        images = contents.images.all_rows()
        maps = {task: rows.all_rows() for task, rows in contents.maps.items()}
        numbers = {task: rows.all_rows() for task, rows in contents.numbers.items()}
        none = LazyRows.decoded(np.empty((0, 1, 1, 1), np.uint8))
        kept = replace(contents, images=none, maps={}, numbers={}, files={})
        return cls(kept, images, maps, numbers)

    def restored(self) -> Contents:
        """The contents with pixels; the arrays are shared, not copied."""
        maps = {task: LazyRows.decoded(rows) for task, rows in self.maps.items()}
        numbers = {task: LazyRows.decoded(rows) for task, rows in self.numbers.items()}
        images = LazyRows.decoded(self.images)
        return replace(self.contents, images=images, maps=maps, numbers=numbers)


_ADOPTED: dict[ReaderConfig, Contents] = {}


def has_adopted(config: ReaderConfig) -> bool:
    """Whether this process needs no files for a data set."""
    return config in _ADOPTED


def adopt(config: ReaderConfig, decoded: DecodedContents) -> None:
    """Make this process read a data set from decoded contents instead of files."""
    _ADOPTED[config] = decoded.restored()


def _check_files(
    contents: Contents, positions: NDArray[np.int64], *, task: str, split: Split
) -> None:
    """Raise DataError where a split lacks targets of a task that single files hold."""
    if task not in contents.files:
        return
    wanted = [path for position in positions.tolist() for path in contents.files[task](position)]
    missing = [path for path in wanted if not is_file(path)]
    if not missing or (task in contents.optional and len(missing) < len(wanted)):
        return
    how_many = "some" if task in contents.optional else "every"
    raise DataError(
        f"split {split} must have a file of {task} for {how_many} picture, but {missing[0]} is "
        f"missing (and {len(missing) - 1} more); complete the folder or leave the task out"
    )


@dataclass(frozen=True)
class _Opened:
    contents: Contents
    parts: Mapping[Split, SplitPart]


def _opened(config: ReaderConfig) -> _Opened:
    """List and split a folder once per process, so that decoded pictures are shared."""
    return _open_once(config, data_folder())


@lru_cache(maxsize=4)
def _open_once(config: ReaderConfig, data: Path | None) -> _Opened:
    """``data`` is only part of the key: a configuration without a root reads there."""
    contents = _ADOPTED.get(config) or config.read(config.folder())
    parts = cut_splits(
        contents.published, counts=config.counts(), seed=config.seed, groups=contents.groups
    )
    return _Opened(contents, {split: parts[split] for split in SPLITS})


@lru_cache(maxsize=4)
def _describe_tasks(config: ReaderConfig, data: Path | None) -> Mapping[str, TaskInfo]:
    """Describe every task; class shares are counted on the train split."""
    opened = _open_once(config, data)
    positions = opened.parts["train"].positions
    infos = label_free_infos() | {task: TaskInfo(task) for task in opened.contents.numbers}
    for task, names in opened.contents.class_names.items():
        shares = class_shares(_class_numbers(opened.contents, task, positions), len(names))
        infos[task] = TaskInfo(task, len(names), names, shares)
    return infos


def _class_numbers(
    contents: Contents, task: str, positions: NDArray[np.int64]
) -> Iterator[NDArray[np.integer]]:
    """Class numbers of the samples, a few maps at a time: all of a large set fill the memory."""
    if task not in contents.maps:
        yield contents.vectors[task][positions]
        return
    for start in range(0, len(positions), MAPS_AT_ONCE):
        yield contents.maps[task].rows(positions[start : start + MAPS_AT_ONCE])


def class_shares(parts: Iterable[NDArray[np.integer]], num_classes: int) -> tuple[float, ...]:
    """Share of each class among class numbers ``(...,)``; numbers outside the classes are left out.

    Returns:
        One share per class, adding to 1; all zero when nothing is labelled.
    """
    counts = np.zeros(num_classes, np.int64)
    for values in parts:
        known = values[(values >= 0) & (values < num_classes)]
        counts += np.bincount(known, minlength=num_classes)
    return tuple((counts / max(1, counts.sum())).tolist())
