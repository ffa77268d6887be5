import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from taskgroup.data.files.numbers import read_numbers
from taskgroup.data.files.pictures import (
    LazyRows,
    common_size,
    picture_size,
    read_class_map,
    read_picture,
)
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
    with pytest.raises(
        DataError, match="it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP; fetch"
    ):
        read_picture(text, (12, 20), resize=False)
    path = save(tmp_path / "a.png", pixels)
    with pytest.raises(DataError, match=r"must be 20 x 20 .*got 12 x 20; set dataset.image_size"):
        read_picture(path, (20, 20), resize=False)
    other = save(tmp_path / "b.png", pixels[:8])
    with pytest.raises(DataError, match=r"b.png must be 12 x 20 .*got 8 x 20"):
        common_size([path, path, other])
    assert common_size([path, path]) == (12, 20)


@pytest.mark.parametrize("ending", ["png", "eps", "jpg"])
def test_postscript_reaches_no_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Pillow has Ghostscript run what looks like PostScript, whatever the file's name."""
    path = tmp_path / f"a.{ending}"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 12\n%%EndComments\nshowpage\n")
    with Image.open(path) as image:
        assert image.format == "EPS"
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("ran Ghostscript"))
    for read in (
        lambda: read_picture(path, (12, 20), resize=False),
        lambda: read_numbers(path, channels=3),
        lambda: read_class_map(path, (12, 20), resize=False, picture=path),
        lambda: common_size([path]),
    ):
        with pytest.raises(DataError, match="it is none of"):
            read()


def test_a_picture_may_have_another_formats_name(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, format="PNG")
    assert (read_picture(path, (12, 20), resize=False).transpose(1, 2, 0) == pixels).all()


@pytest.mark.parametrize(
    ("height", "width", "found"),
    [
        (8192, 8193, "got 8192 x 8193"),
        (9500, 9500, "got 90250000 pixels"),  # Pillow warns
        (30_000, 30_000, "got 900000000 pixels"),  # Pillow raises
    ],
)
def test_a_picture_of_too_many_pixels_is_one_line(
    tmp_path: Path, height: int, width: int, found: str
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(height, width))
    with pytest.raises(DataError, match=rf"bomb\.png must have at most 67108864 pixels .*{found}"):
        picture_size(path)
    path.write_bytes(png_header(8192, 8192))
    assert picture_size(path) == (8192, 8192)


def png_header(height: int, width: int) -> bytes:
    """The beginning of a grey PNG of a size."""
    content = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", content) + png_chunk(b"IDAT", b"")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A piece of a PNG file."""
    length, check = len(content), zlib.crc32(kind + content)
    return struct.pack(">I", length) + kind + content + struct.pack(">I", check)


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_numbers_of_unknown_range_are_no_picture(
    tmp_path: Path, pixels: np.ndarray, kind: type[np.generic], mode: str
) -> None:
    path = save(tmp_path / "a.tif", pixels[..., 0].astype(kind))
    with pytest.raises(DataError, match=rf"a\.tif must be .* 8 or 16 bits, got mode {mode} "):
        read_picture(path, (12, 20), resize=False)


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
