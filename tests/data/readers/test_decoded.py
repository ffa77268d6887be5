"""Data sets that reach a machine without their files, as decoded arrays."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import taskgroup.data  # noqa: F401  registers the data sets
from taskgroup.data.base import DATASETS
from taskgroup.data.files.pictures import LazyRows
from taskgroup.data.readers.reader import DecodedContents, ReaderConfig, adopt, has_adopted
from taskgroup.errors import DataError

READERS = (
    "camvid",
    "cifar10",
    "cifar100",
    "cityscapes",
    "fashion_mnist",
    "image_folder",
    "taskonomy",
)


@pytest.mark.parametrize("name", READERS)
def test_decoded_data_set_is_the_same_elsewhere(
    name: str, miniature: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    here = DATASETS[name].model_validate(miniature(name))
    assert isinstance(here, ReaderConfig)
    sent = pickle.dumps(DecodedContents.of(here))
    there = here.model_copy(update={"root": tmp_path / "nowhere"})
    with pytest.raises(DataError):
        there.folder()
    assert not has_adopted(there)
    adopt(there, pickle.loads(sent))
    assert has_adopted(there)
    tasks = sorted(here.tasks())
    assert there.tasks() == here.tasks()
    for split in ("train", "validation"):
        ours, theirs = here.open(split, tasks), there.open(split, tasks)
        assert len(ours) == len(theirs)
        for index in range(len(ours)):
            a, b = ours.batch([index]), theirs.batch([index])
            assert torch.equal(a.images, b.images)
            for task in tasks:
                assert torch.equal(a.targets[task].values, b.targets[task].values)
                assert torch.equal(a.targets[task].valid, b.targets[task].valid)


def test_shared_rows_are_never_written_to() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    array.flags.writeable = False
    rows = LazyRows.decoded(array)
    taken = rows.rows(np.array([1]))
    taken[:] = 0
    assert rows.all_rows() is array


def test_too_many_pictures_stay_where_they_are() -> None:
    rows = LazyRows(4, (3, 2, 2), lambda row: np.zeros((3, 2, 2), np.uint8), memory_limit=10)
    with pytest.raises(DataError, match="must be at most 1 GB to be sent"):
        rows.all_rows()
