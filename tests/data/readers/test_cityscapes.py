from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from taskgroup.data.base import SPLITS, DatasetConfig, parse_dataset
from taskgroup.data.readers.cityscapes import CLASS_NAMES, TRAIN_IDS, list_frames
from taskgroup.errors import DataError

TASKS = ("segmentation", "depth")


def section(root: Path, **options: object) -> DatasetConfig:
    return parse_dataset({"name": "cityscapes", "root": str(root), **options})


def cities(config: DatasetConfig, folder: Path, split: str) -> set[str]:
    frames = [*list_frames(folder, "train"), *list_frames(folder, "val")]
    return {frames[place].city for place in config.split_parts()[split].positions}


def remove_cities(folder: Path, *names: str) -> None:
    for name in names:
        for path in folder.glob(f"*/*/{name}/*"):
            path.unlink()


@pytest.fixture
def folder(cityscapes_root: Path) -> Path:
    return cityscapes_root / "cityscapes"


def test_train_ids_are_the_official_ones() -> None:
    assert len(CLASS_NAMES) == 19
    scored = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert TRAIN_IDS[scored].tolist() == list(range(19))
    assert set(np.delete(TRAIN_IDS, scored).tolist()) == {255}
    assert (CLASS_NAMES[0], CLASS_NAMES[13], CLASS_NAMES[18]) == ("road", "car", "bicycle")


def test_picture_labels_and_disparity_belong_together(folder: Path) -> None:
    dataset = section(folder).open("test", TASKS)
    batch = dataset.batch(range(len(dataset)))
    found = {image.numpy().tobytes(): place for place, image in enumerate(batch.images)}
    assert len(found) == 3
    for frame in list_frames(folder, "val"):
        pixels = np.asarray(Image.open(frame.picture)).transpose(2, 0, 1).astype(np.float32) / 255
        place = found[np.ascontiguousarray(pixels).tobytes()]
        ids = np.asarray(Image.open(frame.labels))
        values, valid = (part[place] for part in batch.targets["segmentation"])
        assert torch.equal(values, torch.from_numpy(TRAIN_IDS[ids].astype(np.int64)))
        assert torch.equal(valid, values != 255)
        disparity = np.asarray(Image.open(frame.disparity)).astype(np.float32)
        values, valid = (part[place] for part in batch.targets["depth"])
        assert torch.equal(valid, torch.from_numpy(disparity > 0))
        assert torch.equal(values[0], torch.from_numpy(disparity / 1000))


@pytest.mark.parametrize("ending", ["_gtFine_labelTrainIds.png", "_gtFine_trainIds.png"])
def test_ids_and_train_ids_are_the_same_labels(folder: Path, ending: str) -> None:
    before = section(folder).open("test", TASKS).batch(range(3)).targets["segmentation"].values
    for path in folder.glob("gtFine/*/*/*_labelIds.png"):
        labels = Image.fromarray(TRAIN_IDS[np.asarray(Image.open(path))])
        labels.save(path.with_name(path.name.replace("_gtFine_labelIds.png", ending)))
        path.unlink()
    after = section(folder, test=3).open("test", TASKS).batch(range(3))
    assert torch.equal(before, after.targets["segmentation"].values)


def test_no_city_is_in_two_splits(folder: Path) -> None:
    config = section(folder)
    found = {split: cities(config, folder, split) for split in SPLITS}
    assert all(found.values())
    assert found["test"] == {"lindau"}
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 5
    assert sum(len(config.open(split, ())) for split in SPLITS) == 12


def test_one_city_is_cut_by_recording(folder: Path) -> None:
    remove_cities(folder, "bochum", "jena", "ulm")
    config = section(folder)
    assert [len(config.open(split, ())) for split in SPLITS] == [1, 1, 1, 3]
    assert cities(config, folder, "confirm") == {"aachen"}


