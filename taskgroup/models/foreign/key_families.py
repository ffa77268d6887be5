"""How published checkpoints name what our networks hold.

A family says which files are its own, which tasks a file predicts, and what each of its names is
called here.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from taskgroup.errors import DataError
from taskgroup.models.base import Triple

TASK_NAMES: Mapping[str, str] = {
    "segmentsemantic": "segmentation",
    "segment_semantic": "segmentation",
    "depth_zbuffer": "depth",
    "normal": "normals",
    "edge_texture": "edges",
    "edge_occlusion": "occlusion_edges",
    "principal_curvature": "curvature",
    "autoencoder": "autoencoding",
    "reconstruct": "autoencoding",
}
"""Our names of tasks that MTRobust and Taskonomy call otherwise."""


@dataclass(frozen=True)
class PublishedHead:
    """What a file predicts for one task.

    Attributes:
        name: Its name there.
        channels: Numbers that it predicts, per pixel or per image.
        is_vector: Whether it predicts per image.
    """

    name: str
    channels: int
    is_vector: bool = False

    @property
    def task(self) -> str:
        """Our name of the task."""
        return TASK_NAMES.get(self.name, self.name)


class KeyFamily(ABC):
    """One way to name weights.

    Attributes:
        like: A backbone that such files are made for.
        decoder: The decoder that they hold.
        mean: Subtracted from images where they were trained, for pixels in [0, 1].
        std: Divided by there.
        pattern: Every name of the family matches it.
    """

    like: ClassVar[str]
    decoder: ClassVar[str]
    mean: ClassVar[Triple]
    std: ClassVar[Triple]
    pattern: ClassVar[re.Pattern[str]]

    def owns(self, keys: Iterable[str]) -> bool:
        """Whether some name is one of this family."""
        return any(self.pattern.match(key) for key in keys)

    @abstractmethod
    def heads(self, weights: Mapping[str, Tensor]) -> list[PublishedHead]:
        """What a file predicts, in its order."""

    @abstractmethod
    def rename(self, key: str, tasks: Mapping[str, str], *, untied: bool) -> list[str] | None:
        """What a name is called in a network of ours.

        Args:
            key: A name of the file.
            tasks: Our name of each head that is kept, by its name there.
            untied: Whether our network has the last levels once per task.

        Returns:
            Our names, more than one where a shared part becomes one per task; None for a name that
            belongs to a head that is not kept. An unknown name is returned as it is.
        """


CITYSCAPES_MEAN: Triple = (0.29010095242892997, 0.32808144844279574, 0.28696394422942517)
CITYSCAPES_STD: Triple = (0.1829540508368939, 0.18656561047509476, 0.18447508988480435)


class DrnSegmentation(KeyFamily):
    """``base``, ``seg``, ``up``: the single-task networks of the DRN repository and of MTRobust."""

    like = "drn_d_22"
    decoder = "bilinear"
    mean, std = CITYSCAPES_MEAN, CITYSCAPES_STD
    pattern = re.compile(r"(base|seg|up)\.")

    def heads(self, weights: Mapping[str, Tensor]) -> list[PublishedHead]:
        """One, as wide as the last convolution."""
        found = weights.get("seg.weight")
        return [] if found is None else [PublishedHead("segmentation", len(found))]

    def rename(self, key: str, tasks: Mapping[str, str], *, untied: bool) -> list[str] | None:
        """Levels 0 to 8, then convolution and kernel of the head."""
        head = f"heads.{tasks.get('segmentation')}.predict"
        if key.startswith("seg."):
            return [f"{head}.0.{key.removeprefix('seg.')}"]
        if key == "up.weight":
            return [f"{head}.1.kernel"]
        return _drn_level(key, "base", list(tasks.values()), untied=untied)


class DrnMultitask(KeyFamily):
    """``encoder``, ``task_to_decoder``: MTRobust's DRN, whose decoders begin with level 6."""

    like = "drn_d_22"
    decoder = "bilinear"
    mean, std = CITYSCAPES_MEAN, CITYSCAPES_STD
    pattern = re.compile(r"encoder\.\d|task_to_decoder\.[^.]+\.\d")

    def heads(self, weights: Mapping[str, Tensor]) -> list[PublishedHead]:
        """One per decoder, as wide as its 1x1 convolution."""
        found = {
            match[1]: len(value)
            for key, value in weights.items()
            if (match := re.fullmatch(r"task_to_decoder\.([^.]+)\.3\.weight", key))
        }
        return [PublishedHead(name, channels) for name, channels in found.items()]

    def rename(self, key: str, tasks: Mapping[str, str], *, untied: bool) -> list[str] | None:
        """Levels 0 to 5; per decoder levels 6 to 8, convolution and kernel."""
        match = re.fullmatch(r"task_to_decoder\.([^.]+)\.(\d)\.(.+)", key)
        if match is None:
            return _drn_level(key, "encoder", list(tasks.values()), untied=untied)
        name, place, rest = match.groups()
        if name not in tasks:
            return None
        if place in "012":
            level = f"base.{6 + int(place)}.{rest}"
            return _drn_level(level, "base", [tasks[name]], untied=untied)
        last = "1.kernel" if (place, rest) == ("4", "weight") else f"0.{rest}"
        return [f"heads.{tasks[name]}.predict.{last}"]


