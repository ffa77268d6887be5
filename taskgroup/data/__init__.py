"""Data sets: images in [0, 1] and targets with valid masks. The imports below are the list."""

from taskgroup.data.readers.camvid import CamvidConfig
from taskgroup.data.readers.cifar import Cifar10Config, Cifar100Config
from taskgroup.data.readers.cityscapes import CityscapesConfig
from taskgroup.data.readers.fashion_mnist import FashionMnistConfig
from taskgroup.data.readers.image_folder import ImageFolderConfig
from taskgroup.data.readers.taskonomy import TaskonomyConfig
from taskgroup.data.scenes import SceneConfig

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
