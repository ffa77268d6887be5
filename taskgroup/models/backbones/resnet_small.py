"""A small residual network for small images: one CPU core trains it.

At width 16 it has 0.3 million parameters; with one pyramid head, a training step on 32 images of
64 px took 58 ms on one core of an AMD EPYC (docs/models.md).
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from taskgroup.models.backbones.layers import conv_norm, conv_norm_relu, he_initialise
from taskgroup.models.base import BACKBONES, Backbone, ModelConfig

DEFAULT_WIDTH = 16


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., 2016).

    The shortcut takes every ``stride``-th pixel and then a 1x1 convolution, which is a 1x1
    convolution of that stride. As one, its weight gradient writes beyond its memory on AVX-512
    processors where it has fewer than 16 input channels (torch 2.15 on its CPU library).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = conv_norm_relu(in_channels, out_channels, stride=stride)
        self.second = conv_norm(out_channels, out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = conv_norm(in_channels, out_channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(N, out_channels, ceil(H / stride), ceil(W / stride))``."""
        taken = x[:, :, :: self.stride, :: self.stride]
        return F.relu(self.second(self.first(x)) + self.shortcut(taken), inplace=True)


@BACKBONES.register("resnet_small")
class ResNetSmall(Backbone):
    """A stem of stride 2 and four stages of one block; each stage doubles channels and stride."""

    options: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width = config.width or DEFAULT_WIDTH
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self.strides = (2, 4, 8, 16)
        self.stem = conv_norm_relu(3, width, stride=2)
        inputs = (width, *self.channels[:-1])
        self.stages = nn.ModuleList(
            ResidualBlock(before, after, stride=1 if index == 0 else 2)
            for index, (before, after) in enumerate(zip(inputs, self.channels, strict=True))
        )
        he_initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Four feature maps, strides 2 to 16, for images ``(N, 3, H, W)``."""
        x = self.stem(images)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
