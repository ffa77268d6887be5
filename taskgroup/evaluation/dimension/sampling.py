"""Random outputs of an image, nested: one random order serves every number of outputs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from taskgroup.evaluation.scoring import seeded_generator

REPEAT_STRIDE = 1_000_003
"""Keeps the streams of an image's repeats apart from those of other images."""
STARTS = 500_000
"""Keeps the random starts of attacks apart from the orders."""


def random_ranks(valid: Tensor, index: Tensor, *, seed: int, repeat: int) -> Tensor:
    """Each pixel's place in a random order of its image's pixels, the valid ones first.

    The first ``M`` of an order are ``M`` distinct valid pixels, any of them equally likely, and a
    part of the first ``M + 1``. The order of an image depends on its position, the seed and the
    repeat, not on the batch it comes in.

    Args:
        valid: ``(N, H, W)`` bool.
        index: Positions of the images in the split, ``(N,)``.
        seed: Seed of the measurement.
        repeat: Number of the order.

    Returns:
        ``(N, H, W)`` int64, on the device of ``valid``.
    """
    jump = repeat * REPEAT_STRIDE
    drawn = torch.stack(
        [
            torch.rand(valid[0].numel(), generator=seeded_generator(seed, image + jump))
            for image in index.tolist()
        ]
    ).to(valid.device)
    order = (drawn + (~valid).flatten(1)).argsort(1)
    ranks = torch.empty_like(order)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return ranks.scatter_(1, order, places).view(valid.shape)


class Stretches(NamedTuple):
    """Stretches of a random order whose length is one of the numbers of outputs.

    The stretch from ``first`` to ``stop`` holds ``stop - first`` random outputs just as the
    beginning of the order does, and its gradient is the sum of the parts between, already taken.

    Attributes:
        first: Positions in ``(0, *outputs)``, ``(P,)``.
        stop: Likewise.
        place: Which of the outputs the length is, ``(P,)``.
    """

    first: Tensor
    stop: Tensor
    place: Tensor


def stretches(outputs: Sequence[int], *, from_start: bool = False) -> Stretches:
    """Every stretch between two of ``(0, *outputs)`` whose length is one of ``outputs``.

    Args:
        outputs: Ascending.
        from_start: Only those that begin with the order.

    Example:
        >>> found = stretches([1, 2, 4])
        >>> list(zip(found.first.tolist(), found.stop.tolist(), found.place.tolist()))
        [(0, 1, 0), (0, 2, 1), (0, 3, 2), (1, 2, 0), (2, 3, 1)]
    """
    ends = np.array([0, *outputs])
    first, stop = np.triu_indices(len(ends), 1)
    if from_start:
        first, stop = first[first == 0], stop[first == 0]
    lengths = ends[stop] - ends[first]
    place = np.searchsorted(ends[1:], lengths)
    fits = ends[1:][np.minimum(place, len(outputs) - 1)] == lengths
    return Stretches(*(torch.from_numpy(part[fits]) for part in (first, stop, place)))
