"""A shard: one perturbation of some images of one network, the unit of work of an evaluation.

A shard depends on nothing but its network, its condition, its images and the seed: not on who runs
it, in which order, or beside what. So any number of workers finds the same numbers, and a shard
that is finished need not be run again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.objective.expectation import NUM_DRAWS
from taskgroup.evaluation.suites.conditions import Condition, Work
from taskgroup.tasks.base import Target

NUM_SAMPLES = 4
"""Images of an evaluation that a reader gets to see, the first of the split."""
BATCH_PIXELS = 2**17
"""Most pixels per shard, 32 images of 64 pixels; more is no faster on a CPU."""
BATCH_NUMBERS = 2**23
"""Most numbers that the main task predicts per shard: with many classes they fill the memory."""
BATCH_PIXELS_GPU = 2**21


@dataclass(frozen=True)
class Shard:
    """One piece of work.

    Attributes:
        network: Position of the network that the images are perturbed for.
        condition: What is done.
        first: Position of the first image in the split.
        stop: Position behind the last one.
        transfer_targets: Positions of other networks that are scored on the same attacked images.
        keeps_samples: Whether pictures are kept of its first images.
        randomised: Positions of those among these networks that answer at random: attacks and
            scores take their mean over draws.
    """

    network: int
    condition: Condition
    first: int
    stop: int
    transfer_targets: tuple[int, ...] = ()
    keeps_samples: bool = False
    randomised: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def cost(self) -> float:
        """About how long it takes, in forward passes."""
        draws = NUM_DRAWS if self.network in self.randomised else 1
        return self.condition.perturbation.passes * len(self) * draws


class Part(NamedTuple):
    """Scores on one set of perturbed images.

    Attributes:
        member: Attack of an ensemble, or empty.
        network: Position of the network that was scored.
        sums: Per task the metric's sums of each image, ``(N, S)`` float64 on the CPU.
    """

    member: str
    network: int
    sums: Mapping[str, Tensor]


@dataclass(frozen=True)
class SampleImages:
    """The first few images of the test split as the network saw them; all on the CPU.

    Attributes:
        index: Position of each image in its split, ``(M,)``.
        images: ``(M, 3, H, W)`` in [0, 1].
        prediction: The main task's prediction, ``(M, C, H, W)`` or ``(M, C)``.
        target: What it should be.
    """

    index: Tensor
    images: Tensor
    prediction: Tensor
    target: Target


@dataclass(frozen=True)
class ShardResult:
    """What a shard found, on the CPU.

    Attributes:
        parts: Its network's own scores, member by member, then those of the transfer targets.
        index: Positions of the images, ``(N,)`` int64.
        valid: Per task the pixels of each image that count, ``(N,)`` int64.
        seconds: Time that it took.
        samples: Pictures, for some shards.
    """

    parts: tuple[Part, ...]
    index: Tensor
    valid: Mapping[str, Tensor]
    seconds: float
    samples: SampleImages | None = None


@dataclass(frozen=True)
class NetworkPlan:
    """What is done to one network.

    Attributes:
        threat: The ball that it is evaluated in.
        conditions: Everything that is done to its images.
        transferred: The condition whose attacked images the transfer targets are scored on too.
        count: Number of images.
        per_shard: Images of one shard.
        transfer_targets: Positions of the other networks that are scored on its images.
        keeps_samples: Whether pictures of the first images are kept.
        randomised: Positions of the networks that answer at random, among it and its targets.
    """

    threat: ThreatModel
    conditions: tuple[Condition, ...]
    transferred: Condition
    count: int
    per_shard: int
    transfer_targets: tuple[int, ...] = ()
    keeps_samples: bool = True
    randomised: tuple[int, ...] = ()


def plan_shards(plans: Sequence[NetworkPlan]) -> list[Shard]:
    """Every shard of an evaluation; the same work under a second name is planned once."""
    shards = []
    for network, plan in enumerate(plans):
        distinct: dict[Work, Condition] = {}
        for condition in plan.conditions:
            distinct.setdefault(condition.work, condition)
        for condition in distinct.values():
            travels = condition.work == plan.transferred.work
            targets = plan.transfer_targets if travels else ()
            count = min(plan.count, condition.images or plan.count)
            shards += [
                Shard(
                    network,
                    condition,
                    first,
                    stop,
                    transfer_targets=targets,
                    keeps_samples=plan.keeps_samples
                    and first < NUM_SAMPLES
                    and (travels or condition.role == "clean"),
                    randomised=tuple(n for n in plan.randomised if n in (network, *targets)),
                )
                for first, stop in pieces(count, plan.per_shard)
            ]
    return shards


def pieces(count: int, most: int) -> list[tuple[int, int]]:
    """Cut ``count`` images into runs of about equal length, none longer than ``most``.

    Example:
        >>> pieces(10, 4)
        [(0, 4), (4, 7), (7, 10)]
    """
    number = math.ceil(count / most)
    size, longer = divmod(count, max(number, 1))
    ends = [0]
    for position in range(number):
        ends.append(ends[-1] + size + (position < longer))
    return list(pairwise(ends))


def images_per_shard(num_pixels: int, device: torch.device, *, channels: int = 1) -> int:
    """How many images one shard takes.

    Args:
        num_pixels: Pixels of an image.
        device: Where the networks lie.
        channels: Numbers that the main task predicts per pixel.
    """
    if device.type != "cpu":
        return max(1, BATCH_PIXELS_GPU // num_pixels)
    return max(1, min(BATCH_PIXELS // num_pixels, BATCH_NUMBERS // (num_pixels * channels)))
