"""Random outputs of an image: the parts of one random order serve every number of outputs."""

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.evaluation.perturbations.base import BatchSeed

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
        [BatchSeed(seed, image + jump).draws().rand(valid[0].numel()) for image in index.tolist()]
    ).to(valid.device)
    order = (drawn + (~valid).flatten(1)).argsort(1)
    ranks = torch.empty_like(order)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return ranks.scatter_(1, order, places).view(valid.shape)


class Walk(NamedTuple):
    """A random order cut into parts, and the unions of parts that serve as samples.

    A union of disjoint parts holds random outputs just as the beginning of the order does, and its
    gradient is the sum of the parts' gradients.

    Attributes:
        parts: Outputs in each part, one part after the other from the order's beginning, ``P``.
        unions: Which parts a sample joins, ``(S, P)`` bool.
        place: Which of the numbers of outputs a sample has, ``(S,)``.
    """

    parts: tuple[int, ...]
    unions: Tensor
    place: Tensor


NO_WALK = Walk((), torch.zeros(0, 0, dtype=torch.bool), torch.zeros(0, dtype=torch.long))


def plan_walks(outputs: Sequence[int], repeats: int, valid: int) -> list[Walk]:
    """Walks that meet every number of outputs ``repeats`` times, by disjoint samples.

    A walk takes one gradient per part. Samples of one number never share an output within a walk;
    samples of different numbers do, as nested samples would. ``valid`` itself is met once, since
    all its samples are equal, and larger numbers never.

    Args:
        outputs: Ascending numbers of outputs.
        repeats: Samples of each.
        valid: Valid outputs of the image.

    Example:
        >>> [walk.parts for walk in plan_walks((1, 2, 4, 8), 2, 8)]
        [(1, 1, 2, 4)]
        >>> [walk.parts for walk in plan_walks(range(1, 100), 2, 500)]
        [(1, 2, 4, 8, 16, 32, 36), (1, 2, 4, 8, 16, 32, 36)]
    """
    missing = {count: 1 if count == valid else repeats for count in outputs if count <= valid}
    walks = []
    while missing:
        parts = cut_order(tuple(missing))
        unions, place = [], []
        for count, number in list(missing.items()):
            found = _disjoint_unions(parts, count, number)
            unions += [[part in union for part in range(len(parts))] for union in found]
            place += [outputs.index(count)] * len(found)
            missing[count] = number - len(found)
        missing = {count: number for count, number in missing.items() if number > 0}
        walks.append(Walk(parts, torch.tensor(unions), torch.tensor(place)))
    return walks


def cut_order(counts: Sequence[int]) -> tuple[int, ...]:
    """Sizes of few parts of an order, unions of which have each of some ascending sizes.

    Either the differences of the sizes, whose beginnings they are; or 1, 2, 4, ... and what is then
    missing to the largest, which have every size up to it.

    Example:
        >>> cut_order((16, 100)), cut_order((1, 4, 8, 12, 16, 20, 24))
        ((16, 84), (1, 2, 4, 8, 9))
    """
    nested = tuple(stop - first for first, stop in pairwise((0, *counts)))
    powers = (counts[-1] + 1).bit_length() - 1
    rest = counts[-1] + 1 - 2**powers
    doubling = (*(2**power for power in range(powers)), *([rest] if rest else []))
    return min(nested, doubling, key=len)


def _disjoint_unions(parts: Sequence[int], count: int, most: int) -> list[Collection[int]]:
    """Up to ``most`` disjoint sets of positions in ``parts`` whose sizes add up to ``count``."""
    free = set(range(len(parts)))
    found: list[Collection[int]] = []
    while len(found) < most and (union := _largest_first(parts, free, count)):
        found.append(union)
        free -= union
    if not found:
        found.append(range(list(accumulate(parts)).index(count) + 1))
    return found


def _largest_first(parts: Sequence[int], free: Collection[int], count: int) -> set[int]:
    """Positions among ``free`` whose sizes add up to ``count``; empty where this way finds none."""
    union = set()
    for part in sorted(free, key=lambda part: parts[part], reverse=True):
        if parts[part] <= count:
            union.add(part)
            count -= parts[part]
    return set() if count else union
