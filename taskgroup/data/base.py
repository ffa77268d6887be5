"""What a data set is: a configuration that knows its tasks and opens its splits.

Batches, not samples, are the unit: the data sets that fit in memory slice arrays once per batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError
from torch import Tensor

from taskgroup.config import Config, describe
from taskgroup.errors import ConfigError
from taskgroup.registry import Registry
from taskgroup.tasks.base import Target, TaskInfo

Split = Literal["train", "validation", "confirm", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "confirm", "test")
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Batch:
    """Some samples of a data set.

    Attributes:
        images: ``(N, 3, H, W)`` float32 in [0, 1].
        targets: One target per task asked for.
        index: Position of each sample in its split, ``(N,)`` int64.
    """

    images: Tensor
    targets: Mapping[str, Target]
    index: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return self._map(lambda tensor: tensor.to(device))

    def select(self, index: Tensor) -> "Batch":
        """Some of the samples; ``index`` is ``(M,)`` int64 or ``(N,)`` bool."""
        return self._map(lambda tensor: tensor[index])

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        targets = {name: target.map(function) for name, target in self.targets.items()}
        return Batch(function(self.images), targets, function(self.index))


class VisionDataset(ABC):
    """One split of a data set, with targets for the tasks asked for."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at ``indices``; the same index gives the same sample at any time."""

    def __getitem__(self, index: int) -> Batch:
        return self.batch([index])


class DatasetConfig(Config):
    """Base of every data set's ``dataset:`` section; subclasses are what DATASETS registers."""

    name: str
    """Registry name of the data set."""
    root: Path | None = None
    """Folder of the files; by default searched for below TASKGROUP_DATA."""
    image_size: Annotated[int, Field(ge=16, le=2048)] | None = None
    """Height and width in pixels that samples are brought to; None keeps the data set's own."""
    train: Count | None = None
    """Number of training samples; None means all."""
    validation: Count | None = None
    """Samples of the split that the search objective is measured on."""
    confirm: Count | None = None
    """Samples of the split that only the confirm stage sees."""
    test: Count | None = None
    """Samples of the split that only ``evaluate`` sees."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of generated samples and of splits that have to be cut."""
    download: bool = False
    """Fetch the files into ``root`` where the data set allows it."""

    def tasks(self) -> Mapping[str, TaskInfo]:
        """Every task that this data set has targets for, the label-free ones included.

        Raises:
            DataError: The files are missing or not in the expected layout.
        """
        raise NotImplementedError

    def sample_size(self) -> tuple[int, int] | None:
        """Height and width of every sample; None where only an opened split tells."""
        return None if self.image_size is None else (self.image_size, self.image_size)

    def count(self, split: Split) -> int | None:
        """Number of samples of a split; None where only an opened one tells.

        Raises:
            DataError: The files are missing, foreign, or damaged.
        """
        found: int | None = getattr(self, split)
        return found

    def check_split(self, split: Split, tasks: Sequence[str]) -> None:
        """Check that a split has samples, and files for ``tasks``; nothing is decoded.

        Raises:
            DataError: It has none, or files are missing.
        """

    def open(self, split: Split, tasks: Sequence[str]) -> VisionDataset:
        """Open one split with targets for ``tasks``.

        Raises:
            ConfigError: A task that the data set lacks.
            DataError: The files are missing, foreign, or damaged.
        """
        raise NotImplementedError


DATASETS = Registry[type[DatasetConfig]]("dataset")


def parse_dataset(value: object) -> DatasetConfig:
    """Read a ``dataset:`` section with the model registered under its name.

    Raises:
        ValueError: One line naming the key (pydantic turns it into the space's error).
    """
    if isinstance(value, DatasetConfig):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError("dataset must be a mapping with a name, such as {name: scenes}")
    try:
        model = DATASETS[value["name"]]
        return model.model_validate(value)
    except ConfigError as error:
        raise ValueError(f"dataset.name: {error}") from None
    except ValidationError as error:
        raise ValueError(describe(error, model, within="dataset")) from None


AnyDataset = Annotated[SerializeAsAny[DatasetConfig], BeforeValidator(parse_dataset)]


def check_tasks(config: DatasetConfig, tasks: Sequence[str], *, named_in: str = "") -> None:
    """Raise ConfigError unless the data set has a target for each of ``tasks``.

    Args:
        config: The data set.
        tasks: Names of tasks.
        named_in: The key that names them, where the message cannot do without it.
    """
    known = config.tasks()
    for task in tasks:
        if task not in known:
            near = get_close_matches(task, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"{named_in and f'{named_in}: '}data set {config.name!r} has no task {task!r}; "
                f"{hint}it has: {', '.join(sorted(known))}"
            )
