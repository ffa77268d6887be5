"""What a backbone and a decoder are, and the configuration of a model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field
from torch import Tensor, nn

from taskgroup.config import Config
from taskgroup.errors import ConfigError
from taskgroup.registry import Registry
from taskgroup.tasks.base import Task

Triple = tuple[float, float, float]
LinearLayer = TypeVar("LinearLayer", nn.Conv2d, nn.Linear)
Positive = Annotated[float, Field(gt=0)]
PositiveTriple = tuple[Positive, Positive, Positive]
OPTIONS = ("width", "stem", "output_stride", "pretrained", "untied")
"""Keys of :class:`ModelConfig` that only some backbones understand."""
DECODER_WIDTH = 32


class ModelConfig(Config):
    """The ``model:`` section: a backbone with one decoder and head per task."""

    network: str = "multitask"
    """What the parts are joined to: multitask shares one backbone among all tasks."""
    backbone: str = "resnet_small"
    """resnet_small, resnet18, resnet34, resnet50, drn_d_22, drn_d_38, drn_d_54, drn_d_105, or
    timm/<name>."""
    decoder: str = "pyramid"
    """Decoder of every dense task: pyramid, upconv, bilinear (DRN) or taskonomy."""
    width: Annotated[int, Field(ge=4, le=4096)] | None = None
    """Channels of the first stage, for backbones that have a width (resnet_small: 16)."""
    decoder_width: Annotated[int, Field(ge=4, le=4096)] = DECODER_WIDTH
    """Channels inside a decoder; bilinear and taskonomy have widths of their own."""
    stem: Literal["imagenet", "cifar"] | None = None
    """ResNet stem: 7x7 with pooling (stride 4), or 3x3 (stride 1); None is the backbone's own."""
    output_stride: Literal[8, 16, 32] | None = None
    """ResNet output stride, by dilation; None is the backbone's own."""
    untied: bool = False
    """DRN: give every task levels 6 to 8 of its own instead of sharing them."""
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


class TaskLayers(nn.Module):
    """Layers that one task has between the shared features and its decoder; here none.

    Attributes:
        channels: Channels of each feature map that comes out, finest first.
        strides: Their strides.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.strides = tuple(channels), tuple(strides)

    def forward(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """The feature maps that the decoder sees, from the backbone's."""
        return features


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

    def task_layers(self) -> TaskLayers:
        """New layers for one task, behind the shared features."""
        return TaskLayers(self.channels, self.strides)


class Decoder(nn.Module, ABC):
    """Fine features of one dense task, and the layers that predict from them.

    A decoder may stop at a resolution below the image's: the head is linear per pixel, so that
    enlarging its few channels gives what enlarging all features would, for less.

    Attributes:
        has_width: Whether ``model.decoder_width`` says anything to this decoder.
        channels: Channels of the result.
    """

    has_width: ClassVar[bool] = True
    channels: int

    @abstractmethod
    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        """Build the layers.

        Args:
            channels: Channels of each feature map, finest first.
            strides: Their strides, ascending.
            width: Channels inside the decoder.
        """
        super().__init__()

    @abstractmethod
    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features ``(N, channels, h, w)`` from a backbone's feature maps, for images of ``size``.

        Args:
            features: The backbone's feature maps, finest first.
            size: Height and width of the images; ``h`` and ``w`` are at most these.
        """

    def head(self, channels: int) -> nn.Module:
        """New last layers: ``(N, self.channels, h, w)`` to ``(N, channels, H', W')``.

        What they predict is cut or resized to the size of the images. This one is a 1x1
        convolution; see ``start_small`` for its first weights.
        """
        return start_small(nn.Conv2d(self.channels, channels, kernel_size=1))


def start_small(layer: LinearLayer) -> LinearLayer:
    """Draw first weights for predictions of size about 0.3, in place: near-uniform classes.

    Returns:
        The layer.
    """
    nn.init.normal_(layer.weight, std=0.5 * layer.weight[0].numel() ** -0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class ConditionalBackbone(Backbone):
    """A backbone that computes other features for each task, so that it runs once per task."""

    @abstractmethod
    def add_tasks(self, tasks: Sequence[str]) -> None:
        """Build the parts that belong to single tasks; called once, right after ``__init__``."""

    @abstractmethod
    def features_for(self, images: Tensor, task: str) -> list[Tensor]:
        """As ``forward``, which gives what all tasks share, for one task."""


class Network(nn.Module, ABC):
    """A whole network: images in [0, 1] and names of tasks to one output per task.

    Only a task reads what a network outputs for it. Nothing else in taskgroup knows how a network
    is made.

    Attributes:
        task_names: Every task that it has an output for, in order.
    """

    task_names: tuple[str, ...]

    @classmethod
    @abstractmethod
    def check(cls, config: ModelConfig) -> None:
        """Raise ConfigError for a ``model:`` section that cannot be built; builds nothing."""

    @classmethod
    @abstractmethod
    def build(cls, config: ModelConfig, tasks: Sequence[Task], *, seed: int) -> Self:
        """A network in training mode, on the CPU; ``config`` has passed ``check``.

        First weights depend on ``seed`` and on what they belong to alone, so that two task sets
        start alike where they share parts. The global random state is left as it was.
        """

    @abstractmethod
    def forward(self, images: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Any]:
        """Outputs of ``tasks``, all of them when None; nothing else is computed.

        Args:
            images: ``(N, 3, H, W)`` in [0, 1], any size.
            tasks: Names of tasks, in the order of the result.

        Raises:
            ConfigError: A task that it has no output for.
        """


NETWORKS = Registry[type[Network]]("model.network")
BACKBONES = Registry[type[Backbone]]("backbone")
DECODERS = Registry[type[Decoder]]("decoder")
