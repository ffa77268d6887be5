"""The worst that several attacks do together."""

from itertools import product

import pytest
import torch

from taskgroup.evaluation.worst_case import worst_case
from taskgroup.metrics.accuracy import AccuracyMetric
from taskgroup.metrics.confusion import ConfusionMetric
from taskgroup.metrics.depth import DepthMetric


def confusion(attacks, images, classes, seed):
    """Plausible per-image counts of several attacks; targets are the same under all."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, (images, 6, 6), generator=generator)
    metric = ConfusionMetric(classes)
    valid = torch.ones_like(truth, dtype=torch.bool)
    results = []
    for _ in range(attacks):
        logits = torch.nn.functional.one_hot(truth, classes).movedim(-1, 1).float()
        logits = logits + 1.2 * torch.randn(logits.shape, generator=generator)
        results.append(metric.per_image(logits, truth, valid))
    return metric, results


def brute_force(results, metric, score):
    values = []
    for choice in product(range(len(results)), repeat=len(results[0])):
        sums = torch.stack([results[attack][image] for image, attack in enumerate(choice)]).sum(0)
        values.append(float(metric.score(sums)[score]))
    return min(values)


def test_accuracy_is_counted_as_lost_when_any_attack_wins():
    right = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1.0]])
    results = [torch.stack([row, torch.ones(4)], 1).double() for row in right]
    worst = worst_case(results, AccuracyMetric(), score="accuracy")
    assert worst.tolist() == [[0, 1], [0, 1], [0, 1], [1, 1]]


def test_an_error_takes_the_maximum_of_each_image():
    metric = DepthMetric()
    values = 1 + torch.rand(5, 1, 4, 4)
    valid = torch.ones(5, 4, 4, dtype=torch.bool)
    results = [metric.per_image(values * torch.rand(5, 1, 1, 1), values, valid) for _ in range(3)]
    errors = torch.stack([metric.score(result)["abs_rel"] for result in results])
    worst = worst_case(results, metric, score="abs_rel")
    torch.testing.assert_close(metric.score(worst)["abs_rel"], errors.amax(0))


@pytest.mark.parametrize("seed", range(3))
def test_mean_iou_comes_close_to_brute_force(seed):
    metric, results = confusion(3, 6, 3, seed)
    found = float(metric.score(worst_case(results, metric, score="miou").sum(0))["miou"])
    assert found == pytest.approx(brute_force(results, metric, "miou"), abs=0.01)


def test_another_attack_never_helps_the_network():
    metric, results = confusion(5, 30, 4, 9)
    alone = [float(metric.score(result.sum(0))["miou"]) for result in results]
    last = float("inf")
    for count in range(1, 6):
        chosen = worst_case(results[:count], metric, score="miou").sum(0)
        value = float(metric.score(chosen)["miou"])
        assert value <= min(alone[:count]) + 1e-12
        assert value <= last + 2e-3  # the search is local
        last = value


def test_images_without_labels_do_no_harm():
    metric, results = confusion(2, 4, 3, 0)
    empty = torch.zeros_like(results[0])
    worst = worst_case([empty, empty], metric, score="miou")
    assert torch.equal(worst, empty)
