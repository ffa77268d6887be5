"""A picture of an evaluation."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class Panel:
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
        kind: How ``values`` reads. ``picture``: uint8 ``(H, W, 3)``; ``classes``: uint8
            ``(H, W)``, or ``()`` for one class per image, 255 where invalid; ``numbers``: float32
            ``(C, H, W)``, NaN where invalid.
        values: The pixels.
        class_names: One name per class where ``kind`` is ``classes`` and they are known.
    """

    trial: int
    label: str
    role: Literal["winner", "baseline", "other"]
    image: int
    condition: str
    epsilon: float
    content: Literal["image", "target", "prediction"]
    task: str
    kind: Literal["picture", "classes", "numbers"]
    values: np.ndarray[Any, np.dtype[Any]]
    class_names: tuple[str, ...] = ()
