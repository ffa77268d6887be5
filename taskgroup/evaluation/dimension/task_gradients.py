"""Gradients of a network's tasks: their inner products, and norms and angles as records."""

from collections.abc import Iterator

import numpy as np
import torch

from taskgroup.data.base import Batch
from taskgroup.evaluation.dimension.measured_network import Floats, MeasuredNetwork
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.results.records import Quantity, TaskGradientRow
from taskgroup.study.intervals import bootstrap_intervals
from taskgroup.study.task_agreement import agreement


def task_gram(trained: TrainedModel, batch: Batch) -> Floats:
    """Gram matrix ``(N, T, T)`` of the gradients of the tasks' losses by the images.

    A task's loss of an image is its mean over valid pixels; a task that an image lacks has a zero
    gradient. Tasks are in the order of ``trained.task_set``. One forward pass and one backward pass
    per task, to the images alone.

    Args:
        trained: The network, fixed.
        batch: Images with a target per task.
    """
    named = {task.name: task for task in trained.tasks}
    rows = []
    with torch.enable_grad():
        images = batch.images.detach().requires_grad_()
        predictions = trained.model(images, trained.task_set)
        for name in trained.task_set:
            sums = named[name].loss(predictions[name].float(), batch.targets[name])
            loss = (sums.loss_sum / sums.valid_count.clamp(min=1)).sum()
            (gradient,) = torch.autograd.grad(loss, images, retain_graph=True)
            rows.append(gradient.flatten(1))
    stacked = torch.stack(rows, 1)
    gram: Floats = (stacked @ stacked.mT).double().cpu().numpy()
    return gram


def agreement_rows(network: MeasuredNetwork, gram: Floats) -> list[TaskGradientRow]:
    """Means over images of what a Gram matrix ``(N, T, T)`` of task gradients says."""
    return [
        _row(network, quantity, task, other, values)
        for quantity, task, other, values in _quantities(network.trained.task_set, gram)
    ]


def _quantities(
    tasks: tuple[str, ...], gram: Floats
) -> Iterator[tuple[Quantity, str, str, Floats]]:
    """Name, tasks and values per image ``(N,)``."""
    found = agreement(gram)
    yield "joint_norm", "", "", found.joint_norm
    yield "balanced_norm", "", "", found.balanced_norm
    for place, task in enumerate(tasks):
        yield "norm", task, "", found.norms[:, place]
        yield "joint_cosine", task, "", found.joint[:, place]
        yield "balanced_cosine", task, "", found.balanced[:, place]
        for second, other in enumerate(tasks):
            yield "cosine", task, other, found.cosines[:, place, second]


def _row(
    network: MeasuredNetwork, quantity: Quantity, task: str, other: str, values: Floats
) -> TaskGradientRow:
    known = values[~np.isnan(values)]
    interval = bootstrap_intervals(
        np.stack([known, np.ones_like(known)], 1),
        lambda drawn: {"value": drawn[:, 0] / np.maximum(drawn[:, 1], 1)},
        seed=network.options.seed,
    )["value"]
    return TaskGradientRow(
        trial=network.subject.trial,
        label=network.subject.label,
        role=network.subject.role,
        quantity=quantity,
        task=task,
        other=other,
        value=float(known.mean()) if len(known) else float("nan"),
        low=interval.low,
        high=interval.high,
        images=len(known),
        seed_compatible=network.options.seed_compatible,
        seed=network.options.seed,
        split=network.options.split,
    )
