"""AutoAttack's parts: FAB's projection against brute force, and what it refuses."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget, ThreatModel
from taskgroup.attacks.ensembles.autoattack import fab_targeted, to_hyperplane
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

BUDGET = AttackBudget(epsilon=8 / 255, steps=3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_move_reaches_the_hyperplane_and_none_is_shorter(norm, sign, images):
    normal = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    missing = sign * torch.linspace(0.1, 4.0, len(images))
    move = to_hyperplane(images, normal, missing, ThreatModel(norm=norm))
    torch.testing.assert_close((normal * move).sum((1, 2, 3)), missing, atol=1e-3, rtol=1e-3)
    assert (images + move).min() >= -1e-6
    assert (images + move).max() <= 1 + 1e-6
    # A bisection of the common length finds the same move.
    pace = torch.ones_like(normal) if norm == "linf" else normal.abs()
    towards = normal.sign() * sign
    room = torch.where(towards > 0, 1 - images, images)
    low, high = torch.zeros(len(images)), torch.full((len(images),), 100.0)
    for _ in range(60):
        middle = (low + high) / 2
        tried = torch.minimum(middle[:, None, None, None] * pace, room)
        enough = (normal.abs() * tried).sum((1, 2, 3)) >= missing.abs()
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    expected = towards * torch.minimum(high[:, None, None, None] * pace, room)
    torch.testing.assert_close(move, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_finds_points_in_a_large_ball(norm, objective, images):
    threat = ThreatModel(norm=norm, epsilon=0.9 if norm == "linf" else 12.0)
    towards = objective.logits(images).argsort(1, descending=True)[:, 1]
    found = fab_targeted(objective, images, towards.detach(), threat=threat, steps=30)
    assert (objective.logits(found).argmax(1) != objective.labels).all()


def test_what_is_wrong_already_is_left_alone(objective, images):
    objective.labels = (objective.labels + 1) % 4
    attacked = ATTACKS["autoattack"](
        objective, images, budget=BUDGET, draws=Draws(torch.Generator().manual_seed(0))
    )
    assert torch.equal(attacked, images)


@pytest.mark.parametrize("name", ["autoattack", "apgd_targeted", "sea", "tempered", "segpgd"])
def test_an_objective_that_combines_tasks_is_refused(name, images):
    with pytest.raises(ConfigError, match="combines several"):
        ATTACKS[name](None, images, budget=BUDGET, draws=Draws(torch.Generator()))
