"""APGD: agreement with a loop written out, its costs, its phases, and images that leave."""

import pytest
import torch
from torch import Tensor

from taskgroup.attacks.apgd import apgd, checkpoints, climb
from taskgroup.attacks.base import AttackBudget, Evaluation, ThreatModel
from taskgroup.attacks.geometry import project
from taskgroup.attacks.iterates import is_stop_check
from taskgroup.attacks.phases import SHRINKING, Phase, climb_phases, phase_steps
from taskgroup.draws import Draws

LINF = ThreatModel(norm="linf", epsilon=8 / 255)
L2 = ThreatModel(norm="l2", epsilon=0.4)
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Wavy:
    """Many local maxima, so that steps rise and fall; its score sinks as its loss rises.

    Shares ``counts`` with its selections: forward passes, passes of a gradient, images seen.
    """

    def __init__(
        self, images: Tensor, counts: dict[str, int] | None = None, *, waves: float = 40.0
    ) -> None:
        generator = torch.Generator().manual_seed(11)
        self.frequency = waves * torch.randn(1, *images.shape[1:], generator=generator)
        self.origin = images
        self.counts = counts if counts is not None else dict.fromkeys(("calls", "images"), 0)
        self.counts.setdefault("gradients", 0)
        self.progress: list[float] = []

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        self.counts["calls"] += 1
        self.counts["images"] += len(images)
        self.progress.append(progress)
        change = images - self.origin
        loss = (torch.sin(self.frequency * change) + change.abs()).mean((1, 2, 3))
        if loss.requires_grad:
            loss.register_hook(self._count)
        return Evaluation(loss, (loss + 1).detach(), -loss.detach())

    def _count(self, gradient: Tensor) -> None:
        self.counts["gradients"] += 1

    def select(self, index: Tensor) -> "Wavy":
        part = Wavy(self.origin[index], self.counts)
        part.progress = self.progress
        return part


class Brightness:
    """The loss is the mean of the pixels above the first image's; the score reaches zero."""

    def __init__(self, images: Tensor, needed: Tensor, sizes: list[int]) -> None:
        self.images, self.needed, self.sizes = images, needed, sizes

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        self.sizes.append(len(images))
        loss = (images - self.images).mean((1, 2, 3))
        score = (self.needed - loss.detach()).clamp(min=0)
        return Evaluation(loss, loss.detach(), score)

    def select(self, index: Tensor) -> "Brightness":
        return Brightness(self.images[index], self.needed[index], self.sizes)


def box(point: Tensor, image: Tensor, threat: ThreatModel) -> Tensor:
    """Projection of one image, as AutoAttack writes it."""
    if threat.norm == "linf":
        lowest, highest = image - threat.epsilon, image + threat.epsilon
        return torch.min(torch.max(point, lowest), highest).clamp(0, 1)
    change = point - image
    length = change.norm()
    return (image + change / (length + 1e-12) * length.clamp(max=threat.epsilon)).clamp(0, 1)


