"""Weights that another program published, in a network of ours; nothing in a file is executed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from taskgroup.config import parse
from taskgroup.errors import ConfigError, DataError
from taskgroup.models.backbones.timm_backbone import TIMM
from taskgroup.models.base import BACKBONES, ModelConfig, Network
from taskgroup.models.build import build_model
from taskgroup.models.foreign.key_families import KeyFamily, PublishedHead, family_of
from taskgroup.models.torch_files import read_plain
from taskgroup.results.storage.places import Place
from taskgroup.results.storage.single_files import exists, read_place
from taskgroup.tasks.base import Task

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts put the weights."""
WRAPPING = "module."
"""What ``DataParallel`` puts before every name."""
COUNTER = ".num_batches_tracked"
"""Ends the names that files of old torch versions lack; evaluation does not read them."""
OWN = ("mean", "std")
"""Our normalisation, which no published file holds."""
OFFSET = ".predict.1.offset"
"""Ends the names of what moves predictions into our units, which no published file holds."""
RECONSTRUCTION = "autoencoding"
"""The task that published networks predict as the normalised image, and ours in pixels."""


@dataclass(frozen=True)
class Published:
    """Weights under the names that their file gives them.

    Attributes:
        weights: Tensors by name, without the prefix of ``DataParallel``.
        family: How they are named.
        source: The file, for messages.
    """

    weights: Mapping[str, Tensor]
    family: KeyFamily
    source: str

    @property
    def heads(self) -> list[PublishedHead]:
        """What the file predicts, in its order."""
        return self.family.heads(self.weights)


def load_published(path: Place) -> Published:
    """Read the weights of a published checkpoint to the CPU.

    Takes a bare dictionary of tensors, or one below ``state_dict`` or the like; torch's zip format
    or the older one.

    Raises:
        DataError: A file that is missing, damaged, holds code or no weights, or names them in a way
            that nobody knows.
    """
    if not exists(path):
        raise DataError(f"checkpoint {path} must be a file, found none; check the path")
    content = read_plain(
        read_place(path), path, advice="save its state_dict alone, where you trust it"
    )
    weights = _stripped(_unwrapped(content, path))
    return Published(weights, family_of(weights, str(path)), str(path))


def build_published(
    published: Published, config: ModelConfig, tasks: Sequence[Task], kept: Mapping[str, str]
) -> Network:
    """A network of ours with published weights, in eval mode; every weight must find its place.

    Counters of batches may be missing. Parts that our network has once must be equal wherever the
    file repeats them. A head that predicts the normalised image is made to predict pixels.

    Args:
        published: What ``load_published`` read.
        config: The ``model:`` section; ``complete`` gives it what the file implies.
        tasks: One per kept head.
        kept: Name of the task of each head that is kept, by the head's name in the file.

    Raises:
        ConfigError: A network that cannot be built.
        DataError: Names that are missing or left over, other shapes, or repeated parts that differ.
    """
    model = build_model(config, tasks, seed=0)
    renamed = _renamed(published, kept, untied=config.untied)
    wrong = _differences(model.state_dict(), renamed)
    if wrong:
        raise DataError(
            f"{published.source} must hold the weights of {config.backbone} with decoder "
            f"{config.decoder}, but {len(wrong)} do not fit: {wrong[0]}; "
            + _advice(config, tasks, renamed)
        )
    if RECONSTRUCTION in kept.values():
        renamed |= _in_pixels(renamed, published.family)
    rest = {name: value for name, value in model.state_dict().items() if name not in renamed}
    model.load_state_dict({**rest, **renamed}, strict=True)
    return model.eval()


def complete(section: Mapping[str, Any], published: Published) -> ModelConfig:
    """A ``model:`` section with the decoder and the normalisation that the file was made with.

    Args:
        section: What the reader said; a decoder, mean or std given there stays.
        published: The file.

    Raises:
        ConfigError: An unknown key or value.
    """
    family = published.family
    implied = {"decoder": family.decoder, "mean": family.mean, "std": family.std}
    return parse(ModelConfig, {**implied, **section}, source="--model")


