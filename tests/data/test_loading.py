from collections.abc import Mapping, Sequence

import pytest
import torch

from taskgroup.data.base import Batch, DatasetConfig, Split, VisionDataset
from taskgroup.data.loading import batches, open_dataset
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


def visited(**options: object) -> list[list[int]]:
    return [batch.index.tolist() for batch in batches(Numbers(), **options)]


def test_the_last_partial_batch_counts() -> None:
    assert visited(batch_size=4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_samples_and_order_can_be_chosen() -> None:
    assert visited(batch_size=2, indices=[7, 1, 1]) == [[7, 1], [1]]
    assert visited(batch_size=2, indices=range(3)) == [[0, 1], [2]]
    assert visited(batch_size=8, count=3) == [[0, 1, 2]]
    assert visited(batch_size=16, count=99) == [list(range(10))]
    assert visited(batch_size=4, indices=[]) == []


def test_a_seed_fixes_the_order_and_every_sample_comes_once() -> None:
    def order(seed: int) -> list[int]:
        drawn = visited(batch_size=3, shuffle=torch.Generator().manual_seed(seed))
        return [index for batch in drawn for index in batch]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(10)) != order(1)


def test_shuffling_a_subset_stays_inside_it(generator: torch.Generator) -> None:
    drawn = visited(batch_size=9, indices=[3, 5, 8], shuffle=generator)
    assert sorted(drawn[0]) == [3, 5, 8]


def test_the_global_random_state_is_left_alone(generator: torch.Generator) -> None:
    before = torch.get_rng_state()
    visited(batch_size=3, shuffle=generator)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("other", [{"seed": 1}, {"train": 5}, {"image_size": 32}])
def test_a_split_is_opened_once_per_configuration(other: dict[str, int]) -> None:
    first = open_dataset(NumbersConfig(), "train", ["edges"])
    assert open_dataset(NumbersConfig(), "train", ("edges",)) is first
    assert open_dataset(NumbersConfig(), "test", ["edges"]) is not first
    assert open_dataset(NumbersConfig(), "train", []) is not first
    assert open_dataset(NumbersConfig(**other), "train", ["edges"]) is not first
