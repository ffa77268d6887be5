"""Taskonomy (Zamir et al. 2018): views of buildings with labels for eleven tasks."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from taskgroup.config import Config
from taskgroup.data.base import DATASETS, SPLITS, Split
from taskgroup.data.files.listing import files_below
from taskgroup.data.files.locate import Layout
from taskgroup.data.files.numbers import Mask, Numbers, read_numbers, resize_numbers, with_holes
from taskgroup.data.files.pictures import (
    LazyRows,
    Pixels,
    Size,
    check_size,
    common_size,
    read_picture,
)
from taskgroup.data.readers.reader import Contents, ReaderConfig
from taskgroup.data.readers.taskonomy_encodings import (
    DepthUnit,
    Encoding,
    depth_is_known,
    encodings,
)
from taskgroup.data.readers.taskonomy_labels import (
    CLASS_NAMES,
    is_labelled,
    read_labels,
    unlabelled,
    warn_unlabelled,
)
from taskgroup.errors import DataError
from taskgroup.paths import is_file, is_folder

SEGMENTATION = ("segment_semantic", "segmentsemantic")
"""Names of the label maps' folder, and of their files in either."""
GEOMETRY = "depth_euclidean"
"""Domain that says where the geometry is known."""
PICTURE = re.compile(r"point_(\d+)_view_(\d+)_domain_rgb\.png")


@dataclass(frozen=True)
class View:
    """One picture of Taskonomy.

    Attributes:
        folder: Folder that holds one folder per domain.
        building: Folder of the building inside a domain's, or ``"."`` for one building.
        point: Number of the point that the camera looks at.
        view: Number of the camera.
    """

    folder: Path
    building: str
    point: int
    view: int

    @property
    def place(self) -> str:
        """Building and point, which all views of one spot share."""
        return f"{self.building}/{self.point}"

    def file(self, domain: str, name: str = "") -> Path:
        """A file of this view, built from its parts; ``name`` where it is not the folder's."""
        file = f"point_{self.point}_view_{self.view}_domain_{name or domain}.png"
        return self.folder / domain / self.building / file

    @property
    def labels(self) -> Path:
        """The label map that there is; the official name where there is none."""
        paths = [self.file(domain, name) for domain in SEGMENTATION for name in SEGMENTATION[::-1]]
        return next((path for path in paths if is_file(path)), paths[0])


class BuildingSplits(Config):
    """Buildings by split; an empty list is cut from train, or for train all that is not named."""

    train: tuple[str, ...] = ()
    """Buildings of train; without any, all that no other split names."""
    validation: tuple[str, ...] = ()
    """Buildings that the search objective is measured on."""
    confirm: tuple[str, ...] = ()
    """Buildings that only the confirm stage sees."""
    test: tuple[str, ...] = ()
    """Buildings that only ``evaluate`` sees."""

    @model_validator(mode="after")
    def _check_disjoint(self) -> "BuildingSplits":
        named = [building for split in SPLITS for building in self.of(split)]
        twice = sorted({building for building in named if named.count(building) > 1})
        if twice:
            raise ValueError(f"a building must be in one split, got {twice[0]} twice; name it once")
        return self

    def of(self, split: Split) -> tuple[str, ...]:
        """Buildings named for a split."""
        found: tuple[str, ...] = getattr(self, split)
        return found


@DATASETS.register("taskonomy")
class TaskonomyConfig(ReaderConfig):
    """Taskonomy: ``DOMAIN/[BUILDING/]point_P_view_V_domain_DOMAIN.png``, up to eleven tasks.

    A task is there where its folder is. ``test`` is every point from ``test_from_point`` on
    (MTRobust's 1200), or the buildings named; missing splits are cut from train by whole points.
    ``autoencoding`` is the picture; ``edges`` and ``keypoints2d`` are computed from it where
    their folders are missing.
    """

    name: Literal["taskonomy"] = "taskonomy"
    """Registry name of the data set."""
    test_from_point: Annotated[int, Field(ge=1)] = 1200
    """First point of the test split, where buildings are not named."""
    buildings: BuildingSplits | None = None
    """Buildings of each split, instead of ``test_from_point``."""
    depth_unit: DepthUnit = "log"
    """``log`` is ``ln(1 + v) / ln(65536)`` of the stored number, ``metres`` is ``v / 512``."""
    layout = Layout("taskonomy", ("rgb/**/point_*_domain_rgb.png",))
    group = "point"

    def read(self, folder: Path) -> Contents:
        """List the views of each split and the tasks that have a folder."""
        published = self._split(list_views(folder))
        views = [view for found in published.values() for view in found]
        resize = self.size is not None
        size = self.size or common_size([view.file("rgb") for view in views])

        def read_image(row: int) -> Pixels:
            return read_picture(views[row].file("rgb"), size, resize=resize)

        has_labels = any(is_folder(folder / domain) for domain in SEGMENTATION)
        present = _present(folder, encodings(self.depth_unit))
        files = {task: _files(views, encoding) for task, encoding in present.items()}
        if has_labels:
            files["segmentation"] = lambda row: [views[row].labels]
        return Contents(
            published={split: [_name(v) for v in found] for split, found in published.items()},
            images=LazyRows(len(views), (3, *size), read_image),
            maps={"segmentation": _label_rows(views, size)} if has_labels else {},
            vectors={},
            class_names={"segmentation": CLASS_NAMES} if has_labels else {},
            groups={_name(view): view.place for view in views},
            numbers={
                task: _rows(views, encoding, size, resize=resize)
                for task, encoding in present.items()
            },
            files=files,
            optional=frozenset({"segmentation"}),
        )

    def _split(self, views: Sequence[View]) -> dict[Split, list[View]]:
        """Views of each split that is published; the others are empty."""
        if self.buildings is None:
            first = self.test_from_point
            return {
                "train": [view for view in views if view.point < first],
                "test": [view for view in views if view.point >= first],
            }
        split_of = {name: split for split in SPLITS for name in self.buildings.of(split)}
        _check_known(split_of, {view.building for view in views})
        rest: Split | None = None if self.buildings.train else "train"
        return {
            split: [view for view in views if split_of.get(view.building, rest) == split]
            for split in SPLITS
        }


