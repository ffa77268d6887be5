"""Networks. The imports below are the list of backbones and decoders."""

from taskgroup.models import decoders, drn, resnet, resnet_small, timm_backbone

__all__ = ["decoders", "drn", "resnet", "resnet_small", "timm_backbone"]
