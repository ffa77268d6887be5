"""Data sets: images in [0, 1] and targets with valid masks. The imports below are the list."""

from taskgroup.data.camvid import CamvidConfig
from taskgroup.data.cifar import Cifar10Config, Cifar100Config
from taskgroup.data.cityscapes import CityscapesConfig
from taskgroup.data.fashion_mnist import FashionMnistConfig
from taskgroup.data.image_folder import ImageFolderConfig
from taskgroup.data.scenes import SceneConfig
from taskgroup.data.taskonomy import TaskonomyConfig

__all__ = [
    "CamvidConfig",
    "Cifar10Config",
    "Cifar100Config",
    "CityscapesConfig",
    "FashionMnistConfig",
    "ImageFolderConfig",
    "SceneConfig",
    "TaskonomyConfig",
]
