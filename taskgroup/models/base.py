"""What a backbone and a decoder are, and the configuration of a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from taskgroup.config import Config
from taskgroup.errors import ConfigError
from taskgroup.registry import Registry

Triple = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]
PositiveTriple = tuple[Positive, Positive, Positive]
OPTIONS = ("width", "stem", "output_stride", "pretrained")
"""Keys of :class:`ModelConfig` that only some backbones understand."""


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
    mean: Triple | None = None
    """Subtracted from images inside the model, per channel, for pixels in [0, 1]; None is what
    pretrained weights were trained with, else 0.5."""
    std: PositiveTriple | None = None
    """Divides images inside the model, per channel; None is what pretrained weights were trained
    with, else 0.25."""


class Backbone(nn.Module, ABC):
    """Shared features of images; a subclass is built from the configuration alone.

    Attributes:
        options: The keys of ``OPTIONS`` that this backbone understands.
        channels: Channels of each feature map, finest first.
        strides: Stride of each feature map against the image, ascending; equal strides may repeat.
        mean: Subtracted from images where ``model.mean`` is not given.
        std: Divides images where ``model.std`` is not given.
    """

    options: ClassVar[tuple[str, ...]] = ()
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.25, 0.25, 0.25)

    @abstractmethod
    def __init__(self, config: ModelConfig) -> None:
        """Build the network; ``config`` has passed ``check``."""
        super().__init__()

    @classmethod
    def check(cls, config: ModelConfig) -> None:
        """Raise ConfigError for an option that this backbone does not have; builds nothing."""
        for key in OPTIONS:
            value = getattr(config, key)
            if key not in cls.options and value not in (None, False):
                known = ", ".join(f"model.{option}" for option in cls.options) or "none"
                raise ConfigError(
                    f"model.{key} must not be set for backbone {config.backbone!r}, got {value}; "
                    f"remove it (options of this backbone: {known})"
                )

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps ``(N, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))``.

        Args:
            images: Normalised images ``(N, 3, H, W)``.
        """


class Decoder(nn.Module, ABC):
    """Fine features of one dense task.

    A decoder may stop at a resolution below the image's: the head is linear per pixel, so that
    enlarging its few channels gives what enlarging all features would, for less.

    Attributes:
        channels: Channels of the result.
    """

    channels: int

    @abstractmethod
    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features ``(N, channels, h, w)`` from a backbone's feature maps, for images of ``size``.

        Args:
            features: The backbone's feature maps, finest first.
            size: Height and width of the images; ``h`` and ``w`` are at most these.
        """


DecoderFactory = Callable[[Sequence[int], Sequence[int], int], Decoder]
"""Channels and strides of the features and the decoder's width give a decoder."""

BACKBONES = Registry[type[Backbone]]("backbone")
DECODERS = Registry[DecoderFactory]("decoder")
