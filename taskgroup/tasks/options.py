"""What a trial may say about a task beyond its name: ``task_options``."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from taskgroup.config import Config, Fraction255
from taskgroup.errors import ConfigError
from taskgroup.tasks.base import TASKS, TaskInfo
from taskgroup.tasks.class_weights import with_class_weights

Positive = Annotated[Fraction255, Field(gt=0, allow_inf_nan=False)]


class TaskOptions(Config):
    """One entry of ``task_options:``."""

    class_weights: Literal["none", "median_frequency"] | tuple[Positive, ...] = "none"
    """Loss weight per class; median_frequency is median class share over class share."""
    loss: str | None = None
    """Loss that is trained and attacked, e.g. l1 or mse; None is the task's own."""
    std: tuple[Positive, ...] | None = None
    """Divides the error of each channel before the loss, which then is that of target and
    prediction normalised by it (a mean would cancel); for maps of numbers of order one."""


def with_options(info: TaskInfo, options: TaskOptions) -> TaskInfo:
    """The same task with what ``task_options`` ask for.

    Args:
        info: The task, as the data set describes it.
        options: Its entry.

    Raises:
        ConfigError: An option that the task does not have, a loss that is none of its own, as many
            deviations as it has no channels, or class weights that do not fit.
    """
    weighted = with_class_weights(info, options.class_weights)
    return replace(weighted, loss=_loss(info, options.loss), std=_std(info, options.std))


def _loss(info: TaskInfo, loss: str | None) -> str:
    """The name to store; empty for the task's own loss."""
    losses = TASKS[info.name].losses
    if loss is None or loss in losses[:1]:
        return ""
    key = f"task_options.{info.name}.loss"
    if not losses:
        raise ConfigError(
            f"{key} must not be set for a task that has one loss only, got {loss!r}; remove it"
        )
    if loss not in losses:
        raise ConfigError(f"{key} must be one of: {', '.join(losses)}; got {loss!r}")
    return loss


def _std(info: TaskInfo, std: tuple[float, ...] | None) -> tuple[float, ...]:
    if std is None:
        return ()
    key, kind = f"task_options.{info.name}.std", TASKS[info.name]
    if not kind.has_std:
        raise ConfigError(
            f"{key} must only be set for maps of numbers of order one, such as autoencoding; "
            "remove it"
        )
    channels = kind(info).channels
    if len(std) != channels:
        raise ConfigError(
            f"{key} must hold one deviation for each of {channels} channels, got {len(std)}; "
            "correct it"
        )
    return std
