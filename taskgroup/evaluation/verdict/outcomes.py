"""From finished shards to what each condition did to a network, and the worst of them together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.shards.shard import Part, Shard, ShardResult
from taskgroup.evaluation.suites.conditions import Condition, Work
from taskgroup.evaluation.verdict.worst_case import worst_case
from taskgroup.metrics.base import SumMetric


@dataclass(frozen=True)
class Outcome:
    """What one condition, or one member of its attack, did to a network.

    Attributes:
        condition: What was done to the images.
        member: Attack of an ensemble, or empty.
        sums: Per task the metric's sums of each image, ``(N, S)``.
        valid: Per task the pixels of each image that count, ``(N,)``.
        seconds: Time that the condition took, over all its shards.
    """

    condition: Condition
    member: str
    sums: Mapping[str, Tensor]
    valid: Mapping[str, Tensor]
    seconds: float


Finished = Mapping[tuple[int, Work], Sequence[tuple[Shard, ShardResult]]]
"""Shards by network and work, in the order of their images."""


def finished(results: Iterable[tuple[Shard, ShardResult]]) -> Finished:
    """Sort shards by what they are part of; images follow one another whatever the sizes."""
    found: dict[tuple[int, Work], list[tuple[Shard, ShardResult]]] = {}
    for shard, result in results:
        found.setdefault((shard.network, shard.condition.work), []).append((shard, result))
    return {key: sorted(pairs, key=lambda pair: pair[0].first) for key, pairs in found.items()}


def gather_outcomes(
    done: Finished, network: int, conditions: Sequence[Condition]
) -> tuple[Outcome, ...]:
    """A network's outcomes in the order of its conditions, members one after the other."""
    outcomes = []
    for condition in conditions:
        results = [result for _, result in done[network, condition.work]]
        valid = _joined([result.valid for result in results])
        seconds = sum(result.seconds for result in results)
        for member in dict.fromkeys(part.member for part in results[0].parts):
            own = [_part(result, member, network) for result in results]
            sums = _joined([part.sums for part in own])
            outcomes.append(Outcome(condition, member, sums, valid, seconds))
    return tuple(outcomes)


def gather_transfers(
    done: Finished, source: int, condition: Condition, target: int, task: str
) -> list[Tensor]:
    """Sums of a task of ``target`` on images attacked for ``source``, one per member."""
    results = [result for _, result in done[source, condition.work]]
    members = dict.fromkeys(part.member for part in results[0].parts)
    return [
        torch.cat([_part(result, member, target).sums[task] for result in results])
        for member in members
    ]


def _part(result: ShardResult, member: str, network: int) -> Part:
    return next(p for p in result.parts if (p.member, p.network) == (member, network))


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {task: torch.cat([part[task] for part in parts]) for task in parts[0]}


@dataclass(frozen=True)
class Worst:
    """The main task when each image meets the worst of several attacks.

    Attributes:
        sums: Sums of each image, ``(N, S)``.
        sources: The outcome that each image's sums come from.
    """

    sums: Tensor
    sources: tuple[Outcome, ...]


def worst_of(
    outcomes: Sequence[Outcome], metric: SumMetric, *, task: str, score: str, seed: int
) -> Worst:
    """The worst of some outcomes that scored the same images."""
    found = worst_case([o.sums[task] for o in outcomes], metric, score=score, seed=seed)
    return Worst(found.sums, tuple(outcomes[place] for place in found.attack.tolist()))


def inside(outcomes: Sequence[Outcome], threat: ThreatModel, *, task: str) -> list[Outcome]:
    """The outcomes that a threat model allows; clean is one of them.

    Where a check used the first images only, the rest are as without attack.
    """
    clean = next(o for o in outcomes if o.condition.role == "clean")
    return [
        _filled(outcome, clean, task) for outcome in outcomes if outcome.condition.is_inside(threat)
    ]


def _filled(outcome: Outcome, clean: Outcome, task: str) -> Outcome:
    seen = len(outcome.sums[task])
    if seen == len(clean.sums[task]):
        return outcome
    return replace(outcome, sums={task: torch.cat([outcome.sums[task], clean.sums[task][seen:]])})
