"""What a network scores that looks at nothing: the floor that a strong enough attack reaches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from taskgroup.metrics.base import SumMetric
from taskgroup.tasks.base import Target, Task

SURE = 10.0
"""A logit that says yes beyond doubt."""
MAX_CLASSES = 20
STRIDE = 4


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
