"""Contact sheets: every kind of target is drawn, and a person could read the sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from taskgroup.data.base import Batch, DatasetConfig, Split, VisionDataset
from taskgroup.data.gallery import CELL, INVALID, class_colours, draw_gallery, gallery
from taskgroup.data.scenes import SceneConfig
from taskgroup.errors import ConfigError, ResourceError
from taskgroup.tasks.base import IGNORE, Target, TaskInfo

HEIGHT, WIDTH = 20, 30
INFOS = (
    TaskInfo("segmentation", 3, ("road", "sky", "car")),
    TaskInfo("classification", 2, ("cat", "dog")),
    TaskInfo("depth"),
    TaskInfo("curvature"),
    TaskInfo("normals"),
)


class Drawn(VisionDataset):
    """Four samples with one target of every kind; the last sample lacks every label."""

    def __len__(self) -> int:
        return 4

    def batch(self, indices: Sequence[int]) -> Batch:
        n = len(indices)
        known = torch.tensor([index != 3 for index in indices])
        valid = known[:, None, None].expand(n, HEIGHT, WIDTH)
        classes = torch.arange(WIDTH).expand(n, HEIGHT, WIDTH) // 10
        maps = {"depth": 1, "curvature": 2, "normals": 3}
        ramp = torch.linspace(-1, 1, WIDTH).expand(n, 1, HEIGHT, WIDTH)
        targets = {
            "segmentation": Target(classes.where(valid, torch.tensor(IGNORE)), valid),
            "classification": Target(torch.full((n,), 1).where(known, torch.tensor(IGNORE)), known),
            **{name: Target(ramp.repeat(1, c, 1, 1), valid) for name, c in maps.items()},
        }
        return Batch(torch.rand(n, 3, HEIGHT, WIDTH), targets, torch.tensor(indices))


class DrawnConfig(DatasetConfig):
    """A data set of drawn samples."""

    name: str = "drawn"

    def tasks(self) -> Mapping[str, TaskInfo]:
        return {info.name: info for info in INFOS}

    def open(self, split: Split, tasks: Sequence[str]) -> VisionDataset:
        return Drawn()


def cell(sheet: Image.Image, row: int, column: int) -> np.ndarray:
    """Pixels of one cell; maps of 20 x 30 are drawn seven times as large, six pixels apart."""
    left, top = column * (7 * WIDTH + 6), 16 + row * (7 * HEIGHT + 6)
    return np.asarray(sheet)[top : top + 7 * HEIGHT, left : left + 7 * WIDTH]


@pytest.fixture
def sheet() -> Image.Image:
    return gallery(Drawn(), INFOS, count=4)


def test_one_row_per_sample_and_one_column_per_task(sheet: Image.Image) -> None:
    assert HEIGHT * 7 >= CELL
    assert sheet.width == (1 + len(INFOS)) * (7 * WIDTH + 6)
    assert sheet.height == 16 + 4 * (7 * HEIGHT + 6) + 16  # and one legend


def test_classes_have_their_colours_and_the_unlabelled_is_dark(sheet: Image.Image) -> None:
    segmentation = cell(sheet, 0, 1)
    for number, colour in enumerate(class_colours(3)):
        middle = segmentation[70, 7 * (10 * number + 5)]
        assert middle.tolist() == colour.tolist()
    for column in (1, 3, 4, 5):
        assert (cell(sheet, 3, column) == INVALID).all()
        assert not (cell(sheet, 0, column) == INVALID).all()


def test_a_class_of_the_whole_image_is_written_as_a_word(sheet: Image.Image) -> None:
    known, unknown = cell(sheet, 0, 2), cell(sheet, 3, 2)
    assert known.min() < 100  # ink
    assert not np.array_equal(known, unknown)


def test_measures_run_from_dark_to_bright(sheet: Image.Image) -> None:
    depth = cell(sheet, 0, 3).astype(int).sum(axis=2)
    assert (np.diff(depth[0, ::7]) >= 0).all()
    assert depth[0, -1] > depth[0, 0] + 200
    normals = cell(sheet, 0, 5)[0]
    assert normals[0].tolist() == [0, 0, 0]
    assert normals[-1].tolist() == [255, 255, 255]


def test_fewer_samples_than_asked_for() -> None:
    assert gallery(Drawn(), INFOS, count=99).size == gallery(Drawn(), INFOS, count=4).size
    assert gallery(Drawn(), (), count=1).width == 7 * WIDTH + 6


def test_colours_tell_classes_apart() -> None:
    colours = class_colours(IGNORE)
    assert len({tuple(colour) for colour in colours.tolist()}) > 240
    assert (class_colours(5) == colours[:5]).all()
    assert not (colours == INVALID).all(axis=1).any()


def test_scenes_are_drawn_with_every_task(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "sheet.png"
    config = SceneConfig(image_size=32, train=4)
    draw_gallery(config, path, count=3)
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 15 * CELL
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]
    draw_gallery(config, path, split="train", tasks=["depth"], count=1)
    with Image.open(path) as sheet:
        assert sheet.width < 3 * CELL


def test_wrong_requests_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="count must be at least 1, got 0"):
        draw_gallery(DrawnConfig(), tmp_path / "sheet.png", count=0)
    with pytest.raises(ConfigError, match="has no task 'edges'"):
        draw_gallery(DrawnConfig(), tmp_path / "sheet.png", tasks=["edges"])
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"the gallery must be written to .*, but: "):
        draw_gallery(DrawnConfig(), tmp_path / "file" / "sheet.png")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
