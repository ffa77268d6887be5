"""The data set's contract: targets as the table of tasks says, the same sample at any time."""

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from taskgroup.config import parse
from taskgroup.data.base import DATASETS, SPLITS, Batch, Split, parse_dataset
from taskgroup.data.scenes import SceneConfig, SceneDataset
from taskgroup.data.scenes.labels import SEGMENTATION_CLASSES
from taskgroup.errors import ConfigError

CONFIG = SceneConfig(image_size=32, train=24, validation=6, confirm=6, test=6)
TASKS = tuple(CONFIG.tasks())
RANGES = {
    "depth": (0.1, 12),
    "normals": (-1, 1),
    "occlusion_edges": (0, 1),
    "curvature": (0, 4),
    "reshading": (0, 1),
    "albedo": (0, 1),
    "saliency": (0, 1),
    "keypoints3d": (0, 3),
    "autoencoding": (0, 1),
    "edges": (0, 4),
    "keypoints2d": (0, 4),
}
CHANNELS = {"normals": 3, "albedo": 3, "autoencoding": 3, "curvature": 2}


@pytest.fixture(scope="module")
def dataset() -> SceneDataset:
    return CONFIG.open("train", TASKS)


def assert_same(first: Batch, second: Batch) -> None:
    assert torch.equal(first.images, second.images)
    for task, target in first.targets.items():
        assert torch.equal(target.values, second.targets[task].values)
        assert torch.equal(target.valid, second.targets[task].valid)


def test_every_task_of_the_issue_is_there() -> None:
    classes = {"segmentation", "parts", "classification", "superclass"}
    assert set(TASKS) == {*RANGES, *classes}
    for name, info in CONFIG.tasks().items():
        assert info.name == name
        assert (info.num_classes is not None) == (name in classes)
        assert len(info.class_names) == len(info.class_shares) == (info.num_classes or 0)


