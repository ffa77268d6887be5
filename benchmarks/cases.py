"""Networks, batches and timing in pairs, shared by the benchmarks of steps."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

import taskgroup.attacks
import taskgroup.models
import taskgroup.tasks  # noqa: F401  (these three fill the registries)
from taskgroup.data.base import Batch
from taskgroup.models.base import ModelConfig
from taskgroup.tasks.base import Target, Task, TaskInfo, build_task

NUM_CLASSES = 19
INFOS = (TaskInfo("segmentation", num_classes=NUM_CLASSES), TaskInfo("depth"), TaskInfo("normals"))
MAIN = "segmentation"
LARGE = ModelConfig(backbone="resnet18", output_stride=8, decoder="upconv", decoder_width=64)
SMALL = ModelConfig(backbone="resnet_small", width=16)
TIED_DRN = ModelConfig(backbone="drn_d_22", decoder="bilinear")
UNTIED_DRN = ModelConfig(backbone="drn_d_22", decoder="bilinear", untied=True)


def three_tasks() -> tuple[Task, ...]:
    """Segmentation, depth, normals."""
    return tuple(build_task(info) for info in INFOS)


def draw_batch(*, size: int, count: int) -> Batch:
    """Random images of ``size`` by ``size`` pixels with targets for the three tasks."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, size, size, generator=generator)
    valid = torch.ones(count, size, size, dtype=torch.bool)
    classes = torch.randint(0, NUM_CLASSES, (count, size, size), generator=generator)
    normals = torch.randn(count, 3, size, size, generator=generator)
    targets = {
        "segmentation": Target(classes, valid),
        "depth": Target(1 + images[:, :1], valid),
        "normals": Target(nn.functional.normalize(normals, dim=1), valid),
    }
    return Batch(images, targets, torch.arange(count))


@dataclass(frozen=True)
class Timing:
    """Seconds of several ways to do one thing, measured in turn.

    Attributes:
        seconds: Per way one number for each round.
    """

    seconds: Mapping[str, Sequence[float]]

    def median(self, way: str) -> float:
        """Median seconds of a way."""
        return statistics.median(self.seconds[way])

    def ratio(self, way: str, other: str) -> float:
        """Median over rounds of the seconds of one way over those of another."""
        pairs = zip(self.seconds[way], self.seconds[other], strict=True)
        return statistics.median(first / second for first, second in pairs)


def time_in_turn(ways: Mapping[str, Callable[[], object]], *, rounds: int) -> Timing:
    """Call every way once per round, so that a busy machine slows all; the first round is lost."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, function in ways.items():
            begin = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - begin)
    return Timing(seconds)
