"""Decoders: backbone features to fine features. The imports below are the list."""

from taskgroup.models.decoders import bilinear, pyramid, taskonomy, upconv

__all__ = ["bilinear", "pyramid", "taskonomy", "upconv"]
