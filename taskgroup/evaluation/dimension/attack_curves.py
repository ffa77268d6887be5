"""Robust scores of one network against attacked outputs and tasks, as records."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.evaluation.dimension.attacks import (
    ScoreSums,
    attack_pixels,
    attack_tasks,
    pixel_score,
    task_subsets,
)
from taskgroup.evaluation.dimension.measured_network import COMBINED, MeasuredNetwork, Tick
from taskgroup.evaluation.dimension.options import attack_outputs
from taskgroup.evaluation.objective.combined import Combine
from taskgroup.evaluation.scoring import predict
from taskgroup.metrics.base import SumMetric
from taskgroup.results.records import DimensionRow
from taskgroup.study.intervals import bootstrap_intervals

Attack = Callable[[Batch, Tensor], ScoreSums]
"""Attacks a batch, given the task's clean prediction for it."""


def attack_rows(network: MeasuredNetwork, tick: Tick) -> list[DimensionRow]:
    """Score of ``M`` attacked outputs against ``M``."""
    options = network.options
    outputs = attack_outputs(options.grid, options.outputs, network.valid.tolist())
    attack = partial(attack_pixels, network.trained, network.task, **_settings(network))
    repeats = range(options.repeats)
    points = [
        [partial(attack, outputs=count, repeat=repeat) for repeat in repeats] for count in outputs
    ]
    return [
        _score_row(
            network,
            point,
            score_name=pixel_score(network.task),
            counted="outputs",
            count=count,
            images=int((network.valid >= count).sum()),
        )
        for count, point in zip(outputs, _attacked(network, points, tick), strict=True)
    ]


def task_attack_rows(network: MeasuredNetwork, tick: Tick) -> list[DimensionRow]:
    """Score of the task when it is attacked together with others, against how many there are."""
    several = range(2, len(network.trained.task_set) + 1)
    ways = [(1, COMBINED[0]), *product(several, COMBINED)]
    points = [_task_attacks(network, size, combine) for size, combine in ways]
    rows = [
        _score_row(
            network,
            point,
            score_name=network.task.main_score,
            counted="tasks",
            count=size,
            combine=combine,
            images=int((network.valid > 0).sum()),
        )
        for (size, combine), point in zip(ways, _attacked(network, points, tick), strict=True)
    ]
    alone = [replace(rows[0], combine=combine) for combine in COMBINED]  # one task, either way
    return [*alone, *rows[1:]]


def _task_attacks(network: MeasuredNetwork, size: int, combine: Combine) -> list[Attack]:
    """One attack for each set of ``size`` tasks."""
    options, trained, task = network.options, network.trained, network.task
    subsets = task_subsets(
        trained.task_set, task.name, size, most=options.repeats, seed=options.seed
    )
    attack = partial(attack_tasks, trained, task, combine=combine, **_settings(network))
    return [partial(attack, attacked_tasks=subset) for subset in subsets]


def _settings(network: MeasuredNetwork) -> dict[str, Any]:
    """What every attack on a network has in common."""
    options = network.options
    return {
        "attack": options.attack,
        "budget": options.budget(network.trained),
        "seed": options.seed,
    }


class _Point(NamedTuple):
    """What the attacks of one point of a curve left.

    Attributes:
        sums: Of every image, added over the attacks.
        attacks: How many there were.
        seconds: How long they took.
    """

    sums: ScoreSums
    attacks: int
    seconds: float


def _attacked(
    network: MeasuredNetwork, points: Sequence[Sequence[Attack]], tick: Tick
) -> Iterator[_Point]:
    """Every point of a curve; each clean image is predicted once for all of them."""
    task = network.task
    found: list[list[ScoreSums]] = [[] for _ in points]
    seconds, done = [0.0] * len(points), 0
    for batch in network.batches():
        prediction = predict(network.trained.model, batch.images, [task.name])[task.name]
        for place, attacks in enumerate(points):
            began = time.perf_counter()
            columns = zip(*(attack(batch, prediction) for attack in attacks), strict=True)
            found[place].append(ScoreSums(*(torch.stack(sums).sum(0) for sums in columns)))
            seconds[place] += time.perf_counter() - began
            tick((done + len(batch) * (place + 1) / len(points)) / network.count)
        done += len(batch)
    for attacks, parts, took in zip(points, found, seconds, strict=True):
        sums = ScoreSums(*(torch.cat(part) for part in zip(*parts, strict=True)))
        yield _Point(sums, len(attacks), took)


def _score_row(
    network: MeasuredNetwork, point: _Point, *, score_name: str, **fields: Any
) -> DimensionRow:
    """The record of one point."""
    metric, sums = network.task.metric(), point.sums
    interval = bootstrap_intervals(
        sums.attacked.numpy(),
        lambda drawn: {"value": metric.score(torch.from_numpy(drawn))[score_name]},
        seed=network.options.seed,
    )["value"]
    budget = network.options.budget(network.trained)
    return network.row(
        interval=interval,
        measure="robust_score",
        score_name=score_name,
        direction=metric.directions[score_name],
        value=_score(metric, sums.attacked, score_name),
        clean=_score(metric, sums.clean, score_name),
        attack=network.options.attack,
        norm=budget.norm,
        epsilon=budget.epsilon,
        steps=budget.steps,
        restarts=budget.restarts,
        samples=float(point.attacks),
        seconds=point.seconds,
        **fields,
    )


def _score(metric: SumMetric, sums: Tensor, name: str) -> float:
    return float(metric.score(sums.sum(0))[name])
