from pathlib import Path

import pytest
from PIL import Image

from taskgroup.data.base import SPLITS, DatasetConfig, parse_dataset
from taskgroup.data.label_free import LABEL_FREE
from taskgroup.errors import ConfigError, DataError


def section(root: Path, **options: object) -> DatasetConfig:
    return parse_dataset({"name": "image_folder", "root": str(root), **options})


def paint(path: Path, value: int, size: tuple[int, int] = (20, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def values(config: DatasetConfig, split: str) -> set[int]:
    dataset = config.open(split, ())
    images = dataset.batch(range(len(dataset))).images
    return {round(float(image.mean()) * 255) for image in images}


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    folder = tmp_path / "flat"
    for number in range(20):
        paint(folder / f"{number:02}.png", number)
    return folder


def test_a_flat_folder_has_label_free_tasks_only(flat: Path) -> None:
    config = section(flat)
    assert tuple(config.tasks()) == LABEL_FREE
    assert [len(config.open(split, ())) for split in SPLITS] == [12, 2, 2, 4]
    assert set.union(*(values(config, split) for split in SPLITS)) == set(range(20))
    with pytest.raises(ConfigError, match="has no task 'classification'"):
        config.open("train", ("classification",))


def test_the_seed_cuts_the_splits(flat: Path) -> None:
    assert values(section(flat, seed=1), "test") == values(section(flat, seed=1), "test")
    assert values(section(flat, seed=1), "test") != values(section(flat, seed=2), "test")


def test_an_added_picture_moves_no_other_between_the_first_of_each_split(flat: Path) -> None:
    before = values(section(flat, seed=3, test=4), "test")
    paint(flat / "new.png", 200)
    after = values(section(flat, seed=3, test=5, validation=2), "test")
    assert len(before - after) <= 1


def test_sub_folders_are_classes(image_folder_root: Path) -> None:
    config = section(image_folder_root, image_size=16)
    info = config.tasks()["classification"]
    assert info.class_names == ("cat", "dog")
    dataset = config.open("train", ("classification",))
    target = dataset.batch(range(len(dataset))).targets["classification"]
    assert target.valid.all()
    assert (target.values == 0).float().mean().item() == pytest.approx(info.class_shares[0])


def test_a_picture_beside_the_classes_has_no_label(tmp_path: Path) -> None:
    for number in range(8):
        paint(tmp_path / "ab"[number % 2] / f"{number}.png", number)
    for number in range(8, 16):
        paint(tmp_path / f"{number}.png", number)
    dataset = section(tmp_path).open("train", ("classification",))
    batch = dataset.batch(range(len(dataset)))
    assert {0, 1, 255} == set(batch.targets["classification"].values.tolist())
    for image, value, valid in zip(batch.images, *batch.targets["classification"], strict=True):
        number = round(float(image.mean()) * 255)
        assert bool(valid) == (number < 8)
        assert int(value) == (number % 2 if number < 8 else 255)


def test_split_folders_are_honoured_and_missing_ones_cut(tmp_path: Path) -> None:
    for number in range(10):
        paint(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", number)
    for number in range(10, 13):
        paint(tmp_path / "val" / "a" / f"{number}.png", number)
    for number in range(13, 15):
        paint(tmp_path / "test" / "b" / f"{number}.png", number)
    config = section(tmp_path)
    assert values(config, "validation") == {10, 11, 12}
    assert values(config, "test") == {13, 14}
    assert len(values(config, "confirm")) == 1
    assert values(config, "confirm") | values(config, "train") == set(range(10))
    assert config.tasks()["classification"].class_names == ("a", "b")


def test_sizes_that_differ_need_image_size(tmp_path: Path) -> None:
    for number in range(8):
        paint(tmp_path / f"{number}.png", number, (20, 20 + 2 * (number == 5)))
    with pytest.raises(DataError, match=r"5\.png must be 20 x 20 .* set dataset\.image_size"):
        section(tmp_path).tasks()
    assert section(tmp_path, image_size=16).open("train", ()).batch([0]).images.shape[-1] == 16


def test_hidden_and_other_files_are_left_out(flat: Path) -> None:
    (flat / "notes.txt").write_text("hello")
    paint(flat / ".thumbnails" / "x.png", 99)
    paint(flat / ".hidden.png", 98)
    assert sum(len(section(flat).open(split, ())) for split in SPLITS) == 20


def test_the_folder_below_the_environment(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"dataset\.root must be a folder of pictures .*got none"):
        parse_dataset({"name": "image_folder"}).tasks()
    monkeypatch.setenv("TASKGROUP_DATA", str(flat.parent))
    with pytest.raises(DataError, match=r"got .*image_folder; set it"):
        parse_dataset({"name": "image_folder"}).tasks()
    flat.rename(flat.parent / "image_folder")
    assert len(parse_dataset({"name": "image_folder"}).open("test", ())) == 4


def test_bad_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold pictures .*found none"):
        section(tmp_path).tasks()
    paint(tmp_path / "a.png", 1)
    with pytest.raises(DataError, match="must have training samples left"):
        section(tmp_path).tasks()
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png must be a whole, readable picture"):
        section(tmp_path).tasks()


def test_the_real_pictures(real_data: Path) -> None:
    config = section(real_data / "coco_mini", image_size=64)
    assert sum(len(config.open(split, ())) for split in SPLITS) == 104
    assert config.open("train", LABEL_FREE).batch(range(8)).images.shape == (8, 3, 64, 64)
