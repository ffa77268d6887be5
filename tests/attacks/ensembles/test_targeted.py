"""Attacks on one class per image: the runners-up they go to, few classes, images that break."""

import pytest
import torch
from torch import nn

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target, TaskInfo, build_task

BUDGET = AttackBudget(epsilon=0.05, steps=10)
both_attacks = pytest.mark.parametrize("name", ["apgd_targeted", "autoattack"])


class Classifier(nn.Module):
    """A small network; NaN for images whose first pixel is black."""

    def __init__(self, num_classes: int, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(512, num_classes)
        )
        self.factor = factor

    def forward(self, images, names):
        logits = self.layers(images) * self.factor
        black = images[:, :, 0, 0].sum(1) == 0
        return {"classification": logits.masked_fill(black[:, None], torch.nan)}


@pytest.fixture
def grey():
    """Twelve images away from black."""
    drawn = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    return 0.3 + 0.4 * drawn


@pytest.fixture
def asked(monkeypatch):
    """Which losses are raised, towards which classes, for how many images."""
    found, own = [], TaskObjective.with_loss

    def with_loss(self, loss, **options):
        found.append((loss, options.get("towards"), len(self.labels)))
        return own(self, loss, **options)

    monkeypatch.setattr(TaskObjective, "with_loss", with_loss)
    return found


def objective(images, num_classes, factor=1.0):
    network = Classifier(num_classes, factor).eval().requires_grad_(False)
    labels = network.layers(images).argmax(1)
    task = build_task(TaskInfo("classification", num_classes=num_classes))
    targets = {"classification": Target(labels, torch.ones(len(images), dtype=torch.bool))}
    options = {"main_task": None, "attacked_tasks": ("classification",)}
    return TaskObjective(network, (task,), targets, **options)


def run(name, raised, images, budget=BUDGET):
    draws = Draws(torch.Generator().manual_seed(0))
    found = ATTACKS[name](raised, images, budget=budget, draws=draws)
    logits = raised.logits(found)
    return found, (logits.argmax(1) == raised.labels) & logits.isfinite().all(1)


def test_it_goes_to_the_four_runners_up_and_fooled_images_leave(grey, asked):
    raised = objective(grey, 6)
    _, right = run("apgd_targeted", raised, grey, BUDGET.model_copy(update={"epsilon": 0.02}))
    assert 0 < right.sum() < len(grey)
    assert [loss for loss, _, _ in asked] == ["targeted_dlr"] * 4
    order = raised.logits(grey).argsort(1, descending=True)
    assert torch.equal(asked[0][1], order[:, 1])
    sizes = [count for _, _, count in asked]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] >= right.sum()


@both_attacks
@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_the_ratio_is_raised_where_it_is_defined(name, num_classes, grey, asked):
    tiny = BUDGET.model_copy(update={"epsilon": 1e-5, "steps": 1})
    run(name, objective(grey, num_classes), grey, tiny)
    first = [loss for loss, _, _ in asked][:2]
    if num_classes < 4:
        assert first == ["cross_entropy", "margin"]
    else:
        assert first[-1] == "targeted_dlr"


@both_attacks
@pytest.mark.parametrize("num_classes", [2, 3])
def test_few_classes_with_large_logits_are_attacked(name, num_classes, grey):
    """Cross-entropy alone has no gradient in float32 there; the margin does."""
    raised = objective(grey, num_classes, factor=1e6)
    _, right = run(name, raised, grey)
    _, small = run(name, objective(grey, num_classes), grey)
    assert torch.equal(right, small)
    assert not right.all()


@pytest.mark.parametrize("factor", [10.0, 1e-3])
def test_the_scale_of_the_logits_does_not_matter(factor, grey):
    small = BUDGET.model_copy(update={"epsilon": 0.02})
    _, right = run("apgd_targeted", objective(grey, 6), grey, small)
    _, again = run("apgd_targeted", objective(grey, 6, factor), grey, small)
    assert 0 < right.sum() < len(grey)
    assert (right != again).sum() <= 1


@both_attacks
@pytest.mark.parametrize("num_classes", [2, 6])
def test_images_that_break_the_network_count_as_fooled_and_keep_no_other(name, num_classes, grey):
    broken = grey.clone()
    broken[[3, 7], :, 0, 0] = 0
    raised = objective(grey, num_classes)
    whole, _ = run(name, raised, grey)
    found, right = run(name, raised, broken)
    assert not right[[3, 7]].any()
    assert torch.equal(found[[3, 7]], broken[[3, 7]])
    others = torch.ones(12, dtype=torch.bool)
    others[[3, 7]] = False
    torch.testing.assert_close(found[others], whole[others])


@both_attacks
def test_an_image_starts_at_the_same_point_whatever_is_left_of_the_batch(name, grey):
    """Images that are fooled at once leave the batch, and the random numbers of the rest stay."""
    small = BUDGET.model_copy(update={"epsilon": 0.02})
    raised = objective(grey, 6)
    found, right = run(name, raised, grey, small)
    raised.targets["classification"].values[:5] = (raised.labels[:5] + 1) % 6
    again, _ = run(name, raised, grey, small)
    assert right[5:].any()
    torch.testing.assert_close(again[5:], found[5:])
