"""A shard: one attack on some images of one network, the unit of work of an evaluation.

A shard depends on nothing but its network, its condition, its images and the seed: not on who runs
it, in which order, or beside what. So any number of workers finds the same numbers, and a shard
that is finished need not be run again.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch, VisionDataset
from taskgroup.errors import DataError
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.shards.freed_memory import release_freed_memory
from taskgroup.evaluation.shards.scoring import predict, sums_per_image
from taskgroup.evaluation.shards.shown import NUM_SHOWN, Shown, show
from taskgroup.evaluation.suites.attacking import attacked_images
from taskgroup.evaluation.suites.conditions import Condition

BATCH_PIXELS = 2**17
"""Most pixels per shard, 32 images of 64 pixels; more is no faster on a CPU."""
BATCH_NUMBERS = 2**23
"""Most numbers that the main task predicts per shard: with many classes they fill the memory."""
BATCH_PIXELS_GPU = 2**21


@dataclass(frozen=True)
class Shard:
    """One piece of work.

    Attributes:
        network: Position of the network that is attacked.
        condition: What is done.
        first: Position of the first image in the split.
        stop: Position behind the last one.
        judges: Positions of other networks that are scored on the same attacked images.
        is_shown: Whether pictures are kept of its first images.
    """

    network: int
    condition: Condition
    first: int
    stop: int
    judges: tuple[int, ...] = ()
    is_shown: bool = False

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def cost(self) -> float:
        """About how long it takes, in forward passes; a further task costs a quarter."""
        tasks = 1 + 0.25 * max(len(self.condition.attacked_tasks) - 1, 0)
        return self.condition.passes * tasks * len(self)


class Part(NamedTuple):
    """Scores on one set of attacked images.

    Attributes:
        member: Attack of an ensemble, or empty.
        judge: Position of the network that was scored.
        sums: Per task the metric's sums of each image, ``(N, S)`` float64 on the CPU.
    """

    member: str
    judge: int
    sums: Mapping[str, Tensor]


@dataclass(frozen=True)
class ShardResult:
    """What a shard found, on the CPU.

    Attributes:
        parts: Its network's own scores, member by member, then the judges'.
        index: Positions of the images, ``(N,)`` int64.
        valid: Per task the pixels of each image that count, ``(N,)`` int64.
        seconds: Time that it took.
        shown: Pictures, for some shards.
    """

    parts: tuple[Part, ...]
    index: Tensor
    valid: Mapping[str, Tensor]
    seconds: float
    shown: Shown | None = None


@dataclass(frozen=True)
class Bench:
    """Networks side by side with their images.

    Attributes:
        networks: The networks, on ``device`` and held still while shards run.
        datasets: The images of each.
        device: Where the networks lie.
        seed: Seed of every attack.
    """

    networks: tuple[TrainedModel, ...]
    datasets: tuple[VisionDataset, ...]
    device: torch.device
    seed: int = 0

    def batch(self, network: int, first: int, stop: int) -> Batch:
        """Some images of a network's split, on the device."""
        return self.datasets[network].batch(range(first, stop)).to(self.device)


@contextmanager
def held_still(bench: Bench) -> Iterator[None]:
    """Hold every network of a bench as ``fixed_network`` does."""
    with ExitStack() as stack:
        for trained in bench.networks:
            stack.enter_context(fixed_network(trained.model))
        yield


def run_shard(bench: Bench, shard: Shard) -> ShardResult:
    """Attack the images of a shard and score its network, and its judges, on them.

    The networks must be held still.
    """
    began = time.perf_counter()
    trained = bench.networks[shard.network]
    batch = bench.batch(shard.network, shard.first, shard.stop)
    attacked = attacked_images(trained, batch, shard.condition, seed=bench.seed, number=shard.first)
    parts = []
    shown = None
    for member, images in attacked.items():
        own, kept = _scored(trained, batch, images)
        parts.append(Part(member, shard.network, own))
        if shard.is_shown and shown is None:
            shown = kept
    parts += [
        Part(member, judge, _judged(bench.networks[judge], batch, images))
        for judge in shard.judges
        for member, images in attacked.items()
    ]
    result = ShardResult(
        parts=tuple(parts),
        index=batch.index.cpu(),
        valid={name: _counts(batch, name) for name in trained.task_set},
        seconds=time.perf_counter() - began,
        shown=shown,
    )
    del attacked
    release_freed_memory()
    return result


def _scored(trained: TrainedModel, batch: Batch, images: Tensor) -> tuple[dict[str, Tensor], Shown]:
    """Sums of every task of a network, and pictures of the first images."""
    metrics = {task.name: task.metric() for task in trained.tasks}
    predictions = predict(trained.model, images, list(metrics))
    for name, prediction in predictions.items():
        _check_finite(prediction, name, images is batch.images)
    shown = show(batch, images, predictions, task=trained.main_task)
    return sums_per_image(metrics, predictions, batch.targets), shown


def _check_finite(prediction: Tensor, task: str, is_clean: bool) -> None:
    """A score of NaN would say nothing, and a class taken from NaN something false."""
    broken = ~prediction.flatten(1).isfinite().all(1)
    if broken.any():
        where = "images as they are" if is_clean else "attacked images"
        raise DataError(
            f"the network must answer finite numbers, but its {task} is NaN or infinite on "
            f"{int(broken.sum())} of {len(broken)} {where}; its training went wrong: evaluate "
            "another trial"
        )


def _judged(trained: TrainedModel, batch: Batch, images: Tensor) -> dict[str, Tensor]:
    """Sums of a network's main task on images that were attacked for another one."""
    metrics = {trained.main_task: trained.main.metric()}
    predictions = predict(trained.model, images, [trained.main_task])
    _check_finite(predictions[trained.main_task], trained.main_task, images is batch.images)
    return sums_per_image(metrics, predictions, batch.targets)


def _counts(batch: Batch, task: str) -> Tensor:
    return batch.targets[task].valid.view(len(batch), -1).sum(1).cpu()


@dataclass(frozen=True)
class NetworkPlan:
    """What is done to one network.

    Attributes:
        threat: The ball that it is judged in.
        conditions: Everything that is done to its images.
        transferred: The condition whose attacked images the judges are scored on too.
        count: Number of images.
        per_shard: Images of one shard.
        judges: Positions of the other networks that are scored on its images.
        has_pictures: Whether pictures of the first images are kept.
    """

    threat: ThreatModel
    conditions: tuple[Condition, ...]
    transferred: Condition
    count: int
    per_shard: int
    judges: tuple[int, ...] = ()
    has_pictures: bool = True


def plan_shards(plans: Sequence[NetworkPlan]) -> list[Shard]:
    """Every shard of an evaluation; the same work under a second name is planned once."""
    shards = []
    for network, plan in enumerate(plans):
        distinct: dict[tuple[object, ...], Condition] = {}
        for condition in plan.conditions:
            distinct.setdefault(condition.work, condition)
        for condition in distinct.values():
            travels = condition.work == plan.transferred.work
            count = min(plan.count, condition.images or plan.count)
            shards += [
                Shard(
                    network,
                    condition,
                    first,
                    stop,
                    judges=plan.judges if travels else (),
                    is_shown=plan.has_pictures
                    and first < NUM_SHOWN
                    and (travels or condition.role == "clean"),
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
