"""SEA's own protocol: every image attacked with each loss, argmax maps kept, the worst case taken.

``taskgroup evaluate`` finds the same numbers among others. This is for comparisons with published
ones (Croce, Singh and Hein 2024, arXiv:2306.12941), with the bugs of the published code on request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from seed_ensemble import seed_worst_accuracy, seed_worst_miou
from torch import Tensor, nn

from taskgroup.attacks.base import AttackBudget
from taskgroup.attacks.ensembles.sea import sea
from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.errors import DataError, DivergedError
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.evaluation.perturbations.base import BatchSeed
from taskgroup.evaluation.scoring import predict
from taskgroup.evaluation.verdict.worst_case import worst_case
from taskgroup.metrics.base import SumMetric
from taskgroup.tasks.base import Task

MOST_IN_A_BYTE = 256


@dataclass(frozen=True)
class SeaReport:
    """What SEA leaves of a network, in shares.

    Attributes:
        maps: Predicted classes under each loss ``(A, N, H, W)``; uint8, int16 above 256 classes.
        accuracies: Share of right pixels under each loss, over the data set.
        mious: Mean IoU under each loss.
        worst_accuracy: Mean over images of the lowest accuracy of each.
        worst_miou: Lowest mean IoU found by giving each image the result of one loss.
    """

    maps: Tensor
    accuracies: Mapping[str, float]
    mious: Mapping[str, float]
    worst_accuracy: float
    worst_miou: float


@dataclass(frozen=True)
class _Attacked:
    """One batch: its classes ``(N, H, W)``, and per loss maps ``(N, H, W)`` and sums ``(N, S)``."""

    values: Tensor
    maps: Mapping[str, Tensor]
    sums: Mapping[str, Tensor]


def sea_report(
    model: nn.Module,
    task: Task,
    batches: Iterable[Batch],
    *,
    budget: AttackBudget,
    seed: int = 0,
    autocast: torch.dtype | None = None,
) -> SeaReport:
    """Attack and judge a network as the SEA paper does.

    Args:
        model: ``model(images, names)`` gives a prediction per name; its mode is restored.
        task: The class map to attack.
        batches: Images of one size, on the model's device.
        budget: Ball and steps per loss, published 300; with ``seed_compatible`` attacks and worst
            cases reproduce the bugs of the published code.
        seed: Seed of random starts and of the search's orders.
        autocast: Number format of the attack's forward passes; scores are always float32.

    Raises:
        ConfigError: The task has no class per pixel.
        DataError: There is no image.
        DivergedError: The network predicts NaN.
    """
    done: list[_Attacked] = []
    with fixed_network(model):
        for batch in batches:
            first = sum(len(part.values) for part in done)
            draws = BatchSeed(seed, first).draws()
            objective = TaskObjective(
                model,
                [task],
                batch.targets,
                main_task=None,
                attacked_tasks=(task.name,),
                autocast=autocast,
            )
            done.append(_attacked(objective, task, batch, budget, draws))
    if not done:
        raise DataError("SEA needs at least one image, got none; choose a larger split")
    sums = {name: torch.cat([part.sums[name] for part in done]) for name in done[0].sums}
    maps = torch.stack([torch.cat([part.maps[name] for part in done]) for name in sums])
    scores = {name: task.metric().score(found.sum(0)) for name, found in sums.items()}
    worst = _seed_worst if budget.seed_compatible else _worst
    accuracy, miou = worst(task, maps, list(sums.values()), [part.values for part in done], seed)
    return SeaReport(
        maps=maps,
        accuracies={name: float(found["accuracy"]) for name, found in scores.items()},
        mious={name: float(found["miou"]) for name, found in scores.items()},
        worst_accuracy=accuracy,
        worst_miou=miou,
    )


def class_map(logits: Tensor) -> Tensor:
    """The highest class of logits ``(N, K, H, W)``, on the CPU; an eighth of argmax's memory.

    uint8, and int16 above 256 classes.
    """
    small = torch.uint8 if logits.shape[1] <= MOST_IN_A_BYTE else torch.int16
    return logits.argmax(1).to(small).cpu()


def worst_mean(results: Sequence[Tensor], metric: SumMetric, *, score: str) -> float:
    """The mean over images of each image's own worst score.

    SEA's worst-case pixel accuracy is this number. Images without a score of their own are left
    out; NaN when all are.

    Args:
        results: Per attack the sums of each image, ``(N, S)``.
        metric: What turns sums into scores.
        score: Name of the score.
    """
    values = torch.stack([metric.score(sums)[score] for sums in results])
    worst = values.amin(0) if metric.directions[score] == "maximize" else values.amax(0)
    return float(worst[~worst.isnan()].mean())


def _attacked(
    objective: TaskObjective,
    task: Task,
    batch: Batch,
    budget: AttackBudget,
    draws: Draws,
) -> _Attacked:
    """Attack one batch with every loss; adversarial images themselves are not kept."""
    target, metric = batch.targets[task.name], task.metric()
    maps, sums = {}, {}
    for name, images in sea.members(objective, batch.images, budget=budget, draws=draws):
        logits = predict(objective.model, images, [task.name])[task.name]
        if not logits.isfinite().all():
            raise DivergedError(
                f"an attacked network must give finite logits, got NaN or infinity under {name}; "
                "check its training; it cannot be scored"
            )
        maps[name] = class_map(logits)
        sums[name] = metric.per_image(logits, target.values, target.valid).cpu()
    return _Attacked(target.values.cpu(), maps, sums)


def _worst(
    task: Task, maps: Tensor, results: Sequence[Tensor], values: Sequence[Tensor], seed: int
) -> tuple[float, float]:
    """Worst-case accuracy and mean IoU."""
    metric = task.metric()
    chosen = worst_case(results, metric, score="miou", seed=seed).sums.sum(0)
    accuracy = worst_mean(results, metric, score="accuracy")
    return accuracy, float(metric.score(chosen)["miou"])


def _seed_worst(
    task: Task, maps: Tensor, results: Sequence[Tensor], values: Sequence[Tensor], seed: int
) -> tuple[float, float]:
    """The same as the published code finds them."""
    sizes = [len(part) for part in values]
    accuracy = seed_worst_accuracy(maps, torch.cat(list(values)), batch_sizes=sizes)
    return accuracy, seed_worst_miou(results, num_classes=task.channels, seed=seed)
