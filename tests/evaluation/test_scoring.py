"""Scores of networks, clean and under attack."""

import math

import pytest
import torch

from taskgroup.attacks.base import AttackBudget
from taskgroup.errors import DataError
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.scoring import score_model

BUDGET = AttackBudget(epsilon=4 / 255, steps=3)


def attacked(model, tasks, batches, *, attacked_tasks=("segmentation",), **options):
    attack = NetworkAttack("pgd", BUDGET, attacked_tasks)
    return score_model(model, tasks, batches, perturbation=attack, **options)


def test_clean_scores_are_those_of_all_images_at_once(trained, tasks, batches):
    scores = score_model(trained, tasks, batches)
    for task in tasks:
        metric = task.metric()
        whole = sum(
            metric.per_image(trained(batch.images)[task.name], *batch.targets[task.name]).sum(0)
            for batch in batches
        )
        for name, value in metric.score(whole).items():
            assert scores.values[task.name][name] == pytest.approx(value.item(), rel=1e-6)
        assert scores.sums[task.name].shape == (20, metric.size)
        assert scores.sums[task.name].dtype == torch.float64
    assert scores.values["segmentation"]["miou"] > 0.6  # the fixture learned something


def test_an_attack_lowers_the_score_and_only_its_tasks_need_suffer(trained, tasks, batches):
    clean = score_model(trained, tasks, batches).values
    main = attacked(trained, tasks, batches).values
    depth = attacked(trained, tasks, batches, attacked_tasks=("depth",)).values
    assert main["segmentation"]["miou"] < clean["segmentation"]["miou"] - 0.05
    assert depth["depth"]["abs_rel"] > main["depth"]["abs_rel"]
    assert depth["depth"]["abs_rel"] > clean["depth"]["abs_rel"]


def test_a_training_network_is_scored_in_evaluation_mode_and_given_back(trained, tasks, batches):
    clean = score_model(trained, tasks, batches)
    trained.train()
    buffers = {name: value.clone() for name, value in trained.named_buffers()}
    again = score_model(trained, tasks, batches)
    attacked(trained, tasks, batches)
    assert again.values == clean.values
    assert all(module.training for module in trained.modules())
    assert all(torch.equal(buffers[name], value) for name, value in trained.named_buffers())
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert all(parameter.requires_grad for parameter in trained.parameters())


def test_the_seed_decides(trained, tasks, batches):
    first, again, other = (
        attacked(trained, tasks, batches, seed=seed).sums["depth"] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_attack_steps_run_the_attacked_heads_only(trained, tasks, batches):
    attacked(trained, tasks, batches, attacked_tasks=("depth",))
    assert trained.ran.count("depth") == 3 * (3 + 2 + 1)  # steps, first and last look, the score
    assert trained.ran.count("segmentation") == 3


def test_no_images_is_an_error(trained, tasks):
    with pytest.raises(DataError, match="at least one image"):
        score_model(trained, tasks, [])


class BreaksAt(torch.nn.Module):
    """Answers NaN for images as bright as a limit."""

    def __init__(self, model, limit):
        super().__init__()
        self.model, self.limit = model, limit

    def forward(self, images, tasks=None):
        bright = images.mean((1, 2, 3)) >= self.limit
        return {
            name: torch.where(bright.view([-1] + [1] * (values.dim() - 1)), torch.nan, values)
            for name, values in self.model(images, tasks).items()
        }


def test_a_prediction_of_nan_is_no_class(trained, tasks, batches):
    brightest = torch.cat([batch.images.mean((1, 2, 3)) for batch in batches]).amax()
    breaks = BreaksAt(trained, brightest - 1e-5)
    scores = score_model(breaks, tasks, batches)
    for task in tasks:
        assert int(scores.sums[task.name].isnan().all(1).sum()) == 1
        assert all(math.isnan(value) for value in scores.values[task.name].values())
