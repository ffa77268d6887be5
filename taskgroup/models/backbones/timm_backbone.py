"""Any network of the timm library that has a feature interface: ``timm/<name>``."""

from difflib import get_close_matches
from types import ModuleType
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from taskgroup.errors import ConfigError, ResourceError
from taskgroup.models.backbones.layers import resize
from taskgroup.models.base import BACKBONES, Backbone, ModelConfig

TIMM = "timm/<name>"
"""The one registry entry that stands for all of timm."""


@BACKBONES.register(TIMM)
class TimmBackbone(Backbone):
    """Feature maps of a timm network, by its ``features_only`` interface.

    Networks without a pyramid (plain transformers) give their last few maps at one stride. Images
    are padded to a multiple of the coarsest stride and features cut back; a network that takes
    images of one size only sees them resized to it, and its features are resized back.
    """

    options: ClassVar[tuple[str, ...]] = ("pretrained",)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        name = _timm_name(config.backbone)
        self.body, self._fixed_size = _create(name, pretrained=config.pretrained)
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(int(stride) for stride in self.body.feature_info.reduction())
        layout = getattr(self.body, "output_fmt", None)
        self._channels_last = getattr(layout, "value", layout) == "NHWC"
        if config.pretrained:
            published = _timm().get_pretrained_cfg(name)
            self.mean, self.std = published.mean, published.std

    @classmethod
    def check(cls, config: ModelConfig) -> None:
        """Also raise ConfigError for a name that timm does not have, with the nearest ones."""
        super().check(config)
        name = _timm_name(config.backbone)
        if not _timm().is_model(name):
            near = get_close_matches(name, _timm().list_models(), n=3)
            hint = f"did you mean {' or '.join('timm/' + other for other in near)}?" if near else ""
            advice = hint or "list them with timm.list_models()"
            raise ConfigError(f"model.backbone must name a network of timm, got {name!r}; {advice}")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the declared strides, as ``(N, C, h, w)``."""
        height, width = images.shape[-2:]
        maps = self.body(self._fit_input(images))
        if self._channels_last:
            maps = [feature.permute(0, 3, 1, 2) for feature in maps]
        sizes = [(-(-height // stride), -(-width // stride)) for stride in self.strides]
        return [self._fit_output(m, size) for m, size in zip(maps, sizes, strict=True)]

    def _fit_input(self, images: Tensor) -> Tensor:
        """Resize to the only size the network takes, or pad to a multiple of the last stride."""
        if self._fixed_size is not None:
            return resize(images, self._fixed_size)
        step = self.strides[-1]
        height, width = images.shape[-2:]
        # Zero is the mean colour here, and what convolutions pad with.
        return F.pad(images, (0, -width % step, 0, -height % step))

    def _fit_output(self, feature: Tensor, size: tuple[int, int]) -> Tensor:
        """Undo ``_fit_input``: cut the padding away, or resize."""
        height, width = size
        if self._fixed_size is None:
            feature = feature[..., :height, :width]
        return resize(feature, size)  # networks that do not pad their convolutions fall short


def _timm() -> ModuleType:
    """The library, imported late: it takes seconds, and most studies do not use it."""
    import timm

    return timm


def _timm_name(backbone: str) -> str:
    return backbone.removeprefix("timm/")


def _create(name: str, *, pretrained: bool) -> tuple[Any, tuple[int, int] | None]:
    """The network, and the one image size that it takes if it takes no other."""
    published = _timm().get_pretrained_cfg(name)
    if published is None or not published.fixed_input_size:
        return _create_features(name, pretrained=pretrained), None
    try:
        return _create_features(name, pretrained=pretrained, dynamic_img_size=True), None
    except TypeError:  # this family has no such argument
        height, width = published.input_size[-2:]
        return _create_features(name, pretrained=pretrained), (height, width)


def _create_features(name: str, *, pretrained: bool, **options: bool) -> Any:
    try:
        return _timm().create_model(name, features_only=True, pretrained=pretrained, **options)
    except (AttributeError, NotImplementedError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(
            f"model.backbone timm/{name} has no feature interface ({line}); choose another network"
        ) from None
    except (OSError, RuntimeError) as error:
        line = " ".join(str(error).split())
        if not pretrained:
            raise ConfigError(
                f"model.backbone timm/{name} cannot be built ({line}); choose another network"
            ) from None
        raise ResourceError(
            f"model.pretrained needs the published weights of timm/{name}, which could not be "
            f"loaded ({line}); check the network, or set model.pretrained to false"
        ) from None
