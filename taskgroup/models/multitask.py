"""One network for a task set: a shared backbone, and per task a decoder with its head."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from taskgroup.errors import ConfigError
from taskgroup.models.backbones.layers import fit
from taskgroup.models.base import Backbone, Decoder, TaskLayers, Triple, start_small
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


class MultitaskModel(nn.Module):
    """Images in [0, 1] to one prediction per task; input normalisation is inside.

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
        features = self.backbone((pixels - self.mean) / self.std)
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


def output_dimension(tasks: Sequence[Task], size: tuple[int, int]) -> int:
    """Numbers predicted per image, over all heads.

    Args:
        tasks: The task set.
        size: Height and width of an image.
    """
    height, width = size
    return sum(task.channels * (height * width if task.output == "map" else 1) for task in tasks)
