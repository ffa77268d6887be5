"""Scores of a network on batches of images, clean or perturbed, as sums per image."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from taskgroup.data.base import Batch
from taskgroup.draws import Share
from taskgroup.errors import DataError
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.perturbations.base import BatchSeed, NetworkUnderTest, Perturbation
from taskgroup.metrics.base import SumMetric
from taskgroup.tasks.base import Target, Task

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Scores:
    """What was measured on a set of images.

    Attributes:
        sums: Per task the metric's sums of each image, ``(N, S)`` float64 on the CPU.
        values: Per task the data-set scores by name; NaN where nothing was valid.
    """

    sums: Mapping[str, Tensor]
    values: Mapping[str, Mapping[str, float]]


def score_model(
    model: nn.Module,
    tasks: Sequence[Task],
    batches: Iterable[Batch],
    *,
    shares: Sequence[Share] | None = None,
    perturbation: Perturbation | None = None,
    seed: int = 0,
    device: torch.device = CPU,
) -> Scores:
    """Score every task on clean images, or on images perturbed for this very network.

    Predictions, and an attack's gradients, are float32 and in evaluation mode; the network's mode
    and gradients are restored.

    Args:
        model: ``model(images, names)`` gives a prediction per name.
        tasks: The tasks to score.
        batches: Images with a target per task.
        shares: Which part of each batch of several workers it is; None means all.
        perturbation: What is done to the images, without members; None scores clean ones.
        seed: Seed of random starts and noise; batch ``i`` has its own stream.
        device: Where the network lies.

    Raises:
        DataError: There is no image.
    """
    metrics = {task.name: task.metric() for task in tasks}
    network = NetworkUnderTest(model, tasks)
    parts: list[dict[str, Tensor]] = []
    with fixed_network(model):
        for number, batch in enumerate(batches):
            there = batch.to(device)
            images = there.images
            if perturbation is not None:
                stream = BatchSeed(seed, number, None if shares is None else shares[number])
                (images,) = perturbation.apply(network, there, stream).values()
            predictions = predict(model, images, list(metrics))
            parts.append(sums_per_image(metrics, predictions, there.targets))
    return _whole(metrics, parts)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Predictions of ``tasks`` without a graph, float32."""
    return {name: prediction.float() for name, prediction in model(images, tasks).items()}


def sums_per_image(
    metrics: Mapping[str, SumMetric],
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Target],
) -> dict[str, Tensor]:
    """Each metric's sums ``(N, S)`` of one batch, on the CPU.

    NaN for an image whose prediction is not finite: a class taken from NaN would look like one.
    """
    found = {}
    for name, metric in metrics.items():
        prediction, target = predictions[name], targets[name]
        sums = metric.per_image(prediction, target.values, target.valid)
        broken = ~prediction.flatten(1).isfinite().all(1)
        found[name] = sums.masked_fill(broken[:, None], torch.nan).cpu()
    return found


def _whole(metrics: Mapping[str, SumMetric], parts: Sequence[Mapping[str, Tensor]]) -> Scores:
    """Join the sums of all batches and compute the scores of the whole."""
    if not parts:
        raise DataError("a score needs at least one image, got none; choose a larger split")
    sums = {name: torch.cat([part[name] for part in parts]) for name in metrics}
    values = {
        name: {key: float(value) for key, value in metric.score(sums[name].sum(0)).items()}
        for name, metric in metrics.items()
    }
    return Scores(sums, values)