def list_views(folder: Path) -> list[View]:
    """Every view that has a picture, by building, point and number."""
    found = []
    for path in files_below(folder / "rgb", "_domain_rgb.png"):
        numbers = PICTURE.fullmatch(path.name)
        if numbers:
            building = path.parent.relative_to(folder / "rgb").as_posix()
            found.append(View(folder, building, int(numbers[1]), int(numbers[2])))
    return sorted(found, key=lambda view: (view.building, view.point, view.view))


def _name(view: View) -> str:
    return f"{view.building}/point_{view.point}_view_{view.view}"


def _check_known(named: Iterable[str], there: set[str]) -> None:
    unknown = sorted(set(named) - there)
    if unknown:
        raise DataError(
            f"dataset.buildings must name folders below rgb, got {unknown[0]!r}; "
            f"there are: {', '.join(sorted(there))}"
        )


def _present(folder: Path, known: Mapping[str, Encoding]) -> dict[str, Encoding]:
    """Encodings whose folder is there, and the geometry's too where it is the mask."""
    has_geometry = is_folder(folder / GEOMETRY)
    return {
        task: encoding
        for task, encoding in known.items()
        if is_folder(folder / encoding.domain) and (has_geometry or encoding.mask != "geometry")
    }


def _label_rows(views: Sequence[View], size: Size) -> LazyRows[np.uint8]:
    """Class maps; all files are looked for at the first that is missing, and never before."""

    @cache
    def warn_once() -> None:
        warn_unlabelled([view.labels for view in views])

    def read(row: int) -> Pixels:
        path = views[row].labels
        if is_labelled(path):
            return read_labels(path, size)
        warn_once()
        return unlabelled(size)

    return LazyRows(len(views), size, read)


def _files(views: Sequence[View], encoding: Encoding) -> Callable[[int], Sequence[Path]]:
    """The files of a task's target by the row of its picture."""
    domains = (encoding.domain, *([GEOMETRY] if encoding.mask == "geometry" else []))
    return lambda row: [views[row].file(domain) for domain in domains]


def _rows(
    views: Sequence[View], encoding: Encoding, size: Size, *, resize: bool
) -> LazyRows[np.float32]:
    def read(row: int) -> Numbers:
        return read_target(views[row], encoding, size, resize=resize)

    channels = len(encoding.encode(np.ones((encoding.channels, 1, 1), np.float32)))
    return LazyRows(len(views), (channels, *size), read, dtype=np.float32)


def read_target(view: View, encoding: Encoding, size: Size, *, resize: bool) -> Numbers:
    """The target of one view, ``(C, H, W)``, NaN where invalid.

    Raises:
        DataError: A file is missing, damaged, or of another size.
    """
    path = view.file(encoding.domain)
    raw = read_numbers(path, channels=encoding.channels)
    own = (raw.shape[1], raw.shape[2])
    if not resize:
        check_size(path, own, size)
    values, valid = resize_numbers(raw, _valid(view, encoding, raw), size)
    return with_holes(encoding.encode(values), valid).astype(np.float32)


def _valid(view: View, encoding: Encoding, raw: Numbers) -> Mask:
    """Where the file's numbers are a target, ``(H, W)``."""
    if encoding.mask == "everywhere":
        return np.ones(raw.shape[1:], bool)
    if encoding.mask == "depth":
        return depth_is_known(raw)
    path = view.file(GEOMETRY)
    geometry = read_numbers(path, channels=1)
    if geometry.shape[1:] != raw.shape[1:]:
        raise DataError(
            f"{path} must have the {raw.shape[1]} x {raw.shape[2]} pixels of "
            f"{view.file(encoding.domain).name}, got {geometry.shape[1]} x {geometry.shape[2]}; "
            "bring both to one size with: taskgroup data prepare taskonomy"
        )
    return depth_is_known(geometry)
