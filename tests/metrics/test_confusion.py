import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from torchmetrics.functional.classification import multiclass_stat_scores

from taskgroup.errors import DataError
from taskgroup.metrics.confusion import BackgroundConfusionMetric, ConfusionMetric

K = 6


def draw(seed: int, *, classes: int = K) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randn(5, K, 7, 9, generator=generator)
    values = torch.randint(0, classes, (5, 7, 9), generator=generator)
    valid = torch.rand(5, 7, 9, generator=generator) > 0.3
    return prediction, values.masked_fill(~valid, 255), valid


def naive_miou(prediction: Tensor, values: Tensor, valid: Tensor) -> float:
    guess, truth, keep = (np.asarray(t) for t in (prediction.argmax(1), values, valid))
    ratios = []
    for k in range(prediction.shape[1]):
        intersection = int(((guess == k) & (truth == k) & keep).sum())
        union = int((((guess == k) | (truth == k)) & keep).sum())
        if union:
            ratios.append(intersection / union)
    return sum(ratios) / len(ratios)


@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_those_of_torchmetrics(seed: int) -> None:
    prediction, values, valid = draw(seed)
    sums = ConfusionMetric(K).per_image(prediction, values, valid)
    expected = multiclass_stat_scores(
        prediction, values, K, average=None, multidim_average="samplewise", ignore_index=255
    )
    correct, false_positive, support = expected[..., 0], expected[..., 1], expected[..., 4]
    assert torch.equal(sums, torch.cat([correct, support, correct + false_positive], 1).double())


@pytest.mark.parametrize("classes", [K, 3])
def test_miou_equals_torchmetrics_and_a_naive_loop(classes: int) -> None:
    metric = ConfusionMetric(K)
    theirs = MulticlassJaccardIndex(K, ignore_index=255)
    batches = [draw(seed, classes=classes) for seed in range(3)]
    for prediction, values, _ in batches:
        theirs.update(prediction, values)
    sums = sum(metric.per_image(*batch).sum(0) for batch in batches)
    miou = metric.score(sums)["miou"].item()
    assert miou == pytest.approx(theirs.compute().item(), abs=1e-6)
    whole = [torch.cat(parts) for parts in zip(*batches, strict=True)]
    assert miou == pytest.approx(naive_miou(*whole), abs=1e-12)


def test_accuracies_equal_torchmetrics_when_all_classes_occur() -> None:
    prediction, values, valid = draw(0)
    metric = ConfusionMetric(K)
    scores = metric.score(metric.per_image(prediction, values, valid).sum(0))
    for name, average in (("accuracy", "micro"), ("mean_accuracy", "macro")):
        theirs = MulticlassAccuracy(K, average=average, ignore_index=255)
        assert scores[name].item() == pytest.approx(theirs(prediction, values).item(), abs=1e-6)


def test_golden_values() -> None:
    metric = ConfusionMetric(3)
    values = torch.tensor([[[0, 0, 1, 255]]])
    prediction = torch.eye(3)[torch.tensor([0, 1, 1, 2])].T.reshape(1, 3, 1, 4)
    sums = metric.per_image(prediction, values, values != 255)
    assert sums.tolist() == [[1, 1, 0, 2, 1, 0, 1, 2, 0]]
    scores = {name: score.item() for name, score in metric.score(sums[0]).items()}
    assert scores == pytest.approx({"miou": 0.5, "mean_accuracy": 0.75, "accuracy": 2 / 3})


def test_class_that_is_only_predicted_lowers_miou_but_not_mean_accuracy() -> None:
    metric = ConfusionMetric(2)
    scores = metric.score(torch.tensor([3.0, 0, 4, 0, 3, 1], dtype=torch.float64))
    assert scores["miou"].item() == pytest.approx(0.375)
    assert scores["mean_accuracy"].item() == pytest.approx(0.75)


def test_absent_class_is_left_out() -> None:
    assert ConfusionMetric(3).score(torch.tensor([4.0, 4, 0, 4, 4, 0, 4, 4, 0]))["miou"] == 1


def test_nothing_valid_is_nan() -> None:
    metric = ConfusionMetric(3)
    assert all(math.isnan(v) for v in metric.score(torch.zeros(9, dtype=torch.float64)).values())


def test_data_set_score_is_no_mean_of_image_scores() -> None:
    metric = ConfusionMetric(K)
    sums = metric.per_image(*draw(0))
    pooled, images = metric.score(sums.sum(0))["miou"], metric.score(sums)["miou"]
    assert abs(pooled - images.mean()) > 1e-3


def test_scores_without_the_background_leave_its_class_out() -> None:
    prediction, values, valid = draw(0)
    metric = BackgroundConfusionMetric(K, background=2)
    sums = metric.per_image(prediction, values, valid)
    scores = metric.score(sums.sum(0))
    plain = ConfusionMetric(K).score(sums.sum(0))
    assert {name: scores[name] for name in plain} == plain
    guess = prediction.argmax(1)
    ratios = [
        float(((guess == k) & (values == k) & valid).sum())
        / float((((guess == k) | (values == k)) & valid).sum())
        for k in range(K)
        if k != 2
    ]
    assert float(scores["miou_foreground"]) == pytest.approx(sum(ratios) / len(ratios))
    kept = valid & (values != 2)
    right = (guess == values)[kept].double().mean()
    assert float(scores["accuracy_foreground"]) == pytest.approx(float(right))
    assert metric.score(sums)["miou_foreground"].shape == (5,)
    assert set(metric.directions) == set(scores)


def test_a_class_beyond_the_head_is_refused() -> None:
    """It would count as the first class of the next image."""
    prediction, values, valid = draw(0)
    values, valid = values.clone(), valid.clone()
    values[1, 2, 3], valid[1, 2, 3] = K, True
    with pytest.raises(DataError, match=r"classes from 0 to 5, .*got class 6 for a head of 6 .*;"):
        ConfusionMetric(K).per_image(prediction, values, valid)


def test_a_negative_class_is_refused() -> None:
    prediction, values, valid = draw(0)
    values, valid = values.clone(), valid.clone()
    values[0, 0, 0], valid[0, 0, 0] = -1, True
    with pytest.raises(DataError, match="got class -1 for a head of 6 classes"):
        BackgroundConfusionMetric(K, background=0).per_image(prediction, values, valid)


@pytest.mark.parametrize("ignored", [-1, K, 255])
def test_any_number_may_stand_where_nothing_is_valid(ignored: int) -> None:
    prediction, values, valid = draw(0)
    sums = ConfusionMetric(K).per_image(prediction, values, valid)
    other = values.masked_fill(~valid, ignored)
    assert torch.equal(ConfusionMetric(K).per_image(prediction, other, valid), sums)


def test_a_logit_beyond_the_classes_is_refused() -> None:
    prediction, values, valid = draw(0)
    with pytest.raises(DataError, match="one logit for each of 5 classes, got 6; choose"):
        ConfusionMetric(5).per_image(prediction, values.clamp(max=4).where(valid, 255), valid)
