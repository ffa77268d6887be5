"""What a backbone and a decoder are, and the configuration of a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from taskgroup.config import Config
from taskgroup.registry import Registry

Triple = tuple[float, float, float]


class ModelConfig(Config):
    """The ``model:`` section: a backbone with one decoder and head per task."""

    backbone: str = "resnet_small"
    """resnet_small, resnet18, resnet34, resnet50, or timm/<name>."""
    decoder: str = "pyramid"
    """Decoder of every dense task: pyramid or upconv."""
    width: Annotated[int, Field(ge=4)] | None = None
    """Channels of the first stage, for backbones that have a width (resnet_small: 16)."""
    decoder_width: Annotated[int, Field(ge=4)] = 32
    """Channels inside a decoder."""
    stem: Literal["imagenet", "cifar"] | None = None
    """ResNet stem: 7x7 with pooling (stride 4), or 3x3 (stride 1); None is the backbone's own."""
    output_stride: Literal[8, 16, 32] | None = None
    """ResNet output stride, by dilation; None is the backbone's own."""
    pretrained: bool = False
    """Load the weights that the library publishes for the backbone (needs a network)."""
    frozen: bool = False
    """Keep the backbone's parameters and buffers bit-identical while heads train."""
    mean: Triple = (0.5, 0.5, 0.5)
    """Subtracted from images inside the model, per channel, for pixels in [0, 1]."""
    std: Triple = (0.25, 0.25, 0.25)
    """Divides images inside the model, per channel."""


class Backbone(nn.Module, ABC):
    """Shared features of images.

    Attributes:
        channels: Channels of each feature map, finest first.
        strides: Stride of each feature map against the image, ascending.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps ``(N, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))``."""


class Decoder(nn.Module, ABC):
    """Full-resolution features of one dense task.

    Attributes:
        channels: Channels of the result.
    """

    channels: int

    @abstractmethod
    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features ``(N, channels, *size)`` from a backbone's feature maps."""


BackboneFactory = Callable[[ModelConfig], Backbone]
DecoderFactory = Callable[[Sequence[int], Sequence[int], int], Decoder]
"""Channels and strides of the features and the decoder's width give a decoder."""

BACKBONES = Registry[BackboneFactory]("backbone")
DECODERS = Registry[DecoderFactory]("decoder")
