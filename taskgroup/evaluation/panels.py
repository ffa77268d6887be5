"""Pictures of an evaluation: what the network saw, what it predicted, what it should have."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from taskgroup.evaluation.shards.shard import SampleImages, Shard, ShardResult
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.results.records import Panel, PanelKind, pixel_bytes
from taskgroup.tasks.base import IGNORE, Target, Task


def shard_panels(subject: Subject, shard: Shard, result: ShardResult, task: Task) -> list[Panel]:
    """Panels of the images that a shard kept: inputs and predictions, and targets when clean.

    Args:
        subject: Whose pictures they are.
        shard: What was done.
        result: What it found.
        task: The main task; with more than 255 classes it has no place in uint8 and no panels.
    """
    if result.samples is None or (task.info.num_classes or 0) > IGNORE:
        return []
    clean = shard.condition.role == "clean"
    targets = _targets(subject, result.samples, task) if clean else []
    return targets + _seen(subject, shard.condition, result.samples, task)


def _targets(subject: Subject, samples: SampleImages, task: Task) -> list[Panel]:
    return [
        _readable(subject, image, task, _masked(samples.target, position))
        for position, image in enumerate(samples.index.tolist())
    ]


def _seen(subject: Subject, condition: Condition, samples: SampleImages, task: Task) -> list[Panel]:
    """Per image what the network saw and what it predicted."""
    predicted = task.readable(samples.prediction).numpy()
    panels = []
    for position, image in enumerate(samples.index.tolist()):
        picture = _picture(subject, image, samples.images[position])
        answer = replace(_readable(subject, image, task, predicted[position]), content="prediction")
        panels += [picture, answer]
    epsilon = condition.perturbation.row().epsilon
    return [replace(panel, condition=condition.name, epsilon=epsilon) for panel in panels]


def _masked(target: Target, position: int) -> np.ndarray[Any, np.dtype[Any]]:
    """One target; 255 or NaN where invalid."""
    values, valid = (tensor[position].numpy() for tensor in target)
    return np.where(valid, values, np.nan if values.dtype.kind == "f" else IGNORE)


def _picture(subject: Subject, image: int, pixels: Tensor) -> Panel:
    values = (pixels.movedim(0, -1) * 255).round().byte().numpy()
    return Panel(
        trial=subject.trial,
        label=subject.label,
        role=subject.role,
        image=image,
        condition="clean",
        epsilon=0.0,
        content="image",
        task="",
        kind="picture",
        shape=values.shape,
        values=pixel_bytes(values, "picture"),
    )


def _readable(
    subject: Subject, image: int, task: Task, values: np.ndarray[Any, np.dtype[Any]]
) -> Panel:
    """A target in the form that the report colours."""
    kind: PanelKind = "numbers" if task.info.num_classes is None else "classes"
    return Panel(
        trial=subject.trial,
        label=subject.label,
        role=subject.role,
        image=image,
        condition="clean",
        epsilon=0.0,
        content="target",
        task=task.name,
        kind=kind,
        shape=values.shape,
        values=pixel_bytes(values, kind),
        class_names=task.info.class_names,
    )