def naive(objective, image, threat, steps):
    """One image, everything kept in lists; section 2.2 of the published algorithm."""

    def look(point):
        point = point.clone().requires_grad_()
        evaluation = objective(point, 0)
        (gradient,) = torch.autograd.grad(evaluation.loss.sum(), point)
        return gradient, evaluation.tracked.item(), evaluation.score.item()

    point = before = image
    gradient, best_loss, best_score = look(image)
    best, best_gradient, lowest = image, gradient, image
    losses = [0.0] * steps
    step, since, interval = 2 * threat.epsilon, 0, max(int(0.22 * steps), 1)
    halved, looked = True, best_loss
    for number in range(steps):
        direction = gradient.sign() if threat.norm == "linf" else gradient / gradient.norm()
        share = 0.75 if number else 1.0
        ahead = box(point + step * direction, image, threat)
        new = box(point + share * (ahead - point) + (1 - share) * (point - before), image, threat)
        before, point = point, new
        gradient, loss, score = look(point)
        if score <= best_score:
            lowest, best_score = point, score
        losses[number] = loss
        if loss > best_loss:
            best, best_gradient, best_loss = point, gradient, loss
        since += 1
        if since == interval:
            rises = sum(losses[number - j] > losses[number - j - 1] for j in range(interval))
            halve = rises <= 0.75 * interval or (not halved and looked >= best_loss)
            halved, looked = halve, best_loss
            if halve:
                step, point, gradient = step / 2, best, best_gradient
            since = 0
            interval = max(interval - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return best, best_loss, lowest, best_score


@both_norms
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_agrees_with_a_naive_loop(threat, steps, images):
    waves = 40 if threat.norm == "linf" else 10  # more would make a chaos of rounding errors
    end = climb(Wavy(images, waves=waves), images, images, threat=threat, steps=steps)
    for number in range(3):
        image = images[number : number + 1]
        best, loss, lowest, score = naive(Wavy(image, waves=waves), image, threat, steps)
        torch.testing.assert_close(end.best[number], best[0])
        torch.testing.assert_close(end.lowest[number], lowest[0])
        assert end.tracked[number].item() == pytest.approx(loss, abs=1e-6)
        assert end.score[number].item() == pytest.approx(score, abs=1e-6)


def test_checkpoints_golden():
    assert list(checkpoints(90)) == [19, 36, 51, 64, 75, 84]
    assert list(checkpoints(120)) == [26, 49, 69, 86, 100, 111, 119]
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(300)) == [66, 123, 171, 210, 240, 261, 279, 297]
    assert checkpoints(2) == {1: 1, 2: 1}


def test_sea_takes_303_forward_and_300_backward_passes(images):
    objective = Wavy(images)
    climb_phases(objective, images, threat=LINF, steps=300, draws=Draws(seeded()))
    assert objective.counts == {"calls": 303, "gradients": 300, "images": 303 * len(images)}


def test_the_registered_attack_costs_one_pass_per_iteration(images):
    budget = AttackBudget(epsilon=8 / 255, steps=10, restarts=2)
    for changes, calls in (
        ({}, 1 + 2 * 11),
        ({"random_start": False}, 11),
        ({"keep": "last"}, 2 * 11),
    ):
        objective = Wavy(images)
        apgd(objective, images, budget=budget.model_copy(update=changes), draws=Draws(seeded()))
        assert objective.counts["calls"] == calls


def test_a_fooled_image_runs_on_in_the_registered_attack(images):
    """Its images are shown to other networks too, so the highest loss counts."""
    grey, sizes = torch.full_like(images, 0.5), []
    objective = Brightness(grey, torch.zeros(6), sizes)
    found = apgd(objective, grey, budget=AttackBudget(epsilon=0.1, steps=5), draws=Draws(seeded()))
    assert set(sizes) == {6}
    torch.testing.assert_close(found, grey + 0.1)


def test_progress_runs_from_zero_to_one_in_each_phase(images):
    objective = Wavy(images)
    climb_phases(objective, images, threat=LINF, steps=10, draws=Draws(seeded()))
    assert phase_steps(SHRINKING, 10) == (3, 3, 4)
    assert objective.progress == pytest.approx(
        [0, 1 / 3, 2 / 3, 1, 0, 1 / 3, 2 / 3, 1, 0, 0.25, 0.5, 0.75, 1]
    )


@both_norms
def test_shrinking_radii_end_inside(threat, images):
    end = climb_phases(Wavy(images), images, threat=threat, steps=20, draws=Draws(seeded()))
    for points in (end.best, end.lowest, end.last):
        change = (points - images).flatten(1)
        length = change.abs().amax(1) if threat.norm == "linf" else change.norm(dim=1)
        assert (length <= threat.epsilon + 1e-5).all()
        assert points.min() >= 0
        assert points.max() <= 1


def test_a_phase_begins_where_the_last_one_was_best(images):
    class Remember(Wavy):
        def __call__(self, seen, progress):
            self.points.append(seen.detach().clone())
            return super().__call__(seen, progress)

    objective = Remember(images)
    objective.points = []
    phases = (Phase(2.0, 0.5), Phase(1.0, 0.5))
    climb_phases(objective, images, threat=LINF, steps=12, draws=Draws(seeded()), phases=phases)
    first, start = objective.points[:7], objective.points[7]
    scores = torch.stack([Wavy(images)(point, 0).score for point in first])
    lowest = torch.stack([first[int(scores[:, i].argmin())][i] for i in range(len(images))])
    inside = torch.min(torch.max(lowest, images - 8 / 255), images + 8 / 255).clamp(0, 1)
    torch.testing.assert_close(start, inside)


