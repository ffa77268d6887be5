"""Balls, boxes and directions."""

import pytest
import torch

from taskgroup.attacks.base import ThreatModel
from taskgroup.attacks.geometry import (
    assert_inside,
    largest_signs,
    project,
    random_inside,
    random_stretched,
    random_surface,
    steepest,
)
from taskgroup.draws import Draws

LINF = ThreatModel(norm="linf", epsilon=8 / 255)
L2 = ThreatModel(norm="l2", epsilon=0.7)
L1 = ThreatModel(norm="l1", epsilon=5.0)
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
every_norm = pytest.mark.parametrize("threat", [LINF, L2, L1], ids=["linf", "l2", "l1"])


def length(change, threat):
    flat = change.double().flatten(1)
    return flat.norm(p={"linf": torch.inf, "l2": 2, "l1": 1}[threat.norm], dim=1)


@every_norm
@pytest.mark.parametrize("size", [4, 64])
def test_projection_is_idempotent(threat, size, generator):
    images = torch.rand(5, 3, size, size, generator=generator)
    far = images + torch.randn(images.shape, generator=generator)
    once = project(far, images, threat)
    assert torch.equal(project(once, images, threat), once)
    assert (length(once - images, threat) <= threat.epsilon + 1e-5).all()


@every_norm
def test_projection_keeps_what_is_inside(threat, images, generator):
    near = (images + 1e-3 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    assert torch.equal(project(near, images, threat), near)


def test_projection_golden():
    images = torch.tensor([0.5, 0.9, 0.0]).view(1, 3, 1, 1)
    far = torch.tensor([0.9, 1.5, -1.0]).view(1, 3, 1, 1)
    linf = project(far, images, ThreatModel(norm="linf", epsilon=0.25)).flatten()
    torch.testing.assert_close(linf, torch.tensor([0.75, 1.0, 0.0]))
    far = torch.tensor([0.5, 0.5, 0.3]).view(1, 3, 1, 1)  # 0, -0.4, 0.3: length 0.5
    l2 = project(far, images, ThreatModel(norm="l2", epsilon=0.25)).flatten()
    torch.testing.assert_close(l2, torch.tensor([0.5, 0.7, 0.15]))


@every_norm
def test_steepest_has_unit_norm_and_rises_most(threat, images, generator):
    gradient = torch.randn(images.shape, generator=generator)
    direction = steepest(gradient, threat)
    torch.testing.assert_close(length(direction, threat), torch.ones(6).double())
    rise = (gradient * direction).flatten(1).sum(1)
    for _ in range(20):
        other = steepest(torch.randn(images.shape, generator=generator), threat)
        assert ((gradient * other).flatten(1).sum(1) <= rise).all()


@every_norm
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30])
def test_steepest_does_not_depend_on_the_scale(threat, scale, images, generator):
    gradient = torch.randn(images.shape, generator=generator)
    scaled = steepest(gradient * scale, threat)
    torch.testing.assert_close(length(scaled, threat), torch.ones(6).double())


@every_norm
def test_steepest_of_nothing_is_nothing(threat, images):
    assert steepest(torch.zeros_like(images), threat).eq(0).all()
    assert steepest(torch.full_like(images, torch.nan), threat).eq(0).all()


@every_norm
def test_steepest_follows_what_is_left_of_a_broken_gradient(threat):
    gradient = torch.tensor([torch.inf, torch.nan, 0.0]).view(1, 3, 1, 1)
    expected = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(steepest(gradient, threat), expected)


@every_norm
@pytest.mark.parametrize("draw", [random_inside, random_surface])
def test_random_points_lie_inside(threat, draw, images, generator):
    points = draw(images, threat, Draws(generator))
    assert_inside(points, images, threat)
    assert not torch.equal(points, draw(images, threat, Draws(generator)))


