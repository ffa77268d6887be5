from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskgroup.data.files.numbers import read_numbers, resize_numbers, with_holes
from taskgroup.errors import DataError


def test_sixteen_bits_are_read_whole(tmp_path: Path) -> None:
    stored = np.array([[0, 255, 256], [4097, 64500, 65535]], np.uint16)
    Image.fromarray(stored).save(tmp_path / "depth.png")
    with Image.open(tmp_path / "depth.png") as image:
        assert image.mode == "I;16"
    assert np.array_equal(read_numbers(tmp_path / "depth.png", channels=1), stored[None])


def test_three_channels_come_first(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    Image.fromarray(stored).save(tmp_path / "normal.png")
    found = read_numbers(tmp_path / "normal.png", channels=3)
    assert np.array_equal(found, stored.transpose(2, 0, 1))
    with pytest.raises(DataError, match=r"must have 1 channel\(s\) .*got mode RGB"):
        read_numbers(tmp_path / "normal.png", channels=1)


def test_the_same_size_changes_nothing() -> None:
    raw, valid = np.arange(6, dtype=np.float32).reshape(1, 2, 3), np.eye(2, 3, dtype=bool)
    values, kept = resize_numbers(raw, valid, (2, 3))
    assert values is raw
    assert kept is valid


def test_holes_are_never_blended_in() -> None:
    raw = np.full((1, 32, 32), 7, np.float32)
    valid = np.ones((32, 32), bool)
    valid[:, :10] = False
    raw[0, ~valid] = 65535
    values, kept = resize_numbers(raw, valid, (8, 8))
    assert kept[:, 5:].all()
    assert not kept[:, :2].any()
    assert values.dtype == np.float32
    assert np.allclose(values[0][kept], 7)
    assert not values[0][~kept].any()


def test_a_mean_is_that_of_the_pixels_under_it() -> None:
    raw = np.random.default_rng(0).random((2, 8, 8)).astype(np.float32)
    values, kept = resize_numbers(raw, np.ones((8, 8), bool), (1, 1))
    assert kept.all()
    assert raw.min() < values.min() < values.max() < raw.max()


def test_with_holes() -> None:
    values = with_holes(np.ones((2, 1, 2), np.float32), np.array([[True, False]]))
    assert values.dtype == np.float32
    assert np.array_equal(np.isnan(values), [[[False, True]]] * 2)
