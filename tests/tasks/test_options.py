"""Losses that ``task_options`` choose: agreement with their source, and what is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from taskgroup.config import parse
from taskgroup.errors import ConfigError
from taskgroup.tasks.base import Target, TaskInfo, build_task
from taskgroup.tasks.options import TaskOptions, with_options

CITYSCAPES_STD = (0.1829540508368939, 0.18656561047509476, 0.18447508988480435)
MEAN = (0.29, 0.33, 0.29)
CHOSEN = [
    TaskInfo("normals", loss="l1"),
    TaskInfo("autoencoding", loss="mse", std=CITYSCAPES_STD),
    TaskInfo("autoencoding", std=(0.5, 0.5, 0.5)),
    TaskInfo("curvature", loss="mse"),
]


def chosen(name: str, **options: object) -> TaskInfo:
    return with_options(TaskInfo(name), parse(TaskOptions, options))


@pytest.mark.parametrize("info", CHOSEN, ids=lambda info: f"{info.name}-{info.loss}")
def test_a_chosen_loss_keeps_the_contract(
    info: TaskInfo, check: Callable[..., None], generator: torch.Generator
) -> None:
    check(build_task(info), generator)


def published_picture(prediction: Tensor, image: Tensor) -> Tensor:
    """MTRobust on Cityscapes: mean squared error, both normalised by mean and deviation."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, CITYSCAPES_STD))
    return (((prediction - mean) / std - (image - mean) / std) ** 2).mean()


def published_picture_between_one_and_minus_one(prediction: Tensor, image: Tensor) -> Tensor:
    """MTRobust on Taskonomy: L1 of pictures in [-1, 1]."""
    return ((2 * prediction - 1) - (2 * image - 1)).abs().mean()


def published_normals(prediction: Tensor, vectors: Tensor) -> Tensor:
    """MTRobust: L1 of the three components as they are predicted."""
    return (prediction - vectors).abs().mean()


@pytest.mark.parametrize(
    ("info", "published"),
    [
        (chosen("autoencoding", loss="mse", std=list(CITYSCAPES_STD)), published_picture),
        (
            chosen("autoencoding", std=["1/2", 0.5, 0.5]),
            published_picture_between_one_and_minus_one,
        ),
        (chosen("normals", loss="l1"), published_normals),
    ],
    ids=["mse", "l1", "normals"],
)
def test_loss_and_gradient_are_the_published_ones(
    info: TaskInfo, published: Callable[[Tensor, Tensor], Tensor], generator: torch.Generator
) -> None:
    values = torch.rand(4, 3, 6, 5, generator=generator)
    prediction = torch.randn(4, 3, 6, 5, generator=generator).requires_grad_()
    everywhere = torch.ones(4, 6, 5, dtype=torch.bool)
    ours = build_task(info).loss(prediction, Target(values, everywhere)).mean()
    theirs = published(prediction, values)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, prediction)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_the_own_loss_by_name_is_no_choice() -> None:
    assert chosen("normals", loss="cosine") == TaskInfo("normals")
    assert chosen("edges") == TaskInfo("edges")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "normals",
            {"loss": "mse"},
            r"^task_options\.normals\.loss must be one of: cosine, l1; got 'mse'$",
        ),
        (
            "depth",
            {"loss": "mse"},
            r"^task_options\.depth\.loss must not be set for a task that has one loss only, "
            r"got 'mse'; remove it$",
        ),
        (
            "normals",
            {"std": [1, 1, 1]},
            r"^task_options\.normals\.std must only be set for maps of numbers of order one, .*; "
            r"remove it$",
        ),
        (
            "autoencoding",
            {"std": [0.5]},
            r"^task_options\.autoencoding\.std must hold one deviation for each of 3 channels, "
            r"got 1; correct it$",
        ),
    ],
)
def test_what_does_not_fit_the_task(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(name, **options)
