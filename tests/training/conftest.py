"""A miniature data set and trials on it: bright discs on a dark ground, 16 pixels."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import ray.cloudpickle
import torch

from taskgroup.data import base as data
from taskgroup.data.base import SPLITS, Batch, DatasetConfig, Split, VisionDataset
from taskgroup.results.records import EpochRow
from taskgroup.tasks.base import Target, TaskInfo
from taskgroup.training.config import TrialConfig

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # for the workers below
SIZE = 16
KINDS = 3
OPENED: list[str] = []


class Discs(DatasetConfig):
    """Discs whose class is their colour channel and whose depth is their brightness."""

    name: str = "discs"
    image_size: int = SIZE
    train: int = 24
    validation: int = 10
    unlabelled: bool = False
    poisoned: bool = False

    def tasks(self) -> Mapping[str, TaskInfo]:
        classes = {"num_classes": KINDS + 1, "class_shares": (0.7, 0.1, 0.1, 0.1)}
        return {
            "segmentation": TaskInfo("segmentation", **classes),
            "classification": TaskInfo("classification", num_classes=KINDS),
            "depth": TaskInfo("depth"),
            "normals": TaskInfo("normals"),
        }

    def open(self, split: Split, tasks: Sequence[str]) -> VisionDataset:
        OPENED.append(split)
        return DiscsSplit(self, split, tuple(tasks))


class DiscsSplit(VisionDataset):
    def __init__(self, config: Discs, split: Split, tasks: tuple[str, ...]) -> None:
        self.config, self.tasks = config, tasks
        count = getattr(config, split) or 4
        generator = torch.Generator().manual_seed(SPLITS.index(split))
        kind = torch.randint(KINDS, (count,), generator=generator)
        centre = torch.randint(4, SIZE - 4, (count, 2, 1, 1), generator=generator)
        rows = torch.arange(SIZE).view(1, SIZE, 1)
        columns = torch.arange(SIZE).view(1, 1, SIZE)
        disc = (rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2 < 16
        self.images = 0.2 * torch.rand(count, 3, SIZE, SIZE, generator=generator)
        self.images[torch.arange(count), kind] += 0.6 * disc
        valid = torch.ones(count, SIZE, SIZE, dtype=torch.bool)
        valid[:, 0] = False
        if config.unlabelled:
            valid[::2] = False
        depth = 1.0 + disc[:, None].float()
        if config.poisoned:
            depth[3] = float("inf")
        classes = (disc * (kind.view(-1, 1, 1) + 1)).where(valid, 255)
        up = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(count, 3, SIZE, SIZE)
        self.targets = {
            "segmentation": Target(classes, valid),
            "classification": Target(kind, valid.flatten(1).any(1)),
            "depth": Target(depth, valid),
            "normals": Target(up, valid),
        }

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(list(indices))
        targets = {
            name: self.targets[name].map(lambda tensor: tensor[index]) for name in self.tasks
        }
        return Batch(self.images[index], targets, index)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The discs under their name while a test runs: a checkpoint's configuration is parsed."""
    with data.DATASETS.scratch():
        data.DATASETS.register("discs")(Discs)
        yield


def make_trial(**changes: Any) -> TrialConfig:
    """A trial of two epochs on the discs; sections given as mappings are merged in."""
    values: dict[str, Any] = {
        "dataset": Discs(),
        "model": {"backbone": "resnet_small", "width": 8, "decoder_width": 8},
        "main_task": "segmentation",
        "training": {"epochs": 2, "batch_size": 8, "precision": "float32"},
        "validation": {"steps": 2, "epsilon": 8 / 255},
    }
    for key, value in changes.items():
        merge = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = {**values[key], **value} if merge else value
    if "auxiliary_tasks" in values and "loss_weights" not in values:
        values["loss_weights"] = dict.fromkeys(values["auxiliary_tasks"], 0.5)
    return TrialConfig.model_validate(values)


@dataclass
class Recorder:
    """A reporter that remembers; it raises after ``stop_after`` epochs."""

    stop_after: int | None = None
    dimension: int | None = None
    rows: list[EpochRow] = field(default_factory=list)

    def started(self, output_dimension: int) -> None:
        self.dimension = output_dimension

    def epoch(self, row: EpochRow) -> None:
        self.rows.append(row)
        if row.epoch == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def make():
    """The function behind ``trial``, for fixtures of wider scope."""
    return make_trial


@pytest.fixture(scope="session")
def recorder_class():
    """The class behind ``recorder``."""
    return Recorder


@pytest.fixture
def trial():
    """``trial(**changes)`` makes a trial configuration."""
    return make_trial


@pytest.fixture
def recorder():
    """The reporter class."""
    return Recorder


@pytest.fixture
def opened():
    """The splits that were opened since the test began."""
    OPENED.clear()
    return OPENED


@pytest.fixture(scope="session")
def workers(workers: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """``workers(size, function)`` of all tests, in processes that know the discs."""

    def call(size: int, function: Callable[[], Any]) -> list[Any]:
        return workers(size, partial(_with_discs, function))

    return call


def _with_discs(function: Callable[[], Any]) -> Any:
    with data.DATASETS.scratch():  # through the module: pickle would copy the registry
        data.DATASETS.register("discs")(Discs)
        return function()
