"""Backbones: images to features. The imports below are the list."""

from taskgroup.models.backbones import drn, resnet, resnet_small, timm_backbone

__all__ = ["drn", "resnet", "resnet_small", "timm_backbone"]
