"""Weightings: rules that turn task losses into one loss. The imports below are the list."""

from taskgroup.training.weighting import fixed, gradients, uncertainty

__all__ = ["fixed", "gradients", "uncertainty"]
