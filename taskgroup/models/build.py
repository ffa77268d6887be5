"""From a ``model:`` section and a task set to a network."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from taskgroup.errors import ConfigError
from taskgroup.models.backbones.timm_backbone import TIMM
from taskgroup.models.base import BACKBONES, DECODER_WIDTH, DECODERS, Backbone, ModelConfig
from taskgroup.models.multitask import MapHead, MultitaskModel, VectorHead
from taskgroup.tasks.base import Task


def build_model(config: ModelConfig, tasks: Sequence[Task], *, seed: int) -> MultitaskModel:
    """A network in training mode, channels-last, on the CPU.

    The backbone's first weights depend on ``seed`` alone and a head's on ``seed`` and its task's
    name, so that two task sets start from the same weights where they share parts. The global
    random state is left as it was.

    Args:
        config: The ``model:`` section.
        tasks: The task set; each gets a head.
        seed: Seed of the first weights.

    Raises:
        ConfigError: An unknown backbone or decoder, an option that the backbone does not have, a
            task set that is empty or names a task twice.
        ResourceError: Pretrained weights that cannot be fetched.
    """
    check_model(config)
    _check_task_set(tasks)
    with _seeded(seed):
        backbone = _backbone_class(config.backbone)(config)
    heads = {task.name: _build_head(config, backbone, task, seed=seed) for task in tasks}
    model = MultitaskModel(
        backbone,
        heads,
        mean=config.mean or backbone.mean,
        std=config.std or backbone.std,
        frozen=config.frozen,
    )
    return model.to(memory_format=torch.channels_last)


def check_model(config: ModelConfig) -> None:
    """Raise ConfigError for a ``model:`` section that cannot be built; builds and fetches nothing.

    Args:
        config: The ``model:`` section.
    """
    kind = _backbone_class(config.backbone)
    if not DECODERS[config.decoder].has_width and config.decoder_width != DECODER_WIDTH:
        raise ConfigError(
            f"model.decoder_width must not be set for decoder {config.decoder!r}, which has widths "
            f"of its own, got {config.decoder_width}; remove it"
        )
    kind.check(config)


def _backbone_class(name: str) -> type[Backbone]:
    return BACKBONES[TIMM if name.startswith("timm/") else name]


def _build_head(config: ModelConfig, backbone: Backbone, task: Task, *, seed: int) -> nn.Module:
    with _seeded(seed + zlib.crc32(task.name.encode())):
        layers = backbone.task_layers()
        if task.output == "vector":
            return VectorHead(layers.channels[-1], task.channels, layers=layers)
        kind = DECODERS[config.decoder]
        decoder = kind(layers.channels, layers.strides, config.decoder_width)
        return MapHead(decoder, task.channels, layers=layers)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a seeded CPU generator inside, and restore the global one after."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would also reseed the GPUs, which are not restored.
        torch.default_generator.manual_seed(seed)
        yield


def _check_task_set(tasks: Sequence[Task]) -> None:
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"a model needs one or more different tasks, got {names}; mend the set")
