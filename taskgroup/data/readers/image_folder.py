"""Any folder of pictures; its sub-folders are classes and splits where they look like it."""

from pathlib import Path
from typing import Literal

import numpy as np

from taskgroup.data.base import DATASETS, Split
from taskgroup.data.files.listing import files_below
from taskgroup.data.files.locate import ENVIRONMENT, data_folder
from taskgroup.data.files.pictures import FORMATS, LazyRows, Pixels, common_size, read_picture
from taskgroup.data.readers.reader import UNLABELLED, Contents, ReaderConfig
from taskgroup.errors import DataError
from taskgroup.paths import is_folder, shown_path

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
        if found is None or not is_folder(found):
            raise DataError(
                "dataset.root must be a folder of pictures for data set 'image_folder', got "
                f"{shown_path(found) if found else 'none'}; set it ({ENVIRONMENT}/image_folder is "
                "used without it)"
            )
        return found

    def read(self, folder: Path) -> Contents:
        """List pictures, splits and classes; without ``image_size`` check that sizes agree."""
        places = split_folders(folder)
        listed = {split: files_below(place, tuple(FORMATS)) for split, place in places.items()}
        paths = [path for found in listed.values() for path in found]
        if not paths:
            raise DataError(
                f"{folder} must hold pictures ({', '.join(sorted(FORMATS))}), found none; "
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
    if not is_folder(folder / "train"):
        return {"train": folder}
    return {
        split: folder / name
        for split, names in SPLIT_FOLDERS.items()
        for name in [name for name in names if is_folder(folder / name)][:1]
    }


def _label(path: Path, folder: Path) -> str:
    """Name of the sub-folder that a picture lies in, or nothing."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""
