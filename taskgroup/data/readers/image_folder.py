"""Any folder of pictures; its sub-folders are classes and splits where they look like it."""

from pathlib import Path
from typing import Literal

import numpy as np

from taskgroup.data.base import DATASETS, Split
from taskgroup.data.files.locate import ENVIRONMENT, data_folder, subfolders
from taskgroup.data.files.pictures import LazyRows, Pixels, common_size, read_picture
from taskgroup.data.readers.reader import UNLABELLED, Contents, ReaderConfig
from taskgroup.errors import DataError

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif")
)
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "val"),
    "confirm": ("confirm",),
    "test": ("test",),
}


@DATASETS.register("image_folder")
class ImageFolderConfig(ReaderConfig):
    """Pictures of any folder, however deep.

    With a sub-folder ``train``, the sub-folders ``train``, ``validation`` (or ``val``),
    ``confirm`` and ``test`` are splits; the missing ones are cut from train, all of them from the
    whole folder where there is no ``train``. Two or more sub-folders with pictures are the
    classes of ``classification``, in alphabetical order; pictures beside them have no label.
    """

    name: Literal["image_folder"] = "image_folder"
    """Registry name of the data set."""

    def folder(self) -> Path:
        """The root itself, or the folder ``image_folder`` below TASKGROUP_DATA.

        Raises:
            DataError: There is no such folder.
        """
        below = data_folder()
        found = self.root or (below / "image_folder" if below else None)
        if found is None or not found.is_dir():
            raise DataError(
                "dataset.root must be a folder of pictures for data set 'image_folder', got "
                f"{found or 'none'}; set it ({ENVIRONMENT}/image_folder is used without it)"
            )
        return found

    def read(self, folder: Path) -> Contents:
        """List pictures, splits and classes; without ``image_size`` check that sizes agree."""
        places = split_folders(folder)
        listed = {split: _pictures(place) for split, place in places.items()}
        paths = [path for found in listed.values() for path in found]
        if not paths:
            raise DataError(
                f"{folder} must hold pictures ({', '.join(sorted(SUFFIXES))}), found none; "
                "correct dataset.root"
            )
        size = self.size or common_size(paths)

        def read_image(row: int) -> Pixels:
            return read_picture(paths[row], size, resize=self.size is not None)

        labels = [_label(path, places[split]) for split in listed for path in listed[split]]
        classes = sorted({label for label in labels if label})
        numbers = {label: number for number, label in enumerate(classes)}
        vector = np.array([numbers.get(label, UNLABELLED) for label in labels], np.int64)
        labelled = len(classes) >= 2
        return Contents(
            published={
                split: [path.relative_to(folder).as_posix() for path in found]
                for split, found in listed.items()
            },
            images=LazyRows(len(paths), (3, *size), read_image),
            maps={},
            vectors={"classification": vector} if labelled else {},
            class_names={"classification": tuple(classes)} if labelled else {},
        )


def split_folders(folder: Path) -> dict[Split, Path]:
    """Folder of each split; the whole folder is train where it has no sub-folder ``train``."""
    if not (folder / "train").is_dir():
        return {"train": folder}
    return {
        split: folder / name
        for split, names in SPLIT_FOLDERS.items()
        for name in [name for name in names if (folder / name).is_dir()][:1]
    }


def _pictures(folder: Path) -> list[Path]:
    """Every picture below a folder, by path; hidden files and folders are left out."""
    own = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    below = [path for child in subfolders(folder) for path in _pictures(child)]
    return sorted(own) + below


def _label(path: Path, folder: Path) -> str:
    """Name of the sub-folder that a picture lies in, or nothing."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""
