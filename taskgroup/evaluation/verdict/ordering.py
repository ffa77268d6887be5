"""Scores that must come in order: a weaker attack that does better gives the stronger one away."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.verdict.outcomes import Outcome, worst_of
from taskgroup.evaluation.verdict.sanity import beats_constant, rises
from taskgroup.tasks.base import Task

RISES = "the score rises with epsilon"


def check_order(
    outcomes: Sequence[Outcome],
    task: Task,
    threat: ThreatModel,
    *,
    constant: Mapping[str, float],
    transferred: Sequence[Tensor] = (),
    seed: int = 0,
) -> list[str]:
    """What the main task's scores in the run's ball, and over all radii, say about the attack.

    Args:
        outcomes: Everything that was done to one network.
        task: The main task.
        threat: The ball that the network is judged in.
        constant: The best that a constant prediction reaches, by score.
        transferred: Sums of each image ``(N, S)`` under attacks made for other networks.
        seed: Seed of the resamples.

    Returns:
        What was found, in a few words each; nothing is best.
    """
    found = check_ball(
        outcomes, task, threat, constant=constant, transferred=transferred, seed=seed
    )
    return list(dict.fromkeys([*found, *_check_sweep(outcomes, task, constant, seed)]))


def check_ball(
    outcomes: Sequence[Outcome],
    task: Task,
    ball: ThreatModel,
    *,
    constant: Mapping[str, float],
    transferred: Sequence[Tensor] = (),
    seed: int = 0,
) -> list[str]:
    """Compare the attack that searched a ball with every weaker one that was run inside it.

    A ball without noise, a single step or queries inside has only the others to stand up to: 20
    steps of the same radius, and the attack of the next smaller radius, at last the clean images.

    Args:
        outcomes: Everything that was done to one network.
        task: The main task.
        ball: A ball that an attack of role ``strong`` searched.
        constant: The best that a constant prediction reaches, by score.
        transferred: Sums of each image ``(N, S)`` under attacks made for other networks.
        seed: Seed of the resamples.
    """
    metric, score = task.metric(), task.main_score
    strong = _strong(outcomes, task, ball, seed=seed)

    def beaten_by(weaker: Sequence[Tensor]) -> bool:
        return any(rises(metric, score, sums, strong[: len(sums)], seed=seed) for sums in weaker)

    def sums_of(role: str) -> list[Tensor]:
        return [o.sums[task.name] for o in _within(outcomes, role, ball)]

    same_radius = [o.sums[task.name] for o in _at(_within(outcomes, "sweep", ball), ball)]
    smaller = _smaller(outcomes, task, ball, seed=seed)
    checks = {
        "noise beats the attack": beaten_by(sums_of("noise")),
        "one step beats many": beaten_by(sums_of("fast")),
        "fewer steps beat more": beaten_by(same_radius),
        "a black-box attack beats the attack": beaten_by(sums_of("black_box")),
        "another network's images beat the attack": beaten_by(transferred),
        # Below a constant predictor order means nothing.
        RISES: beaten_by([smaller]) and beats_constant(metric, strong, constant),
    }
    return [finding for finding, found in checks.items() if found]


def _check_sweep(
    outcomes: Sequence[Outcome], task: Task, constant: Mapping[str, float], seed: int
) -> list[str]:
    """What growing radii show, the last of which reaches every image."""
    metric, score = task.metric(), task.main_score
    sweep = [o.sums[task.name] for o in outcomes if o.condition.role == "sweep"]
    checks = {
        RISES: any(
            rises(metric, score, weaker, stronger, seed=seed)
            and beats_constant(metric, stronger, constant)
            for weaker, stronger in pairwise(sweep)
        ),
        "a huge epsilon does not reach a constant predictor": bool(sweep)
        and beats_constant(metric, sweep[-1], constant),
    }
    return [finding for finding, found in checks.items() if found]


def _within(outcomes: Sequence[Outcome], role: str, ball: ThreatModel) -> list[Outcome]:
    """What was done to images inside a ball in one role."""
    return [o for o in outcomes if o.condition.role == role and o.condition.is_inside(ball)]


def _at(outcomes: Sequence[Outcome], ball: ThreatModel) -> list[Outcome]:
    """Those of exactly the ball's radius."""
    return [o for o in outcomes if o.condition.budget.epsilon == ball.epsilon > 0]


def _strong(outcomes: Sequence[Outcome], task: Task, ball: ThreatModel, *, seed: int) -> Tensor:
    """Sums of each image under the worst of the attacks that searched this very ball."""
    judged = _at(_within(outcomes, "strong", ball), ball)
    found = worst_of(judged, task.metric(), task=task.name, score=task.main_score, seed=seed)
    return found.sums


def _smaller(outcomes: Sequence[Outcome], task: Task, ball: ThreatModel, *, seed: int) -> Tensor:
    """Sums of each image in the next smaller ball that was searched, or without an attack."""
    radii = {o.condition.budget.epsilon for o in _within(outcomes, "strong", ball)}
    below = max(radii - {ball.epsilon}, default=None)
    if below is None:
        return _within(outcomes, "clean", ball)[0].sums[task.name]
    return _strong(outcomes, task, ball.model_copy(update={"epsilon": below}), seed=seed)
