"""The ``dataset:`` section of the scenes, and what their tasks are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from taskgroup.data.base import DATASETS, DatasetConfig, Split, check_tasks
from taskgroup.data.label_free import label_free_infos
from taskgroup.data.scenes.cache import open_stored
from taskgroup.data.scenes.dataset import SceneDataset
from taskgroup.data.scenes.labels import PART_CLASSES, SEGMENTATION_CLASSES, SUPERCLASSES
from taskgroup.data.scenes.shapes import SHAPE_NAMES
from taskgroup.data.scenes.writing import SceneRequest
from taskgroup.tasks.base import TaskInfo

DEFAULT_SIZE = 64

# Measured over 4096 training scenes of seed 0 at 64 pixels; they hardly move with seed and size.
_SEGMENTATION_SHARES = (0.395, 0.267, 0.116, 0.040, 0.034, 0.037, 0.022, 0.025, 0.038, 0.026)
_PART_SHARES = (0.778, 0.057, 0.080, 0.085)
_SHAPE_SHARES = (0.175, 0.147, 0.166, 0.096, 0.128, 0.173, 0.115)
_SUPERCLASS_SHARES = (0.476, 0.262, 0.262)

_INFOS = (
    TaskInfo("segmentation", len(SEGMENTATION_CLASSES), SEGMENTATION_CLASSES, _SEGMENTATION_SHARES),
    TaskInfo("parts", len(PART_CLASSES), PART_CLASSES, _PART_SHARES, background=0),
    TaskInfo("classification", len(SHAPE_NAMES), SHAPE_NAMES, _SHAPE_SHARES),
    TaskInfo("superclass", len(SUPERCLASSES), SUPERCLASSES, _SUPERCLASS_SHARES),
    TaskInfo("depth"),
    TaskInfo("normals"),
    TaskInfo("occlusion_edges"),
    TaskInfo("curvature"),
    TaskInfo("reshading"),
    TaskInfo("albedo"),
    TaskInfo("saliency"),
    TaskInfo("keypoints3d"),
)


Scenes = Annotated[int, Field(ge=1, le=10_000_000)]


@DATASETS.register("scenes")
class SceneConfig(DatasetConfig):
    """Procedural rooms, rendered here: every label exact, nothing to download."""

    name: Literal["scenes"] = "scenes"
    """Registry name of the data set."""
    image_size: Annotated[int, Field(ge=32, le=512)] | None = DEFAULT_SIZE
    """Height and width in pixels, 32 to 512; None means 64."""
    train: Scenes | None = 1024
    """Number of training samples; None means 1024."""
    validation: Scenes | None = 256
    """Samples of the split that the search objective is measured on; None means 256."""
    confirm: Scenes | None = 256
    """Samples of the split that only the confirm stage sees; None means 256."""
    test: Scenes | None = 256
    """Samples of the split that only ``evaluate`` sees; None means 256."""

    @field_validator("root")
    @classmethod
    def _no_root(cls, root: Path | None) -> None:
        if root is not None:
            raise ValueError(
                f"root must be left out for scenes, which are rendered, got {str(root)!r}; "
                "the environment variable TASKGROUP_CACHE says where they are kept"
            )

    @field_validator("download")
    @classmethod
    def _no_download(cls, download: bool) -> bool:
        if download:
            raise ValueError("download must be left out for scenes: they are rendered, got true")
        return download

    def sample_size(self) -> tuple[int, int]:
        """Height and width of every scene."""
        size = DEFAULT_SIZE if self.image_size is None else self.image_size
        return size, size

    def count(self, split: Split) -> int:
        """Number of samples of a split."""
        asked = {
            "train": self.train,
            "validation": self.validation,
            "confirm": self.confirm,
            "test": self.test,
        }[split]
        return asked or (1024 if split == "train" else 256)

    def tasks(self) -> Mapping[str, TaskInfo]:
        """Every task, the label-free ones included; nothing is rendered for this."""
        return {info.name: info for info in _INFOS} | label_free_infos()

    def open(self, split: Split, tasks: Sequence[str]) -> SceneDataset:
        """Open one split; it is rendered at first use and read from the cache ever after.

        Raises:
            ConfigError: A task that the scenes lack.
            ResourceError: The cache folder is full or cannot be written.
        """
        check_tasks(self, tasks)
        size, _ = self.sample_size()
        request = SceneRequest(self.seed, split, size, self.count(split))
        return SceneDataset(open_stored(request), request.count, tuple(tasks))
