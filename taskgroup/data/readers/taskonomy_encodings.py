"""How Taskonomy's files become targets: encoding, range and mask of each task.

The numbers are those of Taskonomy (Zamir et al. 2018) as MTRobust (Mao et al. 2020) uses them; a
comment stands where we do otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from taskgroup.data.files.numbers import Mask, Numbers, with_holes
from taskgroup.data.label_free import LUMA

TOP = 65535.0
"""Largest number of 16 bits; it marks a pixel without depth."""
FARTHEST = 64500
"""Depth is known below this."""
UNITS_PER_METRE = 512.0
TEXTURE_TOP = 0.08
KEYPOINT_TOP = 0.005
OCCLUSION_TOP = 0.00625
"""Shares of 65535 that are brought to the upper end of the range."""
OCCLUSION_BLUR = 4 / 256
"""Standard deviation of the blur of occlusion edges, in image heights (4 pixels of 256)."""
CURVATURE_MEAN = (123.572, 120.1)
CURVATURE_STD = (31.922, 21.658)
"""Of the first two channels, in 0 to 255."""
SHORTEST_NORMAL = 0.5
"""Vectors shorter than this mark a pixel without surface."""

DepthUnit = Literal["log", "metres"]


@dataclass(frozen=True)
class Encoding:
    """How the files of one domain become the targets of one task.

    Attributes:
        domain: Folder of the files.
        channels: Channels of the files.
        encode: Target ``(C, H, W)`` from stored numbers; may give NaN where there is no target.
        mask: Where a target is valid: where the file itself has a ``depth``, where the
            ``geometry`` is known (``depth_euclidean`` is), or ``everywhere``.
    """

    domain: str
    channels: int
    encode: Callable[[Numbers], Numbers]
    mask: Literal["depth", "geometry", "everywhere"]


def depth_is_known(raw: Numbers) -> Mask:
    """Where a depth file ``(1, H, W)`` holds a distance, ``(H, W)``.

    A stored 0 is no distance either (MTRobust keeps it): relative errors divide by it.
    """
    known: Mask = (raw[0] > 0) & (raw[0] < FARTHEST)
    return known


def logarithm(raw: Numbers) -> Numbers:
    """Depth as ``ln(1 + v) / ln(65536)``, in [0, 1]."""
    scaled: Numbers = (np.log1p(raw) / np.log(TOP + 1)).astype(np.float32)
    return scaled


def metres(raw: Numbers) -> Numbers:
    """Depth in metres."""
    return raw / np.float32(UNITS_PER_METRE)


def unit_vectors(raw: Numbers) -> Numbers:
    """Normals ``v / 255`` brought to [-1, 1], and to length 1, which 8 bits only nearly keep."""
    vectors = 2 * raw / np.float32(255) - 1
    length = np.sqrt(np.square(vectors).sum(0, keepdims=True))
    vectors = vectors / length.clip(1e-6)
    return with_holes(vectors, length[0] >= SHORTEST_NORMAL)


def luminance(raw: Numbers) -> Numbers:
    """Grey value of 8-bit RGB, in [-1, 1]."""
    grey = sum(weight * plane for weight, plane in zip(LUMA, raw, strict=True))
    return _spread(np.asarray(grey, np.float32)[None] / np.float32(255))


def texture_edges(raw: Numbers) -> Numbers:
    """Clipped to [0, 0.08] of 65535, then [-1, 1]."""
    return _spread((raw / np.float32(TOP * TEXTURE_TOP)).clip(0, 1))


def keypoints2d(raw: Numbers) -> Numbers:
    """Clipped to [0, 0.005] of 65535, then [-1, 1]."""
    return _spread((raw / np.float32(TOP * KEYPOINT_TOP)).clip(0, 1))


def keypoints3d(raw: Numbers) -> Numbers:
    """Share of 65535, in [-1, 1]."""
    return _spread(raw / np.float32(TOP))


def occlusion_edges(raw: Numbers) -> Numbers:
    """How sure an occlusion edge is, in [0, 1]: share of 0.00625 of 65535, blurred, then clipped.

    MTRobust regresses twice this minus 1, unclipped, so that a few edges far above the range rule
    the loss; here the task is a two-class map, whose targets are probabilities.
    """
    scaled = raw / np.float32(TOP * OCCLUSION_TOP)
    blurred = gaussian_filter(scaled, (0, *[OCCLUSION_BLUR * raw.shape[1]] * 2))
    return np.asarray(blurred, np.float32).clip(0, 1)


def curvature(raw: Numbers) -> Numbers:
    """The first two channels, 0 to 255, less their mean, over their standard deviation.

    MTRobust reads the file as grey in [0, 1] but takes the constants of 0 to 255, so that its
    targets are nearly constant; here they vary.
    """
    mean = np.array(CURVATURE_MEAN, np.float32)[:, None, None]
    return (raw[:2] - mean) / np.array(CURVATURE_STD, np.float32)[:, None, None]


def _spread(share: Numbers) -> Numbers:
    """[0, 1] to [-1, 1]."""
    return 2 * share - 1


def encodings(depth_unit: DepthUnit) -> Mapping[str, Encoding]:
    """The encoding of each task that is a map of numbers."""
    distance = logarithm if depth_unit == "log" else metres
    return {
        "depth": Encoding("depth_zbuffer", 1, distance, "depth"),
        "edges": Encoding("edge_texture", 1, texture_edges, "everywhere"),
        "keypoints2d": Encoding("keypoints2d", 1, keypoints2d, "everywhere"),
        "normals": Encoding("normal", 3, unit_vectors, "geometry"),
        "reshading": Encoding("reshading", 3, luminance, "geometry"),
        "keypoints3d": Encoding("keypoints3d", 1, keypoints3d, "geometry"),
        "depth_euclidean": Encoding("depth_euclidean", 1, distance, "depth"),
        "occlusion_edges": Encoding("edge_occlusion", 1, occlusion_edges, "geometry"),
        "curvature": Encoding("principal_curvature", 3, curvature, "geometry"),
    }