def test_two_cities_leave_a_split_empty_and_it_says_so(folder: Path) -> None:
    remove_cities(folder, "jena", "ulm")
    config = section(folder)
    assert len(config.open("train", ())) > 0
    with pytest.raises(DataError, match=r"split validation .* every city .* add files for it"):
        config.open("validation", ())
    with pytest.raises(DataError, match=r"split validation .* every city .* add files for it"):
        config.check_split("validation", ())
    assert [config.count(split) > 0 for split in SPLITS] == [True, False, True, True]


def test_without_disparity_there_is_no_depth(folder: Path) -> None:
    for path in folder.glob("disparity/*/*/*"):
        path.unlink()
    with pytest.raises(DataError, match="disparity for all or none"):
        section(folder).tasks()
    (folder / "disparity").rename(folder / "hidden")
    assert "depth" not in section(folder, seed=1).tasks()


def test_resizing_blends_neither_classes_nor_holes(folder: Path) -> None:
    batch = section(folder, image_size=16).open("test", TASKS).batch(range(3))
    values, valid = batch.targets["segmentation"]
    assert set(values[valid].tolist()) <= set(range(19))
    values, valid = batch.targets["depth"]
    assert valid[:, :, 6:].all()
    assert not valid[:, :, :4].any()
    assert (values[:, 0][valid] > 1).all()
    assert not values[:, 0][~valid].any()


def first(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


def remove_label(folder: Path) -> None:
    first(folder, "gtFine/train/*/*").unlink()


def truncate_disparity(folder: Path) -> None:
    for path in folder.glob("disparity/train/*/*"):
        path.write_bytes(path.read_bytes()[:300])


def shrink_disparity(folder: Path) -> None:
    for path in folder.glob("disparity/train/*/*"):
        Image.fromarray(np.ones((8, 8), np.uint16)).save(path)


def raise_label(folder: Path) -> None:
    for path in folder.glob("gtFine/train/*/*"):
        Image.fromarray(np.full((24, 32), 19, np.uint8)).save(
            path.with_name(path.name.replace("labelIds", "trainIds"))
        )


def remove_pictures(folder: Path) -> None:
    for path in folder.glob("leftImg8bit/*/*/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (remove_label, r"000301_000019_gtFine_labelTrainIds\.png is missing \(and 0 more\)"),
        (truncate_disparity, r"_disparity\.png must be a whole, readable picture"),
        (shrink_disparity, r"_disparity\.png must be 24 x 32 pixels .*, got 8 x 8"),
        (raise_label, r"_trainIds\.png must hold train ids 0 to 18 and 255, got 19"),
        (remove_pictures, "must have pictures leftImg8bit/train/CITY/NAME_leftImg8bit"),
    ],
)
def test_damage_is_one_line(folder: Path, harm: Callable[[Path], None], found: str) -> None:
    harm(folder)
    with pytest.raises(DataError, match=found) as caught:
        section(folder).open("train", TASKS).batch([0])
    assert "\n" not in str(caught.value)


def test_the_real_files(real_data: Path) -> None:
    config = section(real_data)
    assert [len(config.open(split, ())) for split in SPLITS] == [6, 1, 1, 4]
    assert "depth" not in config.tasks()
    batch = config.open("test", ("segmentation",)).batch(range(4))
    assert batch.images.shape == (4, 3, 360, 480)
    values, valid = batch.targets["segmentation"]
    assert 0.9 < valid.float().mean() < 1
    assert set(values[valid].tolist()) <= {0, 1, 2, 4, 5, 7, 8, 10, 11, 12, 13}
    shares = config.tasks()["segmentation"].class_shares
    assert shares[0] > 0.2


def test_both_label_files_of_the_real_pack_agree(real_data: Path) -> None:
    folder = real_data / "cityscapes_layout"
    for frame in [*list_frames(folder, "train"), *list_frames(folder, "val")]:
        ids = np.asarray(Image.open(frame.file("gtFine", "_gtFine_labelIds.png")))
        train_ids = np.asarray(Image.open(frame.file("gtFine", "_gtFine_labelTrainIds.png")))
        assert np.array_equal(TRAIN_IDS[ids], train_ids)
