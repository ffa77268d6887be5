"""Does a network's gradient describe the network? Every attack of the suites follows it.

A gradient may be wrong without being zero: that of a rounded input passed on as if nothing were
rounded, that of the grey value only, a straight-through low-pass. Attacks then walk in a useless
direction and leave a score that looks robust. So slopes along random directions at full resolution
are measured by central differences, a = (L(x + h d) - L(x - h d)) / 2h, and compared with what the
gradient says, b = <g, d>. Their alignment per image is

    rho = sum(a b) / sqrt(sum(a^2) sum(b^2))

over the directions, the largest over three step sizes h, since a step may be too long for a curved
loss or too short for its rounding. It must not be lost over steps of the attacks' own size, either:
a fine ripple has a right gradient that leads nowhere. And the gradient in the number format of the
attacks must be that of the network. Half of the directions change every pixel. A gradient of which
only the small entries are wrong hides behind the large ones there, although attacks that take signs
mind every entry alike; so the other half of the directions leave out what is above the median.

Source: this project, in the spirit of the checks by Athalye, Carlini and Wagner (2018,
arXiv:1802.00420).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from taskgroup.attacks.base import ATTACKS, AttackBudget, ThreatModel
from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.expectation import FixedDraw
from taskgroup.evaluation.objective.network import autocast, fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target, Task

DIRECTIONS = 8
"""Directions over all entries, and again as many over the small ones."""
STEP_SIZES = (1 / 255, 0.25 / 255, 4 / 255)
"""Lengths of a finite difference in every pixel, in the range of the images, best guess first."""
SMALL_STEP_SIZES = (0.0625 / 255, 0.015625 / 255, 0.25 / 255)
"""The same over small entries, beside whose slopes curvature counts for more."""
NEGLIGIBLE = 0.07
"""Slopes over small entries below this share of all slopes say nothing: with the smallest step,
those of a maximum or a median of neighbours have 0.01 to 0.05, those of a convolution 0.2."""
JITTER = 0.5 / 255
"""Noise on attacked points: in flat regions of an image sign steps leave ties, where the median of
neighbours has no gradient."""
REACH: dict[str, Callable[[int], float]] = {
    "linf": lambda _: 1.0,
    "l2": lambda numbers: (3 / numbers) ** 0.5,
    "l1": lambda numbers: 2 / numbers,
}
"""Bound of uniform noise of about the radius in length, for so many numbers per image."""
FEWEST_POINTS = 16
"""Where there are fewer images, several points of each are taken."""
ALIGNED = 0.9
"""Smallest alignment of an image whose gradient counts as right."""
COARSE_STEPS = {2.6 / 255: 0.5, 4 / 255: 0.2}
"""Longer steps, with the least alignment over each: 0.81 and more on honest networks, 0.45 and more
behind a median of neighbours, 0.4 and less behind a ripple that halves what attacks find."""
TOLERATED = 0.125
"""Largest share of images without alignment, of which all could be certified in vain."""
CLEAR = 20.0
"""Smallest ratio of a difference to its rounding at which it tells anything."""
ATTACK_STEPS = 10


@dataclass(frozen=True)
class GradientCheck:
    """What the check found.

    Attributes:
        share: Share of the decided images whose gradient does not describe the function, of the
            loss where it is larger; 0 for a constant function; NaN where too few were decided.
        is_finite: Whether every entry of every gradient is finite.
    """

    share: float
    is_finite: bool = True

    @property
    def is_failed(self) -> bool:
        """Whether scores of attacks that follow this gradient are upper bounds and nothing else."""
        return not self.is_finite or self.share > TOLERATED

    @property
    def is_undecided(self) -> bool:
        """Whether rounding hides the differences in float64 too."""
        return self.share != self.share and not self.is_failed

    @property
    def text(self) -> str:
        """What was found, in a few words; empty where gradients are right."""
        if not self.is_finite:
            return "gradients are not finite"
        if self.is_failed:
            return f"gradients do not describe the function (share {self.share:.2f})"
        return "rounding hides whether gradients are right" if self.is_undecided else ""


def check_gradients(
    model: nn.Module,
    tasks: Sequence[Task],
    batch: Batch,
    *,
    main_task: str,
    threat: ThreatModel,
    at_once: int,
    precision: torch.dtype | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradients of two losses of the main task with differences of these losses.

    Every other image is taken at a random point of the ball, the rest where a short attack ends.
    That attack, and 32 forward passes; as many again, twice at most, of images whose gradient does
    not agree with the first step size.

    Args:
        model: The network; it is in evaluation mode meanwhile. Of one that answers at random one
            draw is taken.
        tasks: The task set.
        batch: Some clean images on the network's device.
        main_task: The task whose losses are followed.
        threat: Where attacks look.
        at_once: Most images of one pass, which decides the memory that is needed.
        precision: Number format of the attacks' forward passes; None is float32.
        seed: Seed of points and directions.
    """
    model = FixedDraw(model, seed)  # a randomised network is a function draw by draw
    labelled = batch.targets[main_task].valid.view(len(batch), -1).any(1)
    if not labelled.any():
        return GradientCheck(torch.nan)
    index = labelled.nonzero()[:, 0]
    index = index.repeat(-(-FEWEST_POINTS // len(index)))
    draws = Draws.seeded(seed, "gradient check", device=index.device)
    task = next(task for task in tasks if task.name == main_task)
    comparisons, predictions = [], []
    with fixed_network(model):
        for number, chosen in enumerate(torch.split(index, at_once)):
            own = batch.select(chosen)
            is_attacked = (torch.arange(len(chosen)) + number * at_once) % 2 == 1
            objective = TaskObjective(
                model, tasks, own.targets, main_task=None, attacked_tasks=(main_task,)
            )
            points = _points(objective, own.images, is_attacked, threat, draws)
            losses = _Losses(model, task, points, own.targets[main_task])
            with torch.no_grad():
                predictions += [losses.predict(own.images).cpu(), losses.predict(points).cpu()]
            shape = (DIRECTIONS, *points.shape)
            directions = (2 * draws.randint(2, shape) - 1).to(points.dtype) * _inside(points)
            found = _compare(losses, directions)
            if found.needs_precision:
                found = _in_double(losses, directions) or found
            if precision is not None:
                found = found.at_most(_of_format(losses, precision))
            comparisons.append(found)
    if is_constant(torch.cat(predictions)):
        return GradientCheck(0.0)
    alignment = torch.cat([found.alignment for found in comparisons], 1)
    return GradientCheck(_share(alignment), all(found.is_finite for found in comparisons))


def checked_images(num_pixels: int) -> int:
    """How many images are worth checking: 32, down to 8 of more than 256 by 256 pixels.

    Args:
        num_pixels: Pixels of an image.
    """
    return max(8, min(32, 2**19 // num_pixels))


def is_constant(prediction: Tensor) -> bool:
    """Whether all of several images get one and the same prediction: no attack could change it."""
    return len(prediction) > 1 and bool((prediction == prediction[:1]).all())


def _points(
    objective: TaskObjective,
    clean: Tensor,
    is_attacked: Tensor,
    threat: ThreatModel,
    draws: Draws,
) -> Tensor:
    """Random or attacked points of the ball and of [0, 1]."""
    reach = threat.epsilon * REACH[threat.norm](clean[0].numel())
    points = clean + reach * (2 * draws.image_rand(*clean.shape) - 1)
    index = is_attacked.nonzero()[:, 0].to(clean.device)
    if len(index) and threat.epsilon > 0:
        budget = AttackBudget(norm=threat.norm, epsilon=threat.epsilon, steps=ATTACK_STEPS)
        end = ATTACKS["pgd"](objective.select(index), clean[index], budget=budget, draws=draws)
        points[index] = end + JITTER * (2 * draws.image_rand(*end.shape) - 1)
    return points.clamp(0, 1)


def _inside(points: Tensor) -> Tensor:
    """Numbers off the ends of [0, 1] by the longest step: only these are moved.

    A network may clip its input there, which no attack minds but a difference across it would.
    """
    longest = max((*STEP_SIZES, *COARSE_STEPS))
    return (points >= longest) & (points <= 1 - longest)


@dataclass(frozen=True)
class _Comparison:
    """Alignment of each image under each of the two losses.

    Attributes:
        alignment: The largest over the steps whose differences are clear, ``(2, N)``; NaN where
            none is.
        is_clear: Whether the differences of every step are, ``(2, N)`` bool.
        is_finite: Whether every gradient is finite.
    """

    alignment: Tensor
    is_clear: Tensor
    is_finite: bool

    def at_most(self, alignment: Tensor) -> "_Comparison":
        """The same where the alignment of each image ``(N,)`` is no more than another one."""
        return replace(self, alignment=torch.minimum(self.alignment, alignment))

    @property
    def needs_precision(self) -> bool:
        """Whether an image could be judged otherwise without rounding."""
        return bool((~self.is_clear & ~(self.alignment >= ALIGNED)).any())


def _share(alignment: Tensor) -> float:
    """Share of images without alignment ``(2, N)``, of the loss where it is larger.

    NaN where less than half of them are decided.
    """
    shares = []
    for of_loss in alignment:
        decided = of_loss[~of_loss.isnan()]
        if 2 * len(decided) >= len(of_loss):
            shares.append(float((decided < ALIGNED).double().mean()))
    return max(shares, default=torch.nan)


@dataclass(frozen=True)
class _Losses:
    """Two losses of each image around fixed points, for one network.

    Attributes:
        model: The network.
        task: Whose prediction they are of.
        points: Where they are looked at, ``(N, C, H, W)``; their precision is that of everything.
        target: What the task should predict.
    """

    model: nn.Module
    task: Task
    points: Tensor
    target: Target

    def select(self, index: Tensor) -> "_Losses":
        """Those of some images."""
        chosen = self.target.map(lambda values: values[index])
        return replace(self, points=self.points[index], target=chosen)

    def predict(self, images: Tensor) -> Tensor:
        """Predictions in the precision of the images."""
        prediction: Tensor = self.model(images, [self.task.name])[self.task.name]
        return prediction.to(images.dtype)

    def of(self, prediction: Tensor) -> Tensor:
        """The losses ``(2, N)``: one that may saturate, and one that never does."""
        valid = self.target.valid
        if self.task.info.num_classes is None:
            mask = valid.view(len(valid), 1, *valid.shape[1:])
            squared = (prediction - self.target.values).square()  # an absolute error has a kink
            return torch.stack([_mean(squared, mask), _mean(prediction, mask)])
        values = self.target.values.where(valid, 0)
        entropy = functional.cross_entropy(prediction, values, reduction="none")
        margin = prediction.mean(1) - prediction.gather(1, values[:, None])[:, 0]
        return torch.stack([_mean(entropy, valid), _mean(margin, valid)])

    def gradients(self, precision: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Gradients ``(2, N, C, H, W)``, and the size of what is rounded, ``(2, N)``."""
        with torch.enable_grad():
            probe = self.points.detach().clone().requires_grad_()
            with autocast(probe.device, precision):
                prediction = self.predict(probe)
            losses = self.of(prediction)
            found = []
            for loss in losses:
                gradient = None
                if loss.requires_grad:
                    (gradient,) = torch.autograd.grad(
                        loss.sum(), probe, retain_graph=True, allow_unused=True
                    )
                found.append(torch.zeros_like(probe) if gradient is None else gradient)
        size = prediction.detach().flatten(1).square().mean(1).sqrt()
        return torch.stack(found).detach(), size + losses.detach().abs()

    @torch.no_grad()
    def differences(self, directions: Tensor, step: float) -> Tensor:
        """Central differences along directions ``(D, N, C, H, W)``, per length: ``(D, 2, N)``."""
        ends = [
            [self.of(self.predict(self.points + length * way)) for length in (step, -step)]
            for way in directions
        ]
        return torch.stack([ahead - behind for ahead, behind in ends]) / (2 * step)


class _Alignment(NamedTuple):
    """How well slopes along some directions agree; each ``(2, N)``.

    Attributes:
        best: The largest alignment over the step sizes tried; NaN where no difference is clear.
        is_clear: Whether all of theirs are.
        size: How large the slopes are.
    """

    best: Tensor
    is_clear: Tensor
    size: Tensor


def _compare(losses: _Losses, directions: Tensor) -> _Comparison:
    """Alignment along directions ``(D, N, C, H, W)``, and along their parts over small entries."""
    gradients, size = losses.gradients()
    rounding = torch.finfo(losses.points.dtype).eps * size

    def align(ways: Tensor, steps: Sequence[float], negligible: Tensor) -> _Alignment:
        slopes = torch.einsum("dnchw,lnchw->dln", ways, gradients)
        best, size = torch.full_like(rounding, torch.nan), torch.zeros_like(rounding)
        all_clear = torch.ones_like(rounding, dtype=torch.bool)
        for step in steps:
            # No step makes the alignment of an image less; that of the others is not known yet.
            rest = (~(best >= ALIGNED)).any(0).nonzero()[:, 0]
            if not len(rest):
                break
            found = losses.select(rest).differences(ways[:, rest], step)
            cosine, length = _cosine(found, slopes[..., rest])
            is_clear = 2 * step * length >= CLEAR * rounding[:, rest]
            cosine = torch.where(length < negligible[:, rest], torch.ones_like(cosine), cosine)
            best[:, rest] = torch.fmax(best[:, rest], cosine.where(is_clear, torch.nan))
            all_clear[:, rest] &= is_clear
            size[:, rest] = torch.maximum(size[:, rest], length)
        return _Alignment(best, all_clear, size)

    coarse = torch.ones_like(rounding)
    slopes = torch.einsum("dnchw,lnchw->dln", directions, gradients)
    for step, least in COARSE_STEPS.items():
        cosine, length = _cosine(losses.differences(directions, step), slopes)
        is_lost = (cosine < least) & (2 * step * length >= CLEAR * rounding)
        coarse = torch.where(is_lost, -1.0, coarse)
    magnitudes = gradients[-1].abs()  # of the loss that never saturates
    median = magnitudes.flatten(1).median(1).values.view(-1, 1, 1, 1)
    every = align(directions, STEP_SIZES, torch.zeros_like(rounding))
    small = align(directions * (magnitudes <= median), SMALL_STEP_SIZES, NEGLIGIBLE * every.size)
    best = torch.where(small.best.isnan(), every.best, torch.minimum(every.best, small.best))
    return _Comparison(
        alignment=torch.minimum(best, coarse),
        is_clear=every.is_clear & small.is_clear,
        is_finite=bool(gradients.isfinite().all()),
    )


def _of_format(losses: _Losses, precision: torch.dtype) -> Tensor:
    """Cosine of the gradients in float32 and in the format of the attacks, ``(N,)``.

    Those of the loss that never saturates: where the other one does, both are rounding.
    """
    exact, rounded = (losses.gradients(p)[0][-1].flatten(1) for p in (None, precision))
    cosine = functional.cosine_similarity(exact, rounded, dim=1).nan_to_num(-1.0)
    return torch.where((exact == rounded).all(1), torch.ones_like(cosine), cosine)


def _cosine(measured: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine between slopes ``(D, 2, N)``, and the size of the larger ones, both ``(2, N)``.

    A loss that is not a number is described by nothing: -1, and the size is infinite.
    """
    norms = measured.square().sum(0).sqrt(), slopes.square().sum(0).sqrt()
    size = torch.maximum(*norms) / len(measured) ** 0.5
    product = norms[0] * norms[1]
    cosine = torch.where(product == 0, product, (measured * slopes).sum(0) / product)
    return cosine.nan_to_num(-1.0), size.where(~cosine.isnan(), torch.inf)


def _in_double(losses: _Losses, directions: Tensor) -> _Comparison | None:
    """The same of a copy of the network in float64; None where it has none."""
    try:
        double = copy.deepcopy(losses.model).double()
        copied = replace(losses, model=double, points=losses.points.double())
        return _compare(copied, directions.double())
    except (RuntimeError, TypeError, ValueError):
        return None


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of each image over what is valid, ``(N,)``."""
    kept = values.where(valid, 0.0).reshape(len(values), -1)
    count = valid.expand_as(values).reshape(len(values), -1).sum(1)
    return kept.sum(1) / count.clamp(min=1)