def _unwrapped(content: Any, path: Place) -> Mapping[str, Tensor]:
    """The dictionary of tensors in what a file holds."""
    found = content
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if isinstance(found, Mapping) and found:
        others = [key for key, value in found.items() if not isinstance(value, Tensor)]
        if not others and all(isinstance(key, str) for key in found):
            return found
        hint = f"an entry {others[0]!r}" if others else "other keys"
    else:
        hint = "an empty dictionary" if found == {} else type(found).__name__
    raise DataError(
        f"{path} must hold a dictionary of weights, bare or below {WRAPPERS[0]!r}, found {hint}; "
        "save the network's state_dict alone"
    )


def _stripped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(WRAPPING): value for key, value in weights.items()}


def _renamed(published: Published, kept: Mapping[str, str], *, untied: bool) -> dict[str, Tensor]:
    """Published weights under our names.

    Raises:
        DataError: Two that must be one differ.
    """
    found: dict[str, Tensor] = {}
    first: dict[str, str] = {}
    for key, value in published.weights.items():
        for name in published.family.rename(key, kept, untied=untied) or ():
            if name in found and not _is_same(found[name], value):
                raise DataError(
                    f"{published.source} must repeat what its tasks share, but {key} differs from "
                    f"{first[name]}: these levels are not shared; say --model "
                    f"'{{backbone: {published.family.like}, untied: true}}', with its own backbone"
                )
            found[name] = value
            first.setdefault(name, key)
    return found


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _in_pixels(weights: Mapping[str, Tensor], family: KeyFamily) -> dict[str, Tensor]:
    """The last layer of the reconstruction, multiplied by the deviation and moved by the mean."""
    mean, std = torch.tensor(family.mean), torch.tensor(family.std)
    head = f"heads.{RECONSTRUCTION}.predict"
    is_enlarged = f"{head}.1.kernel" in weights
    last = f"{head}.0" if is_enlarged else head
    scaled = {
        f"{last}.weight": weights[f"{last}.weight"] * std.view(3, 1, 1, 1),
        f"{last}.bias": weights[f"{last}.bias"] * std,
    }
    if is_enlarged:  # a bias would fade at the border, where the enlarging sees zeros outside
        return {**scaled, f"{head}.1.offset": mean.view(3, 1, 1)}
    return {**scaled, f"{last}.bias": scaled[f"{last}.bias"] + mean}


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """What is missing, left over, or of another shape, in words."""
    missing = [
        f"{name} is missing"
        for name in own
        if name not in given and name not in OWN and not name.endswith((COUNTER, OFFSET))
    ]
    left = [f"{name} is left over" for name in given if name not in own]
    shapes = [
        f"{name} should have shape {tuple(value.shape)}, found {tuple(given[name].shape)}"
        for name, value in own.items()
        if name in given and given[name].shape != value.shape
    ]
    return [*shapes, *missing, *left]


def _advice(config: ModelConfig, tasks: Sequence[Task], renamed: Mapping[str, Tensor]) -> str:
    """The backbones that the weights do fit, for the end of a message."""
    fitting = [name for name in BACKBONES if name != TIMM and _fits(name, config, tasks, renamed)]
    if fitting:
        return f"they fit --model {' or '.join(fitting)}"
    return "the file is incomplete, or of a network that taskgroup lacks"


def _fits(
    name: str, config: ModelConfig, tasks: Sequence[Task], renamed: Mapping[str, Tensor]
) -> bool:
    other = ModelConfig(backbone=name, decoder=config.decoder, untied=config.untied)
    try:
        with torch.device("meta"):
            model = build_model(other, tasks, seed=0)
    except ConfigError:  # an option that this backbone does not have
        return False
    return not _differences(model.state_dict(), renamed)
