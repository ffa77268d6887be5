"""Cityscapes (Cordts et al. 2016): street scenes of 50 cities, with classes and disparity."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from taskgroup.data.base import DATASETS, Split
from taskgroup.data.files.listing import files_in, subfolders
from taskgroup.data.files.locate import Layout
from taskgroup.data.files.numbers import Numbers, read_numbers, resize_numbers, with_holes
from taskgroup.data.files.pictures import (
    LazyRows,
    Pixels,
    check_size,
    common_size,
    read_class_map,
    read_picture,
)
from taskgroup.data.readers.reader import Contents, ReaderConfig
from taskgroup.errors import DataError
from taskgroup.paths import is_file, is_folder
from taskgroup.tasks.base import IGNORE

CLASSES: dict[int, str] = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Label id and name of the 19 classes that are scored; their order is that of the train ids."""
CLASS_NAMES = tuple(CLASSES.values())
PICTURE = "_leftImg8bit.png"
LABEL_ENDINGS = ("_gtFine_labelTrainIds.png", "_gtFine_trainIds.png", "_gtFine_labelIds.png")
"""Endings of label maps, the preferred first; those of train ids hold 0 to 18 and 255."""
DISPARITY_UNIT = 1000.0
"""Disparity files are divided by this (MTRobust), which brings them to the order of 1 to 33."""
FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}
"""Published folder of each split: the published test has no labels, and ``val``, which papers
report on, must not choose anything."""
TRAIN_IDS = np.full(256, IGNORE, np.uint8)
TRAIN_IDS[list(CLASSES)] = np.arange(len(CLASSES))


@dataclass(frozen=True)
class Frame:
    """One picture of Cityscapes.

    Attributes:
        folder: Folder that holds ``leftImg8bit`` and ``gtFine``.
        split: Published split, ``train`` or ``val``.
        city: Folder of the city.
        stem: File name up to the ending, ``aachen_000000_000019``.
    """

    folder: Path
    split: str
    city: str
    stem: str

    @property
    def name(self) -> str:
        """What identifies the frame in the data set."""
        return f"{self.split}/{self.city}/{self.stem}"

    @property
    def sequence(self) -> str:
        """City and number of the recording, ``aachen_000000``."""
        return self.stem.rsplit("_", 1)[0]

    @property
    def picture(self) -> Path:
        """The picture of the left camera."""
        return self.file("leftImg8bit", PICTURE)

    @property
    def disparity(self) -> Path:
        """The disparity map, which may be missing."""
        return self.file("disparity", "_disparity.png")

    @property
    def labels(self) -> Path:
        """The label map that there is; the preferred one where there is none."""
        paths = [self.file("gtFine", ending) for ending in LABEL_ENDINGS]
        return next((path for path in paths if is_file(path)), paths[0])

    def file(self, kind: str, ending: str) -> Path:
        """A file of this frame, built from its parts."""
        return self.folder / kind / self.split / self.city / f"{self.stem}{ending}"


@DATASETS.register("cityscapes")
class CityscapesConfig(ReaderConfig):
    """Cityscapes: ``segmentation`` in 19 classes, and ``depth`` where there is disparity.

    ``test`` is the published ``val``; ``validation`` and ``confirm`` are cut from train by whole
    cities, or by recordings where train has one city only. ``depth`` is the stored disparity over
    1000, as in MTRobust: large is near, and it is no metres; pixels without disparity are invalid.
    """

    name: Literal["cityscapes"] = "cityscapes"
    """Registry name of the data set."""
    layout = Layout("cityscapes", ("leftImg8bit/train", "gtFine/train"))
    group = "city (or recording, with one city)"

    def read(self, folder: Path) -> Contents:
        """List pictures, label maps and disparity of both published splits."""
        published = {split: list_frames(folder, name) for split, name in FOLDERS.items()}
        frames = [frame for found in published.values() for frame in found]
        _check_complete(frames)
        resize = self.size is not None
        size = self.size or common_size([frame.picture for frame in frames])

        def read_image(row: int) -> Pixels:
            return read_picture(frames[row].picture, size, resize=resize)

        def read_labels(row: int) -> Pixels:
            return _read_labels(frames[row], size, resize=resize)

        def read_disparity(row: int) -> Numbers:
            return _read_disparity(frames[row], size, resize=resize)

        depth = LazyRows(len(frames), (1, *size), read_disparity, dtype=np.float32)
        return Contents(
            published={split: [f.name for f in found] for split, found in published.items()},
            images=LazyRows(len(frames), (3, *size), read_image),
            maps={"segmentation": LazyRows(len(frames), size, read_labels)},
            vectors={},
            class_names={"segmentation": CLASS_NAMES},
            groups=_groups(frames),
            numbers={"depth": depth} if is_folder(folder / "disparity") else {},
        )


def list_frames(folder: Path, split: str) -> list[Frame]:
    """The frames of a published split, by city and name; none where it is missing."""
    cities = subfolders(folder / "leftImg8bit" / split)
    paths = [path for city in cities for path in files_in(city, PICTURE.lower())]
    return [
        Frame(folder, split, path.parent.name, path.name.removesuffix(PICTURE))
        for path in paths
        if path.name.endswith(PICTURE)
    ]


def _groups(frames: Sequence[Frame]) -> dict[str, str]:
    """City of each frame, or its recording where train is one city."""
    one_city = len({frame.city for frame in frames if frame.split == "train"}) == 1
    return {frame.name: frame.sequence if one_city else frame.city for frame in frames}


def _check_complete(frames: Sequence[Frame]) -> None:
    """Raise DataError where a picture has no label map, or only some have disparity."""
    if not frames:
        raise DataError(
            f"data set 'cityscapes' must have pictures leftImg8bit/train/CITY/NAME{PICTURE}, "
            "found none; correct dataset.root"
        )
    partners = [frame.labels for frame in frames]
    if is_folder(frames[0].folder / "disparity"):
        partners += [frame.disparity for frame in frames]
    missing = [path for path in partners if not is_file(path)]
    if missing:
        raise DataError(
            "data set 'cityscapes' must have a label map for every picture (and disparity for all "
            f"or none), but {missing[0]} is missing (and {len(missing) - 1} more); "
            "complete the folder"
        )


def _read_labels(frame: Frame, size: tuple[int, int], *, resize: bool) -> Pixels:
    """A label map of train ids, 255 where a pixel is not scored."""
    path = frame.labels
    labels = read_class_map(path, size, resize=resize, picture=frame.picture)
    if path.name.endswith("_labelIds.png"):
        return TRAIN_IDS[labels]
    strange = labels[(labels >= len(CLASSES)) & (labels != IGNORE)]
    if strange.size:
        raise DataError(
            f"{path} must hold train ids 0 to 18 and 255, got {strange[0]}; "
            "make it again with the official tools"
        )
    return labels


def _read_disparity(frame: Frame, size: tuple[int, int], *, resize: bool) -> Numbers:
    """Disparity over 1000, ``(1, H, W)``; NaN where nothing was measured."""
    raw = read_numbers(frame.disparity, channels=1)
    if not resize:
        check_size(frame.disparity, (raw.shape[1], raw.shape[2]), size)
    values, valid = resize_numbers(raw, raw[0] > 0, size)
    return with_holes(values / DISPARITY_UNIT, valid)
