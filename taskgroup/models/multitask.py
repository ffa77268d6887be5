"""One network for a task set: a shared backbone, and per task a decoder with its head."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from taskgroup.errors import ConfigError
from taskgroup.models.backbones.layers import fit
from taskgroup.models.backbones.timm_backbone import TIMM
from taskgroup.models.base import (
    BACKBONES,
    DECODER_WIDTH,
    DECODERS,
    NETWORKS,
    Backbone,
    ConditionalBackbone,
    Decoder,
    ModelConfig,
    Network,
    TaskLayers,
    Triple,
    start_small,
)
from taskgroup.tasks.base import Task


class MapHead(nn.Module):
    """Layers, decoder and last layers of one dense task."""

    def __init__(
        self, decoder: Decoder, channels: int, *, layers: TaskLayers | None = None
    ) -> None:
        super().__init__()
        self.layers: nn.Module = layers or nn.Identity()
        self.decoder = decoder
        self.predict = decoder.head(channels)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Predictions ``(N, channels, *size)``, float32 even under autocast."""
        fine = self.decoder(self.layers(features), size)
        return fit(exactly(self.predict, fine), size)


class VectorHead(nn.Module):
    """Mean over the coarsest features, then a linear layer: one vector per image."""

    def __init__(
        self, in_channels: int, channels: int, *, layers: TaskLayers | None = None
    ) -> None:
        super().__init__()
        self.layers: nn.Module = layers or nn.Identity()
        self.predict = start_small(nn.Linear(in_channels, channels))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Predictions ``(N, channels)``, float32 even under autocast."""
        return exactly(self.predict, self.layers(features)[-1].mean(dim=(-2, -1)))


def exactly(layers: nn.Module, features: Tensor) -> Tensor:
    """What ``layers`` give in at least float32, even under autocast.

    bfloat16 rounds a logit of 10 to the next sixteenth; benchmarks/sea.md tells how much SEA loses
    by it. Last layers cost little in float32.
    """
    wide = features.float() if features.element_size() < torch.float32.itemsize else features
    with torch.autocast(features.device.type, enabled=False):
        exact: Tensor = layers(wide)
        return exact


@NETWORKS.register("multitask")
class MultitaskModel(Network):
    """A shared backbone, and per task a decoder with its head; input normalisation is inside.

    Attributes:
        task_names: Every task that has a head, in order.
        frozen: Whether the backbone's parameters and buffers never change.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        heads: Mapping[str, nn.Module],
        *,
        mean: Triple,
        std: Triple,
        frozen: bool = False,
    ) -> None:
        """Join the parts.

        Args:
            backbone: Shared features.
            heads: One per task: features and size give its prediction.
            mean: Subtracted from pixels in [0, 1], per channel.
            std: Divides the difference, per channel.
            frozen: Take no gradients in the backbone and keep it in eval mode for ever.
        """
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(dict(heads))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.task_names = tuple(heads)
        self.frozen = frozen
        if frozen:
            self.backbone.requires_grad_(False).eval()

    @classmethod
    def check(cls, config: ModelConfig) -> None:
        """Check backbone, decoder and their options."""
        kind = _backbone_class(config.backbone)
        if not DECODERS[config.decoder].has_width and config.decoder_width != DECODER_WIDTH:
            raise ConfigError(
                f"model.decoder_width must not be set for decoder {config.decoder!r}, which has "
                f"widths of its own, got {config.decoder_width}; remove it"
            )
        kind.check(config)

    @classmethod
    def build(cls, config: ModelConfig, tasks: Sequence[Task], *, seed: int) -> Self:
        """The backbone's first weights depend on ``seed`` alone, a head's also on its task."""
        with _seeded(seed):
            backbone = _backbone_class(config.backbone)(config)
            if isinstance(backbone, ConditionalBackbone):
                backbone.add_tasks([task.name for task in tasks])
        heads = {task.name: _build_head(config, backbone, task, seed=seed) for task in tasks}
        model = cls(
            backbone,
            heads,
            mean=config.mean or backbone.mean,
            std=config.std or backbone.std,
            frozen=config.frozen,
        )
        return model.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Predict ``tasks``, all of them when None; no other head runs.

        Args:
            images: ``(N, 3, H, W)`` in [0, 1], any size.
            tasks: Names of heads to run, in the order of the result.

        Returns:
            Per task ``(N, C, H, W)`` or, for vector tasks, ``(N, C)``; float32.

        Raises:
            ConfigError: A task without a head.
        """
        names = self.task_names if tasks is None else tuple(tasks)
        self._check_heads(names)
        height, width = images.shape[-2:]
        # Channels-last is what CPU and GPU convolutions are fastest in.
        pixels = images.contiguous(memory_format=torch.channels_last)
        pixels = (pixels - self.mean) / self.std
        if isinstance(self.backbone, ConditionalBackbone):
            own = ((name, self.backbone.features_for(pixels, name)) for name in names)
            return {name: self.heads[name](features, (height, width)) for name, features in own}
        features = self.backbone(pixels)
        return {name: self.heads[name](features, (height, width)) for name in names}

    def train(self, mode: bool = True) -> "MultitaskModel":
        """Set training mode; a frozen backbone stays in eval mode, its statistics untouched."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def _check_heads(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.heads:
                known = ", ".join(self.task_names)
                raise ConfigError(f"model has no head for task {name!r}; choose from: {known}")


def _backbone_class(name: str) -> type[Backbone]:
    return BACKBONES[TIMM if name.startswith("timm/") else name]


def _build_head(config: ModelConfig, backbone: Backbone, task: Task, *, seed: int) -> nn.Module:
    with _seeded(seed + zlib.crc32(task.name.encode())):
        layers = backbone.task_layers()
        if task.output == "vector":
            return VectorHead(layers.channels[-1], task.channels, layers=layers)
        kind = DECODERS[config.decoder]
        decoder = kind(layers.channels, layers.strides, config.decoder_width)
        return MapHead(decoder, task.channels, layers=layers)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a seeded CPU generator inside, and restore the global one after."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would also reseed the GPUs, which are not restored.
        torch.default_generator.manual_seed(seed)
        yield
