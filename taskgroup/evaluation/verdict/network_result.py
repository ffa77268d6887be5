"""What an evaluation found out about each network, gathered from finished shards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.loading import LoadedNetworks
from taskgroup.evaluation.objective.network import fast_precision
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.straight_through import StraightThroughAttack
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.shard import NetworkPlan, Shard, pieces
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.evaluation.verdict.broken import count_as_fooled, fill_broken
from taskgroup.evaluation.verdict.gradient_check import (
    GradientCheck,
    check_gradients,
    checked_images,
)
from taskgroup.evaluation.verdict.ordering import check_ball, check_order, constant_scores
from taskgroup.evaluation.verdict.outcomes import (
    Finished,
    Outcome,
    Worst,
    finished,
    gather_outcomes,
    gather_transfers,
    inside,
    worst_of,
)
from taskgroup.evaluation.verdict.sanity import check_network
from taskgroup.evaluation.verdict.worst_case import worst_case

CHECKED_IMAGES = 32
"""Images on which a network itself is checked."""


@dataclass(frozen=True)
class Transfer:
    """A network on images that were attacked for another one.

    Attributes:
        source: Position of the network that was attacked.
        target: Position of the network that was scored.
        condition: The attack.
        sums: The main task's sums of each image, ``(N, S)``.
    """

    source: int
    target: int
    condition: Condition
    sums: Tensor


@dataclass(frozen=True)
class NetworkResult:
    """One network under every condition.

    Attributes:
        outcomes: In the order of the conditions.
        worst: By ball and score of the main task, the worst of all attacks inside the ball.
        findings: What the sanity checks found about the network, and in the run's ball; nothing is
            best.
        transfers: The network on images attacked for others, and on its own.
        elsewhere: What they found besides in every other ball that was searched.
        gradients: Whether the gradients that attacks follow are the network's; None is unchecked.
        is_randomised: Whether it answers at random, and was attacked and scored over draws.
        constant: The best that one prediction for all images reaches, by score of the main task.
    """

    outcomes: tuple[Outcome, ...]
    worst: tuple[tuple[ThreatModel, str, Worst], ...]
    findings: tuple[str, ...]
    transfers: tuple[Transfer, ...] = ()
    elsewhere: tuple[tuple[ThreatModel, tuple[str, ...]], ...] = ()
    gradients: GradientCheck | None = None
    is_randomised: bool = False
    constant: Mapping[str, float] = field(default_factory=dict)

    def findings_in(self, norm: str, epsilon: float) -> tuple[str, ...]:
        """What makes the scores of a ball suspect: a network that masks does so in every ball."""
        balls: dict[tuple[str, float], tuple[str, ...]] = {
            (ball.norm, ball.epsilon): found for ball, found in self.elsewhere
        }
        return tuple(dict.fromkeys((*self.findings, *balls.get((norm, epsilon), ()))))


def network_result(
    loaded: LoadedNetworks, plans: Sequence[NetworkPlan], done: Finished, network: int
) -> NetworkResult:
    """Everything about one network.

    Args:
        loaded: The networks and their images.
        plans: What was done, by network.
        done: The finished shards.
        network: Position of the network.
    """
    gathered = gather_outcomes(done, network, plans[network].conditions)
    outcomes, broke = count_as_fooled(loaded, network, gathered)
    transfers = _transfers(loaded, plans, done, network)
    of_network, gradients = _check_network(loaded, plans[network], network)
    constant = _constant(loaded, plans[network], network)
    here, elsewhere = _check_scores(loaded, plans[network], outcomes, transfers, network, constant)
    if gradients.is_failed:
        tried, broke_there = count_as_fooled(
            loaded, network, _tried(loaded, plans[network], network)
        )
        outcomes, broke = (*outcomes, *tried), [*broke, *broke_there]
    return NetworkResult(
        outcomes=outcomes,
        worst=_worst(loaded, outcomes, network),
        findings=(*of_network, *broke, *here),
        transfers=tuple(transfers),
        elsewhere=elsewhere,
        gradients=gradients,
        is_randomised=network in plans[network].randomised,
        constant=constant,
    )


def _constant(loaded: LoadedNetworks, plan: NetworkPlan, network: int) -> dict[str, float]:
    """The best that a constant prediction of the main task reaches on the plan's images."""
    task = loaded.networks[network].main
    targets = [
        loaded.batch(network, first, stop).targets[task.name]
        for first, stop in pieces(plan.count, CHECKED_IMAGES)
    ]
    return constant_scores(task, targets)


