"""A network that breaks on some attacked images is fooled there, and named."""

import pytest
import torch
from torch import nn

from taskgroup.evaluation.loading import NetworkSources
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import network_results
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.verdict.broken import worst_sums
from taskgroup.evaluation.verdict.rows import RowMaker
from taskgroup.tasks.base import Target, TaskInfo, build_task

TASKS = ("segmentation", "depth")


class BreaksWhenAttacked(nn.Module):
    """Predicts NaN for two of the images as soon as they are not exactly as they were."""

    def __init__(self, network, images):
        super().__init__()
        self.network = network
        self.images = images

    def forward(self, images, tasks=None):
        nearest = torch.cdist(images.detach().flatten(1), self.images.flatten(1)).min(1)
        # The distance of equal images is rounded, too.
        broken = (nearest.indices < 2) & (nearest.values > 1e-2)
        return {
            name: prediction.where(~broken.view(-1, *[1] * (prediction.ndim - 1)), torch.nan)
            for name, prediction in self.network(images, tasks).items()
        }


def test_broken_images_are_fooled_and_the_others_keep_their_scores(trained, make_loaded, batch):
    model = BreaksWhenAttacked(trained, batch.images)
    loaded = make_loaded([model, trained], batch, task_set=TASKS)
    broke, whole = network_results(loaded, EvaluationOptions("quick"))
    (named,) = [text for text in broke.findings if "not finite" in text]
    assert named.startswith("predictions are not finite under random noise at 4/255 (2 images), ")
    for condition in ("FGSM at 4/255", "tempered ensemble at 4/255"):
        assert f"{condition} (2 images)" in named
    assert whole.findings == ()
    for one, other in zip(broke.outcomes, whole.outcomes, strict=True):
        assert not any(sums.isnan().any() for sums in one.sums.values())
        if one.condition.name == "fgsm":
            assert torch.equal(one.sums["segmentation"][2:], other.sums["segmentation"][2:])
            task = loaded.networks[0].main
            scores = task.metric().score(one.sums["segmentation"][:2])
            assert scores["accuracy"].tolist() == [0, 0]
    for transfer in (*broke.transfers, *whole.transfers):
        assert not transfer.sums.isnan().any()
    maker = RowMaker(
        Subject(0, "breaks", "other", ""), loaded.networks[0], broke, "quick", NetworkSources()
    )
    worst = next(row for row in maker.rows() if row.condition == "worst_case")
    assert named in worst.verdict


VALUES = {
    "depth": torch.rand(1, 1, 8, 8) + 1,
    "normals": nn.functional.normalize(torch.randn(1, 3, 8, 8)),
    "edges": (torch.rand(1, 1, 8, 8) > 0.5).float(),
}


@pytest.mark.parametrize("name", VALUES)
def test_wrong_numbers_are_worse_than_any_likely_ones(name):
    task = build_task(TaskInfo(name))
    target = Target(VALUES[name], torch.ones(1, 8, 8, dtype=torch.bool))
    metric = task.metric()
    likely = metric.per_image(torch.randn(1, task.channels, 8, 8), target.values, target.valid)
    found = metric.score(worst_sums(task, target)[None])[task.main_score]
    honest = metric.score(likely)[task.main_score]
    assert found.isfinite()
    if metric.directions[task.main_score] == "minimize":
        assert found > honest
    else:
        assert found == 0 < honest


def test_wrong_classes_are_all_wrong():
    task = build_task(TaskInfo("segmentation", num_classes=3))
    values = torch.randint(3, (1, 8, 8))
    sums = worst_sums(task, Target(values, torch.ones(1, 8, 8, dtype=torch.bool)))
    assert float(task.metric().score(sums)["accuracy"]) == 0
