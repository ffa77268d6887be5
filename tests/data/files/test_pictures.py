from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskgroup.data.files.pictures import LazyRows, common_size, read_class_map, read_picture
from taskgroup.errors import DataError


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_lazy_rows_decode_what_is_asked_for(limit: int) -> None:
    decoded = []

    def read(row: int) -> np.ndarray:
        decoded.append(row)
        return np.full((2, 3), row, np.uint8)

    rows = LazyRows(10, (2, 3), read, memory_limit=limit)
    assert rows.rows(np.array([3, 7])).tolist() == [[[3] * 3] * 2, [[7] * 3] * 2]
    rows.rows(np.array([7, 3, 1]))
    assert decoded == ([3, 7, 1] if limit else [3, 7, 7, 3, 1])
    assert rows.rows(np.array([], np.int64)).shape == (0, 2, 3)
    rows.rows(np.array([1]))[:] = 99
    assert rows.rows(np.array([1])).max() == 1


def test_a_row_that_fails_is_tried_again() -> None:
    failures = [DataError("damaged")]

    def read(row: int) -> np.ndarray:
        if failures:
            raise failures.pop()
        return np.array([row], np.uint8)

    rows = LazyRows(3, (1,), read)
    with pytest.raises(DataError):
        rows.rows(np.array([2]))
    assert rows.rows(np.array([2])).tolist() == [[2]]


@pytest.mark.parametrize("size", [None, (4, 4), (9, 5)])
def test_rows_in_memory(size: tuple[int, int] | None) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), np.uint8)
    rows = LazyRows.of(array, size)
    assert rows.shape == (3, *(size or (4, 4)))
    found = rows.rows(np.array([4, 0]))
    assert found.shape == (2, *rows.shape)
    if size != (9, 5):
        assert (found == array[[4, 0]]).all()


def test_a_picture_is_read_as_it_is(tmp_path: Path, pixels: np.ndarray) -> None:
    path = save(tmp_path / "a.png", pixels)
    assert (read_picture(path, (12, 20), resize=False) == pixels.transpose(2, 0, 1)).all()


def test_other_kinds_of_pictures_become_three_channels(tmp_path: Path, pixels: np.ndarray) -> None:
    grey = save(tmp_path / "grey.png", pixels[..., 0])
    deep = save(tmp_path / "deep.png", pixels[..., 0].astype(np.uint16) * 256 + 7)
    alpha = save(tmp_path / "alpha.png", np.dstack([pixels, pixels[..., :1]]))
    palette = tmp_path / "palette.png"
    Image.fromarray(pixels).quantize(8).save(palette, transparency=b"\x00\x80\xff")
    for path in (grey, deep):
        found = read_picture(path, (12, 20), resize=False)
        assert (found == pixels[..., 0]).all()
    assert (read_picture(alpha, (12, 20), resize=False) == pixels.transpose(2, 0, 1)).all()
    assert read_picture(palette, (12, 20), resize=False).shape == (3, 12, 20)


def test_pictures_are_resized_smoothly_and_labels_are_not(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 250], np.uint8), (32, 16))
    picture = save(tmp_path / "a.png", stripes)
    small = read_picture(picture, (8, 8), resize=True)
    assert (abs(small[:, :, 1:-1].astype(int) - 125) < 12).all()
    label = save(tmp_path / "b.png", stripes // 25)
    found = read_class_map(label, (8, 8), resize=True, picture=picture)
    assert found.shape == (8, 8)
    assert set(np.unique(found)) <= {0, 10}


def test_every_truncation_is_one_line(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("a.png", "a.jpg", "a.bmp"):
        whole = save(tmp_path / name, pixels).read_bytes()
        for length in range(0, len(whole) - 20, 7):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(DataError, match="must be a whole, readable picture") as caught:
                read_picture(tmp_path / name, (12, 20), resize=False)
            assert "\n" not in str(caught.value)


def test_missing_foreign_and_other_sized_files(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_picture(tmp_path / "absent.png", (12, 20), resize=False)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(DataError, match="cannot identify"):
        read_picture(text, (12, 20), resize=False)
    path = save(tmp_path / "a.png", pixels)
    with pytest.raises(DataError, match=r"must be 20 x 20 .*got 12 x 20; set dataset.image_size"):
        read_picture(path, (20, 20), resize=False)
    other = save(tmp_path / "b.png", pixels[:8])
    with pytest.raises(DataError, match=r"b.png must be 12 x 20 .*got 8 x 20"):
        common_size([path, path, other])
    assert common_size([path, path]) == (12, 20)


def test_label_maps_are_checked(tmp_path: Path, pixels: np.ndarray) -> None:
    picture = save(tmp_path / "a.png", pixels)
    label = save(tmp_path / "label.png", pixels[..., 0])
    found = read_class_map(label, (12, 20), resize=False, picture=picture)
    assert (found == pixels[..., 0]).all()
    with pytest.raises(DataError, match=r"one class number per pixel .*got mode RGB"):
        read_class_map(picture, (12, 20), resize=False, picture=picture)
    small = save(tmp_path / "small.png", pixels[:6, :, 0])
    with pytest.raises(DataError, match="must be 12 x 20"):
        read_class_map(small, (4, 4), resize=True, picture=picture)
    indexed = tmp_path / "palette.png"
    palette = Image.fromarray(pixels[..., 0] % 5, mode=None).convert("L")
    palette.putpalette([9, 8, 7] * 256)
    palette.save(indexed)
    found = read_class_map(indexed, (12, 20), resize=False, picture=picture)
    assert (found == pixels[..., 0] % 5).all()
