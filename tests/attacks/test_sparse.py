"""APGD in l1: against the published loop, and stronger than sparse steps of one share."""

import torch

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ATTACKS, AttackBudget, ThreatModel
from taskgroup.attacks.geometry import apgd_start, project
from taskgroup.draws import Draws

L1 = ThreatModel(norm="l1", epsilon=5.0)


def published(objective, images, start, steps):
    """The loop of the AutoAttack code, one image at a time, without momentum."""
    best_points = []
    for place in range(len(images)):
        alone = objective.select(torch.tensor([place]))
        image, point = images[place : place + 1], start[place : place + 1]
        count, share, before, step = image.numel(), 0.2, image.numel(), L1.epsilon

        def look(at, alone=alone):
            at = at.clone().requires_grad_()
            loss = alone(at, 0.0).loss.sum()
            return loss.item(), torch.autograd.grad(loss, at)[0]

        loss, gradient = look(point)
        best, best_loss, best_gradient = point, loss, gradient
        for number in range(1, steps + 1):
            size = gradient.abs().flatten().sort().values
            least = size[min(max(int(count - int(share * count)), 0), count - 1)]
            sign = gradient.sign() * (gradient.abs() >= least)
            point = project(point + step * sign / sign.abs().sum(), image, L1)
            loss, gradient = look(point)
            if loss > best_loss:
                best, best_loss, best_gradient = point, loss, gradient
            if number % max(int(0.04 * steps), 1) == 0:
                changed = int((best != image).sum())
                share = changed / count / 1.5
                if changed / before < 0.95:
                    step, point, gradient = L1.epsilon, best, best_gradient
                else:
                    step = max(step / 1.5, L1.epsilon / 10)
                before = changed
        best_points.append(best)
    return torch.cat(best_points)


def test_it_is_the_published_loop(objective, images):
    start = apgd_start(images, L1, Draws(torch.Generator().manual_seed(0)))
    found = climb(objective, images, start, threat=L1, steps=50).best
    torch.testing.assert_close(found, published(objective, images, start, 50), atol=1e-5, rtol=0)


def test_it_is_stronger_than_steps_of_one_sparsity(objective, images):
    budget = AttackBudget(norm="l1", epsilon=5.0, steps=50)
    left = {}
    for name in ("noise", "pgd", "apgd"):
        draws = Draws(torch.Generator().manual_seed(0))
        found = ATTACKS[name](objective, images, budget=budget, draws=draws)
        left[name] = objective(found, 1).loss.mean()
    assert objective(images, 0).loss.mean() < left["noise"] < left["pgd"]
    assert left["apgd"] > left["pgd"]


def test_finished_images_leave(objective, images):
    alone = climb(objective, images, images, threat=L1, steps=30)
    with_stop = climb(objective, images, images, threat=L1, steps=30, stop_at=0.0)
    assert alone.score.eq(0).any()
    assert torch.equal(alone.score, with_stop.score)
    unfinished = alone.score > 0
    torch.testing.assert_close(alone.best[unfinished], with_stop.best[unfinished])
