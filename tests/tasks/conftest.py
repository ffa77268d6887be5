"""The contract that every task keeps, as functions of a task.

They stand here and not in a test module because two modules run them: over every registered task,
and over the example of CONTRIBUTING.md.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from taskgroup.tasks.base import IGNORE, LossSums, Target, Task

N, H, W, K = 4, 6, 5, 5
CERTAIN = 60.0
"""A logit far enough from 0 for a loss below float32's last digit."""


def draw_target(task: Task, generator: torch.Generator) -> Target:
    """Right answers, one pixel in four invalid, the last image without any label."""
    shape = (N, H, W) if task.output == "map" else (N,)
    valid = torch.rand(shape, generator=generator) > 0.25
    valid[0], valid[-1] = True, False
    if task.info.num_classes is not None:
        classes = torch.randint(0, task.channels, shape, generator=generator)
        return Target(classes.masked_fill(~valid, IGNORE), valid)
    values = torch.rand((N, task.channels, H, W), generator=generator) + 0.1
    if task.name == "normals":
        values = torch.nn.functional.normalize(values - 0.6, dim=1)
    if is_binary(task):
        values = (values > 0.6).float()
    return Target(values, valid)


def is_binary(task: Task) -> bool:
    return "f1" in task.metric().directions


def draw_prediction(task: Task, generator: torch.Generator) -> Tensor:
    shape = (N, task.channels, H, W) if task.output == "map" else (N, task.channels)
    return torch.randn(shape, generator=generator)


def perfect_prediction(task: Task, target: Target) -> Tensor:
    """The answer itself, as logits where the task predicts logits."""
    if task.info.num_classes is not None:
        classes = target.values.where(target.valid, 0)
        hot = torch.nn.functional.one_hot(classes, task.channels).movedim(-1, 1)
        return (2.0 * hot - 1) * CERTAIN
    if is_binary(task):
        return (2 * target.values - 1) * CERTAIN
    return target.values.clone()


def take(target: Target, index: object) -> Target:
    return target.map(lambda tensor: tensor[index])  # type: ignore[index]


def check_sums_and_counts(task: Task, generator: torch.Generator) -> None:
    """One float32 number per image, finite, not negative; counts are the valid pixels."""
    target = draw_target(task, generator)
    sums = task.loss(draw_prediction(task, generator), target)
    assert isinstance(sums, LossSums)
    for values in (*sums, *task.loss(1e6 * draw_prediction(task, generator), target)):
        assert values.shape == (N,)
        assert values.dtype == torch.float32
        assert torch.isfinite(values).all()
        assert (values >= 0).all()
    assert torch.equal(sums.valid_count, target.valid.reshape(N, -1).sum(1).float())


def check_nothing_valid(task: Task, generator: torch.Generator) -> None:
    """A batch without labels has loss, count and gradient zero, and NaN for a score."""
    target = draw_target(task, generator)
    nothing = Target(target.values, torch.zeros_like(target.valid))
    prediction = draw_prediction(task, generator).requires_grad_()
    sums = task.loss(prediction, nothing)
    assert not sums.loss_sum.any()
    assert not sums.valid_count.any()
    assert sums.mean() == 0
    (gradient,) = torch.autograd.grad(sums.mean(), prediction)
    assert not gradient.any()
    metric = task.metric()
    per_image = metric.per_image(prediction.detach(), *nothing)
    assert not per_image.any()
    assert all(torch.isnan(score) for score in metric.score(per_image.sum(0)).values())


def check_perfect_prediction(task: Task, generator: torch.Generator) -> None:
    """The right answer costs nothing and gets the best main score; a random one is worse."""
    target = draw_target(task, generator)
    perfect = perfect_prediction(task, target)
    assert task.loss(perfect, target).mean() < 1e-5
    worse = draw_prediction(task, generator)
    assert task.loss(worse, target).mean() > task.loss(perfect, target).mean() + 0.01
    sign = 1 if task.direction == "maximize" else -1
    scores = [_score(task, prediction, target) for prediction in (perfect, worse)]
    assert sign * scores[0] > sign * scores[1]
    assert scores[0] == pytest.approx(1 if sign == 1 else 0, abs=1e-3)


def _score(task: Task, prediction: Tensor, target: Target) -> float:
    metric = task.metric()
    sums = metric.per_image(prediction, target.values, target.valid).sum(0)
    return metric.score(sums)[task.main_score].item()


