"""The heavier decoder: learned upsampling to full resolution with skip connections."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from taskgroup.models.backbones.layers import conv_norm_relu, fit, he_initialise, size_of
from taskgroup.models.base import DECODERS, Decoder


class UpStep(nn.Module):
    """Double the size by a transposed convolution, join a skip connection, convolve."""

    def __init__(self, width: int, skip: int, *, factor: int) -> None:
        super().__init__()
        doublings = int(math.log2(factor))
        self.up = nn.Sequential(*(up_convolution(width, width) for _ in range(doublings)))
        self.join = conv_norm_relu(width + skip, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Features ``(N, width, *skip size)`` from coarser ones and a skip ``(N, skip, h, w)``."""
        enlarged = fit(self.up(x), size_of(skip))
        joined: Tensor = self.join(torch.cat([enlarged, skip], dim=1))
        return joined


def up_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Transposed 4x4 convolution of stride 2, BatchNorm, ReLU; doubles the size."""
    # Kernel 4 is a multiple of the stride, so that every output pixel sees as many inputs.
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


@DECODERS.register("upconv")
class UpconvDecoder(Decoder):
    """Up-convolutions from the coarsest features to full resolution, joined by the finer ones.

    After Ronneberger et al., U-Net (2015), with one width up to the finest feature map and half of
    it beyond, where pixels are many. Strides between two feature maps, and from the finest to the
    image, are covered by doublings; what is left (strides that are no powers of two) is resized
    bilinearly.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        super().__init__(channels, strides, width)
        self.start = conv_norm_relu(channels[-1], width, kernel=1)
        pairs = zip(strides[:-1], strides[1:], channels[:-1], strict=True)
        steps = [UpStep(width, skip, factor=coarse // fine) for fine, coarse, skip in pairs]
        self.steps = nn.ModuleList(steps[::-1])
        doublings = int(math.log2(strides[0]))
        widths = [width] + [width // 2] * doublings
        self.finish = nn.Sequential(*(up_convolution(*pair) for pair in pairwise(widths)))
        self.channels = widths[-1]
        he_initialise(self)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features ``(N, channels, *size)``."""
        x = self.start(features[-1])
        for step, skip in zip(self.steps, reversed(features[:-1]), strict=True):
            x = step(x, skip)
        return fit(self.finish(x), size)
