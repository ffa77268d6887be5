"""Small exact values, and agreement with torchmetrics or a naive loop, of the other metrics."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics.classification import BinaryF1Score, BinaryJaccardIndex, MulticlassAccuracy

from taskgroup.metrics.absolute import AbsoluteMetric
from taskgroup.metrics.accuracy import AccuracyMetric
from taskgroup.metrics.angular import AngularMetric, angle_degrees
from taskgroup.metrics.base import SumMetric
from taskgroup.metrics.binary import BinaryMetric
from taskgroup.metrics.depth import DepthMetric


def scores(
    metric: SumMetric, prediction: Tensor, values: Tensor, valid: Tensor
) -> dict[str, float]:
    sums = metric.per_image(prediction, values, valid).sum(0)
    return {name: score.item() for name, score in metric.score(sums).items()}


def mask(*shape: int) -> Tensor:
    return torch.rand(shape) > 0.3


class TestAccuracy:
    def test_equals_torchmetrics(self) -> None:
        logits, classes = torch.randn(50, 7), torch.randint(0, 7, (50,))
        valid = mask(50)
        theirs = MulticlassAccuracy(7, average="micro")(logits[valid], classes[valid])
        ours = scores(AccuracyMetric(), logits, classes, valid)["accuracy"]
        assert ours == pytest.approx(theirs.item(), abs=1e-6)

    def test_sums_are_one_vote_per_image(self) -> None:
        logits = torch.eye(3)
        classes, valid = torch.tensor([0, 2, 255]), torch.tensor([True, True, False])
        assert AccuracyMetric().per_image(logits, classes, valid).tolist() == [
            [1, 1],
            [0, 1],
            [0, 0],
        ]


class TestBinary:
    def test_equals_torchmetrics(self) -> None:
        logits, values = torch.randn(4, 1, 6, 6), (torch.rand(4, 1, 6, 6) > 0.7).float()
        valid = mask(4, 6, 6)
        ours = scores(BinaryMetric(), logits, values, valid)
        flat = logits.squeeze(1)[valid].sigmoid(), values.squeeze(1)[valid].int()
        assert ours["f1"] == pytest.approx(BinaryF1Score()(*flat).item(), abs=1e-6)
        assert ours["iou"] == pytest.approx(BinaryJaccardIndex()(*flat).item(), abs=1e-6)

    def test_golden(self) -> None:
        sums = torch.tensor([6.0, 2.0, 4.0, 88.0], dtype=torch.float64)
        result = {name: score.item() for name, score in BinaryMetric().score(sums).items()}
        assert result == pytest.approx({"f1": 12 / 18, "iou": 0.5, "accuracy": 0.94})

    def test_silence_where_nothing_is_to_be_found_is_right(self) -> None:
        result = BinaryMetric().score(torch.tensor([[0.0, 0, 0, 9], [0, 1, 0, 8], [0, 0, 0, 0]]))
        assert result["f1"][0] == result["iou"][0] == 1
        assert result["f1"][1] == result["iou"][1] == 0
        assert math.isnan(result["f1"][2])

    def test_soft_targets_are_cut_at_one_half(self) -> None:
        values = torch.tensor([0.4, 0.5, 0.6]).view(1, 1, 1, 3)
        valid = torch.ones(1, 1, 3, dtype=torch.bool)
        sums = BinaryMetric().per_image(torch.ones(1, 1, 1, 3), values, valid)
        assert sums.tolist() == [[1, 2, 0, 0]]


class TestDepth:
    def test_golden(self) -> None:
        values = torch.tensor([1.0, 2.0, 4.0, 9.0]).view(1, 1, 2, 2)
        prediction = torch.tensor([1.2, 1.0, 5.0, 77.0]).view(1, 1, 2, 2)
        valid = torch.tensor([[[True, True], [True, False]]])
        result = scores(DepthMetric(), prediction, values, valid)
        assert result["abs_rel"] == pytest.approx((0.2 + 0.5 + 0.25) / 3)
        assert result["rmse"] == pytest.approx(math.sqrt((0.04 + 1 + 1) / 3))
        assert result["delta1"] == pytest.approx(1 / 3)  # 5 / 4 is not below 1.25
        assert result["mae"] == pytest.approx((0.2 + 1 + 1) / 3)

    def test_pixels_are_pooled_over_images(self) -> None:
        values, prediction = torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4)
        prediction[1] += 2
        valid = torch.ones(2, 1, 4, dtype=torch.bool)
        valid[1, :, 1:] = False
        result = scores(DepthMetric(), prediction, values, valid)
        assert result["rmse"] == pytest.approx(math.sqrt(4 / 5))

    @pytest.mark.parametrize("value", [0.0, -1.0])
    def test_depth_behind_the_camera_is_never_near(self, value: float) -> None:
        valid = torch.ones(1, 1, 1, dtype=torch.bool)
        prediction = torch.full((1, 1, 1, 1), value)
        assert scores(DepthMetric(), prediction, torch.ones(1, 1, 1, 1), valid)["delta1"] == 0

    def test_holes_marked_by_zero_do_no_harm(self) -> None:
        values, valid = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)
        values[..., 0, 0], valid[..., 0, 0] = 2.0, True
        assert scores(DepthMetric(), torch.ones(1, 1, 2, 2), values, valid)["abs_rel"] == 0.5


class TestAngle:
    @pytest.mark.parametrize("degrees", [0.0, 0.001, 0.5, 11.2, 60.0, 90.0, 135.0, 179.99, 180.0])
    def test_angle_is_exact_at_both_ends(self, degrees: float) -> None:
        turn = math.radians(degrees)
        first = torch.tensor([math.cos(turn), math.sin(turn), 0.0]).view(1, 3, 1, 1)
        second = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        assert angle_degrees(5 * first, second).item() == pytest.approx(degrees, abs=2e-5)

    def test_vector_of_length_zero_points_nowhere(self) -> None:
        zero, up = torch.zeros(1, 3, 1, 1), torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
        assert angle_degrees(zero, up).item() == 90

    def test_equals_the_arc_cosine(self) -> None:
        prediction, values = torch.randn(2, 3, 5, 5), normalize(torch.randn(2, 3, 5, 5), dim=1)
        valid = mask(2, 5, 5)
        cosine = (normalize(prediction, dim=1) * values).sum(1).clamp(-1, 1)[valid]
        angles = np.degrees(np.arccos(cosine.double().numpy()))
        result = scores(AngularMetric(), prediction, values, valid)
        assert result["angular_error"] == pytest.approx(angles.mean(), abs=1e-3)
        assert result["within_11_25"] == pytest.approx((angles < 11.25).mean())


class TestAbsolute:
    def test_golden(self) -> None:
        values, valid = torch.zeros(1, 2, 1, 2), torch.tensor([[[True, False]]])
        prediction = torch.tensor([1.0, 50.0, 3.0, 50.0]).view(1, 2, 1, 2)
        assert scores(AbsoluteMetric(), prediction, values, valid) == {"mae": 2.0}
