"""Decoding pictures and label maps, once per process where memory allows."""

import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image, UnidentifiedImageError

from taskgroup.errors import DataError

Pixels = NDArray[np.uint8]
Number = TypeVar("Number", bound=np.generic)
Size = tuple[int, int]
"""Height and width in pixels."""

FORMATS: Mapping[str, str] = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Formats that a picture is opened in, by the ending of its name, which need not be its own. Pillow
knows forty more, one of which has Ghostscript run the file.
"""
PIXEL_LIMIT = 1 << 26
"""Pixels of a picture (8192 x 8192) above which a file of a few bytes could fill the memory."""
MEMORY_LIMIT = 1 << 30
"""Bytes up to which the decoded rows of one kind are kept."""
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises on a file that is no picture or ends too early."""


class LazyRows(Generic[Number]):
    """Rows of numbers that are decoded when first asked for, and kept if all would fit in memory.

    Args:
        count: Number of rows.
        shape: Shape of a row.
        read: Decodes one row.
        dtype: What a row's numbers are.
        memory_limit: Bytes above which rows are decoded again each time.
    """

    def __init__(
        self,
        count: int,
        shape: tuple[int, ...],
        read: Callable[[int], NDArray[Number]],
        *,
        dtype: DTypeLike = np.uint8,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.shape = shape
        self._read = read
        self._dtype = dtype
        fits = count * prod(shape) * np.dtype(dtype).itemsize <= memory_limit
        self._rows: NDArray[Number] | None = np.empty((count, *shape), dtype) if fits else None
        self._is_decoded = np.zeros(count, bool)

    @staticmethod
    def of(array: Pixels, size: Size | None) -> "LazyRows[np.uint8]":
        """Rows of pictures ``(P, C, H, W)`` that are in memory already, resized when asked for.

        Args:
            array: The pictures; kept, not copied, where they have the size.
            size: Height and width that rows get; None keeps their own.
        """
        count, channels, *own = array.shape
        size = size or (own[0], own[1])
        if size != (own[0], own[1]):
            return LazyRows(count, (channels, *size), lambda row: resize_picture(array[row], size))
        return LazyRows.decoded(array)

    @staticmethod
    def decoded(array: NDArray[Number]) -> "LazyRows[Number]":
        """Rows that are in memory already; the array is kept, not copied, and never written to."""
        kept = LazyRows(0, array.shape[1:], partial(_row, array), dtype=array.dtype)
        kept._rows, kept._is_decoded = array, np.ones(len(array), bool)
        return kept

    def all_rows(self) -> NDArray[Number]:
        """Every row, decoded: the rows themselves, which nobody may write to.

        Raises:
            DataError: A file is damaged, or the rows are too many to be kept.
        """
        if self._rows is None:
            raise DataError(
                f"the decoded pictures must be at most {MEMORY_LIMIT >> 30} GB to be sent to other "
                "machines, but are more; put the files on a disk that all machines share"
            )
        self.rows(np.flatnonzero(~self._is_decoded))
        return self._rows

    def rows(self, positions: NDArray[np.int64]) -> NDArray[Number]:
        """The rows at ``positions`` ``(N,)``, shape ``(N, *shape)``; the caller owns them.

        Raises:
            DataError: A file is missing, damaged, or of another size.
        """
        if self._rows is None:
            decoded = [self._read(int(position)) for position in positions]
            return np.stack(decoded) if decoded else np.empty((0, *self.shape), self._dtype)
        for position in positions[~self._is_decoded[positions]]:
            self._rows[position] = self._read(int(position))
            self._is_decoded[position] = True
        return self._rows[positions]


def _row(array: NDArray[Number], row: int) -> NDArray[Number]:
    """One row; an array's own method would do, but does not pickle."""
    found: NDArray[Number] = array[row]
    return found


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever is wrong with the file becomes one line.

    Raises:
        DataError: The file is missing, unreadable, truncated, no picture of :data:`FORMATS`, or has
            more pixels than :data:`PIXEL_LIMIT`.
    """
    try:
        with _open(path) as image:
            yield image
    except DAMAGED as error:
        found = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(
            f"{path} must be a whole, readable picture, but {found or 'it is damaged'}; "
            "fetch the file again or remove it"
        ) from None


def _open(path: Path) -> Image.Image:
    """A picture whose pixels are not decoded yet, and are not too many."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=tuple(set(FORMATS.values())))
    except UnidentifiedImageError:
        known = ", ".join(sorted(set(FORMATS.values())))
        raise OSError(None, f"it is none of {known}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))  # Pillow's own limit is above ours
        raise _too_large(path, f"{pixels[0]} pixels" if pixels else "more") from None
    if image.width * image.height > PIXEL_LIMIT:
        image.close()
        raise _too_large(path, f"{image.height} x {image.width}")
    return image


def _too_large(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} must have at most {PIXEL_LIMIT} pixels (8192 x 8192), got {found}; make it "
        "smaller or remove it"
    )


def picture_size(path: Path) -> Size:
    """Height and width of a picture, from its header alone."""
    with opened(path) as image:
        return image.height, image.width


def common_size(paths: Sequence[Path]) -> Size:
    """The one size that all pictures have, from their headers.

    Raises:
        DataError: Two sizes differ.
    """
    first = picture_size(paths[0])
    for path in paths:
        check_size(path, picture_size(path), first)
    return first


def read_picture(path: Path, size: Size, *, resize: bool) -> Pixels:
    """Decode a picture to RGB, ``(3, H, W)``.

    Args:
        path: The file; grey pictures get three equal channels, transparency is left out.
        size: Height and width of the result.
        resize: Bring another size to this one (bilinear, antialiased) instead of refusing it.

    Raises:
        DataError: The file is missing, damaged, or of another size.
    """
    with opened(path) as image:
        _check_depth(path, image)
        image.load()
        rgb = _to_rgb(image)
    if not resize:
        check_size(path, (rgb.height, rgb.width), size)
    return resize_picture(np.asarray(rgb).transpose(2, 0, 1), size)


def resize_picture(pixels: Pixels, size: Size) -> Pixels:
    """Bring ``(C, H, W)`` to another size, bilinear and antialiased; the same size is a no-op."""
    if pixels.shape[1:] == size:
        return pixels
    height, width = size
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        for plane in pixels
    ]
    return np.stack([np.asarray(plane) for plane in planes])


