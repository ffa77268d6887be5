"""Networks. The imports below are the list of networks, backbones and decoders."""

from taskgroup.models import backbones, decoders, multitask

__all__ = ["backbones", "decoders", "multitask"]
