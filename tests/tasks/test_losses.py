"""Small exact values of each loss, and agreement with the formulas of their sources."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from taskgroup.errors import ConfigError
from taskgroup.tasks.base import LossSums, Target, TaskInfo, build_task


def everywhere(values: Tensor) -> Target:
    shape = values.shape if values.ndim < 4 else (len(values), *values.shape[2:])
    return Target(values, torch.ones(shape, dtype=torch.bool))


def loss(name: str, prediction: Tensor, target: Target, **info: object) -> LossSums:
    return build_task(TaskInfo(name, **info)).loss(prediction, target)  # type: ignore[arg-type]


class TestCrossEntropy:
    def test_equals_torch_with_ignored_pixels(self) -> None:
        logits = torch.randn(3, 4, 5, 5)
        classes = torch.randint(0, 4, (3, 5, 5))
        classes[:, 1:3] = 255
        sums = loss("segmentation", logits, Target(classes, classes != 255), num_classes=4)
        expected = functional.cross_entropy(logits, classes, ignore_index=255)
        assert sums.mean() == pytest.approx(expected.item(), rel=1e-6)

    def test_equals_torch_with_class_weights_but_for_the_count(self) -> None:
        logits, classes = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
        weights = (0.5, 1.0, 4.0)
        sums = loss(
            "segmentation", logits, everywhere(classes), num_classes=3, class_weights=weights
        )
        expected = functional.cross_entropy(
            logits, classes, weight=torch.tensor(weights), reduction="none"
        )
        assert torch.allclose(sums.loss_sum, expected.sum((1, 2)))
        assert sums.valid_count.tolist() == [16, 16]

    @pytest.mark.parametrize("num_classes", [5, 16, 21])
    def test_memory_layout_changes_nothing(self, num_classes: int) -> None:
        logits = torch.randn(2, num_classes, 6, 7)
        target = everywhere(torch.randint(0, num_classes, (2, 6, 7)))
        gradients = []
        for layout in (torch.contiguous_format, torch.channels_last):
            probe = logits.to(memory_format=layout).requires_grad_()
            sums = loss("segmentation", probe, target, num_classes=num_classes)
            gradients.append(torch.autograd.grad(sums.loss_sum.sum(), probe)[0])
        assert torch.allclose(*gradients, atol=1e-6)

    def test_class_255_is_a_class_where_it_is_valid(self) -> None:
        logits = torch.full((1, 300), -50.0)
        logits[0, 255] = 50
        sums = loss("classification", logits, everywhere(torch.tensor([255])), num_classes=300)
        assert sums.loss_sum.item() == 0
        assert sums.valid_count.item() == 1

    def test_uniform_logits_cost_the_logarithm_of_the_classes(self) -> None:
        sums = loss(
            "classification", torch.zeros(2, 10), everywhere(torch.tensor([3, 9])), num_classes=10
        )
        assert sums.loss_sum.tolist() == pytest.approx([math.log(10)] * 2)

    @pytest.mark.parametrize("name", ["segmentation", "parts", "classification", "superclass"])
    @pytest.mark.parametrize("count", [None, 1])
    def test_task_without_classes_is_refused(self, name: str, count: int | None) -> None:
        with pytest.raises(ConfigError, match=f"task {name!r} needs at least 2 classes"):
            _ = build_task(TaskInfo(name, num_classes=count)).channels


class TestBalancedCrossEntropy:
    @pytest.mark.parametrize("name", ["saliency", "occlusion_edges"])
    def test_equals_the_formula_of_hed(self, name: str) -> None:
        logits = torch.randn(3, 1, 8, 8)
        values = (torch.rand(3, 1, 8, 8) < 0.2).float()
        sums = loss(name, logits, everywhere(values))
        for image in range(3):
            truth, probability = values[image, 0] == 1, logits[image, 0].sigmoid()
            beta = (~truth).sum() / truth.numel()
            expected = -beta * probability[truth].log().sum()
            expected -= (1 - beta) * (1 - probability[~truth]).log().sum()
            assert sums.loss_sum[image] == pytest.approx(expected.item(), rel=1e-5)

    def test_both_classes_weigh_the_same_in_sum(self) -> None:
        values = torch.zeros(1, 1, 10, 10)
        values[..., :2, :] = 1
        sums = loss("saliency", torch.zeros(1, 1, 10, 10), everywhere(values))
        assert sums.loss_sum.item() == pytest.approx(2 * 0.8 * 20 * math.log(2), rel=1e-6)

    def test_invalid_pixels_do_not_shift_the_balance(self) -> None:
        logits, values = torch.randn(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
        values[..., 0, :] = 1
        valid = torch.ones(1, 4, 4, dtype=torch.bool)
        valid[:, 2:] = False
        part = loss("saliency", logits, Target(values, valid))
        whole = loss("saliency", logits[:, :, :2], everywhere(values[:, :, :2]))
        assert torch.allclose(part.loss_sum, whole.loss_sum)

    @pytest.mark.parametrize(("value", "weight"), [(0.0, 0.05), (1.0, 0.05)])
    def test_image_of_one_class_still_teaches(self, value: float, weight: float) -> None:
        target = everywhere(torch.full((1, 1, 4, 4), value))
        sums = loss("occlusion_edges", torch.zeros(1, 1, 4, 4), target)
        assert sums.loss_sum.item() == pytest.approx(weight * 16 * math.log(2), rel=1e-5)


class TestNormals:
    @pytest.mark.parametrize(
        ("prediction", "expected"),
        [
            ((0, 0, 2), 0),
            ((0, 0, -3), 2),
            ((1, 0, 0), 1),
            ((0, 0, 0), 1),
            ((0, 1, 1), 1 - 0.5**0.5),
        ],
    )
    def test_one_minus_cosine(self, prediction: tuple[float, ...], expected: float) -> None:
        vectors = torch.tensor(prediction, dtype=torch.float32).view(1, 3, 1, 1)
        target = everywhere(torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1))
        assert loss("normals", vectors, target).loss_sum.item() == pytest.approx(expected, abs=1e-5)

    def test_length_of_the_prediction_does_not_matter(self) -> None:
        vectors = torch.randn(2, 3, 4, 4)
        target = everywhere(functional.normalize(torch.randn(2, 3, 4, 4), dim=1))
        long, short = (loss("normals", scale * vectors, target)[0] for scale in (100, 1))
        assert torch.allclose(long, short, atol=1e-3)


class TestAbsoluteErrors:
    def test_depth_sums_metres(self) -> None:
        target = everywhere(torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]]))
        sums = loss("depth", torch.full((1, 1, 2, 2), 3.0), target)
        assert sums == (torch.tensor([9.0]), torch.tensor([4.0]))

    def test_channels_are_averaged_and_pixels_summed(self) -> None:
        target = everywhere(torch.zeros(1, 2, 2, 2))
        prediction = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
        assert loss("curvature", prediction, target).loss_sum.item() == 8

    def test_mean_is_sum_over_count_of_the_whole_batch(self) -> None:
        valid = torch.tensor([[[True, False]], [[True, True]], [[False, False]]])
        target = Target(torch.zeros(3, 1, 1, 2), valid)
        prediction = torch.tensor([[6.0, 99.0], [1.0, 2.0], [99.0, 99.0]]).view(3, 1, 1, 2)
        assert loss("edges", prediction, target).mean().item() == 3.0
