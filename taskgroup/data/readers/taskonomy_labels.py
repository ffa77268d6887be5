"""Taskonomy's label maps: their classes, how they are read, and what is said of missing ones."""

from collections.abc import Sequence
from logging import getLogger
from pathlib import Path

import numpy as np

from taskgroup.data.files.pictures import Pixels, Size, read_class_map
from taskgroup.errors import DataError
from taskgroup.paths import is_file
from taskgroup.tasks.base import IGNORE

CLASS_NAMES = (
    "background",
    "bottle",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
)
"""Classes of stored numbers 1 to 17; 0 is unlabelled."""
SMALLEST_FILE = 100
"""Bytes; a label map below it is the place holder of a view that nobody labelled."""

_log = getLogger(__name__)


def is_labelled(path: Path) -> bool:
    """Whether a label map is there and more than a place holder."""
    return is_file(path) and path.stat().st_size >= SMALLEST_FILE


def warn_unlabelled(paths: Sequence[Path]) -> None:
    """Log how many label maps are missing or place holders, and the first; at least one must be.

    MTRobust's code passes over them in silence too, but a path that is wrong for all of them looks
    the same.
    """
    missing = [path for path in paths if not is_labelled(path)]
    _log.warning(
        "%d of %d label maps are missing or below %d bytes, the first is %s; these pictures count "
        "neither in the loss nor in the score of segmentation; fetch the files if they should",
        len(missing),
        len(paths),
        SMALLEST_FILE,
        missing[0],
    )


def unlabelled(size: Size) -> Pixels:
    """The label map of a view that nobody labelled, 255 all over."""
    return np.full(size, IGNORE, np.uint8)


def read_labels(path: Path, size: Size) -> Pixels:
    """A label map of classes 0 to 16, 255 where unlabelled, ``(H, W)``.

    Raises:
        DataError: The file is damaged, or holds numbers that are no class.
    """
    stored = read_class_map(path, size, resize=True, picture=path)
    if stored.max() > len(CLASS_NAMES):
        raise DataError(
            f"{path} must hold class numbers 0 (unlabelled) to {len(CLASS_NAMES)}, got "
            f"{stored.max()}; was it resized with blending? Fetch it again"
        )
    return np.where(stored == 0, IGNORE, stored - 1).astype(np.uint8)
