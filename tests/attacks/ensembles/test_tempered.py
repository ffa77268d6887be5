"""The tempered ensemble: the scale of logits does not matter, and Adam climbs as torch's does."""

import pytest
import torch
from torch import Tensor, nn

from taskgroup.attacks.adam import adam_climb
from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ADAM_RATE, ATTACKS, AttackBudget, ThreatModel
from taskgroup.attacks.ensembles.tempered import MEMBERS, temperature
from taskgroup.attacks.losses.logits import logit_gap
from taskgroup.attacks.phases import climb_phases
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

BUDGET = AttackBudget(epsilon=0.1, steps=20)
both_norms = pytest.mark.parametrize(
    "threat",
    [ThreatModel(epsilon=0.1), ThreatModel(norm="l2", epsilon=0.8)],
    ids=lambda threat: threat.norm,
)


class Times(nn.Module):
    """A network with its logits multiplied."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images) * self.factor


def seeded(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def attacked(objective, images, budget=BUDGET):
    return dict(ATTACKS["tempered"].members(objective, images, budget=budget, draws=seeded()))


@pytest.mark.parametrize("factor", [10.0, 1e-3])
def test_the_scale_of_the_logits_does_not_matter(factor, maps, images):
    clean = maps(images, 0).score.mean()
    plain = attacked(maps, images)
    scaled = maps.with_loss("cross_entropy")
    scaled.network = Times(maps.network, factor)
    again = attacked(scaled, images)
    assert list(plain) == list(again) == list(MEMBERS)
    for name, found in plain.items():
        score, other = maps(found, 1).score.mean(), maps(again[name], 1).score.mean()
        assert score < clean - 0.1
        assert abs(score - other) <= 0.01


def test_both_members_raise_their_loss_on_tempered_logits(maps, images, monkeypatch):
    seen = []
    monkeypatch.setattr(type(maps), "with_loss", lambda self, *a, **k: seen.append((a, k)) or self)
    attacked(maps, images, BUDGET.model_copy(update={"steps": 1}))
    gaps = maps.logit_gap(images)
    assert [loss for (loss,), _ in seen] == ["masked_balanced_cross_entropy", "sigmoid_margin"]
    assert [options["tracks"] for _, options in seen] == ["task", "raised"]
    for _, options in seen:
        torch.testing.assert_close(options["temperature"], gaps / 16)
        assert options["score"] == "accuracy"


def test_the_gap_counts_valid_pixels():
    logits = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[[1, 0], [0, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]]).bool()
    expected = []
    for image in range(3):
        gaps = []
        for row in range(2):
            for column in range(2):
                if valid[image, row, column]:
                    first, second = sorted(logits[image, :, row, column].tolist())[:-3:-1]
                    gaps.append(first - second)
        expected.append(sum(gaps) / max(len(gaps), 1))
    torch.testing.assert_close(logit_gap(logits, valid), torch.tensor(expected))
    assert temperature(logit_gap(logits, valid))[2] == 1


def test_adam_is_that_of_torch(maps, images):
    threat = ThreatModel(epsilon=0.1)
    raised = maps.with_loss("masked_balanced_cross_entropy")
    end = adam_climb(raised, images, images, threat=threat, steps=7)
    change = torch.zeros_like(images).requires_grad_()
    optimiser = torch.optim.Adam([change], lr=0.025, amsgrad=True, maximize=True)
    for step in range(7):
        (gradient,) = torch.autograd.grad(raised(images + change, step / 7).loss.sum(), change)
        change.grad = gradient / gradient.abs().mean((1, 2, 3), keepdim=True)
        optimiser.step()
        with torch.no_grad():
            change.clamp_(-threat.epsilon, threat.epsilon)
            change.copy_((images + change).clamp(0, 1) - images)
    torch.testing.assert_close(end.last, images + change.detach(), atol=1e-5, rtol=0)


def test_in_l2_it_follows_the_mean_of_the_gradients(maps, images):
    threat = ThreatModel(norm="l2", epsilon=0.8)
    raised = maps.with_loss("masked_balanced_cross_entropy")
    end = adam_climb(raised, images, images, threat=threat, steps=7)
    point, mean = images, torch.zeros_like(images)
    for step in range(7):
        probe = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(raised(probe, step / 7).loss.sum(), probe)
        mean = 0.9 * mean + 0.1 * gradient / gradient.abs().mean((1, 2, 3), keepdim=True)
        ahead = point + 0.2 * mean / mean.flatten(1).norm(dim=1)[:, None, None, None]
        length = (ahead - images).flatten(1).norm(dim=1)[:, None, None, None]
        point = (images + (ahead - images) * (0.8 / length).clamp(max=1)).clamp(0, 1)
    torch.testing.assert_close(end.last, point, atol=1e-5, rtol=0)


@both_norms
def test_adam_keeps_the_lowest_score(threat, maps, images):
    seen = []

    def remember(points, progress):
        seen.append(maps(points, progress))
        return seen[-1]

    end = adam_climb(remember, images, images, threat=threat, steps=12)
    scores = torch.stack([found.score for found in seen])
    assert torch.equal(end.score, scores.amin(0))
    torch.testing.assert_close(maps(end.lowest, 1).score, end.score)
    assert end.score.mean() < scores[0].mean()


def test_adam_lets_finished_images_go(maps, images):
    first = climb(maps, images, images, threat=ThreatModel(epsilon=0.5), steps=20).lowest
    start = torch.cat([first[:3], images[3:]])
    stop = float(maps(start, 0).score[:3].max())
    maps.sizes.clear()
    alone = adam_climb(maps, images, start, threat=ThreatModel(epsilon=0.5), steps=10)
    assert set(maps.sizes) == {6}
    maps.sizes.clear()
    end = adam_climb(maps, images, start, threat=ThreatModel(epsilon=0.5), steps=10, stop_at=stop)
    assert maps.sizes[:2] == [6, 3]
    torch.testing.assert_close(end.lowest[:3], start[:3])
    going = end.score > stop
    torch.testing.assert_close(end.last[going], alone.last[going])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_adam_survives_gradients_that_are_not_finite(bad, maps, images):
    class Broken:
        def gradient(self, points, progress):
            gradient = torch.ones_like(points)
            gradient[:, 0] = bad
            return gradient, maps(points, progress)

        def __call__(self, points, progress):
            return maps(points, progress)

        def select(self, index):
            return self

    end = adam_climb(Broken(), images, images, threat=ThreatModel(epsilon=0.1), steps=3)
    assert end.last.isfinite().all()
    assert (end.last != images)[:, 0 if bad == torch.inf else 1].any()


@both_norms
def test_shrinking_balls_of_adam_end_inside(threat, maps, images):
    end = climb_phases(maps, images, threat=threat, steps=20, draws=seeded(), climber=adam_climb)
    change = (end.lowest - images).flatten(1)
    length = change.abs().amax(1) if threat.norm == "linf" else change.norm(dim=1)
    assert (length <= threat.epsilon + 1e-5).all()


def test_a_phase_climbs_at_the_rate_of_its_own_ball(maps, images):
    found = []

    def recorded(*arguments, threat, **options):
        found.append(ADAM_RATE * threat.epsilon * 255)
        return adam_climb(*arguments, threat=threat, **options)

    threat = ThreatModel(epsilon=8 / 255)
    climb_phases(maps, images, threat=threat, steps=10, draws=seeded(), climber=recorded)
    assert found == pytest.approx([4.0, 3.0, 2.0])


def test_a_task_without_a_class_per_pixel_is_refused(objective, images):
    with pytest.raises(ConfigError, match=r"'tempered' needs a class per pixel, .*; choose"):
        ATTACKS["tempered"](objective, images, budget=BUDGET, draws=seeded())
