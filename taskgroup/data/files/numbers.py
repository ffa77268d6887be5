"""Maps of numbers (depth, normals, curvature): decoding, and resizing that respects holes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from taskgroup.data.files.pictures import Size, opened
from taskgroup.errors import DataError

Numbers = NDArray[np.float32]
Mask = NDArray[np.bool_]

LEAST_VALID = 0.99
"""Share of valid pixels that a resized pixel must come from to be valid (MTRobust's number)."""
MODES = ("L", "RGB", "I", "I;16", "I;16B", "I;16L")


def read_numbers(path: Path, *, channels: int) -> Numbers:
    """Decode the numbers as the file stores them, ``(C, H, W)``; 16 bits are never clipped to 8.

    Args:
        path: An 8- or 16-bit picture with one or three channels.
        channels: Channels that the file must have.

    Raises:
        DataError: The file is missing, damaged, or has other channels.
    """
    with opened(path) as image:
        image.load()
        if image.mode not in MODES or len(image.getbands()) != channels:
            raise DataError(
                f"{path} must have {channels} channel(s) of 8 or 16 bits, got mode {image.mode}; "
                "fetch the file again"
            )
        raw = np.asarray(image).astype(np.float32)
    return raw[None] if raw.ndim == 2 else np.ascontiguousarray(raw.transpose(2, 0, 1))


def resize_numbers(raw: Numbers, valid: Mask, size: Size) -> tuple[Numbers, Mask]:
    """Bring numbers ``(C, H, W)`` to another size, bilinear and antialiased, without the holes.

    Args:
        raw: The numbers; those of invalid pixels are never blended in.
        valid: ``(H, W)``.
        size: Height and width of the result; the same size is a no-op.

    Returns:
        The mean of the valid pixels under each new one, and whether these are at least
        :data:`LEAST_VALID` of all; 0 where they are not.
    """
    if raw.shape[1:] == size:
        return raw, valid
    share = _resize_plane(valid.astype(np.float32), size)
    kept = share >= LEAST_VALID
    weight = np.where(kept, share, 1)
    planes = [_resize_plane(np.where(valid, plane, 0), size) / weight for plane in raw]
    values: Numbers = np.where(kept, np.stack(planes), np.float32(0))
    return values, kept


def with_holes(values: Numbers, valid: Mask) -> Numbers:
    """The numbers ``(C, H, W)`` with NaN where ``valid`` ``(H, W)`` is False."""
    return np.where(valid, values, np.float32(np.nan))


def _resize_plane(plane: Numbers, size: Size) -> Numbers:
    image = Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)
