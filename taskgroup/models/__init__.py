"""Networks. The imports below are the list of backbones and decoders."""

from taskgroup.models import decoders, resnet, resnet_small, timm_backbone

__all__ = ["decoders", "resnet", "resnet_small", "timm_backbone"]
