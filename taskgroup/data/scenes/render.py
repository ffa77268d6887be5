"""One sample of the scenes: the picture and every label, in their stored types."""

from collections.abc import Iterator

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
TOGETHER_PIXELS = 2**16
"""Pixels whose labels from the picture are computed in one go: few calls, small arrays."""

Sample = dict[str, NDArray[np.generic]]


def render(seed: int, split: Split, index: int, *, size: int) -> Sample:
    """The sample at ``index`` of a split: one array per name in :data:`STORED`.

    The same arguments give the same bits, whatever is rendered before, beside or after.

    Args:
        seed: Seed of the data set, at least 0.
        split: Every split has scenes of its own.
        index: Position in the split, at least 0.
        size: Height and width in pixels.
    """
    return next(render_rows(seed, split, range(index, index + 1), size=size))


def render_rows(seed: int, split: Split, rows: range, *, size: int) -> Iterator[Sample]:
    """The samples at some positions of a split, each as :func:`render` gives it."""
    together = max(1, TOGETHER_PIXELS // size**2)
    for start in range(0, len(rows), together):
        samples = [_render_scene(seed, split, row, size) for row in rows[start : start + together]]
        pictures = torch.from_numpy(np.stack([sample[IMAGE] for sample in samples]))
        targets = label_free_targets(pictures.float().mul_(1 / 255), FROM_PICTURE)
        for place, sample in enumerate(samples):
            more = {name: targets[name].values[place].half().numpy() for name in FROM_PICTURE}
            yield {**sample, **more}


def _render_scene(seed: int, split: Split, index: int, size: int) -> Sample:
    """The picture and the labels from geometry."""
    scene = draw_scene(seed, split, index)
    hits = cast(scene, size)
    colours = paint(scene, hits)
    picture = develop(scene, illuminate(scene, hits, colours), size)
    return {IMAGE: picture, **geometric_labels(scene, hits, colours, size)}
