"""Loss weights per class, for tasks whose rare classes would else be drowned."""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Literal

from taskgroup.errors import ConfigError
from taskgroup.tasks.base import TaskInfo

ClassWeights = Literal["none", "median_frequency"] | Sequence[float]


def with_class_weights(info: TaskInfo, option: ClassWeights) -> TaskInfo:
    """The same task with the class weights that ``task_options`` ask for.

    Args:
        info: The task, as the data set describes it.
        option: ``none``; ``median_frequency``; or one weight per class.

    Raises:
        ConfigError: The task has no classes, the number of weights is not the number of classes, a
            weight is not positive, or the data set does not say how frequent the classes are.
    """
    if option == "none":
        return replace(info, class_weights=())
    key = f"task_options.{info.name}.class_weights"
    if info.num_classes is None:
        raise ConfigError(f"{key} needs a task with classes, {info.name!r} has none; remove it")
    if isinstance(option, str):
        return replace(info, class_weights=_median_frequency(info, key))
    if len(option) != info.num_classes:
        raise ConfigError(
            f"{key} must hold one weight for each of {info.num_classes} classes, "
            f"got {len(option)}; or write median_frequency"
        )
    if not all(math.isfinite(weight) and weight > 0 for weight in option):
        raise ConfigError(f"{key} must hold weights above 0, got {list(option)}; correct them")
    return replace(info, class_weights=tuple(float(weight) for weight in option))


def _median_frequency(info: TaskInfo, key: str) -> tuple[float, ...]:
    """Median class share over class share (Eigen and Fergus, 2015); 1 for an absent class."""
    if len(info.class_shares) != info.num_classes:
        raise ConfigError(
            f"{key}: median_frequency needs the class shares, which this data set does not give; "
            "write one weight per class instead"
        )
    middle = median(share for share in info.class_shares if share > 0)
    return tuple(middle / share if share > 0 else 1.0 for share in info.class_shares)
