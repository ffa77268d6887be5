"""CamVid (Brostow et al. 2009) in the 11-class folders of SegNet (Badrinarayanan et al. 2017)."""

from pathlib import Path
from typing import Literal

import numpy as np

from taskgroup.data.base import DATASETS, Split
from taskgroup.data.files.listing import files_in
from taskgroup.data.files.locate import Layout
from taskgroup.data.files.pictures import (
    LazyRows,
    Pixels,
    common_size,
    read_class_map,
    read_picture,
)
from taskgroup.data.readers.reader import Contents, ReaderConfig
from taskgroup.errors import DataError
from taskgroup.tasks.base import IGNORE

CLASS_NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
UNLABELLED_NUMBER = 11
"""Class number of pixels that nobody labelled; 255 in targets."""
FOLDERS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
SUFFIXES = (".png", ".jpg", ".jpeg")


@DATASETS.register("camvid")
class CamvidConfig(ReaderConfig):
    """CamVid: street scenes from four videos, 11 classes, no background (class 0 is sky).

    Frames of a video follow each other by a second, so what the publication lacks is cut from
    train by whole videos that no other split has: ``confirm`` is video 0006R0. The published
    splits are kept as they are, though train shares 0016E5 with validation and 0001TP with test.
    """

    name: Literal["camvid"] = "camvid"
    """Registry name of the data set."""
    layout = Layout("camvid", ("train", "trainannot/*.png"))

    def read(self, folder: Path) -> Contents:
        """List pictures and label maps of every split."""
        pairs = {split: _pairs(folder, name) for split, name in FOLDERS.items()}
        flat = [pair for found in pairs.values() for pair in found]
        pictures, labels = [picture for picture, _ in flat], [label for _, label in flat]
        resize = self.size is not None
        size = self.size or common_size(pictures)

        def read_image(row: int) -> Pixels:
            return read_picture(pictures[row], size, resize=resize)

        def read_labels(row: int) -> Pixels:
            return _read_labels(labels[row], size, resize=resize, picture=pictures[row])

        published = {
            split: [f"{FOLDERS[split]}/{picture.stem}" for picture, _ in found]
            for split, found in pairs.items()
        }
        return Contents(
            published=published,
            images=LazyRows(len(flat), (3, *size), read_image),
            maps={"segmentation": LazyRows(len(flat), size, read_labels)},
            vectors={},
            class_names={"segmentation": CLASS_NAMES},
            groups={name: sequence(name) for names in published.values() for name in names},
        )


def sequence(name: str) -> str:
    """The video that a frame comes from.

    Example:
        >>> sequence("train/0006R0_f00930")
        '0006R0'
    """
    return name.rsplit("/", 1)[-1].split("_", 1)[0]


def _pairs(folder: Path, name: str) -> list[tuple[Path, Path]]:
    """Pictures and label maps of one split, by name; none where the split was not published."""
    pictures = by_stem(folder / name)
    labels = by_stem(folder / f"{name}annot")
    unpaired = sorted(pictures.keys() ^ labels.keys())
    if unpaired:
        place = f"{name}annot" if unpaired[0] in pictures else name
        raise DataError(
            f"data set 'camvid' must have a label map for every picture, but {unpaired[0]} is not "
            f"in {folder / place} (and {len(unpaired) - 1} more); complete the folder"
        )
    return [(pictures[stem], labels[stem]) for stem in sorted(pictures)]


def by_stem(folder: Path) -> dict[str, Path]:
    """Pictures in a folder by name without ending; none where there is no folder."""
    return {path.stem: path for path in files_in(folder, SUFFIXES)}


def _read_labels(path: Path, size: tuple[int, int], *, resize: bool, picture: Path) -> Pixels:
    """A label map with 255 where nobody labelled."""
    labels = read_class_map(path, size, resize=resize, picture=picture)
    if labels.max() > UNLABELLED_NUMBER:
        raise DataError(
            f"{path} must hold class numbers from 0 to {UNLABELLED_NUMBER} (unlabelled), "
            f"got {labels.max()}; use the 11-class label maps"
        )
    return np.where(labels == UNLABELLED_NUMBER, IGNORE, labels).astype(np.uint8)