def _tried(loaded: LoadedNetworks, plan: NetworkPlan, network: int) -> tuple[Outcome, ...]:
    """The suite's main attack once more, with gradients that pass whatever has none of use."""
    attack = plan.transferred.perturbation
    assert isinstance(attack, NetworkAttack)
    condition = Condition("straight_through", StraightThroughAttack(attack))
    ends = pieces(plan.count, plan.per_shard)
    randomised = tuple(n for n in plan.randomised if n == network)
    shards = [Shard(network, condition, first, stop, randomised=randomised) for first, stop in ends]
    return gather_outcomes(finished(run_here(loaded, shards)), network, [condition])


def _transfers(
    loaded: LoadedNetworks, plans: Sequence[NetworkPlan], done: Finished, target: int
) -> list[Transfer]:
    """A network on the images attacked for each that it is a transfer target of, and for itself."""
    task = loaded.networks[target].main
    found = []
    for source, plan in enumerate(plans):
        if target == source or target in plan.transfer_targets:
            condition = plan.transferred
            members = [
                fill_broken(loaded, target, task, sums)
                for sums in gather_transfers(done, source, condition, target, task.name)
            ]
            worst = worst_case(members, task.metric(), score=task.main_score, seed=loaded.seed)
            found.append(Transfer(source, target, condition, worst.sums))
    return found


def _worst(
    loaded: LoadedNetworks, outcomes: Sequence[Outcome], network: int
) -> tuple[tuple[ThreatModel, str, Worst], ...]:
    """The worst case of every score in every ball that a strong attack searched."""
    task = loaded.networks[network].main
    found = []
    for ball in _searched(outcomes):
        allowed = inside(outcomes, ball, task=task.name)
        found += [
            (
                ball,
                score,
                worst_of(allowed, task.metric(), task=task.name, score=score, seed=loaded.seed),
            )
            for score in task.metric().directions
        ]
    return tuple(found)


def _searched(outcomes: Sequence[Outcome]) -> list[ThreatModel]:
    """Every ball that a strong attack searched, once."""
    strong = [o.condition.perturbation.row() for o in outcomes if o.condition.role == "strong"]
    balls = dict.fromkeys((row.norm, row.epsilon) for row in strong)
    return [ThreatModel.model_validate({"norm": norm, "epsilon": r}) for norm, r in balls]


def _check_network(
    loaded: LoadedNetworks, plan: NetworkPlan, network: int
) -> tuple[list[str], GradientCheck]:
    """What the network itself and its gradients show on a few images."""
    trained = loaded.networks[network]
    batch = loaded.batch(network, 0, min(plan.count, plan.per_shard, CHECKED_IMAGES))
    more = loaded.spread(network, plan.count, checked_images(batch.images[0, 0].numel()))
    model, tasks, main = trained.model, trained.tasks, trained.main_task
    found = check_network(
        model, tasks, batch, main_task=main, is_randomised=network in plan.randomised
    )
    gradients = check_gradients(
        model,
        tasks,
        more,
        main_task=main,
        threat=plan.threat,
        at_once=plan.per_shard,
        precision=fast_precision(loaded.device),
        seed=loaded.seed,
    )
    return [*found, *([gradients.text] if gradients.is_undecided else [])], gradients


def _check_scores(
    loaded: LoadedNetworks,
    plan: NetworkPlan,
    outcomes: Sequence[Outcome],
    transfers: Sequence[Transfer],
    network: int,
    constant: Mapping[str, float],
) -> tuple[tuple[str, ...], tuple[tuple[ThreatModel, tuple[str, ...]], ...]]:
    """What its scores under different conditions show, in the run's ball and in the others."""
    task = loaded.networks[network].main

    def checked(check: Callable[..., list[str]], ball: ThreatModel) -> tuple[str, ...]:
        foreign = [t.sums for t in transfers if t.source != network and t.condition.is_inside(ball)]
        found = check(
            outcomes, task, ball, constant=constant, transferred=foreign, seed=loaded.seed
        )
        return tuple(found)

    others = [ball for ball in _searched(outcomes) if ball != plan.threat]
    return (
        checked(check_order, plan.threat),
        tuple((ball, checked(check_ball, ball)) for ball in others),
    )
