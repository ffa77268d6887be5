"""Every condition on one network: scores with intervals, a verdict, and pictures to look at."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.evaluation.conditions import Condition, standard_conditions
from taskgroup.evaluation.constant import constant_scores
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.network import fast_precision, fixed_network
from taskgroup.evaluation.sanity import beats_constant, check_network, rises
from taskgroup.evaluation.scoring import (
    Attacker,
    Scores,
    gather_scores,
    predict,
    sums_per_image,
)
from taskgroup.evaluation.shown import Shown, join_shown, show
from taskgroup.evaluation.workers import batch_workers
from taskgroup.evaluation.worst_case import worst_case

SHOWN = ("clean", "pgd")
"""Conditions whose images and predictions are kept as pictures."""


@dataclass(frozen=True)
class Outcome:
    """What one condition did to a network.

    Attributes:
        condition: What was done to the images.
        scores: Sums per image and scores of every task.
        seconds: Time that it took.
        shown: Pictures, for some conditions.
    """

    condition: Condition
    scores: Scores
    seconds: float
    shown: Shown | None = None


@dataclass(frozen=True)
class Measured:
    """One network under every condition.

    Attributes:
        outcomes: In the order of the conditions.
        worst: The main task's sums of each image, by the worst of all attacks inside the ball.
        findings: What the sanity checks found; nothing is best.
    """

    outcomes: tuple[Outcome, ...]
    worst: Tensor
    findings: tuple[str, ...]


def measure(
    trained: TrainedModel,
    batches: Sequence[Batch],
    *,
    seed: int = 0,
    advance: Callable[[int, str], None] | None = None,
) -> Measured:
    """Score a network under every condition and look for signs of gradient masking.

    Args:
        trained: The network, already on the device of the batches.
        batches: Test images with a target per task.
        seed: Seed of attacks and of resampling.
        advance: Told after each batch how many passes over images it took, and the condition.
    """
    device = batches[0].images.device
    with fixed_network(trained.model), batch_workers(len(batches), device) as executor:
        outcomes = _run_all(trained, batches, seed=seed, advance=advance, executor=executor)
    findings = [
        *check_network(trained.model, trained.tasks, batches[0], main_task=trained.main_task),
        *_check_scores(trained, batches, outcomes, seed=seed),
    ]
    return Measured(tuple(outcomes), _worst(trained, outcomes, seed=seed), tuple(findings))


def conditions_for(trained: TrainedModel, images: Tensor) -> tuple[Condition, ...]:
    """The standard conditions for a network and images of this size, ``(N, 3, H, W)``."""
    return standard_conditions(
        trained.threat, trained.main_task, trained.task_set, num_pixels=images[0].numel()
    )


def planned_passes(trained: TrainedModel, images: Tensor) -> int:
    """What ``measure`` will have reported to ``advance`` per image of this size at its end."""
    distinct = {condition.work: condition for condition in conditions_for(trained, images)}
    return sum(_cost(condition) for condition in distinct.values())


def _run_all(
    trained: TrainedModel,
    batches: Sequence[Batch],
    *,
    seed: int,
    advance: Callable[[int, str], None] | None,
    executor: Executor | None,
) -> list[Outcome]:
    """Every condition, in order; the same work under a second name is not done twice."""
    done: dict[object, Outcome] = {}
    outcomes = []
    for condition in conditions_for(trained, batches[0].images):
        if condition.work in done:
            outcomes.append(replace(done[condition.work], condition=condition, shown=None))
            continue
        outcome = _run_condition(
            trained, batches, condition, seed=seed, advance=advance, executor=executor
        )
        done[condition.work] = outcome
        outcomes.append(outcome)
    return outcomes


def _run_condition(
    trained: TrainedModel,
    batches: Sequence[Batch],
    condition: Condition,
    *,
    seed: int,
    advance: Callable[[int, str], None] | None,
    executor: Executor | None,
) -> Outcome:
    """Score every task of a network under one condition, batches side by side."""
    began = time.perf_counter()
    metrics = {task.name: task.metric() for task in trained.tasks}

    def work(number: int, batch: Batch) -> tuple[dict[str, Tensor], Shown]:
        images = _attacked(trained, batch, condition, seed=seed, number=number)
        predictions = predict(trained.model, images, list(metrics))
        sums = sums_per_image(metrics, predictions, batch.targets)
        return sums, show(batch, images, predictions, task=trained.main_task)

    side_by_side = map if executor is None else executor.map
    parts, shown = [], []
    for batch, (sums, kept) in zip(
        batches, side_by_side(work, range(len(batches)), batches), strict=True
    ):
        parts.append(sums)
        shown.append(kept)
        if advance is not None:
            advance(_cost(condition) * len(batch), condition.name)
    scores = gather_scores(metrics, parts)
    joined = join_shown(shown) if condition.name in SHOWN else None
    return Outcome(condition, scores, time.perf_counter() - began, joined)


def _cost(condition: Condition) -> int:
    """Passes per image; a further task costs about a quarter of the first one."""
    return condition.passes * (4 + max(len(condition.attacked_tasks) - 1, 0))


def _attacked(
    trained: TrainedModel, batch: Batch, condition: Condition, *, seed: int, number: int
) -> Tensor:
    if condition.attack is None:
        return batch.images
    attacker = Attacker(
        condition.attack,
        condition.budget,
        condition.attacked_tasks,
        seed=seed,
        autocast=fast_precision(batch.images.device),
    )
    return attacker(trained.model, trained.tasks, batch, number)


def _main_sums(trained: TrainedModel, outcome: Outcome) -> Tensor:
    return outcome.scores.sums[trained.main_task]


def _worst(trained: TrainedModel, outcomes: Sequence[Outcome], *, seed: int) -> Tensor:
    """The main task's worst sums over every condition inside the ball."""
    task = trained.main
    inside = [
        _main_sums(trained, outcome)
        for outcome in outcomes
        if outcome.condition.budget.epsilon <= trained.threat.epsilon
    ]
    return worst_case(inside, task.metric(), score=task.main_score, seed=seed).sums


def _check_scores(
    trained: TrainedModel, batches: Sequence[Batch], outcomes: Sequence[Outcome], *, seed: int
) -> list[str]:
    """Compare the main task's scores between conditions that should be ordered."""
    task = trained.main
    metric, score = task.metric(), task.main_score
    sums = {outcome.condition.name: _main_sums(trained, outcome) for outcome in outcomes}
    sweep = [_main_sums(trained, o) for o in outcomes if o.condition.name == "sweep"]
    constant = constant_scores(task, [batch.targets[task.name] for batch in batches])
    checks = {
        "noise beats the attack": rises(metric, score, sums["noise"], sums["pgd"], seed=seed),
        "one step beats many": rises(metric, score, sums["fgsm"], sums["pgd"], seed=seed),
        "the score rises with epsilon": any(
            rises(metric, score, weaker, stronger, seed=seed)
            for weaker, stronger in pairwise(sweep)
        ),
        "a huge epsilon does not reach a constant predictor": beats_constant(
            metric, sweep[-1], constant
        ),
    }
    return [finding for finding, found in checks.items() if found]
