"""Networks. The imports below are the list of backbones and decoders."""

from taskgroup.models import backbones, decoders

__all__ = ["backbones", "decoders"]
