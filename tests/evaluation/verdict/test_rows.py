"""Relative vulnerability against numbers computed by hand."""

import pytest
import torch
from torch import Tensor

from taskgroup.evaluation.verdict.rows import relative_vulnerability
from taskgroup.tasks.base import Task, TaskInfo, build_task

NAN = float("nan")


def task(name: str) -> Task:
    """A task of two classes, or of numbers."""
    classes = 2 if name in {"segmentation", "classification"} else None
    return build_task(TaskInfo(name, num_classes=classes))


def pixels(*counts: tuple[int, int, int, int]) -> Tensor:
    """Confusion sums ``(N, 6)`` of images with (0 as 0, 0 as 1, 1 as 0, 1 as 1) pixels."""
    rows = [(a, d, a + b, c + d, a + c, b + d) for a, b, c, d in counts]
    return torch.tensor(rows, dtype=torch.float64)


def numbers(*rows: tuple[float, ...]) -> Tensor:
    """Sums as they are, ``(N, S)``."""
    return torch.tensor(rows, dtype=torch.float64)


def test_a_share_is_judged_by_what_it_misses() -> None:
    """One image gets worse, the other stays as it is.

    The first has 3 of 4 pixels of class 0 right, the rest is taken for class 1: accuracy 3/4, IoUs
    3/4 and 0, mIoU 3/8. Attacked it has 1 of 4 right: accuracy 1/4, mIoU 1/8.
    """
    clean = pixels((3, 1, 0, 0), (1, 1, 1, 1))
    attacked = pixels((1, 3, 0, 0), (1, 1, 1, 1))
    found = relative_vulnerability(task("segmentation"), "accuracy", clean, attacked)
    assert found == pytest.approx(((0.75 - 0.25) / 0.25 + 0) / 2)
    found = relative_vulnerability(task("segmentation"), "miou", clean, attacked)
    assert found == pytest.approx(((7 / 8 - 5 / 8) / (5 / 8) + 0) / 2)


def test_an_error_is_the_score_itself() -> None:
    """Images of 4 pixels: 0.5 -> 2.0 is three times more, 1.0 -> 1.25 a quarter more.

    The mean of the ratios is 1.625; the ratio of the means would be 1.1667.
    """
    clean, attacked = numbers((2, 4), (4, 4)), numbers((8, 4), (5, 4))
    found = relative_vulnerability(task("reshading"), "mae", clean, attacked)
    assert found == pytest.approx(1.625)


def test_each_score_of_a_task_has_its_own_direction() -> None:
    """Depth sums are (relative, squared, near, absolute, pixels), here of one image of 4 pixels."""
    clean, attacked = numbers((1.0, 4.0, 3.0, 2.0, 4.0)), numbers((4.0, 16.0, 2.0, 5.0, 4.0))
    expected = {
        "abs_rel": (1.0 - 0.25) / 0.25,
        "rmse": (2.0 - 1.0) / 1.0,
        "delta1": (0.5 - 0.25) / 0.25,
        "mae": (1.25 - 0.5) / 0.5,
    }
    for score, value in expected.items():
        found = relative_vulnerability(task("depth"), score, clean, attacked)
        assert found == pytest.approx(value), score


def test_an_attack_that_helps_counts_below_zero() -> None:
    found = relative_vulnerability(task("reshading"), "mae", numbers((8, 4)), numbers((2, 4)))
    assert found == pytest.approx(-0.75)


def test_images_without_clean_error_are_left_out() -> None:
    """The second image cannot be divided by; it counts neither as 0 nor as endless."""
    clean, attacked = numbers((2, 4), (0, 4)), numbers((3, 4), (9, 4))
    found = relative_vulnerability(task("reshading"), "mae", clean, attacked)
    assert found == pytest.approx(0.5)
    clean, attacked = pixels((3, 1, 0, 0), (2, 0, 0, 2)), pixels((2, 2, 0, 0), (0, 2, 2, 0))
    found = relative_vulnerability(task("segmentation"), "accuracy", clean, attacked)
    assert found == pytest.approx(1.0)


def test_images_without_labels_are_left_out() -> None:
    """Their sums are zero, so their scores are NaN."""
    clean, attacked = numbers((2, 4), (0, 0)), numbers((3, 4), (0, 0))
    found = relative_vulnerability(task("reshading"), "mae", clean, attacked)
    assert found == pytest.approx(0.5)
    clean, attacked = pixels((3, 1, 0, 0), (0, 0, 0, 0)), pixels((2, 2, 0, 0), (0, 0, 0, 0))
    for score in ("accuracy", "miou"):
        found = relative_vulnerability(task("segmentation"), score, clean, attacked)
        assert found is not None
        assert found > 0


@pytest.mark.parametrize("broken", [NAN, float("inf")])
def test_images_whose_error_is_not_finite_are_left_out(broken: float) -> None:
    whole, hurt = numbers((2, 4), (2, 4)), numbers((3, 4), (broken, 4))
    for clean, attacked in ((whole, hurt), (hurt, whole)):
        found = relative_vulnerability(task("reshading"), "mae", clean, attacked)
        expected = (attacked[0, 0] - clean[0, 0]) / clean[0, 0]
        assert found == pytest.approx(float(expected))


def test_nothing_to_divide_by_is_none() -> None:
    """One image is perfect, the other has no label."""
    clean, attacked = numbers((0, 4), (0, 0)), numbers((9, 4), (0, 0))
    assert relative_vulnerability(task("reshading"), "mae", clean, attacked) is None
    assert relative_vulnerability(task("reshading"), "mae", clean[:0], attacked[:0]) is None


def test_images_with_one_label_are_pooled() -> None:
    """Three of four right, then one: the error grows from 1/4 to 3/4.

    Image by image only the third has a clean error, 1 before and after: that would be 0.
    """
    clean = numbers((1, 1), (1, 1), (0, 1), (1, 1))
    attacked = numbers((0, 1), (0, 1), (0, 1), (1, 1))
    found = relative_vulnerability(task("classification"), "accuracy", clean, attacked)
    assert found == pytest.approx(2.0)
    assert relative_vulnerability(task("classification"), "accuracy", clean[:2], clean[:2]) is None
    unlabelled = torch.zeros_like(clean)
    found = relative_vulnerability(task("classification"), "accuracy", unlabelled, unlabelled)
    assert found is None
