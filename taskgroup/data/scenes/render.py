"""One sample of the scenes: the picture and every label, in their stored types."""

import numpy as np
import torch
from numpy.typing import NDArray

from taskgroup.data.base import Split
from taskgroup.data.label_free import label_free_targets
from taskgroup.data.scenes.casting import cast
from taskgroup.data.scenes.labels import FORMATS, Format, geometric_labels
from taskgroup.data.scenes.layout import draw_scene
from taskgroup.data.scenes.shading import develop, illuminate, paint

IMAGE = "image"
"""Name of the picture among the stored arrays."""
STORED: dict[str, Format] = {
    IMAGE: Format(np.uint8, 3, 1 / 255),
    **FORMATS,
    "edges": Format(np.float16, 1),
    "keypoints2d": Format(np.float16, 1),
}
"""Every stored array; ``autoencoding`` is the picture and needs none."""
FROM_PICTURE = ("edges", "keypoints2d")


def render(seed: int, split: Split, index: int, *, size: int) -> dict[str, NDArray[np.generic]]:
    """The sample at ``index`` of a split: one array per name in :data:`STORED`.

    The same arguments give the same bits, whatever is rendered before, beside or after.

    Args:
        seed: Seed of the data set, at least 0.
        split: Every split has scenes of its own.
        index: Position in the split, at least 0.
        size: Height and width in pixels.
    """
    scene = draw_scene(seed, split, index)
    hits = cast(scene, size)
    colours = paint(scene, hits)
    picture = develop(scene, illuminate(scene, hits, colours), size)
    labels = geometric_labels(scene, hits, colours, size)
    return {IMAGE: picture, **labels, **_picture_labels(picture)}


def _picture_labels(picture: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    images = torch.from_numpy(picture)[None].float().mul_(1 / 255)
    targets = label_free_targets(images, FROM_PICTURE)
    return {name: target.values[0].half().numpy() for name, target in targets.items()}
