"""Networks that only look robust are found out, honest ones are not."""

import pytest
import torch
from torch import nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.scenes import SceneConfig
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.sanity import beats_constant, check_network, rises, verdict
from taskgroup.evaluation.suite import measure
from taskgroup.metrics.accuracy import AccuracyMetric
from taskgroup.metrics.confusion import ConfusionMetric

main_tasks = pytest.mark.parametrize("main_task", ["segmentation", "depth", "classification"])


class Scaled(nn.Module):
    """Logits times 10 000: the same answers, and losses that saturate in float32."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        predictions = self.network(images, tasks)
        return {name: 1e4 * prediction for name, prediction in predictions.items()}


class StaysInTraining(nn.Module):
    """Norms use the statistics of the batch, whatever mode is asked for."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        self.network.features[1].train()
        return self.network(images, tasks)


class Dropping(nn.Module):
    """Dropout stays on."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        self.network.features[3].train()
        return self.network(images, tasks)


class Rounding(nn.Module):
    """Images are rounded first: nothing to follow."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        return self.network((images * 16).round() / 16, tasks)


class Broken(nn.Module):
    """Answers NaN."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        return {name: p * torch.nan for name, p in self.network(images, tasks).items()}


def findings(model, tasks, batch, main_task="segmentation"):
    return check_network(model, tasks, batch, main_task=main_task)


@main_tasks
def test_an_honest_network_is_ok(main_task, trained, tasks, batch):
    assert verdict(findings(trained, tasks, batch, main_task)) == "ok"


@pytest.mark.parametrize(
    ("fraud", "finding"),
    [
        (Scaled, "loss gradients vanish"),
        (StaysInTraining, "predictions depend on the batch"),
        (Dropping, "predictions are random"),
        (Rounding, "image gradients vanish"),
        (Broken, "predictions are not finite"),
    ],
)
def test_known_frauds_are_named(fraud, finding, trained, tasks, batch):
    assert finding in findings(fraud(trained), tasks, batch)


def test_one_image_is_enough_to_look_at(trained, tasks, batch):
    alone = batch.select(torch.tensor([3]))
    assert findings(trained, tasks, alone) == []
    assert findings(StaysInTraining(trained), tasks, alone)


def measured(model, tasks, batches, main_task="segmentation", epsilon=4 / 255):
    trained = TrainedModel(
        model, tuple(tasks), SceneConfig(name="scenes"), main_task, ThreatModel(epsilon=epsilon)
    )
    return measure(trained, batches)


@main_tasks
def test_the_whole_suite_lets_an_honest_network_pass(main_task, trained, tasks, batches):
    assert measured(trained, tasks, batches[:1], main_task).findings == ()


def test_the_whole_suite_suspects_saturated_logits(trained, tasks, batches):
    assert "loss gradients vanish" in measured(Scaled(trained), tasks, batches[:1]).findings


def test_rounding_is_given_away_by_the_scores_too(trained, tasks, batches):
    found = measured(Rounding(trained), tasks, batches[:1]).findings
    assert "a huge epsilon does not reach a constant predictor" in found


def accuracy_sums(right, count):
    correct = (torch.arange(count) < right).double()
    return torch.stack([correct, torch.ones(count).double()], 1)


@pytest.mark.parametrize(
    ("weaker", "stronger", "count", "expected"),
    [
        (50, 50, 100, False),
        (50, 40, 100, False),
        (500, 505, 1000, False),  # within a point
        (5, 6, 10, False),  # within two standard errors
        (50, 80, 100, True),
    ],
)
def test_a_rise_must_be_larger_than_chance(weaker, stronger, count, expected):
    sums = [accuracy_sums(right, count) for right in (weaker, stronger)]
    assert rises(AccuracyMetric(), "accuracy", *sums, seed=0) is expected


def test_beating_a_constant():
    sums = accuracy_sums(30, 100)
    for constant, beaten in [(0.2, True), (0.295, False), (0.5, False), (torch.nan, False)]:
        assert beats_constant(AccuracyMetric(), sums, {"accuracy": constant}) is beaten


def test_a_constant_must_be_beaten_by_every_score():
    sums = torch.tensor([[1.0, 4, 4, 8, 12, 12, 9, 14, 13]]).double()
    metric = ConfusionMetric(3)
    scores = {name: float(value) for name, value in metric.score(sums[0]).items()}
    lower = {name: value - 0.02 for name, value in scores.items()}
    assert beats_constant(metric, sums, lower)
    for name in scores:
        assert not beats_constant(metric, sums, lower | {name: scores[name]})


def test_the_verdict_is_one_cell():
    assert verdict([]) == "ok"
    assert verdict(["a", "b"]) == "gradient masking suspected: a, b"
