"""Procedural rooms with exact labels: the embedded data set."""

from taskgroup.data.scenes.config import SceneConfig
from taskgroup.data.scenes.dataset import SceneDataset

__all__ = ["SceneConfig", "SceneDataset"]
