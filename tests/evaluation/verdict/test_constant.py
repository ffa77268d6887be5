"""What a network scores that looks at nothing."""

import pytest
import torch

from taskgroup.evaluation.verdict.constant import constant_scores
from taskgroup.tasks.base import IGNORE, Target, TaskInfo, build_task


def constant_score(task, targets):
    return constant_scores(task, targets)[task.main_score]


def everywhere(values):
    return torch.ones(len(values), *values.shape[-2:], dtype=torch.bool)


def test_the_commonest_class_over_the_number_of_classes():
    task = build_task(TaskInfo("segmentation", num_classes=4))
    values = torch.zeros(2, 8, 8, dtype=torch.long)
    values[:, :2] = 2
    assert constant_score(task, [Target(values, everywhere(values))]) == pytest.approx(0.75 / 2)


def test_invalid_pixels_do_not_count():
    task = build_task(TaskInfo("segmentation", num_classes=4))
    values = torch.full((1, 8, 8), IGNORE)
    values[:, :4] = 1
    target = Target(values, values != IGNORE)
    assert constant_score(task, [target]) == pytest.approx(1)


def test_the_middle_of_the_numbers():
    task = build_task(TaskInfo("depth"))
    values = torch.full((3, 1, 8, 8), 2.0)
    target = Target(values, everywhere(values))
    assert constant_score(task, [target, target]) == pytest.approx(0, abs=1e-6)


def test_logits_are_tried_at_both_ends():
    task = build_task(TaskInfo("saliency"))
    values = torch.zeros(1, 1, 8, 8)
    values[..., :4] = 1
    score = constant_score(task, [Target(values, everywhere(values))])
    assert score == pytest.approx(2 / 3)  # all ones: precision 1/2, recall 1


def test_one_class_per_image():
    task = build_task(TaskInfo("classification", num_classes=3))
    values = torch.tensor([0, 1, 1, 2])
    target = Target(values, torch.ones(4, dtype=torch.bool))
    assert constant_score(task, [target]) == pytest.approx(0.5)


def test_each_score_has_its_own_best_constant():
    task = build_task(TaskInfo("depth"))
    values = torch.ones(1, 1, 16, 16)
    values[..., 12:] = 9
    scores = constant_scores(task, [Target(values, everywhere(values))])
    assert scores["abs_rel"] == pytest.approx(0.25 * 8 / 9)  # the median, 1
    assert scores["rmse"] == pytest.approx(12**0.5)  # the mean, 3


def test_nothing_valid_has_no_score():
    task = build_task(TaskInfo("depth"))
    values = torch.ones(1, 1, 8, 8)
    score = constant_score(task, [Target(values, ~everywhere(values))])
    assert score != score
