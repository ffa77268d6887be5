"""Norms and angles of task gradients as records."""

from collections.abc import Iterator

import numpy as np

from taskgroup.evaluation.dimension.subject import Floats, Measured
from taskgroup.results.records import Quantity, TaskGradientRow
from taskgroup.study.intervals import bootstrap_intervals
from taskgroup.study.task_agreement import agreement


def agreement_rows(measured: Measured, gram: Floats) -> list[TaskGradientRow]:
    """Means over images of what a Gram matrix ``(N, T, T)`` of task gradients says."""
    return [
        _row(measured, quantity, task, other, values)
        for quantity, task, other, values in _quantities(measured.trained.task_set, gram)
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
    measured: Measured, quantity: Quantity, task: str, other: str, values: Floats
) -> TaskGradientRow:
    known = values[~np.isnan(values)]
    interval = bootstrap_intervals(
        np.stack([known, np.ones_like(known)], 1),
        lambda drawn: {"value": drawn[:, 0] / np.maximum(drawn[:, 1], 1)},
        seed=measured.options.seed,
    )["value"]
    return TaskGradientRow(
        trial=measured.subject.trial,
        label=measured.subject.label,
        role=measured.subject.role,
        quantity=quantity,
        task=task,
        other=other,
        value=float(known.mean()) if len(known) else float("nan"),
        low=interval.low,
        high=interval.high,
        images=len(known),
        seed_compatible=measured.options.seed_compatible,
        seed=measured.options.seed,
        split=measured.options.split,
    )
