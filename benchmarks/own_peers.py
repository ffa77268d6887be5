"""Attackers that belong to no package: PAdam, a targeted margin, and a balanced hinge.

They share no code with the attacks of taskgroup. Signature and labels are those of ``peers.py``.
PAdam is Halmosi, Mohos and Jelasity 2024 (arXiv:2407.09150): Adam with the largest second moment,
200 steps of a quarter of the radius, projected. The other two take steps along the gradient's sign
with momentum, shorter and shorter, in balls of 2, 1.5 and 1 epsilon.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IGNORED = -100
Peer = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits ``(N, K, ...)`` and labels to what is raised, summed over the batch."""
MOMENTUM = 0.75
RADII = (2.0, 1.5, 1.0)
SHARES = (0.3, 0.3, 0.4)


class Lowest:
    """The iterate of each image with the fewest right pixels, the latest of equals."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.clone(), labels
        self.right = torch.full((len(images),), math.inf)

    def offer(self, images: Tensor, logits: Tensor) -> None:
        """Another iterate with its logits."""
        right = (logits.argmax(1) == self.labels).unsqueeze(-1).flatten(1).sum(1).float()
        lower = right <= self.right
        self.right = torch.where(lower, right, self.right)
        self.images[lower] = images[lower]


def padam(loss: Loss, steps: int) -> Peer:
    """Adam on the perturbation from a random start."""

    def attack(logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        delta = _start(images, epsilon).requires_grad_()
        adam = torch.optim.Adam([delta], lr=epsilon / 4, amsgrad=True, maximize=True)
        lowest = Lowest(images, labels)
        for _ in range(steps):
            made = images + delta
            found = logits(made)
            lowest.offer(made.detach(), found)
            adam.zero_grad()
            loss(found, labels).backward()
            adam.step()
            delta.data = _projected(images, delta.data, epsilon)
        with torch.no_grad():
            lowest.offer(images + delta, logits(images + delta))
        return lowest.images

    return attack


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of all labelled pixels."""
    return F.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)


def cosine_weighted(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy times the cosine of softmax and label, as in CosPGD."""
    known = labels != IGNORED
    softmax = logits.detach().softmax(1)
    right = softmax.gather(1, labels.where(known, 0)[:, None])[:, 0]
    cosine = right / softmax.norm(dim=1)
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED)
    return (cosine * losses)[known].sum()


def cosine(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the cosine of logits and label, the published PAdam-Cos."""
    known = labels != IGNORED
    right = logits.gather(1, labels.where(known, 0)[:, None])[:, 0]
    return -(right / logits.norm(dim=1).clamp(min=1e-12))[known].sum()


def targeted_margin(rank: int, steps: int) -> Peer:
    """Every pixel towards its class of this rank on the clean image, 1 being the runner-up.

    The margin counts up to an eighth of the mean gap beyond the boundary.
    """

    def attack(logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        clean = logits(images).detach()
        others = clean.scatter(1, labels.clamp(min=0)[:, None], -math.inf)
        towards = others.argsort(dim=1, descending=True)[:, min(rank, clean.shape[1] - 1) - 1]
        cap = _gap(clean) / 8

        def loss(found: Tensor, now: Tensor) -> Tensor:
            known = now != IGNORED
            target = found.gather(1, towards[:, None])[:, 0]
            right = found.gather(1, now.clamp(min=0)[:, None])[:, 0]
            return (target - right).clamp(max=cap)[known].sum()

        return _descend(logits, images, labels, epsilon, loss, steps)

    return attack


def balanced_hinge(slack: float, steps: int) -> Peer:
    """Hinge of each pixel's margin, weighted by how rare its class is among the images.

    Args:
        slack: How far beyond the boundary a pixel is pushed, in mean gaps of the clean images.
        steps: Steps of all three balls together.
    """

    def attack(logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        clean = logits(images).detach()
        known = labels != IGNORED
        counts = labels[known].bincount(minlength=clean.shape[1]).clamp(min=1)
        weights = (1 / counts)[labels.clamp(min=0)] if labels.ndim == 3 else known.float()
        wanted = slack * _gap(clean)

        def loss(found: Tensor, now: Tensor) -> Tensor:
            right = found.gather(1, now.clamp(min=0)[:, None])[:, 0]
            other = found.scatter(1, now.clamp(min=0)[:, None], -math.inf).amax(1)
            return -(weights * (right - other + wanted).clamp(min=0))[known].sum()

        return _descend(logits, images, labels, epsilon, loss, steps)

    return attack


def _descend(
    logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float, loss: Loss, steps: int
) -> Tensor:
    """Sign steps with momentum in shrinking balls; a phase begins at the last one's lowest."""
    delta = _start(images, RADII[0] * epsilon)
    lowest = Lowest(images, labels)
    for radius, share in zip(RADII, SHARES, strict=True):
        ball, count = radius * epsilon, max(1, int(share * steps))
        delta = _projected(images, delta, ball)
        move = torch.zeros_like(delta)
        lowest = Lowest(images, labels)
        for number in range(count):
            probe = (images + delta).requires_grad_()
            found = logits(probe)
            lowest.offer(probe.detach(), found)
            (gradient,) = torch.autograd.grad(loss(found, labels), probe)
            length = ball * (1 + math.cos(math.pi * number / count)) / 2
            move = MOMENTUM * length * gradient.sign() + (1 - MOMENTUM) * move
            ahead = _projected(images, delta + move, ball)
            move, delta = ahead - delta, ahead
        with torch.no_grad():
            lowest.offer(images + delta, logits(images + delta))
        delta = lowest.images - images
    return lowest.images


def _start(images: Tensor, radius: float) -> Tensor:
    return _projected(images, torch.empty_like(images).uniform_(-radius, radius), radius)


def _projected(images: Tensor, delta: Tensor, radius: float) -> Tensor:
    return (images + delta.clamp(-radius, radius)).clamp(0, 1) - images


def _gap(logits: Tensor) -> float:
    """Mean difference of the two largest logits."""
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return float((first - second).mean())
