"""Scores that must come in order: a weaker attack that does better gives the stronger one away."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.outcomes import Outcome, worst_of
from taskgroup.evaluation.sanity import beats_constant, rises
from taskgroup.tasks.base import Task


def check_order(
    outcomes: Sequence[Outcome],
    task: Task,
    threat: ThreatModel,
    *,
    constant: Mapping[str, float],
    transferred: Sequence[Tensor] = (),
    seed: int = 0,
) -> list[str]:
    """What the main task's scores under different conditions say about the attack.

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
    metric, score = task.metric(), task.main_score
    strong = _strong(outcomes, task, threat, seed=seed)
    sweep = [o.sums[task.name] for o in _of(outcomes, "sweep")]
    same_radius = [
        o.sums[task.name]
        for o in _of(outcomes, "sweep")
        if o.condition.budget.epsilon == threat.epsilon > 0
    ]

    def beaten_by(weaker: Sequence[Tensor]) -> bool:
        return any(rises(metric, score, sums, strong[: len(sums)], seed=seed) for sums in weaker)

    def sums_of(role: str) -> list[Tensor]:
        return [o.sums[task.name] for o in _of(outcomes, role) if o.condition.is_inside(threat)]

    checks = {
        "noise beats the attack": beaten_by(sums_of("noise")),
        "one step beats many": beaten_by(sums_of("fast")),
        "fewer steps beat more": beaten_by(same_radius),
        "a black-box attack beats the attack": beaten_by(sums_of("black_box")),
        "another network's images beat the attack": beaten_by(transferred),
        "the score rises with epsilon": any(
            rises(metric, score, weaker, stronger, seed=seed)
            and beats_constant(metric, stronger, constant)  # below that, order means nothing
            for weaker, stronger in pairwise(sweep)
        ),
        "a huge epsilon does not reach a constant predictor": bool(sweep)
        and beats_constant(metric, sweep[-1], constant),
    }
    return [finding for finding, found in checks.items() if found]


def _of(outcomes: Sequence[Outcome], role: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.condition.role == role]


def _strong(outcomes: Sequence[Outcome], task: Task, threat: ThreatModel, *, seed: int) -> Tensor:
    """Sums of each image under the worst of the attacks that the network is judged by."""
    judged = [o for o in _of(outcomes, "strong") if o.condition.is_inside(threat)]
    found = worst_of(judged, task.metric(), task=task.name, score=task.main_score, seed=seed)
    return found.sums
