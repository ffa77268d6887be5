"""Worst cases over SEA's losses as the published code finds them, bugs included.

Only for numbers that are to be compared with published ones; ``worst_case`` is the right way.
Three bugs are reproduced (github.com/nmndeep/Robust-Segmentation, read and run):

- predictions are sliced by the batch's number times the size of *this* batch, so that a last,
  smaller batch is judged by the maps of earlier images;
- classes that occur nowhere are dropped from the totals, but not from what one image adds, so that
  all later classes are counted on their neighbours;
- every loss is compared with the value before the image, so that the last one that helps is kept
  instead of the best.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MAX_ROUNDS = 1000
LEAST_GAIN = 1e-6
"""A round that lowers the mean IoU by no more ends the search."""
TINY = 1e-8
"""Added to the unions of a tried choice, and not to those of the current one."""


def seed_worst_accuracy(maps: Tensor, values: Tensor, *, batch_sizes: Sequence[int]) -> float:
    """Mean over images of the lowest accuracy, over all pixels, with misplaced maps.

    Args:
        maps: Predicted classes under each loss ``(A, N, H, W)``.
        values: Classes ``(N, H, W)``.
        batch_sizes: Sizes of the batches that the images came in, in their order.
    """
    lowest, first = [], 0
    for number, size in enumerate(batch_sizes):
        predicted = maps[:, number * size : (number + 1) * size]
        right = predicted == values[first : first + size]
        lowest.append(right.float().mean((2, 3)).amin(0))
        first += size
    return float(torch.cat(lowest).mean())


class _Counts(NamedTuple):
    """Pixels of intersection and union, ``(..., K)`` each."""

    hits: Tensor
    union: Tensor

    def plus(self, other: "_Counts", sign: float) -> "_Counts":
        """The sum over the classes that this one has, by their position."""
        size = self.hits.shape[-1]
        return _Counts(
            self.hits + sign * other.hits[..., :size], self.union + sign * other.union[..., :size]
        )


def seed_worst_miou(results: Sequence[Tensor], *, num_classes: int, seed: int) -> float:
    """Mean IoU at the end of the published greedy search; not always that of the choice it made.

    Args:
        results: Sums of each image under each loss, ``(N, 3 K)`` of ``ConfusionMetric``.
        num_classes: Number of classes ``K``.
        seed: Seed of the orders of images.
    """
    correct, target, predicted = torch.split(torch.stack(list(results)), num_classes, -1)
    images = _Counts(correct, target + predicted - correct)
    chosen = [0] * correct.shape[1]
    occurs = images.union[0].sum(0) > 0
    total = _Counts(images.hits[0].sum(0)[occurs], images.union[0].sum(0)[occurs])
    value = (total.hits / total.union).mean()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(MAX_ROUNDS):
        before = value
        for image in torch.randperm(len(chosen), generator=generator).tolist():
            total, chosen[image] = _tried(images, image, chosen[image], total, value)
            value = (total.hits / total.union).mean()
        if before - value <= LEAST_GAIN:
            break
    return float(value)


def _tried(
    images: _Counts, image: int, now: int, total: _Counts, value: Tensor
) -> tuple[_Counts, int]:
    """The totals and the loss after one image: the last loss that lowers the value so far."""
    own = _Counts(images.hits[now, image], images.union[now, image])
    found, kept = total, now
    for loss in range(len(images.hits)):
        other = _Counts(images.hits[loss, image], images.union[loss, image])
        swapped = total.plus(own, -1).plus(other, 1)
        if (swapped.hits / (swapped.union + TINY)).mean() < value:
            found, kept = swapped, loss
    return found, kept
