from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from taskgroup.data.base import Batch, DatasetConfig, Split, VisionDataset
from taskgroup.data.loading import open_dataset
from taskgroup.data.readers.image_folder import ImageFolderConfig
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


def test_a_data_set_without_a_root_follows_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (20, 40):
        pictures = tmp_path / str(count) / "image_folder"
        pictures.mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(pictures / f"{number}.png")
    found = []
    for count in (20, 40):
        monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path / str(count)))
        config = ImageFolderConfig()
        found.append((len(open_dataset(config, "train", ["edges"])), config.split_parts()))
    (small, its_parts), (large, other_parts) = found
    assert 2 * small == large
    assert its_parts["train"].digest != other_parts["train"].digest
