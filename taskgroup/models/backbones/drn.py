"""Dilated residual networks, arch D (Yu, Koltun and Funkhouser, 2017, arXiv:1705.09914).

Levels and blocks keep the published names (below ``levels.``), so that published weights fit.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from taskgroup.models.backbones.layers import he_initialise
from taskgroup.models.base import BACKBONES, Backbone, ModelConfig, TaskLayers

WIDTHS = (16, 32, 64, 128, 256, 512, 512, 512)
"""Channels of levels 1 to 8, before a bottleneck's expansion; level 0 has those of level 1."""
TRUNK = 6
"""Levels 0 to 5 are the trunk; MTRobust's decoders begin with level 6."""
STRIDES = (2, 4, 8, 8)
"""Strides of levels 2, 3, 4 and of the last one."""


class BasicBlock(nn.Module):
    """Two dilated 3x3 convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride=stride, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(N, width, ceil(H / stride), ceil(W / stride))``."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, dilated 3x3 and 1x1 convolutions beside a shortcut; four times the width comes out."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride=stride, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(N, 4 width, ceil(H / stride), ceil(W / stride))``."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        return F.relu(self.bn3(self.conv3(out)) + self.downsample(x), inplace=True)


class DilatedResNet(Backbone):
    """The nine levels of a DRN-D: three convolutions, four residual levels, two convolutions.

    The stride stays at 8; levels 5 and 6 are dilated by 2 and 4 instead, and levels 7 and 8 undo
    the gridding that this brings. With ``model.untied`` every task has levels 6 to 8 of its own.

    Attributes:
        block: Residual block of levels 3 to 6.
        blocks: Blocks of levels 3 to 6.
    """

    options: ClassVar[tuple[str, ...]] = ("untied",)
    block: ClassVar[type[BasicBlock] | type[Bottleneck]] = BasicBlock
    blocks: ClassVar[tuple[int, int, int, int]]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.untied = config.untied
        self.strides = STRIDES
        last = WIDTHS[-1] if not self.untied else self._outputs(5)
        self.channels = (WIDTHS[1], self._outputs(3), self._outputs(4), last)
        count = TRUNK if self.untied else len(WIDTHS) + 1
        self.levels = nn.ModuleList(self._level(number) for number in range(count))
        he_initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs of levels 2, 3, 4 and of the last one for images ``(N, 3, H, W)``."""
        x, features = images, []
        for number, level in enumerate(self.levels):
            x = level(x)
            if number in (2, 3, 4):
                features.append(x)
        return [*features, x]

    def task_layers(self) -> TaskLayers:
        """Levels 6 to 8 of one task where they are not shared."""
        if not self.untied:
            return super().task_layers()
        return UntiedLevels(
            [self._level(number) for number in range(TRUNK, len(WIDTHS) + 1)],
            channels=(*self.channels[:-1], WIDTHS[-1]),
            strides=self.strides,
        )

    def _level(self, number: int) -> nn.Sequential:
        """One level; from level 3 on the strides are 2, 2, 1, 1 and dilations 1, 1, 2, 4."""
        if number <= 2:
            inputs, kernel = (3, 7) if number == 0 else (WIDTHS[0], 3)
            return _conv_level(inputs, WIDTHS[max(number, 1) - 1], kernel, 1 + number // 2)
        if number >= 7:
            inputs = self._outputs(6) if number == 7 else WIDTHS[6]
            return _conv_level(inputs, WIDTHS[number - 1], dilation=2 if number == 7 else 1)
        stride, dilation = (2, 1) if number <= 4 else (1, 2 ** (number - 4))
        inputs = WIDTHS[1] if number == 3 else self._outputs(number - 1)
        width, outputs = WIDTHS[number - 1], self._outputs(number)
        first = self.block(inputs, width, stride=stride, dilation=dilation)
        others = range(1, self.blocks[number - 3])
        return nn.Sequential(
            first, *(self.block(outputs, width, stride=1, dilation=dilation) for _ in others)
        )

    def _outputs(self, number: int) -> int:
        """Channels after a residual level."""
        return self.block.expansion * WIDTHS[number - 1]


class UntiedLevels(TaskLayers):
    """Levels 6 to 8 of one task."""

    def __init__(
        self, levels: Sequence[nn.Module], *, channels: Sequence[int], strides: Sequence[int]
    ) -> None:
        super().__init__(channels, strides)
        self.levels = nn.Sequential(*levels)
        he_initialise(self)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The feature maps, the last one taken through the levels."""
        return [*features[:-1], self.levels(features[-1])]


@BACKBONES.register("drn_d_22")
class DrnD22(DilatedResNet):
    """DRN-D-22."""

    blocks = (2, 2, 2, 2)


@BACKBONES.register("drn_d_38")
class DrnD38(DilatedResNet):
    """DRN-D-38."""

    blocks = (3, 4, 6, 3)


@BACKBONES.register("drn_d_54")
class DrnD54(DilatedResNet):
    """DRN-D-54."""

    block = Bottleneck
    blocks = (3, 4, 6, 3)


@BACKBONES.register("drn_d_105")
class DrnD105(DilatedResNet):
    """DRN-D-105."""

    block = Bottleneck
    blocks = (3, 4, 23, 3)


def _conv3x3(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _shortcut(inputs: int, outputs: int, *, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _conv_level(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, dilation: int = 1
) -> nn.Sequential:
    """One convolution that keeps the size but for its stride, BatchNorm, ReLU."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
