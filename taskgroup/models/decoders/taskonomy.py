"""The up-convolution decoder of MTRobust's Taskonomy networks, without skip connections."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from taskgroup.models.backbones.layers import fit, he_initialise
from taskgroup.models.base import DECODERS, Decoder, start_small

WIDTHS = (256, 128, 64, 48, 32)
"""Channels after each of the five doublings from stride 32."""


@DECODERS.register("taskonomy")
class TaskonomyDecoder(Decoder):
    """Doublings of the coarsest features: 2x2 up-convolution, BatchNorm, ReLU, then 3x3 likewise.

    Mao et al., "Multitask Learning Strengthens Adversarial Robustness" (2020, arXiv:2007.07236).
    Layers keep the published names. The last doubling's 3x3 convolution is the head, without norm.
    From a smaller stride than 32 only the last doublings are made; what is left (strides that are
    no powers of two) is resized bilinearly.
    """

    has_width: ClassVar[bool] = False

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        super().__init__(channels, strides, width)
        self.doublings = int(math.log2(strides[-1]))
        more = max(self.doublings - len(WIDTHS), 0)
        widths = (WIDTHS[:1] * more + WIDTHS)[more + len(WIDTHS) - self.doublings :]
        steps = list(pairwise((channels[-1], *widths)))
        for number, (inputs, outputs) in enumerate(steps):
            up = nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2)
            self.add_module(f"upconv{number}", up)
            self.add_module(f"bn_upconv{number}", nn.BatchNorm2d(outputs))
            if number < len(steps) - 1:
                convolution = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)
                he_initialise(convolution)
                self.add_module(f"conv_decode{number}", convolution)
                self.add_module(f"bn_decode{number}", nn.BatchNorm2d(outputs))
        self.channels = steps[-1][1] if steps else channels[-1]

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features ``(N, channels, *size)``, or what doublings reach below that size."""
        x = features[-1]
        for number in range(self.doublings):
            x = self._normed(f"upconv{number}", f"bn_upconv{number}", x)
            if number < self.doublings - 1:
                x = self._normed(f"conv_decode{number}", f"bn_decode{number}", x)
        return fit(x, size)

    def head(self, channels: int) -> nn.Module:
        """3x3 convolution with bias."""
        return start_small(nn.Conv2d(self.channels, channels, kernel_size=3, padding=1))

    def _normed(self, convolution: str, norm: str, x: Tensor) -> Tensor:
        """Convolution, BatchNorm and ReLU by name."""
        convolved = self.get_submodule(convolution)(x)
        return F.relu(self.get_submodule(norm)(convolved), inplace=True)
