"""What holds for every registered data set."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import taskgroup.tasks
from taskgroup.data.base import DATASETS, SPLITS, Batch, DatasetConfig, parse_dataset
from taskgroup.data.label_free import LABEL_FREE, label_free_targets
from taskgroup.errors import ConfigError
from taskgroup.tasks.base import TASKS, build_task

assert taskgroup.tasks  # registers the tasks
PUBLISHED = {"taskonomy": {"edges", "keypoints2d"}}
"""Tasks that are computed from the picture elsewhere, but have files of their own here."""
Miniature = Callable[[str], dict[str, Any]]


@pytest.fixture(params=DATASETS.names())
def config(request: pytest.FixtureRequest, miniature: Miniature) -> DatasetConfig:
    return parse_dataset(miniature(request.param))


def equal(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.images, second.images)
        and torch.equal(first.index, second.index)
        and first.targets.keys() == second.targets.keys()
        and all(
            torch.equal(a, b)
            for task in first.targets
            for a, b in zip(first.targets[task], second.targets[task], strict=True)
        )
    )


def test_the_same_index_is_the_same_sample(config: DatasetConfig) -> None:
    tasks = tuple(config.tasks())
    dataset, again = config.open("train", tasks), config.open("train", tasks)
    together = dataset.batch([2, 0, 1])
    assert together.index.tolist() == [2, 0, 1]
    for place, index in enumerate([2, 0, 1]):
        alone = again.batch([index])
        assert equal(alone, together.select(torch.tensor([place])))
        assert equal(alone, dataset[index])
    assert equal(dataset.batch([2, 0, 1]), together)


def test_a_sample_does_not_depend_on_the_tasks_asked_for(config: DatasetConfig) -> None:
    every = config.open("test", tuple(config.tasks())).batch([1])
    for task in config.tasks():
        alone = config.open("test", (task,)).batch([1])
        assert list(alone.targets) == [task]
        assert torch.equal(alone.images, every.images)
        assert torch.equal(alone.targets[task].values, every.targets[task].values)


@pytest.mark.parametrize("split", SPLITS)
def test_images_and_targets_are_as_declared(config: DatasetConfig, split: Any) -> None:
    infos = config.tasks()
    dataset = config.open(split, tuple(infos))
    batch = dataset.batch(range(min(3, len(dataset))))
    count, channels, height, width = batch.images.shape
    assert channels == 3
    assert batch.images.dtype == torch.float32
    assert 0 <= batch.images.min() < batch.images.max() <= 1
    assert list(batch.targets) == list(infos)
    for name, info in infos.items():
        task, (values, valid) = build_task(info), batch.targets[name]
        assert info.name == name
        assert valid.dtype == torch.bool
        assert valid.shape == ((count, height, width) if task.output == "map" else (count,))
        if info.num_classes is None:
            assert values.shape == (count, task.channels, height, width)
            assert values.dtype == torch.float32
            assert values.isfinite().all()
        else:
            assert values.shape == valid.shape
            assert values.dtype == torch.int64
            assert ((values >= 0) & (values < info.num_classes))[valid].all()
            assert (values == 255)[~valid].all()


def test_class_names_and_shares_fit_the_classes(config: DatasetConfig) -> None:
    for info in config.tasks().values():
        assert len(info.class_names) in {0, info.num_classes}
        assert len(info.class_shares) in {0, info.num_classes}
        assert not info.class_shares or sum(info.class_shares) == pytest.approx(1)
        assert info.name in TASKS


def test_label_free_tasks_come_from_the_picture(config: DatasetConfig) -> None:
    assert set(LABEL_FREE) <= set(config.tasks())
    batch = config.open("validation", LABEL_FREE).batch([0])
    computed = set(LABEL_FREE) - PUBLISHED.get(config.name, set())
    for task, expected in label_free_targets(batch.images, sorted(computed)).items():
        # A data set may store targets in fewer bits than float32.
        torch.testing.assert_close(
            batch.targets[task].values, expected.values, rtol=2e-3, atol=5e-3
        )


def test_splits_are_disjoint_and_none_is_empty(config: DatasetConfig) -> None:
    seen: set[bytes] = set()
    total = 0
    for split in SPLITS:
        dataset = config.open(split, ())
        assert len(dataset)
        total += len(dataset)
        seen |= {image.numpy().tobytes() for image in dataset.batch(range(len(dataset))).images}
    assert len(seen) == total


def test_positions_are_those_of_a_sequence(config: DatasetConfig) -> None:
    dataset = config.open("test", ())
    assert equal(dataset.batch([-1]), dataset.batch([len(dataset) - 1]))
    with pytest.raises(IndexError):
        dataset.batch([len(dataset)])


def test_a_task_that_it_lacks_is_one_line(config: DatasetConfig) -> None:
    with pytest.raises(ConfigError, match=r"has no task 'weather'; it has: .*edges"):
        config.open("train", ("edges", "weather"))


def test_the_section_survives_a_record(config: DatasetConfig) -> None:
    assert parse_dataset(config.model_dump(mode="json")) == config
    assert hash(parse_dataset(config.model_dump(mode="json"))) == hash(config)
