"""Targets that need no labels: every data set offers them, computed from the picture alone.

Only sums, products and square roots of shifted pictures are used, all rounded as IEEE 754 asks,
so an image's targets are bit-identical whatever batch it stands in.

A task is one function in :data:`COMPUTE`. The result is scaled by a constant, not by the image's
own maximum, so that the same structure has the same target in every image; the constants bring the
99th percentile of scenes, CamVid and CIFAR-10 into the range 0.5 to 3.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from taskgroup.tasks.base import Target, TaskInfo

LUMA = (0.299, 0.587, 0.114)
"""Grey value from red, green and blue (ITU-R BT.601)."""
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Gaussian of standard deviation 1 pixel, by its binomial approximation."""
EDGE_SCALE = 10.0
"""Edges are 1 where the smoothed grey value changes by 0.1 per pixel."""
KEYPOINT_SCALE = 20.0
"""Keypoints are 1 where the grey value changes by 0.05 per pixel in its flattest direction."""


def autoencoding(images: Tensor) -> Tensor:
    """The picture itself, ``(N, 3, H, W)`` in [0, 1]."""
    return images


def edges(images: Tensor) -> Tensor:
    """Strength of texture edges: Sobel gradient of the smoothed grey picture.

    Taskonomy (Zamir et al. 2018) defines its 2D edges as Canny (1986) without non-maximum
    suppression: exactly this magnitude. Borders repeat the outermost pixel.

    Args:
        images: ``(N, 3, H, W)`` in [0, 1].

    Returns:
        ``(N, 1, H, W)``, at least 0, grey values per pixel times :data:`EDGE_SCALE`.
    """
    horizontal, vertical = _gradient(images)
    return EDGE_SCALE * (horizontal * horizontal + vertical * vertical).sqrt()


def keypoints2d(images: Tensor) -> Tensor:
    """How much of a corner each pixel is: the structure tensor's smaller eigenvalue.

    The response of Shi and Tomasi (1994), "Good features to track", equations 10 and 23; its
    square root is taken because the eigenvalue is a squared gradient, whose few large values would
    be most of an L1 loss. Derivatives at scale 1 pixel, products averaged at scale sqrt(2), the
    customary ratio 0.7 (Mikolajczyk and Schmid 2004). Borders repeat the outermost pixel.

    Args:
        images: ``(N, 3, H, W)`` in [0, 1].

    Returns:
        ``(N, 1, H, W)``, at least 0, grey values per pixel times :data:`KEYPOINT_SCALE`.
    """
    horizontal, vertical = _gradient(images)
    xx, yy, xy = (
        _smooth(_smooth(product))
        for product in (horizontal * horizontal, vertical * vertical, horizontal * vertical)
    )
    difference = xx - yy
    spread = (difference * difference + 4 * (xy * xy)).sqrt()
    smaller = 0.5 * ((xx + yy) - spread)
    return KEYPOINT_SCALE * smaller.clamp(min=0).sqrt()


COMPUTE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "autoencoding": autoencoding,
    "edges": edges,
    "keypoints2d": keypoints2d,
}
"""Target values ``(N, C, H, W)`` of each label-free task from images ``(N, 3, H, W)``."""
LABEL_FREE: tuple[str, ...] = tuple(COMPUTE)
"""Names of the tasks that every data set offers."""


def label_free_infos() -> dict[str, TaskInfo]:
    """Descriptions of the label-free tasks, to be merged into a data set's own."""
    return {name: TaskInfo(name) for name in LABEL_FREE}


def label_free_targets(images: Tensor, tasks: Sequence[str]) -> dict[str, Target]:
    """Targets of those ``tasks`` that are label-free; the others are left out.

    Args:
        images: ``(N, 3, H, W)`` float32 in [0, 1].
        tasks: Names of any tasks.

    Returns:
        Float32 values ``(N, C, H, W)`` of order 1, valid everywhere.
    """
    asked = [name for name in tasks if name in COMPUTE]
    return {name: Target(COMPUTE[name](images), _all_valid(images)) for name in asked}


def _all_valid(images: Tensor) -> Tensor:
    count, _, height, width = images.shape
    return torch.ones(count, height, width, dtype=torch.bool, device=images.device)


def _gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel derivatives to the right and down, ``(N, 1, H, W)``, in grey values per pixel."""
    red, green, blue = (images[:, i : i + 1] * LUMA[i] for i in range(3))
    padded = functional.pad(_smooth(red + green + blue), (1, 1, 1, 1), mode="replicate")
    across = padded[..., :, 2:] - padded[..., :, :-2]
    down = padded[..., 2:, :] - padded[..., :-2, :]
    horizontal = (across[..., :-2, :] + across[..., 2:, :]) + 2 * across[..., 1:-1, :]
    vertical = (down[..., :, :-2] + down[..., :, 2:]) + 2 * down[..., :, 1:-1]
    return horizontal * 0.125, vertical * 0.125


def _smooth(maps: Tensor) -> Tensor:
    """Convolve maps ``(N, 1, H, W)`` with the binomial kernel along both axes."""
    height, width = maps.shape[-2:]
    padded = functional.pad(maps, (2, 2, 2, 2), mode="replicate")
    rows = _weighted_sum([padded[..., i : i + height, :] for i in range(5)])
    return _weighted_sum([rows[..., i : i + width] for i in range(5)])


def _weighted_sum(shifted: Sequence[Tensor]) -> Tensor:
    """Binomial sum of five shifted maps, in mirror-symmetric order so that flips commute."""
    outer, inner = shifted[0] + shifted[4], shifted[1] + shifted[3]
    return (outer * BINOMIAL[0] + inner * BINOMIAL[1]) + shifted[2] * BINOMIAL[2]