def read_class_map(path: Path, size: Size, *, resize: bool, picture: Path) -> Pixels:
    """Decode a map of class numbers, ``(H, W)``; never blends classes.

    Args:
        path: A file with one channel, grey or palette.
        size: Height and width of the result.
        resize: Bring another size to this one (nearest) instead of refusing it.
        picture: The labelled picture, whose size the map must have.

    Raises:
        DataError: The file is missing, damaged, has several channels or another size.
    """
    with opened(path) as image:
        if image.mode not in {"L", "P", "1"}:
            raise DataError(
                f"{path} must hold one class number per pixel (8-bit grey or palette), got mode "
                f"{image.mode}; convert it"
            )
        image.load()
        check_size(path, (image.height, image.width), picture_size(picture))
        if not resize:
            check_size(path, (image.height, image.width), size)
        resized = image.resize((size[1], size[0]), Image.Resampling.NEAREST)
        return np.asarray(resized).astype(np.uint8)


def _check_depth(path: Path, image: Image.Image) -> None:
    """Refuse numbers whose range nobody knows: 32 bits or fractions, which would come out black.

    Pillow opens a grey PNG or PGM of 16 bits as 32, too.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise DataError(
            f"{path} must be a picture of 8 or 16 bits, got mode {image.mode} (32 bits per pixel); "
            "convert it"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits per pixel; Pillow's own conversion clips at 255
        grey = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def check_size(path: Path, found: Size, expected: Size) -> None:
    """Raise DataError unless a file has the size of the others."""
    if found != expected:
        raise DataError(
            f"{path} must be {expected[0]} x {expected[1]} pixels (height x width) like the "
            f"others, got {found[0]} x {found[1]}; set dataset.image_size to bring all to one size"
        )