def test_surface_points_reach_the_edge(generator):
    grey = torch.full((4, 3, 8, 8), 0.5)
    for threat in (LINF, L2):
        points = random_surface(grey, threat, Draws(generator))
        torch.testing.assert_close(
            length(points - grey, threat), torch.full((4,), threat.epsilon).double()
        )
    corners = random_surface(grey, LINF, Draws(generator)) - grey
    torch.testing.assert_close(corners.abs(), torch.full_like(grey, LINF.epsilon))


def test_the_l2_ball_is_filled_evenly(generator):
    grey = torch.full((20000, 1, 1, 2), 0.5)
    threat = ThreatModel(norm="l2", epsilon=0.4)
    radius = length(random_inside(grey, threat, Draws(generator)) - grey, threat) / threat.epsilon
    assert (radius < 0.5).double().mean() == pytest.approx(0.25, abs=0.02)  # area of half the disc


@every_norm
def test_leaving_is_noticed(threat, images):
    with pytest.raises(AssertionError, match="left the ball"):
        assert_inside(1 - images, images, threat)
    edge = torch.ones(1, 3, 2, 2)
    with pytest.raises(AssertionError, match="left"):
        assert_inside(edge + 1e-3, edge, threat)


def test_stretched_starts_reach_the_surface_with_one_pixel():
    grey = torch.full((4, 3, 8, 8), 0.5)
    drawn = Draws(torch.Generator().manual_seed(4))
    noise = (random_stretched(grey, LINF, drawn) - grey).abs().flatten(1)
    torch.testing.assert_close(noise.amax(1), torch.full((4,), LINF.epsilon))
    assert 0.4 < float(noise.mean() / LINF.epsilon) < 0.6
    sphere = (random_stretched(grey, L2, drawn) - grey).flatten(1).norm(dim=1)
    torch.testing.assert_close(sphere, torch.full((4,), L2.epsilon))


def test_the_l1_projection_is_the_nearest_point(images, generator):
    """Bisection of the common length finds the same point."""
    far = images + torch.randn(images.shape, generator=generator)
    far[0] = images[0] + 10
    far[1] = images[1]
    far[1, 0, 0, 0] = -3.0
    change = (far - images).double().flatten(1)
    room = torch.where(change > 0, 1 - images.flatten(1), images.flatten(1)).double()
    low, high = torch.zeros(6, 1).double(), torch.full((6, 1), 20.0).double()

    def kept(length):
        return torch.minimum((change.abs() - length).clamp(min=0), room)

    for _ in range(80):
        middle = (low + high) / 2
        over = kept(middle).sum(1, keepdim=True) > L1.epsilon
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    expected = images.flatten(1) + kept(high) * change.sign()
    found = project(far, images, L1)
    torch.testing.assert_close(found.flatten(1).double(), expected, atol=1e-6, rtol=0)
    norms = length(found - images, L1)
    torch.testing.assert_close(norms[2:], torch.full((4,), L1.epsilon).double(), atol=1e-5, rtol=0)


def test_the_l1_projection_golden():
    images = torch.tensor([0.5, 0.9, 0.0, 0.5]).view(1, 4, 1, 1)
    far = torch.tensor([0.9, 1.5, -1.0, 0.3]).view(1, 4, 1, 1)  # 0.4, 0.6 (room 0.1), 0, -0.2
    found = project(far, images, ThreatModel(norm="l1", epsilon=0.4)).flatten()
    torch.testing.assert_close(found, torch.tensor([0.75, 1.0, 0.0, 0.45]))


def test_an_l1_direction_has_the_largest_signs():
    gradient = torch.tensor([[3.0, -2.0, 1.0, 0.5], [0.0, 0.0, 0.0, -1.0]]).view(2, 4, 1, 1)
    found = largest_signs(gradient, torch.tensor([0.5, 1.0])).view(2, 4)
    expected = torch.tensor([[0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0]])
    assert torch.equal(found, expected)
    large = torch.randn(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert steepest(large, L1).ne(0).sum() == 12  # a hundredth
