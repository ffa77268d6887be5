"""Worst cases as the published SEA code finds them (github.com/nmndeep/Robust-Segmentation).

Stored there: 6 images of 8 x 8 pixels, 5 classes, three attacks, batches of 4 and 2.
"""

import pytest
import torch
from sea_protocol import worst_mean
from seed_ensemble import seed_worst_accuracy, seed_worst_miou

from taskgroup.evaluation.verdict.worst_case import worst_case
from taskgroup.metrics.confusion import ConfusionMetric

RIGHT_ACCURACY = 0.5208333
SEED_ACCURACY = 0.419
RIGHT_MIOU = 0.3521333


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def maps():
    """Predictions under each attack, and the classes."""
    classes = torch.randint(0, 5, (6, 8, 8), generator=seeded(20))
    found = []
    for attack in range(3):
        right = torch.rand(6, 8, 8, generator=seeded(30 + attack)) < 0.4 + 0.1 * attack
        drawn = torch.randint(0, 5, (6, 8, 8), generator=seeded(40 + attack))
        found.append(torch.where(right, classes, drawn))
    return torch.stack(found), classes


def sums_of(predictions, classes, num_classes):
    metric = ConfusionMetric(num_classes)
    everywhere = torch.ones_like(classes, dtype=torch.bool)
    logits = torch.nn.functional.one_hot(predictions, num_classes).movedim(-1, 2).float()
    return metric, [metric.per_image(one, classes, everywhere) for one in logits]


def test_the_stored_aggregation(maps):
    metric, results = sums_of(*maps, 5)
    alone = [metric.score(found.sum(0)) for found in results]
    accuracies = [float(score["accuracy"]) for score in alone]
    assert accuracies == pytest.approx([0.5260417, 0.6015625, 0.6979167], abs=1e-6)
    mious = [float(score["miou"]) for score in alone]
    assert mious == pytest.approx([0.3578072, 0.4301318, 0.5346494], abs=1e-6)
    assert worst_mean(results, metric, score="accuracy") == pytest.approx(RIGHT_ACCURACY)
    chosen = worst_case(results, metric, score="miou").sums.sum(0)
    assert float(metric.score(chosen)["miou"]) == pytest.approx(RIGHT_MIOU, abs=1e-6)


def test_a_smaller_last_batch_is_judged_by_other_images(maps):
    assert seed_worst_accuracy(*maps, batch_sizes=[4, 2]) == pytest.approx(SEED_ACCURACY, abs=5e-4)
    for sizes in ([6], [3, 3], [2, 2, 2]):
        assert seed_worst_accuracy(*maps, batch_sizes=sizes) == pytest.approx(RIGHT_ACCURACY)


def test_the_search_is_right_where_every_class_occurs(maps):
    _, results = sums_of(*maps, 5)
    for seed in range(3):
        found = seed_worst_miou(results, num_classes=5, seed=seed)
        assert found == pytest.approx(RIGHT_MIOU, abs=1e-6)


@pytest.mark.parametrize("absent", range(5))
def test_an_absent_class_leads_it_astray(absent, maps):
    predictions, classes = (values + (values >= absent) for values in maps)
    metric, results = sums_of(predictions, classes, 6)
    right = worst_case(results, metric, score="miou").sums.sum(0)
    assert float(metric.score(right)["miou"]) == pytest.approx(RIGHT_MIOU, abs=1e-6)
    assert seed_worst_miou(results, num_classes=6, seed=0) > RIGHT_MIOU + 1e-3


def test_the_last_loss_that_helps_is_kept():
    # One image of ten pixels, two classes: the second attack is the worst, the third helps too.
    correct = torch.tensor([[9.0, 0], [1, 0], [5, 0]])
    sums = [torch.cat([row, torch.tensor([9.0, 1, 9, 1])])[None].double() for row in correct]
    assert seed_worst_miou(sums, num_classes=2, seed=0) == pytest.approx(5 / 13 / 2)