def test_images(dataset: SceneDataset) -> None:
    batch = dataset.batch(range(24))
    assert len(dataset) == len(batch) == 24
    assert batch.images.shape == (24, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert 0 <= batch.images.min() < 0.2 < 0.8 < batch.images.max() <= 1
    assert batch.index.tolist() == list(range(24))
    assert torch.equal(batch.images, batch.targets["autoencoding"].values)


@pytest.mark.parametrize("task", list(RANGES))
def test_measures(dataset: SceneDataset, task: str) -> None:
    values, valid = dataset.batch(range(24)).targets[task]
    low, high = RANGES[task]
    assert values.shape == (24, CHANNELS.get(task, 1), 32, 32)
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert low <= values.min() < values.max() <= high
    assert valid.shape == (24, 32, 32)
    assert valid.all()
    if task == "normals":
        torch.testing.assert_close(values.norm(dim=1), torch.ones(24, 32, 32), rtol=0, atol=1e-4)


@pytest.mark.parametrize("task", ["segmentation", "parts", "classification", "superclass"])
def test_class_numbers(dataset: SceneDataset, task: str) -> None:
    values, valid = dataset.batch(range(24)).targets[task]
    shape = (24, 32, 32) if task in ("segmentation", "parts") else (24,)
    assert values.shape == valid.shape == shape
    assert values.dtype == torch.int64
    assert valid.dtype == torch.bool
    assert valid.all()
    assert values.min() >= 0
    assert values.max() < CONFIG.tasks()[task].num_classes


def test_any_order_and_company_gives_the_same_sample(dataset: SceneDataset) -> None:
    everything = dataset.batch(range(24))
    assert_same(dataset.batch([7]), everything.select(torch.tensor([7])))
    assert_same(dataset.batch([23, 0, 7, 7]), everything.select(torch.tensor([23, 0, 7, 7])))
    assert_same(dataset[5], dataset.batch([5]))
    assert_same(dataset.batch([-1]), dataset.batch([23]))


def test_the_count_does_not_change_a_sample(dataset: SceneDataset) -> None:
    for count in (1, 9, 40):
        other = CONFIG.model_copy(update={"train": count}).open("train", TASKS)
        both = min(count, 24)
        assert len(other) == count
        assert_same(other.batch(range(both)), dataset.batch(range(both)))


@pytest.mark.parametrize("indices", [[24], [-25], [0, 99]])
def test_an_index_outside_is_an_error(dataset: SceneDataset, indices: Sequence[int]) -> None:
    with pytest.raises(IndexError, match=r"\[0, 24\)"):
        dataset.batch(indices)


def test_an_empty_batch(dataset: SceneDataset) -> None:
    assert len(dataset.batch([])) == 0


def test_splits_share_no_picture() -> None:
    pictures = [
        picture.numpy().tobytes()
        for split in SPLITS
        for picture in CONFIG.open(split, []).batch(range(6)).images
    ]
    assert len(set(pictures)) == len(pictures) == 24


def test_stored_rows_have_their_stored_types(dataset: SceneDataset) -> None:
    rows = dataset.stored([3, 1])
    assert next(iter(rows)) == "image"
    assert rows["image"].dtype == np.uint8
    assert rows["depth"].dtype == np.uint16
    batch = dataset.batch([3, 1])
    np.testing.assert_array_equal(rows["image"], (batch.images * 255).round().numpy())
    np.testing.assert_array_equal(rows["depth"] / 4096, batch.targets["depth"].values.numpy())
    rows["image"][:] = 0  # a copy: the cache is not touched
    assert dataset.stored([3])["image"].any()


def test_pickling_sends_the_path_not_the_arrays(dataset: SceneDataset) -> None:
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 2000
    assert_same(pickle.loads(pickled).batch([2]), dataset.batch([2]))


@pytest.mark.parametrize("split", SPLITS)
def test_default_counts_and_size(split: Split) -> None:
    counts = {"train": 1024, "validation": 256, "confirm": 256, "test": 256}
    assert SceneConfig().count(split) == counts[split]
    none = SceneConfig(train=None, validation=None, confirm=None, test=None, image_size=None)
    assert none.count(split) == counts[split]
    assert SceneConfig().image_size == 64


def test_is_registered_and_read_from_a_space() -> None:
    assert DATASETS["scenes"] is SceneConfig
    config = parse_dataset({"name": "scenes", "image_size": 48, "train": 10})
    assert config == SceneConfig(image_size=48, train=10)
    assert SceneConfig.model_json_schema()["properties"]["image_size"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 31}, "image_size must be at least 32, got 31"),
        ({"image_size": 513}, "image_size must be at most 512, got 513"),
        ({"train": 0}, "train must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"root": "/data"}, "root must be left out for scenes"),
        ({"download": True}, "download must be left out for scenes"),
        ({"images": 5}, "unknown key 'images'"),
    ],
)
def test_wrong_keys_get_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(SceneConfig, {"name": "scenes", **values})
    assert "\n" not in str(caught.value)


def test_a_task_that_scenes_lack() -> None:
    with pytest.raises(ConfigError, match="data set 'scenes' has no task 'boundaries'; it has: "):
        CONFIG.open("train", ["boundaries"])


def test_class_shares_are_those_of_the_scenes() -> None:
    values = SceneConfig(image_size=32, train=240).open("train", ["segmentation"])
    counts = values.batch(range(240)).targets["segmentation"].values.flatten().bincount()
    shares = CONFIG.tasks()["segmentation"].class_shares
    assert sum(shares) == pytest.approx(1, abs=0.005)
    assert len(counts) == len(SEGMENTATION_CLASSES)
    assert (counts / counts.sum()).tolist() == pytest.approx(shares, rel=0.4)


def test_an_unused_index_type_is_accepted(dataset: SceneDataset) -> None:
    assert_same(dataset.batch(torch.tensor([4, 2])), dataset.batch([4, 2]))  # type: ignore[arg-type]
