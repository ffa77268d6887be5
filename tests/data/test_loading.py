from collections.abc import Mapping, Sequence

import pytest
import torch

from taskgroup.data.base import Batch, DatasetConfig, Split, VisionDataset
from taskgroup.data.loading import open_dataset
from taskgroup.tasks.base import TaskInfo


class Numbers(VisionDataset):
    """Ten samples whose picture holds their position."""

    def __len__(self) -> int:
        return 10

    def batch(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        return Batch(index.float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2), {}, index)


class NumbersConfig(DatasetConfig):
    name: str = "numbers"

    def tasks(self) -> Mapping[str, TaskInfo]:
        return {}

    def open(self, split: Split, tasks: Sequence[str]) -> VisionDataset:
        return Numbers()


@pytest.mark.parametrize("other", [{"seed": 1}, {"train": 5}, {"image_size": 32}])
def test_a_split_is_opened_once_per_configuration(other: dict[str, int]) -> None:
    first = open_dataset(NumbersConfig(), "train", ["edges"])
    assert open_dataset(NumbersConfig(), "train", ("edges",)) is first
    assert open_dataset(NumbersConfig(), "test", ["edges"]) is not first
    assert open_dataset(NumbersConfig(), "train", []) is not first
    assert open_dataset(NumbersConfig(**other), "train", ["edges"]) is not first
