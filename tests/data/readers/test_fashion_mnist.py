import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from taskgroup.data.base import SPLITS, DatasetConfig, parse_dataset
from taskgroup.data.readers.fashion_mnist import read_idx
from taskgroup.errors import DataError


def section(root: Path, **options: object) -> DatasetConfig:
    return parse_dataset({"name": "fashion_mnist", "root": str(root), **options})


def test_idx_golden(tmp_path: Path) -> None:
    path = tmp_path / "x-idx2-ubyte"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    assert read_idx(path).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_idx_files_are_one_line(tmp_path: Path, zipped: bool) -> None:
    whole = bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3])
    stored = gzip.compress(whole) if zipped else whole
    path = tmp_path / ("labels.gz" if zipped else "labels")
    path.write_bytes(stored)
    assert read_idx(path).tolist() == [1, 2, 3]
    for length in range(len(stored)):
        path.write_bytes(stored[:length])
        with pytest.raises(DataError, match="must be a whole idx file of bytes") as caught:
            read_idx(path)
        assert "\n" not in str(caught.value)
    for foreign in (whole + b"\0", b"<html>", bytes([0, 0, 13, 1]) + whole[4:]):
        path.write_bytes(gzip.compress(foreign) if zipped else foreign)
        with pytest.raises(DataError, match="must be a whole idx file of bytes"):
            read_idx(path)


def test_a_missing_file_is_one_line(fashion_mnist_root: Path) -> None:
    (fashion_mnist_root / "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"without t10k-labels-idx1-ubyte\*"):
        section(fashion_mnist_root).tasks()


def test_pictures_are_grey_and_whole(fashion_mnist_root: Path) -> None:
    raw = fashion_mnist_root / "FashionMNIST" / "raw"
    stored = read_idx(raw / "t10k-images-idx3-ubyte.gz")
    dataset = section(fashion_mnist_root).open("test", ("classification", "autoencoding"))
    batch = dataset.batch(range(6))
    assert torch.equal(batch.images[:, 0], batch.images[:, 2])
    assert torch.equal(batch.targets["autoencoding"].values, batch.images)
    for image, label in zip(batch.images, batch.targets["classification"].values, strict=True):
        expected = torch.from_numpy(stored[int(label)].astype(np.float32) / 255)
        torch.testing.assert_close(image[0], expected)


def test_unzipped_files_and_their_folder_do(fashion_mnist_root: Path) -> None:
    raw = fashion_mnist_root / "FashionMNIST" / "raw"
    before = section(fashion_mnist_root).split_parts()["test"].digest
    for path in list(raw.iterdir()):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for root in (fashion_mnist_root, raw.parent, raw):
        config = section(root, seed=1)
        assert config.split_parts()["test"].digest == before
        assert config.open("train", ()).batch([0]).images.shape == (1, 3, 28, 28)


def test_the_digits_are_not_taken_for_clothes(fashion_mnist_root: Path) -> None:
    (fashion_mnist_root / "FashionMNIST").rename(fashion_mnist_root / "MNIST")
    with pytest.raises(DataError, match="in FashionMNIST/raw or fashion-mnist"):
        section(fashion_mnist_root).tasks()


def test_a_label_file_of_other_length_is_one_line(fashion_mnist_root: Path) -> None:
    path = fashion_mnist_root / "FashionMNIST/raw/train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 2])))
    with pytest.raises(DataError, match=r"P pictures with P labels .*\(30, 28, 28\) and \(2,\)"):
        section(fashion_mnist_root).tasks()


def test_the_real_pack(real_data: Path) -> None:
    config = section(real_data)
    assert [len(config.open(split, ())) for split in SPLITS] == [4000, 500, 500, 1000]
    assert config.tasks()["classification"].class_shares == pytest.approx([0.1] * 10, abs=0.015)
