"""The worst that several attacks do together."""

from itertools import product

import pytest
import torch

from taskgroup.evaluation.verdict.worst_case import worst_case
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
    stacked = torch.stack(results)
    choices = torch.tensor(list(product(range(len(results)), repeat=len(results[0]))))
    sums = sum(stacked[choices[:, image], image] for image in range(len(results[0])))
    return float(metric.score(sums)[score].min())


def test_accuracy_is_counted_as_lost_when_any_attack_wins():
    right = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1.0]])
    results = [torch.stack([row, torch.ones(4)], 1).double() for row in right]
    worst = worst_case(results, AccuracyMetric(), score="accuracy")
    assert worst.sums.tolist() == [[0, 1], [0, 1], [0, 1], [1, 1]]


def test_an_error_takes_the_maximum_of_each_image():
    metric = DepthMetric()
    values = 1 + torch.rand(5, 1, 4, 4)
    valid = torch.ones(5, 4, 4, dtype=torch.bool)
    results = [metric.per_image(values * torch.rand(5, 1, 1, 1), values, valid) for _ in range(3)]
    errors = torch.stack([metric.score(result)["abs_rel"] for result in results])
    worst = worst_case(results, metric, score="abs_rel").sums
    torch.testing.assert_close(metric.score(worst)["abs_rel"], errors.amax(0))


@pytest.mark.parametrize(("attacks", "images", "classes"), [(3, 8, 4), (4, 6, 7), (2, 8, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_mean_iou_is_that_of_the_exhaustive_search(attacks, images, classes, seed):
    metric, results = confusion(attacks, images, classes, seed)
    worst = worst_case(results, metric, score="miou")
    found = float(metric.score(worst.sums.sum(0))["miou"])
    assert found == pytest.approx(brute_force(results, metric, "miou"), abs=1e-12)
    for image, attack in enumerate(worst.attack.tolist()):
        assert torch.equal(worst.sums[image], results[attack][image])


def test_an_absent_class_does_not_shift_the_others():
    metric, results = confusion(3, 8, 4, 1)
    wide = ConfusionMetric(6)

    def widened(sums):
        parts = sums.view(len(sums), 3, 4)
        shifted = torch.zeros(len(sums), 3, 6, dtype=sums.dtype)
        shifted[:, :, [0, 2, 3, 5]] = parts
        return shifted.flatten(1)

    narrow = worst_case(results, metric, score="miou")
    spread = worst_case([widened(result) for result in results], wide, score="miou")
    assert torch.equal(spread.attack, narrow.attack)


def test_another_attack_never_helps_the_network():
    metric, results = confusion(5, 30, 4, 9)
    alone = [float(metric.score(result.sum(0))["miou"]) for result in results]
    last = float("inf")
    for count in range(1, 6):
        chosen = worst_case(results[:count], metric, score="miou").sums.sum(0)
        value = float(metric.score(chosen)["miou"])
        assert value <= min(alone[:count]) + 1e-12
        assert value <= last + 1e-3  # the search is local
        last = value


def test_images_without_labels_do_no_harm():
    metric, results = confusion(2, 4, 3, 0)
    empty = torch.zeros_like(results[0])
    worst = worst_case([empty, empty], metric, score="miou")
    assert torch.equal(worst.sums, empty)