def test_fewer_steps_than_phases_still_end_in_the_ball(images):
    end = climb_phases(Wavy(images), images, threat=LINF, steps=1, draws=Draws(seeded()))
    assert (end.lowest - images).abs().max() <= 8 / 255 + 1e-6


def test_finished_images_leave_the_batch(images):
    grey = torch.full_like(images, 0.5)
    needed = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.5, 0.5])
    sizes: list[int] = []
    objective = Brightness(grey, needed, sizes)
    small = climb(objective, grey, grey, threat=LINF, steps=12, step_size=0.0105, stop_at=0.0)
    assert sizes[:4] == [6, 5, 4, 3]
    assert sizes[-1] == 2
    assert len(sizes) == 13
    assert small.score[:4].eq(0).all()
    gained = (small.lowest - grey).mean((1, 2, 3))
    assert (gained >= needed - 1e-6)[:4].all()
    assert torch.equal(small.lowest[0], grey[0])
    torch.testing.assert_close(gained[4:], torch.full((2,), 8 / 255))


def test_leaving_images_change_nothing_for_the_others(objective, images):
    alone = climb(objective, images, images, threat=LINF, steps=15)
    with_stop = climb(objective, images, images, threat=LINF, steps=15, stop_at=0.0)
    assert alone.score.eq(0).any()
    assert torch.equal(alone.score, with_stop.score)
    unfinished = alone.score > 0
    torch.testing.assert_close(alone.best[unfinished], with_stop.best[unfinished])


def test_a_batch_that_is_finished_ends_the_phase(images):
    sizes: list[int] = []
    objective = Brightness(images, torch.zeros(6), sizes)
    end = climb(objective, images, images, threat=LINF, steps=50, stop_at=0.0)
    assert sizes == [6]
    assert torch.equal(end.lowest, images)


def test_without_a_score_the_highest_loss_leads(images):
    class Unscored(Wavy):
        def __call__(self, seen, progress):
            return super().__call__(seen, progress)._replace(score=torch.full((6,), torch.nan))

    options = {"threat": LINF, "steps": 20, "draws": Draws(seeded()), "random_start": False}
    end = climb_phases(Unscored(images), images, stop_at=0.0, **options)
    assert end.score.isnan().all()
    assert torch.equal(end.lowest, end.best)
    best = images
    for phase, steps in zip(SHRINKING, phase_steps(SHRINKING, 20), strict=True):
        ball = ThreatModel(epsilon=phase.radius * LINF.epsilon)
        start = project(best, images, ball)
        best = climb(Wavy(images), images, start, threat=ball, steps=steps).best
    assert torch.equal(end.best, best)


def test_the_iterate_that_breaks_the_network_has_the_lowest_score(images):
    class Breaking(Wavy):
        def __call__(self, seen, progress):
            found = super().__call__(seen, progress)
            broke = (seen - self.origin).abs().mean((1, 2, 3)) > 4 / 255
            return found._replace(tracked=found.tracked.masked_fill(broke, torch.nan))

        def select(self, index):
            return Breaking(self.origin[index], self.counts)

    start = images.clamp(0.1, 0.9)
    end = climb(Breaking(start), start, start, threat=LINF, steps=10, stop_at=-5.0)
    assert end.score.eq(-torch.inf).all()
    assert ((end.lowest - start).abs().mean((1, 2, 3)) > 4 / 255).all()


def test_a_batch_finishes_together_where_asked(images):
    grey = torch.full_like(images, 0.5)
    needed = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.03, 0.03])
    sizes: list[int] = []
    objective = Brightness(grey, needed, sizes)
    climb(
        objective, grey, grey, threat=LINF, steps=12, step_size=0.0105, stop_at=0.0, stops="batch"
    )
    assert sizes == [6] * 4  # the start and three steps


def test_a_check_for_finished_images_waits_for_a_device_now_and_then():
    cpu = [number for number in range(1, 20) if is_stop_check(number, torch.device("cpu"))]
    gpu = [number for number in range(1, 20) if is_stop_check(number, torch.device("cuda"))]
    assert cpu == list(range(1, 20))
    assert gpu == [1, 9, 17]
