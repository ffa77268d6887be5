"""Decoders: backbone features to fine features. The imports below are the list."""

from taskgroup.models.decoders import pyramid, upconv

__all__ = ["pyramid", "upconv"]
