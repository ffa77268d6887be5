"""Networks, batches and timing in pairs, shared by the benchmarks of steps."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import taskgroup.attacks
import taskgroup.models
import taskgroup.tasks  # noqa: F401  (these three fill the registries)
from taskgroup.data.base import Batch
from taskgroup.models.base import Backbone, Decoder, ModelConfig
from taskgroup.models.layers import conv_norm, conv_norm_relu
from taskgroup.models.multitask import MapHead, MultitaskModel
from taskgroup.tasks.base import Target, Task, TaskInfo, build_task

NUM_CLASSES = 19
INFOS = (TaskInfo("segmentation", num_classes=NUM_CLASSES), TaskInfo("depth"), TaskInfo("normals"))
MAIN = "segmentation"
LARGE = ModelConfig(backbone="resnet18", output_stride=8, decoder="upconv", decoder_width=64)
SMALL = ModelConfig(backbone="resnet_small", width=16)


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


class Block(nn.Module):
    """Two dilated 3x3 convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *conv_norm_relu(inputs, outputs, stride=stride), *conv_norm(outputs, outputs)
        )
        dilate(self.path, dilation)
        changes = stride != 1 or inputs != outputs
        self.shortcut = (
            conv_norm(inputs, outputs, kernel=1, stride=stride) if changes else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(N, outputs, h, w)``."""
        result: Tensor = torch.relu(self.path(features) + self.shortcut(features))
        return result


def dilate(module: nn.Module, dilation: int) -> None:
    """Set the dilation of every 3x3 convolution, sizes kept."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation = layer.padding = (dilation, dilation)


class DilatedTrunk(Backbone):
    """Levels 0 to 5 of DRN-D-22 (Yu, Koltun and Funkhouser, 2017): 256 channels at stride 8."""

    channels = (256,)
    strides = (8,)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.levels = nn.Sequential(
            conv_norm_relu(3, 16, kernel=7),
            conv_norm_relu(16, 16),
            conv_norm_relu(16, 32, stride=2),
            Block(32, 64, stride=2),
            Block(64, 64),
            Block(64, 128, stride=2),
            Block(128, 128),
            Block(128, 256, dilation=2),
            Block(256, 256, dilation=2),
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """One feature map ``(N, 256, H / 8, W / 8)``."""
        return [self.levels(images)]


class DilatedDecoder(Decoder):
    """Levels 6 to 8 of DRN-D-22, which its multi-task version runs once per task."""

    channels = 512

    def __init__(self) -> None:
        super().__init__()
        wide = conv_norm_relu(512, 512)
        dilate(wide, 2)
        self.levels = nn.Sequential(
            Block(256, 512, dilation=4),
            Block(512, 512, dilation=4),
            wide,
            conv_norm_relu(512, 512),
        )

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features ``(N, 512, H / 8, W / 8)``."""
        result: Tensor = self.levels(features[-1])
        return result


def dilated_model(tasks: Sequence[Task]) -> MultitaskModel:
    """DRN-D-22 with one decoder per task."""
    torch.manual_seed(0)
    heads = {task.name: MapHead(DilatedDecoder(), task.channels) for task in tasks}
    trunk = DilatedTrunk(ModelConfig())
    model = MultitaskModel(trunk, heads, mean=trunk.mean, std=trunk.std)
    return model.to(memory_format=torch.channels_last)


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
