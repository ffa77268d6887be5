"""Gradient of the loss over ``M`` sampled outputs of an image, for many ``M`` at once.

One forward pass serves every ``M`` and every repeat. The loss of a map is a sum over pixels, so its
gradient by the prediction, masked, is the gradient of the loss of the masked pixels, and gradients
of disjoint sets add: going along a random order costs one backward pass per increment, to the
images alone, and the inner products of the increments give the length of the gradient of every
stretch of the order, each of which is a random sample too. All of it is exact up to rounding.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.evaluation.dimension.sampling import Walk, plan_walks, random_ranks
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.tasks.base import Task

MOST_BYTES = 2**30
"""Memory that a batch's increments may take; above it, only beginnings of the order count."""
BATCH_BYTES = 2**28
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


def images_per_batch(num_pixels: int, num_outputs: int, most: int) -> int:
    """Images whose increments fit into memory together, at most ``most``; an even number above 1.

    Even, so that the pairs of the published script stay together.
    """
    fitting = BATCH_BYTES // (12 * num_pixels * num_outputs)
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
        trained: The network, held still.
        task: A task of one output per pixel.
        batch: Images with a target of the task.
        outputs: Ascending numbers of outputs ``M``.
        repeats: Random orders per image.
        seed: Draws them.
    """
    valid = batch.targets[task.name].valid
    counts = valid.flatten(1).sum(1)
    is_large = batch.images.numel() * 4 * len(outputs) > MOST_BYTES
    walks = plan_walks(outputs, repeats, certain=_common(counts), only_beginnings=is_large)
    images, prediction, cotangent = _forward(trained, task, batch)
    parts = []
    for number, walk in enumerate(walks):
        ranks = random_ranks(valid, batch.index, seed=seed, repeat=number)
        increments = _increments(images, prediction, cotangent, ranks, walk.points)
        parts.append(_collect(_squares(increments, walk), walk, outputs, counts))
    return GradientSums(*(torch.stack(part).sum(0) for part in zip(*parts, strict=True)))


def _common(counts: Tensor) -> int:
    """The number of valid pixels that every image has, or 0."""
    return int(counts[0]) if bool((counts == counts[0]).all()) else 0


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
    images, prediction, cotangent = _forward(trained, task, batch)
    std = getattr(trained.model, "std", torch.ones(1, device=images.device))
    counts = valid[::SEED_BATCH].flatten(1).sum(1)
    parts = []
    for number, walk in enumerate(plan_walks(outputs, repeats, only_beginnings=True)):
        ranks = random_ranks(valid, first, seed=seed, repeat=number)
        increments = _increments(images, prediction, cotangent, ranks, outputs)
        paired = _add_pairs(_squares((part * std for part in increments), walk))
        parts.append(_collect(paired, walk, outputs, counts))
    return GradientSums(*(torch.stack(part).sum(0) for part in zip(*parts, strict=True)))


def _forward(trained: TrainedModel, task: Task, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Images, their prediction, and the gradient of the summed losses by the prediction."""
    with torch.enable_grad():
        images = batch.images.detach().requires_grad_()
        prediction = trained.model(images, [task.name])[task.name]
        total = task.loss(prediction.float(), batch.targets[task.name]).loss_sum.sum()
        (cotangent,) = torch.autograd.grad(total, prediction, retain_graph=True)
    return images, prediction, cotangent


def _increments(
    images: Tensor, prediction: Tensor, cotangent: Tensor, ranks: Tensor, outputs: Sequence[int]
) -> Iterator[Tensor]:
    """Gradients ``(N, 3, H, W)`` of the summed loss of one part of the order after the other."""
    for first, stop in pairwise((0, *outputs)):
        mask = ((ranks >= first) & (ranks < stop)).unsqueeze(1)
        (gradient,) = torch.autograd.grad(prediction, images, cotangent * mask, retain_graph=True)
        yield gradient


def _squares(increments: Iterator[Tensor], walk: Walk) -> Tensor:
    """Squared lengths of the gradients of the stretches, ``(N, P)`` float64 on the CPU."""
    if int(walk.first.max()) == 0:
        return _squares_from_start(increments)[:, walk.stop - 1]
    rows = torch.stack([gradient.flatten(1) for gradient in increments], 1)
    gram = (rows @ rows.mT).double().cpu()
    sums = torch.nn.functional.pad(gram.cumsum(1).cumsum(2), (1, 0, 1, 0))
    first, stop = walk.first, walk.stop
    between = sums[:, stop, stop] - sums[:, first, stop] - sums[:, stop, first]
    return (between + sums[:, first, first]).clamp(min=0)


def _squares_from_start(increments: Iterator[Tensor]) -> Tensor:
    """Squared lengths of the running sums, ``(N, K)``; holds one gradient at a time."""
    total, found = None, []
    for gradient in increments:
        total = gradient if total is None else total + gradient
        found.append(total.flatten(1).square().sum(1, dtype=torch.float64).cpu())
    return torch.stack(found, 1)


def _add_pairs(squares: Tensor) -> Tensor:
    """Sums of every two rows ``(N, P)``; the last row stays alone where it has no partner."""
    padded = torch.nn.functional.pad(squares, (0, 0, 0, -len(squares) % SEED_BATCH))
    return padded.view(-1, SEED_BATCH, squares.shape[1]).sum(1)


def _collect(squares: Tensor, walk: Walk, outputs: Sequence[int], valid: Tensor) -> GradientSums:
    """Add up the stretches of each length that lie among an image's valid pixels."""
    lies_inside = torch.tensor([0, *walk.points])[walk.stop] <= valid.cpu()[:, None]
    lengths = torch.tensor(outputs, dtype=torch.float64)[walk.place]
    squares = (squares / lengths**2).where(lies_inside, 0.0)
    empty = torch.zeros(len(squares), len(outputs), dtype=torch.float64)
    return GradientSums(
        *(
            empty.index_add(1, walk.place, part)
            for part in (squares.sqrt(), squares, lies_inside.double())
        )
    )
