"""Random outputs of an image, nested: one random order serves every number of outputs."""

from collections.abc import Sequence
from typing import NamedTuple

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


class Walk(NamedTuple):
    """One way along a random order, and the stretches of it that serve as samples.

    The stretch between two points holds random outputs just as the beginning of the order does,
    and its gradient is the sum of the increments between, already taken.

    Attributes:
        points: Where increments end, ascending.
        first: Where each stretch begins, as a position in ``(0, *points)``, ``(P,)``.
        stop: Where it ends, likewise.
        place: Which of the numbers of outputs its length is, ``(P,)``.
    """

    points: tuple[int, ...]
    first: Tensor
    stop: Tensor
    place: Tensor


def plan_walks(
    outputs: Sequence[int], repeats: int, *, certain: int = 0, only_beginnings: bool = False
) -> list[Walk]:
    """Walks in which every number of outputs is met ``repeats`` times, by disjoint stretches.

    A walk takes one gradient per point. The first one has all numbers as points and meets the
    small ones often; later ones leave out what has been met often enough.

    Args:
        outputs: Ascending numbers of outputs.
        repeats: Samples of each.
        certain: A number of which all samples are equal, because it is all outputs of an image.
        only_beginnings: Take only stretches that begin with the order.

    Example:
        >>> [walk.points for walk in plan_walks((1, 2, 4, 8), 2, certain=8)]
        [(1, 2, 4, 8)]
        >>> [walk.points for walk in plan_walks((1, 2, 4, 8), 2, only_beginnings=True)]
        [(1, 2, 4, 8), (1, 2, 4, 8)]
    """
    missing = {count: 1 if count == certain else repeats for count in outputs}
    walks = []
    while missing:
        points = tuple(sorted(missing))
        found = []
        for count, number in list(missing.items()):
            met = _disjoint(points, count, only_beginnings)
            found += [(*ends, outputs.index(count)) for ends in met]
            missing[count] = number - len(met)
        missing = {count: number for count, number in missing.items() if number > 0}
        walks.append(Walk(points, *torch.tensor(found).unbind(1)))
    return walks


def _disjoint(points: Sequence[int], count: int, only_beginnings: bool) -> list[tuple[int, int]]:
    """Stretches of length ``count`` that follow each other, as positions in ``(0, *points)``."""
    places = {end: place for place, end in enumerate((0, *points))}
    found, free = [], 0
    for begin in places:
        if begin >= free and begin + count in places and not (only_beginnings and begin):
            found.append((places[begin], places[begin + count]))
            free = begin + count
    return found
