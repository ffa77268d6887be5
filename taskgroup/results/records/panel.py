"""A picture of an evaluation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from taskgroup.errors import DataError
from taskgroup.results.records.base import Amount, Count, Count32, Record, TrialNumber

PanelKind = Literal["picture", "classes", "numbers"]
Pixels = np.ndarray[Any, np.dtype[Any]]

_TYPES: Mapping[str, np.dtype[Any]] = {
    "picture": np.dtype("u1"),
    "classes": np.dtype("u1"),
    "numbers": np.dtype("<f4"),
}

_SHAPES: Mapping[str, tuple[int, ...]] = {"picture": (3,), "classes": (0, 2), "numbers": (3,)}
"""How many axes the pixels of a kind have."""


@dataclass(frozen=True)
class Panel(Record):
    """One picture of an evaluation, kept raw; the report colours it.

    Attributes:
        trial: Number of the trial, or -1 for a checkpoint from elsewhere.
        label: The trial's label.
        role: ``winner``, ``baseline`` or ``other``.
        image: Position of the image in the test split.
        condition: ``clean``, or the attack behind the input: ``pgd``, ...
        epsilon: Radius of the attack for pixels in [0, 1]; 0 when clean.
        content: ``image`` is what the model saw, ``target`` what it should say, ``prediction``
            what it said.
        task: Whose target or prediction it is; the empty string for an image.
        kind: What the pixels are. ``picture``: uint8 ``(H, W, 3)``; ``classes``: uint8
            ``(H, W)``, or ``()`` for one class per image, 255 where invalid; ``numbers``: float32
            ``(C, H, W)``, NaN where invalid.
        shape: Shape of the pixels.
        values: The pixels as bytes, little endian, in C order: see ``pixel_bytes``.
        class_names: One name per class where ``kind`` is ``classes`` and they are known.
    """

    stored_as: ClassVar[str] = "panel"
    made_by: ClassVar[str] = "taskgroup evaluate"

    trial: TrialNumber
    label: str
    role: Literal["winner", "baseline", "other"]
    image: Count
    condition: str
    epsilon: Amount
    content: Literal["image", "target", "prediction"]
    task: str
    kind: PanelKind
    shape: tuple[Count32, ...]
    values: bytes
    class_names: tuple[str, ...] = ()

    def check(self) -> None:
        """The pixels have the shape, and the shape is one of the kind."""
        size = math.prod(self.shape) * _TYPES[self.kind].itemsize
        is_of_kind = len(self.shape) in _SHAPES[self.kind] and 0 not in self.shape
        has_colours = self.kind != "picture" or self.shape[-1:] == (3,)
        if size != len(self.values) or not is_of_kind or not has_colours:
            raise DataError(
                f"shape must be that of a {self.kind!r} of {len(self.values)} bytes, but is "
                f"{list(self.shape)}"
            )

    @property
    def pixels(self) -> Pixels:
        """The pixels as an array, read-only.

        Raises:
            DataError: ``kind`` or ``shape`` is none that ``values`` can have.
        """
        try:
            return np.frombuffer(self.values, _TYPES[self.kind]).reshape(self.shape)
        except (KeyError, ValueError):
            raise DataError(
                f"a panel of trial {self.trial} must hold the pixels of a {self.kind!r} of shape "
                f"{self.shape}, but holds {len(self.values)} bytes; evaluate the trial again"
            ) from None


def pixel_bytes(pixels: Pixels, kind: PanelKind) -> bytes:
    r"""Pixels as a panel of that kind holds them.

    Example:
        >>> pixel_bytes(np.array([[1, 255]]), "classes")
        b'\x01\xff'
    """
    return np.asarray(pixels, _TYPES[kind]).tobytes()
