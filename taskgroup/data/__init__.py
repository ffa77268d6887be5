"""Data sets: images in [0, 1] and targets with valid masks. The imports below are the list."""

from taskgroup.data.scenes import SceneConfig

__all__ = ["SceneConfig"]