class ResNetMultitask(KeyFamily):
    """``encoder``, ``task_to_decoder``: MTRobust's ResNets with an up-convolution decoder each."""

    like = "resnet18"
    decoder = "taskonomy"
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    pattern = re.compile(r"encoder\.(conv1|layer)|task_to_decoder\.[^.]+\.(fc|upconv)")
    last: ClassVar[re.Pattern[str]] = re.compile(
        r"task_to_decoder\.([^.]+)\.(conv_decode4|fc)\.(weight|bias)"
    )

    def heads(self, weights: Mapping[str, Tensor]) -> list[PublishedHead]:
        """One per decoder, as wide as its last layer."""
        matches = {key: self.last.fullmatch(key) for key in weights if key.endswith(".weight")}
        return [
            PublishedHead(match[1], len(weights[key]), is_vector=match[2] == "fc")
            for key, match in matches.items()
            if match
        ]

    def rename(self, key: str, tasks: Mapping[str, str], *, untied: bool) -> list[str] | None:
        """Names of torchvision in the encoder, the decoders' own below their task."""
        if key.startswith("encoder."):
            return [f"backbone.body.{key.removeprefix('encoder.')}"]
        match = re.fullmatch(r"task_to_decoder\.([^.]+)\.(.+)", key)
        if match is None:
            return [key]
        name, rest = match.groups()
        if name not in tasks:
            return None
        if last := self.last.fullmatch(key):
            return [f"heads.{tasks[name]}.predict.{last[3]}"]
        return [f"heads.{tasks[name]}.decoder.{rest}"]


FAMILIES: tuple[KeyFamily, ...] = (DrnSegmentation(), DrnMultitask(), ResNetMultitask())


def family_of(keys: Iterable[str], source: str) -> KeyFamily:
    """The family that some names belong to.

    Raises:
        DataError: None of ours.
    """
    keys = list(keys)
    for family in FAMILIES:
        if family.owns(keys):
            return family
    shown = ", ".join(keys[:3]) or "none at all"
    raise DataError(
        f"{source} must name its weights as MTRobust or DRN do (base.0.0.weight, "
        f"encoder.0.0.weight or encoder.conv1.weight, ...), found {shown}; taskgroup "
        "knows no other published names"
    )


def _drn_level(key: str, prefix: str, tasks: Iterable[str], *, untied: bool) -> list[str]:
    """Our names of a level's weight, whose number counts from the first of nine levels."""
    match = re.fullmatch(prefix + r"\.(\d)\.(.+)", key)
    if match is None:
        return [key]
    number, rest = int(match[1]), match[2]
    if not untied or number < 6:
        return [f"backbone.levels.{number}.{rest}"]
    return [f"heads.{task}.layers.levels.{number - 6}.{rest}" for task in tasks]
