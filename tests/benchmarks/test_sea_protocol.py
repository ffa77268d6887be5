"""SEA's own protocol on a small network: what the report says, and what it refuses."""

import zlib

import pytest
import torch
from sea_protocol import class_map, sea_report, worst_mean
from torch import nn

from taskgroup.attacks.base import AttackBudget
from taskgroup.attacks.ensembles.sea import SEA_LOSSES
from taskgroup.data.base import Batch
from taskgroup.errors import ConfigError, DataError, DivergedError
from taskgroup.metrics.confusion import ConfusionMetric
from taskgroup.tasks.base import IGNORE, Target, TaskInfo, build_task

BUDGET = AttackBudget(epsilon=8 / 255, steps=10)
TASK = build_task(TaskInfo("segmentation", num_classes=5))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Network(nn.Module):
    """The published code was run on these weights; see tests/attacks/test_apgd_golden.py."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 5, 1)
        for key, parameter in self.named_parameters():
            drawn = torch.randn(parameter.shape, generator=seeded(zlib.crc32(key.encode())))
            scale = (parameter.numel() / len(parameter)) ** 0.5 if drawn.dim() > 1 else 10
            parameter.data = drawn / scale

    def forward(self, images, tasks=None):
        return {"segmentation": self.c2(torch.relu(self.c1(images)))}


@pytest.fixture
def network():
    return Network().requires_grad_(False)


def labelled(network, count, valid):
    """Images of which nine pixels of ten are right."""
    images = torch.rand(count, 3, 16, 16, generator=seeded(3))
    wrong = torch.rand(count, 16, 16, generator=seeded(4)) < 0.1
    drawn = torch.randint(0, 5, (count, 16, 16), generator=seeded(5))
    classes = torch.where(wrong, drawn, network(images)["segmentation"].argmax(1))
    target = Target(classes.where(valid, IGNORE), valid)
    return Batch(images, {"segmentation": target}, torch.arange(count))


@pytest.fixture
def whole(network):
    """Twenty images; some pixels are ignored."""
    return labelled(network, 20, torch.rand(20, 16, 16, generator=seeded(6)) < 0.9)


@pytest.fixture
def batches(whole):
    """Batches of eight; the last one holds four."""
    return [whole.select(torch.arange(start, min(start + 8, 20))) for start in (0, 8, 16)]


def test_the_report_is_what_its_maps_say(network, batches, whole):
    report = sea_report(network, TASK, batches, budget=BUDGET, seed=3)
    assert report.maps.dtype == torch.uint8
    assert report.maps.shape == (3, 20, 16, 16)
    values, valid = whole.targets["segmentation"]
    right = (report.maps == values) & valid
    each = right.sum((2, 3)) / valid.sum((1, 2))
    assert report.worst_accuracy == pytest.approx(float(each.amin(0).mean()))
    assert list(report.accuracies) == list(SEA_LOSSES)
    for number, share in enumerate(report.accuracies.values()):
        assert share == pytest.approx(float(right[number].sum() / valid.sum()))
    assert report.worst_miou <= min(report.mious.values())


def test_batches_of_one_give_the_same(network, batches, whole):
    budget = BUDGET.model_copy(update={"random_start": False})
    one = [whole.select(torch.tensor([number])) for number in range(20)]
    at_once, pieces, alone = (
        sea_report(network, TASK, parts, budget=budget).worst_accuracy
        for parts in ([whole], batches, one)
    )
    assert pieces == pytest.approx(at_once, abs=2e-3)
    assert alone == pytest.approx(at_once, abs=2e-3)


def test_seed_compatible_reproduces_the_published_accuracy(network):
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    valid[:, :4] = False
    budget = BUDGET.model_copy(update={"random_start": False, "steps": 30, "seed_compatible": True})
    report = sea_report(network, TASK, [labelled(network, 2, valid)], budget=budget)
    # Over all pixels, ignored ones wrong: the clean accuracy.
    assert report.worst_accuracy == pytest.approx((174 + 173) / 512)


def test_maps_take_a_byte_per_pixel():
    assert class_map(torch.rand(1, 256, 2, 2)).dtype == torch.uint8
    logits = torch.zeros(1, 300, 1, 1)
    logits[0, 299] = 1
    assert class_map(logits).item() == 299


def test_what_is_refused(network, batches, whole):
    with pytest.raises(DataError, match="at least one image"):
        sea_report(network, TASK, [], budget=BUDGET)
    with pytest.raises(ConfigError, match="'sea' needs a class per pixel"):
        sea_report(network, build_task(TaskInfo("depth")), [with_depth(whole)], budget=BUDGET)
    network.c2.bias.data.fill_(torch.nan)
    with pytest.raises(DivergedError, match="must give finite logits"):
        sea_report(network, TASK, batches, budget=BUDGET)


def with_depth(batch):
    valid = batch.targets["segmentation"].valid
    return Batch(batch.images, {"depth": Target(batch.images[:, :1], valid)}, batch.index)


def test_worst_pixel_accuracy_is_the_mean_of_each_images_minimum():
    metric = ConfusionMetric(4)
    truth = torch.randint(0, 4, (7, 6, 6), generator=seeded(2))
    valid = torch.ones_like(truth, dtype=torch.bool)
    results, by_hand = [], []
    for attack in range(3):
        logits = torch.randn(7, 4, 6, 6, generator=seeded(10 + attack))
        results.append(metric.per_image(logits, truth, valid))
        by_hand.append((logits.argmax(1) == truth).double().mean((1, 2)))
    expected = float(torch.stack(by_hand).amin(0).mean())
    assert worst_mean(results, metric, score="accuracy") == pytest.approx(expected)
