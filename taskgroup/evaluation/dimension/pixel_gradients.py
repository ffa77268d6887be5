"""Gradient of the loss over ``M`` sampled outputs of an image, for many ``M`` at once.

One forward pass serves every ``M`` and every repeat. The loss of a map is a sum over pixels, so its
gradient by the prediction, masked, is the gradient of the loss of the masked pixels, and gradients
of disjoint sets add. A random order of the pixels is therefore cut into few parts; each costs one
backward pass, to the images alone, and the inner products of the parts' gradients give the length
of the gradient of every union of parts, which is a random sample too. With parts of 1, 2, 4, ...
pixels the unions have every size. All of it is exact up to rounding.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from taskgroup.data.base import Batch
from taskgroup.evaluation.dimension.sampling import (
    NO_WALK,
    Walk,
    cut_order,
    plan_walks,
    random_ranks,
)
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.tasks.base import Task

BATCH_BYTES = 2**28
"""Memory that a batch's gradients may take."""
SEED_BATCH = 2
"""Images in a batch of the published script."""


class GradientSums(NamedTuple):
    """Lengths of gradients divided by ``M``, summed over the samples of each image.

    Attributes:
        norms: ``(N, K)`` float64 on the CPU.
        squares: The same of their squares.
        samples: How many were summed, ``(N, K)``; 0 where the image has too few valid pixels.
    """

    norms: Tensor
    squares: Tensor
    samples: Tensor


def images_per_batch(num_pixels: int, outputs: Sequence[int], most: int) -> int:
    """Images whose gradients fit into memory together, at most ``most``; an even number above 1.

    Even, so that the pairs of the published script stay together.
    """
    fitting = BATCH_BYTES // (12 * num_pixels * len(cut_order(outputs)))
    return max(2, min(most, fitting) // 2 * 2)


def pixel_gradients(
    trained: TrainedModel,
    task: Task,
    batch: Batch,
    *,
    outputs: Sequence[int],
    repeats: int,
    seed: int,
) -> GradientSums:
    """Lengths of the gradient of the mean loss over ``M`` random valid pixels, image by image.

    Gradients are taken with respect to pixels in [0, 1].

    Args:
        trained: The network, fixed.
        task: A task of one output per pixel.
        batch: Images with a target of the task.
        outputs: Ascending numbers of outputs ``M``.
        repeats: Random orders per image.
        seed: Draws them.
    """
    valid = batch.targets[task.name].valid
    counts = valid.flatten(1).sum(1).tolist()
    plans = {count: plan_walks(outputs, repeats, count) for count in set(counts)}
    found = _no_sums(len(batch), len(outputs))
    backward = _Backward(trained, task, batch)
    by_image = zip_longest(*(plans[count] for count in counts), fillvalue=NO_WALK)
    for number, walks in enumerate(by_image):
        ranks = random_ranks(valid, batch.index, seed=seed, repeat=number)
        gram = _products(backward.gradients(ranks, [walk.parts for walk in walks]))
        for row, walk in enumerate(walks):
            _add(found, row, gram[row], walk, outputs)
    return found


def joint_gradients(
    trained: TrainedModel,
    task: Task,
    batch: Batch,
    *,
    outputs: Sequence[int],
    repeats: int,
    seed: int,
) -> GradientSums:
    """The published script's number: two images as one vector, at the same positions.

    Positions are drawn from all pixels, ignored ones add nothing and still count in ``M``, and the
    gradient is that by the normalised images. The result has one row per pair; it grows with the
    number of images in it, which is why it is not the default.
    """
    valid = torch.ones_like(batch.targets[task.name].valid)
    first = batch.index[:1].expand_as(batch.index)
    std = getattr(trained.model, "std", torch.ones(1, device=batch.images.device))
    found = _no_sums(-(-len(batch) // SEED_BATCH), len(outputs))
    backward = _Backward(trained, task, batch)
    for number, walk in enumerate(plan_walks(outputs, repeats, valid[0].numel())):
        ranks = random_ranks(valid, first, seed=seed, repeat=number)
        gram = _products(backward.gradients(ranks, [walk.parts] * len(batch)) * std)
        for pair, products in enumerate(torch.split(gram, SEED_BATCH)):
            _add(found, pair, products.sum(0), walk, outputs)
    return found


class _Backward:
    """One forward pass, from which gradients of parts of its loss are taken."""

    def __init__(self, trained: TrainedModel, task: Task, batch: Batch) -> None:
        with torch.enable_grad():
            self.images = batch.images.detach().requires_grad_()
            self.prediction = trained.model(self.images, [task.name])[task.name]
            total = task.loss(self.prediction.float(), batch.targets[task.name]).loss_sum.sum()
            (self.cotangent,) = torch.autograd.grad(total, self.prediction, retain_graph=True)

    def gradients(self, ranks: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
        """Gradients ``(N, P, 3, H, W)`` of the summed loss of each part of each image's order.

        Args:
            ranks: Places of the pixels in the order, ``(N, H, W)``.
            parts: Outputs in each part, image by image; zeros follow where an image has fewer.
        """
        sizes = pad_sequence([torch.tensor(image, dtype=torch.long) for image in parts], True)
        stops = sizes.cumsum(1).to(ranks.device)[..., None, None]
        firsts = stops - sizes.to(ranks.device)[..., None, None]
        masks = (ranks[:, None] >= firsts) & (ranks[:, None] < stops)
        return torch.stack([self._gradient(mask) for mask in masks.unbind(1)], 1)

    def _gradient(self, mask: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(
            self.prediction, self.images, self.cotangent * mask.unsqueeze(1), retain_graph=True
        )
        return gradient


def _products(gradients: Tensor) -> Tensor:
    """Inner products ``(N, P, P)`` of gradients ``(N, P, 3, H, W)``, float64 on the CPU."""
    rows = gradients.flatten(2)
    return (rows @ rows.mT).double().cpu()


def _no_sums(images: int, numbers: int) -> GradientSums:
    return GradientSums(*(torch.zeros(images, numbers, dtype=torch.float64) for _ in range(3)))


def _add(
    found: GradientSums, row: int, products: Tensor, walk: Walk, outputs: Sequence[int]
) -> None:
    """Add the samples of a walk to an image's sums, given its parts' inner products ``(P, P)``."""
    joined, parts = walk.unions.double(), len(walk.parts)
    squares = ((joined @ products[:parts, :parts]) * joined).sum(1).clamp(min=0)
    squares = squares / torch.tensor(outputs, dtype=torch.float64)[walk.place] ** 2
    for sums, samples in zip(
        found, (squares.sqrt(), squares, torch.ones_like(squares)), strict=True
    ):
        sums[row].index_add_(0, walk.place, samples)