def check_gradient(task: Task, generator: torch.Generator) -> None:
    """Finite everywhere, at a prediction of zero too; none at invalid pixels, some elsewhere."""
    target = draw_target(task, generator)
    for scale in (1.0, 0.0, 1e4):
        prediction = (scale * draw_prediction(task, generator)).requires_grad_()
        (gradient,) = torch.autograd.grad(task.loss(prediction, target).loss_sum.sum(), prediction)
        assert torch.isfinite(gradient).all()
        assert not gradient.movedim(1, -1)[~target.valid].any()
        assert scale == 1e4 or gradient.movedim(1, -1)[target.valid].any()


def check_invalid_values_do_not_matter(task: Task, generator: torch.Generator) -> None:
    """Whatever stands in target or prediction where nothing is valid, nothing changes."""
    target = draw_target(task, generator)
    prediction = draw_prediction(task, generator)
    noise = draw_target(task, generator).values
    invalid = ~target.valid if target.values.ndim < 4 else ~target.valid.unsqueeze(1)
    values = torch.where(invalid, noise, target.values)
    unseen = ~target.valid.unsqueeze(1)
    changed = torch.where(unseen, 100 * draw_prediction(task, generator), prediction)
    other = Target(values, target.valid)
    assert torch.equal(task.loss(prediction, target)[0], task.loss(changed, other)[0])
    metric = task.metric()
    assert torch.equal(metric.per_image(prediction, *target), metric.per_image(changed, *other))


def check_images_are_independent(task: Task, generator: torch.Generator) -> None:
    """An image's sums are the same alone, in another order, and beside others."""
    target = draw_target(task, generator)
    prediction = draw_prediction(task, generator)
    whole = task.loss(prediction, target)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = task.loss(prediction[order], take(target, order))
    assert torch.allclose(shuffled.loss_sum, whole.loss_sum[order])
    for image in range(N):
        one = slice(image, image + 1)
        alone = task.loss(prediction[one], take(target, one))
        assert torch.allclose(alone.loss_sum, whole.loss_sum[one])
    empty = task.loss(prediction[:0], take(target, slice(0, 0)))
    assert empty.loss_sum.shape == (0,)


def check_low_precision(task: Task, generator: torch.Generator) -> None:
    """A bfloat16 prediction gives float32 sums, near those of the same numbers in float32."""
    target = draw_target(task, generator)
    low = draw_prediction(task, generator).bfloat16()
    sums, exact = task.loss(low, target), task.loss(low.float(), target)
    assert sums.loss_sum.dtype == torch.float32
    assert torch.allclose(sums.loss_sum, exact.loss_sum)


def check_arguments_stay_as_they_were(task: Task, generator: torch.Generator) -> None:
    target = draw_target(task, generator)
    prediction = draw_prediction(task, generator)
    before = [tensor.clone() for tensor in (prediction, *target)]
    task.loss(prediction, target)
    task.metric().per_image(prediction, *target)
    assert all(map(torch.equal, before, (prediction, *target)))


def check_readable_prediction(task: Task, generator: torch.Generator) -> None:
    """A readable prediction has the target's form; that of the right answer is the target."""
    target = draw_target(task, generator)
    readable = task.readable(perfect_prediction(task, target))
    assert readable.shape == target.values.shape
    assert readable.dtype == target.values.dtype
    where = target.valid if readable.ndim < 4 else target.valid.unsqueeze(1).expand_as(readable)
    assert torch.allclose(readable[where], target.values[where])


def check_metric_sums(task: Task, generator: torch.Generator) -> None:
    """Sums are float64 (N, S), add over batches, and give every declared score per row."""
    target = draw_target(task, generator)
    prediction = draw_prediction(task, generator)
    metric = task.metric()
    sums = metric.per_image(prediction, *target)
    assert sums.shape == (N, metric.size)
    assert sums.dtype == torch.float64
    scores = metric.score(sums)
    assert list(scores) == list(metric.directions)
    assert next(iter(scores)) == task.main_score
    assert all(score.shape == (N,) for score in scores.values())
    halves = (slice(0, 3), slice(3, N))
    parts = [metric.per_image(prediction[half], *take(target, half)) for half in halves]
    assert torch.allclose(torch.cat(parts), sums)


CHECKS: tuple[Callable[[Task, torch.Generator], None], ...] = (
    check_sums_and_counts,
    check_nothing_valid,
    check_perfect_prediction,
    check_gradient,
    check_invalid_values_do_not_matter,
    check_images_are_independent,
    check_low_precision,
    check_arguments_stay_as_they_were,
    check_readable_prediction,
    check_metric_sums,
)


@pytest.fixture(params=CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def check(request: pytest.FixtureRequest) -> Callable[[Task, torch.Generator], None]:
    """One clause of the contract."""
    function: Callable[[Task, torch.Generator], None] = request.param
    return function
