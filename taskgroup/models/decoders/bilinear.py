"""The lightest decoder: a prediction at the coarsest features, enlarged bilinearly."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskgroup.models.base import DECODERS, Decoder, start_small


class BilinearUpsampling(nn.Module):
    """Depthwise transposed convolution with a frozen bilinear kernel; outside it sees zeros.

    Attributes:
        kernel: ``(channels, 1, k, k)``, a buffer: no optimiser moves it, and published weights
            bring their own.
        offset: ``(channels, 1, 1)``, added to the enlarged maps; zero but for published weights
            that predict in other units.
    """

    kernel: Tensor
    offset: Tensor

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("kernel", bilinear_kernel(factor).repeat(channels, 1, 1, 1))
        self.register_buffer("offset", torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``(N, channels, factor h, factor w)``."""
        padding = math.ceil((self.factor - 1) / 2)
        enlarged = F.conv_transpose2d(
            maps, self.kernel, stride=self.factor, padding=padding, groups=len(self.kernel)
        )
        return enlarged + self.offset


def bilinear_kernel(factor: int) -> Tensor:
    """Weights ``(k, k)`` that enlarge by ``factor``, with k = 2 factor, less 1 if it is odd.

    Source: Long, Shelhamer and Darrell, Fully Convolutional Networks (2015).

    Example:
        >>> bilinear_kernel(2)[0]
        tensor([0.0625, 0.1875, 0.1875, 0.0625])
    """
    size = 2 * factor - factor % 2
    place = torch.arange(size, dtype=torch.float32)
    line = 1 - (place / factor - (2 * factor - 1 - factor % 2) / (2 * factor)).abs()
    return line[:, None] * line


@DECODERS.register("bilinear")
class BilinearDecoder(Decoder):
    """DRN's own: a 1x1 convolution on the coarsest features, then bilinear upsampling.

    As in the published segmentation networks of Yu, Koltun and Funkhouser (2017) and in MTRobust
    (arXiv:2007.07236). No feature map but the coarsest is used.
    """

    has_width: ClassVar[bool] = False

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        super().__init__(channels, strides, width)
        self.channels = channels[-1]
        self.factor = strides[-1]

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The coarsest features as they are."""
        return features[-1]

    def head(self, channels: int) -> nn.Module:
        """1x1 convolution and upsampling by the coarsest stride."""
        convolution = start_small(nn.Conv2d(self.channels, channels, kernel_size=1))
        return nn.Sequential(convolution, BilinearUpsampling(channels, self.factor))
