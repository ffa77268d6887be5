"""Scores that must come in order: a weaker attack that does better gives the stronger one away."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.verdict.outcomes import Outcome, worst_of
from taskgroup.metrics.base import SumMetric
from taskgroup.study.intervals import bootstrap_sums
from taskgroup.tasks.base import Target, Task

RISES = "the score rises with epsilon"
POINT = 0.01
"""What a score may rise by chance: one point of a share, one percent of an error."""
STANDARD_ERRORS = 2.0
RESAMPLES = 200
SURE = 10.0
"""A logit that says yes beyond doubt."""
MAX_CLASSES = 20
STRIDE = 4


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
        threat: The ball that the network is evaluated in.
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
        "an attack on several tasks beats the attack": beaten_by(sums_of("tasks")),
        "another network's images beat the attack": beaten_by(transferred),
        # Below a constant predictor order means nothing.
        RISES: beaten_by([smaller]) and beats_constant(metric, strong, constant),
    }
    return [finding for finding, found in checks.items() if found]


def rises(metric: SumMetric, score: str, weaker: Tensor, stronger: Tensor, *, seed: int) -> bool:
    """Whether a network scores better under a stronger attack than chance explains.

    It does when the score improves by more than one point and by more than two standard errors of
    the difference, from a paired bootstrap over images. One image tells nothing about chance.

    Args:
        metric: What turns sums into scores.
        score: Name of the score.
        weaker: Sums of each image under the weaker attack, ``(N, S)``.
        stronger: The same images under the stronger one.
        seed: Seed of the resamples.
    """
    if len(weaker) < 2:
        return False
    before, after = (_value(metric, score, sums.sum(0)) for sums in (weaker, stronger))
    unit = POINT if metric.directions[score] == "maximize" else POINT * abs(before)
    if not after - before > unit:
        return False
    spread = np.subtract(
        *(
            metric.score(torch.from_numpy(bootstrap_sums(sums, seed=seed, resamples=RESAMPLES)))[
                score
            ].numpy()
            for sums in (stronger, weaker)
        )
    )
    return bool(after - before > STANDARD_ERRORS * np.nanstd(spread))


def beats_constant(metric: SumMetric, sums: Tensor, constant: Mapping[str, float]) -> bool:
    """Whether a network beats constant predictions by every score under a boundless attack.

    One score alone would mislead: a network that is mostly wrong, but not always in the same way,
    has a higher mIoU than a constant class.

    Args:
        metric: What turns sums into scores.
        sums: Sums of each image, ``(N, S)``.
        constant: The best that a constant prediction reaches, by score; never beaten if NaN.
    """
    totals = sums.sum(0)
    for name, direction in metric.directions.items():
        turned = constant[name] if direction == "maximize" else -constant[name]
        unit = POINT if direction == "maximize" else POINT * abs(constant[name])
        if not _value(metric, name, totals) > turned + unit:
            return False
    return True


def constant_scores(task: Task, targets: Sequence[Target]) -> dict[str, float]:
    """The best of each score that one prediction for every pixel of every image can have.

    Tried are each of the 20 commonest classes or, for numbers, the mean and the median of the
    targets, and all ones and all zeros as logits.

    Args:
        task: The task.
        targets: Its targets, one per batch.

    Returns:
        Scores by name; NaN where nothing is valid.
    """
    metric = task.metric()
    sums = [
        torch.stack([_sums(metric, constant, target) for target in targets]).sum(0)
        for constant in _constants(task, targets)
    ]
    if not sums:
        return dict.fromkeys(metric.directions, float("nan"))
    values = metric.score(torch.stack(sums))
    return {
        name: float(values[name].amax() if direction == "maximize" else values[name].amin())
        for name, direction in metric.directions.items()
    }


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
    return [o for o in outcomes if o.condition.perturbation.row().epsilon == ball.epsilon > 0]


def _strong(outcomes: Sequence[Outcome], task: Task, ball: ThreatModel, *, seed: int) -> Tensor:
    """Sums of each image under the worst of the attacks that searched this very ball."""
    searched = _at(_within(outcomes, "strong", ball), ball)
    found = worst_of(searched, task.metric(), task=task.name, score=task.main_score, seed=seed)
    return found.sums


def _smaller(outcomes: Sequence[Outcome], task: Task, ball: ThreatModel, *, seed: int) -> Tensor:
    """Sums of each image in the next smaller ball that was searched, or without an attack."""
    radii = {o.condition.perturbation.row().epsilon for o in _within(outcomes, "strong", ball)}
    below = max(radii - {ball.epsilon}, default=None)
    if below is None:
        return _within(outcomes, "clean", ball)[0].sums[task.name]
    return _strong(outcomes, task, ball.model_copy(update={"epsilon": below}), seed=seed)


def _value(metric: SumMetric, score: str, sums: Tensor) -> float:
    """The score turned so that more is better for the network."""
    value = float(metric.score(sums)[score])
    return value if metric.directions[score] == "maximize" else -value


def _sums(metric: SumMetric, constant: Tensor, target: Target) -> Tensor:
    """A data set's sums ``(S,)`` of one prediction ``(C,)`` everywhere."""
    count, *size = target.valid.shape
    shape = (count, len(constant), *size)
    prediction = constant.view(1, -1, *(1 for _ in size)).expand(shape)
    return metric.per_image(prediction, target.values, target.valid).sum(0).cpu()


def _constants(task: Task, targets: Sequence[Target]) -> list[Tensor]:
    """Predictions ``(C,)`` to try; none where nothing is valid."""
    values = torch.cat([_valid_values(target) for target in targets])
    if len(values) == 0:
        return []
    if task.info.num_classes is not None:
        counts = values.flatten().long().bincount(minlength=task.channels)
        common = counts.argsort(descending=True)[:MAX_CLASSES]
        return list(SURE * torch.eye(task.channels, device=values.device)[common])
    middle = [values.mean(0), values.median(0).values]
    return [*middle, *(torch.full_like(middle[0], logit) for logit in (-SURE, SURE))]


def _valid_values(target: Target) -> Tensor:
    """Some valid targets, ``(M, 1)`` classes or ``(M, C)`` numbers."""
    if target.valid.ndim == 1:
        return target.values[target.valid].view(-1, 1)
    valid = target.valid[:, ::STRIDE, ::STRIDE]
    if target.values.ndim == 3:
        return target.values[:, ::STRIDE, ::STRIDE][valid].view(-1, 1)
    return target.values[:, :, ::STRIDE, ::STRIDE].movedim(1, -1)[valid]
