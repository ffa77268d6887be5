"""The light decoder: a feature pyramid that is summed from coarse to fine."""

from collections.abc import Sequence

from torch import Tensor, nn

from taskgroup.models.backbones.layers import conv_norm_relu, he_initialise, resize, size_of
from taskgroup.models.base import DECODERS, Decoder


@DECODERS.register("pyramid")
class PyramidDecoder(Decoder):
    """1x1 laterals to one width, summed coarse to fine, then one 3x3 convolution.

    After Lin et al., Feature Pyramid Networks (2017). Deviations, for speed: only the finest sum
    is smoothed, and sums are enlarged bilinearly. The result has the size of the finest feature
    map.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        super().__init__(channels, strides, width)
        self.channels = width
        self.laterals = nn.ModuleList(
            nn.Conv2d(count, width, kernel_size=1, bias=False) for count in channels
        )
        self.smooth = conv_norm_relu(width, width)
        he_initialise(self)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features ``(N, width, h, w)`` with the size of the finest feature map."""
        total: Tensor = self.laterals[-1](features[-1])
        for lateral, feature in zip(
            reversed(self.laterals[:-1]), reversed(features[:-1]), strict=True
        ):
            total = lateral(feature) + resize(total, size_of(feature))
        smoothed: Tensor = self.smooth(total)
        return smoothed
