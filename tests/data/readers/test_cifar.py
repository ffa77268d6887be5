import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from taskgroup.data.base import SPLITS, DatasetConfig, parse_dataset
from taskgroup.data.files.unpickle import unpickle_arrays
from taskgroup.errors import ConfigError, DataError


def section(name: str, root: Path, **options: object) -> DatasetConfig:
    return parse_dataset({"name": name, "root": str(root), **options})


def rewrite(path: Path, **changes: object) -> None:
    """Change or (with None) remove keys of a batch file, in a modern pickle form."""
    values = dict(unpickle_arrays(path)) | changes
    kept = {key: value for key, value in values.items() if value is not None}
    path.write_bytes(pickle.dumps(kept, protocol=4))


def test_pictures_and_labels_are_those_of_the_file(cifar10_root: Path) -> None:
    config = section("cifar10", cifar10_root)
    folder = cifar10_root / "cifar-10-batches-py"
    rows = {}
    for file in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        found = unpickle_arrays(folder / file)
        for pixels, label in zip(found["data"], found["labels"], strict=True):
            rows[pixels.tobytes()] = (label, "test" if file == "test_batch" else "train")
    for split in SPLITS:
        dataset = config.open(split, ("classification",))
        for index in range(len(dataset)):
            batch = dataset.batch([index])
            stored = (batch.images * 255).round().to(torch.uint8)
            label, source = rows.pop(stored.numpy().tobytes())
            assert batch.targets["classification"].values.tolist() == [label]
            assert (source == "test") == (split == "test")
    assert not rows


def test_planes_are_red_green_blue_row_by_row(cifar10_root: Path) -> None:
    path = cifar10_root / "cifar-10-batches-py" / "test_batch"
    data = np.zeros((1, 3072), np.uint8)
    data[0, 0], data[0, 1024 + 1], data[0, 2048 + 32] = 255, 51, 102
    rewrite(path, data=data, labels=[4])
    image = section("cifar10", cifar10_root).open("test", ()).batch([0]).images[0]
    assert image[0, 0, 0] == 1
    assert image[1, 0, 1] == pytest.approx(0.2)
    assert image[2, 1, 0] == pytest.approx(0.4)
    assert int((image > 0).sum()) == 3


def test_fine_and_superclass_belong_together(cifar100_root: Path) -> None:
    config = section("cifar100", cifar100_root)
    infos = config.tasks()
    assert infos["classification"].num_classes == 100
    assert infos["superclass"].num_classes == 20
    assert infos["superclass"].class_names[3] == "coarse 3"
    dataset = config.open("train", ("superclass", "classification"))
    targets = dataset.batch(range(len(dataset))).targets
    fine, coarse = targets["classification"].values, targets["superclass"].values
    assert torch.equal(fine // 5, coarse)


def test_shares_are_those_of_the_train_split(cifar10_root: Path) -> None:
    config = section("cifar10", cifar10_root)
    dataset = config.open("train", ("classification",))
    labels = dataset.batch(range(len(dataset))).targets["classification"].values
    expected = labels.bincount(minlength=10) / len(labels)
    shares = torch.tensor(config.tasks()["classification"].class_shares)
    torch.testing.assert_close(shares, expected)


def test_counts_and_size(cifar10_root: Path) -> None:
    options = {"train": 20, "validation": 5, "confirm": 7, "test": 4, "image_size": 48}
    config = section("cifar10", cifar10_root, **options)
    assert [len(config.open(split, ())) for split in SPLITS] == [20, 5, 7, 4]
    assert config.open("test", ()).batch([0]).images.shape == (1, 3, 48, 48)
    with pytest.raises(ConfigError, match=r"dataset\.test must be at most 6, .*got 7"):
        section("cifar10", cifar10_root, test=7).open("train", ())


def test_the_folder_itself_and_the_environment_do(
    cifar10_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = section("cifar10", cifar10_root).split_parts()["confirm"].digest
    itself = section("cifar10", cifar10_root / "cifar-10-batches-py")
    assert itself.split_parts()["confirm"].digest == found
    monkeypatch.setenv("TASKGROUP_DATA", str(cifar10_root.parent))
    assert parse_dataset({"name": "cifar10"}).split_parts()["confirm"].digest == found


def test_a_relative_root_survives_a_change_of_folder(
    cifar10_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cifar10_root.parent)
    config = section("cifar10", Path("cifar10"))
    monkeypatch.chdir(tmp_path.parent)
    assert len(config.open("test", ())) == 6


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"data": None}, "got NoneType"),
        ({"data": np.zeros((6, 3071), np.uint8)}, r"got uint8 \(6, 3071\)"),
        ({"data": np.zeros((6, 3072), np.float32)}, "got float32"),
        ({"labels": None}, "must hold 6 class numbers from 0 to 9 under 'labels'"),
        ({"labels": [1, 2, 3]}, "must hold 6 class numbers"),
        ({"labels": [0, 1, 2, 3, 4, 10]}, "must hold 6 class numbers"),
        ({"labels": list("abcdef")}, "must hold 6 class numbers"),
    ],
)
def test_a_wrong_batch_file_is_one_line(
    cifar10_root: Path, changes: dict[str, object], found: str
) -> None:
    rewrite(cifar10_root / "cifar-10-batches-py" / "test_batch", **changes)
    with pytest.raises(DataError, match=found) as caught:
        section("cifar10", cifar10_root).tasks()
    assert "test_batch must hold" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_class_names_are_one_line(cifar10_root: Path) -> None:
    rewrite(cifar10_root / "cifar-10-batches-py" / "batches.meta", label_names=7)
    with pytest.raises(DataError, match="list of class names under 'label_names', got int"):
        section("cifar10", cifar10_root).tasks()


def test_a_truncated_batch_file_is_one_line(cifar10_root: Path) -> None:
    path = cifar10_root / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="data_batch_3 must be a whole pickle"):
        section("cifar10", cifar10_root).open("train", ())


def test_a_hostile_batch_file_is_one_line_and_runs_nothing(
    cifar10_root: Path, tmp_path: Path
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = cifar10_root / "cifar-10-batches-py" / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": Hostile(), "labels": []}, protocol=2))
    with pytest.raises(DataError, match=r"but it asks for posix\.system"):
        section("cifar10", cifar10_root).open("train", ())
    assert not (tmp_path / "ran").exists()


def test_a_missing_batch_file_is_one_line(cifar10_root: Path) -> None:
    (cifar10_root / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"without data_batch_4; .* or set download: true"):
        section("cifar10", cifar10_root).tasks()


def test_the_real_packs(real_data: Path) -> None:
    config = section("cifar10", real_data)
    assert [len(config.open(split, ())) for split in SPLITS] == [4000, 500, 500, 700]
    assert config.tasks()["classification"].class_names[0] == "airplane"
    batch = config.open("test", tuple(config.tasks())).batch(range(100))
    assert batch.images.mean() == pytest.approx(0.47, abs=0.03)
    both = section("cifar100", real_data)
    assert sum(len(both.open(split, ())) for split in SPLITS) == 1117 + 641
    dataset = both.open("train", ("classification", "superclass"))
    targets = dataset.batch(range(len(dataset))).targets
    pairs = zip(
        targets["classification"].values.tolist(),
        targets["superclass"].values.tolist(),
        strict=True,
    )
    assert len(set(pairs)) == len(set(targets["classification"].values.tolist()))
