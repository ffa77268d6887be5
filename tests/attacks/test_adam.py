"""PAdam: the published loop on its two losses, in our ball."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from taskgroup.attacks.base import ATTACKS, AttackBudget, step_length
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target, TaskInfo, build_task

CLASSES = 4
BUDGET = AttackBudget(epsilon=8 / 255, steps=12, keep="last")


class Maps(nn.Module):
    """A small network of class maps."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, CLASSES, 3, padding=1)
        )

    def forward(self, images, names):
        return {"segmentation": 4 * self.layers(images)}


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return Maps().eval()


@pytest.fixture
def classes(images):
    return torch.randint(0, CLASSES, (6, 8, 8), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def of_maps(maps, classes):
    """The objective of a class map, every pixel labelled."""
    target = Target(classes, torch.ones_like(classes, dtype=torch.bool))
    return TaskObjective(
        maps,
        [build_task(TaskInfo("segmentation", CLASSES))],
        {"segmentation": target},
        main_task="segmentation",
        attacked_tasks=("segmentation",),
    )


def run(name, objective, images, budget, seed=7):
    draws = Draws(torch.Generator().manual_seed(seed))
    return ATTACKS[name](objective, images, budget=budget, draws=draws)


def cross_entropy(logits, classes):
    return functional.cross_entropy(logits, classes, reduction="none")


def cosine(logits, classes):
    """One minus the cosine between logits and label."""
    label = functional.one_hot(classes, CLASSES).movedim(-1, 1)
    return 1 - functional.cosine_similarity(logits, label, dim=1)


def naive(maps, image, classes, start, loss, epsilon, steps):
    """The published loop for one image: torch's Adam on the change, clipped twice."""
    change = (start - image).clone().requires_grad_()
    adam = torch.optim.Adam([change], lr=epsilon / 4, amsgrad=True, maximize=True)
    for _ in range(steps):
        adam.zero_grad()
        loss(maps(image + change, [])["segmentation"], classes).mean().backward()
        adam.step()
        with torch.no_grad():
            change.clamp_(-epsilon, epsilon)
            change.copy_((image + change).clamp(0, 1) - image)
    return (image + change).detach()


@pytest.mark.parametrize(("name", "loss"), [("padam_ce", cross_entropy), ("padam_cos", cosine)])
def test_the_last_iterate_is_that_of_the_published_loop(name, loss, maps, of_maps, classes, images):
    ours = run(name, of_maps, images, BUDGET)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(7))
    starts = (images + BUDGET.epsilon * (2 * noise - 1)).clamp(0, 1)
    for place in range(len(images)):
        one = slice(place, place + 1)
        theirs = naive(
            maps, images[one], classes[one], starts[one], loss, BUDGET.epsilon, BUDGET.steps
        )
        torch.testing.assert_close(ours[one], theirs, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", ["padam_ce", "padam_cos"])
def test_the_worst_iterate_by_the_own_loss_is_kept(name, of_maps, images):
    last, best = (
        run(name, of_maps, images, BUDGET.model_copy(update={"keep": keep}))
        for keep in ("last", "best")
    )
    losses = [of_maps(found, 1.0).loss for found in (images, last, best)]
    assert (losses[2] >= losses[0]).all()
    assert (losses[2] >= losses[1] - 1e-6).all()


def test_the_cosine_does_not_see_the_scale_of_the_logits(maps, of_maps, images):
    found = []
    for scale in (1.0, 100.0):
        maps.layers[2].weight.data *= scale
        maps.layers[2].bias.data *= scale
        found.append(run("padam_cos", of_maps, images, BUDGET))
    torch.testing.assert_close(*found, atol=1e-3, rtol=0)


def test_the_learning_rate_is_a_quarter_of_the_radius_or_what_is_given(of_maps, images):
    assert step_length("padam_ce", BUDGET) == BUDGET.epsilon / 4
    given = BUDGET.model_copy(update={"step_size": 1 / 2550, "steps": 1, "random_start": False})
    assert step_length("padam_ce", given) == 1 / 2550
    change = (run("padam_ce", of_maps, images, given) - images).abs()
    assert change.max().item() == pytest.approx(1 / 2550, rel=1e-2)


@pytest.mark.parametrize("name", ["padam_ce", "padam_cos"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "l1", "epsilon": 12.0}, r"must go with norm linf or l2, got l1"),
        ({"seed_compatible": True}, r"seed_compatible must be false"),
    ],
)
def test_what_has_no_meaning_is_refused(name, changes, message, of_maps, images):
    with pytest.raises(ConfigError, match=message):
        run(name, of_maps, images, BUDGET.model_copy(update=changes))
