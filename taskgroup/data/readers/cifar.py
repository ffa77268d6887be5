"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their original Python form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.base import DATASETS, Split
from taskgroup.data.files.download import Download
from taskgroup.data.files.locate import Layout
from taskgroup.data.files.pictures import LazyRows, Pixels
from taskgroup.data.files.unpickle import unpickle_arrays
from taskgroup.data.readers.reader import Contents, ReaderConfig
from taskgroup.errors import DataError

SIDE = 32
"""Height and width of the pictures."""
ADDRESS = "https://www.cs.toronto.edu/~kriz"


class CifarConfig(ReaderConfig):
    """Base of both: batch files of rows, a meta file of class names; fewer rows are fine."""

    files: ClassVar[Mapping[Split, Sequence[str]]]
    labels: ClassVar[Mapping[str, tuple[str, str]]]
    """Keys of the labels in a batch file and of the names in the meta file, by task."""
    meta: ClassVar[str]

    def read(self, folder: Path) -> Contents:
        """Read every batch file; rows keep their order, so names are file and row."""
        names = {
            task: _class_names(folder / self.meta, key) for task, (_, key) in self.labels.items()
        }
        published: dict[Split, list[str]] = {}
        pixels: list[Pixels] = []
        labels: dict[str, list[NDArray[np.int64]]] = {task: [] for task in self.labels}
        for split, files in self.files.items():
            published[split] = []
            for file in files:
                batch = unpickle_arrays(folder / file)
                rows = _pixels(batch, folder / file)
                published[split] += [f"{file}/{row}" for row in range(len(rows))]
                pixels.append(rows)
                for task, (key, _) in self.labels.items():
                    expected = (len(rows), len(names[task]))
                    labels[task].append(_labels(batch, key, folder / file, expected))
        return Contents(
            published=published,
            images=LazyRows.of(np.concatenate(pixels), self.size),
            maps={},
            vectors={task: np.concatenate(found) for task, found in labels.items()},
            class_names=names,
        )


@DATASETS.register("cifar10")
class Cifar10Config(CifarConfig):
    """CIFAR-10: 32 x 32 photographs of 10 classes; validation and confirm are cut from train."""

    name: Literal["cifar10"] = "cifar10"
    """Registry name of the data set."""
    files: ClassVar[Mapping[Split, Sequence[str]]] = {
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test": ("test_batch",),
    }
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {"classification": ("labels", "label_names")}
    meta = "batches.meta"
    layout = Layout("cifar10", (*files["train"], *files["test"], meta))
    archive = Download(
        "cifar-10-batches-py",
        {f"{ADDRESS}/cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    )


@DATASETS.register("cifar100")
class Cifar100Config(CifarConfig):
    """CIFAR-100: 100 fine classes and their 20 superclasses, a task each."""

    name: Literal["cifar100"] = "cifar100"
    """Registry name of the data set."""
    files: ClassVar[Mapping[Split, Sequence[str]]] = {"train": ("train",), "test": ("test",)}
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {
        "classification": ("fine_labels", "fine_label_names"),
        "superclass": ("coarse_labels", "coarse_label_names"),
    }
    meta = "meta"
    layout = Layout("cifar100", ("train", "test", meta))
    archive = Download(
        "cifar-100-python",
        {f"{ADDRESS}/cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    )


def _class_names(path: Path, key: str) -> tuple[str, ...]:
    names = unpickle_arrays(path).get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"{path} must hold a list of class names under {key!r}, got "
            f"{type(names).__name__}; fetch the file again from the original source"
        )
    return tuple(names)


def _pixels(batch: Mapping[str, Any], path: Path) -> Pixels:
    """Pictures ``(P, 3, 32, 32)`` of a batch file."""
    data = batch.get("data")
    width = 3 * SIDE * SIDE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (width,):
        found = (
            f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        )
        raise DataError(
            f"{path} must hold uint8 rows of {width} numbers under 'data', got {found}; "
            "fetch the file again from the original source"
        )
    return data.reshape(-1, 3, SIDE, SIDE)


def _labels(
    batch: Mapping[str, Any], key: str, path: Path, expected: tuple[int, int]
) -> NDArray[np.int64]:
    """Class numbers of a batch file; ``expected`` are the numbers of rows and of classes."""
    rows, classes = expected
    labels = batch.get(key)
    if not isinstance(labels, list) or len(labels) != rows or not _are_classes(labels, classes):
        raise DataError(
            f"{path} must hold {rows} class numbers from 0 to {classes - 1} under {key!r}, one per "
            "row of 'data', got something else; fetch the file again from the original source"
        )
    return np.array(labels, np.int64)


def _are_classes(labels: list[Any], classes: int) -> bool:
    return all(isinstance(number, int) and 0 <= number < classes for number in labels)
