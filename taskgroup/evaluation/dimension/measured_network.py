"""One network with its images, as every curve of output dimension needs it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.base import Batch
from taskgroup.errors import DataError
from taskgroup.evaluation.dimension.options import (
    OF_OUTPUTS,
    DimensionOptions,
    Part,
    gradient_outputs,
)
from taskgroup.evaluation.loading import LoadedNetworks, TrainedModel
from taskgroup.evaluation.shards.shard import images_per_shard, pieces
from taskgroup.evaluation.subjects import Subject
from taskgroup.results.records import Combination, DimensionRow
from taskgroup.study.intervals import Interval
from taskgroup.tasks.base import Task
from taskgroup.wording import counted

Floats = NDArray[np.float64]
COMBINED: tuple[Combination, ...] = ("sum", "unit_gradient")
"""How several tasks become one: the published sum, in which one task may drown the others, and
gradients divided by their lengths."""
Tick = Callable[[float], None]
"""Told which share of a part is done."""


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network, its images and what to do with them.

    Attributes:
        subject: Whose network it is.
        loaded: Where it lies; fixed while it is measured.
        place: Its position there.
        options: What was asked for.
    """

    subject: Subject
    loaded: LoadedNetworks
    place: int
    options: DimensionOptions

    @property
    def trained(self) -> TrainedModel:
        """The network."""
        return self.loaded.networks[self.place]

    @cached_property
    def task(self) -> Task:
        """The task whose outputs are counted."""
        return self.options.counted_task(self.trained)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is measured of it."""
        return self.options.chosen_parts(self.task)

    def check(self) -> None:
        """Find what cannot be measured before anything is.

        Raises:
            ConfigError: A task, a part, a radius or a number of outputs that is none.
            DataError: Nothing is labelled.
        """
        self.options.budget(self.trained)
        if set(self.parts) & set(OF_OUTPUTS):
            gradient_outputs(self.options.grid, self.options.outputs, self.valid.tolist())

    @property
    def count(self) -> int:
        """Number of images."""
        return min(self.options.images, len(self.loaded.datasets[self.place]))

    @cached_property
    def valid(self) -> NDArray[np.int64]:
        """Valid outputs of the task in each image.

        Raises:
            DataError: There is none in any image.
        """
        counts = [
            int(self.loaded.datasets[self.place].batch([image]).targets[self.task.name].valid.sum())
            for image in range(self.count)
        ]
        if max(counts) == 0:
            raise DataError(
                f"the images must have a valid pixel for task {self.task.name!r}, found none in "
                f"{counted(self.count, 'image')} of data set {self.trained.dataset.name!r}; "
                "check its labels, or raise --images"
            )
        return np.array(counts)

    def batches(self, most: int | None = None) -> Iterator[Batch]:
        """The images in batches of at most ``most``."""
        pixels = self.loaded.datasets[self.place][0].images[0, 0].numel()
        per = images_per_shard(pixels, self.loaded.device, channels=self.task.channels)
        for first, stop in pieces(self.count, per if most is None else min(per, most)):
            yield self.loaded.batch(self.place, first, stop)

    def row(self, *, interval: Interval, **fields: Any) -> DimensionRow:
        """A record of this network."""
        options = self.options
        common: Mapping[str, Any] = {
            "trial": self.subject.trial,
            "label": self.subject.label,
            "role": self.subject.role,
            "task": self.task.name,
            "combine": "sum",
            "clean": None,
            "values": (),
            "attack": "",
            "norm": "l2",
            "epsilon": 0.0,
            "steps": 0,
            "restarts": 0,
            "grid": options.grid_name,
            "seed_compatible": options.seed_compatible,
            "seed": options.seed,
            "split": options.split,
        }
        return DimensionRow(**{**common, **fields, "low": interval.low, "high": interval.high})
