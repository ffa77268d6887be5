"""Contract 3: what an attack sees, what it may do, and what it is given to do it with.

An attack knows no model, task or data set: it raises an :class:`Objective` of images inside a
:class:`ThreatModel`, with the budget of an :class:`AttackBudget`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Protocol, Self, runtime_checkable

from pydantic import Field, field_validator
from torch import Tensor

from taskgroup.config import Config, Fraction255
from taskgroup.draws import Draws
from taskgroup.registry import Registry

ATTACK_VERSION = 2
"""Raised by every commit that moves the numbers of an attack, so that none returns old ones."""
WITHOUT_STEPS = frozenset({"noise", "square"})
"""Attacks that take no step along a gradient."""
OWN_STEPS = frozenset({"apgd_targeted", "autoattack", "sea", "tempered"})
"""Attacks of several runs to which a budget's step size means nothing."""
ADAPTIVE = OWN_STEPS | {"apgd", "apgd_metrics"}
"""Attacks that begin with steps of 2 epsilon, in l1 of epsilon, and shorten them; one run of
``tempered`` is Adam's, whose steps are fixed."""
ADAM = frozenset({"padam_ce", "padam_cos"})
"""Attacks whose step size is Adam's learning rate."""
ADAM_RATE = 1 / 4
"""Its default in multiples of epsilon: 2/255 in a linf ball of 8/255."""
FGSM_RANDOM = 1.25
"""Step of FGSM from a random start, in multiples of epsilon (Wong et al. 2020)."""


class Evaluation(NamedTuple):
    """One forward pass of an objective; each ``(N,)`` float32.

    Attributes:
        loss: What the gradient raises.
        tracked: What decides which iterate of an image is kept; often the same as ``loss``.
        score: The image's main-task score, for early stops and worst cases; no gradient.
    """

    loss: Tensor
    tracked: Tensor
    score: Tensor


class Objective(Protocol):
    """A quantity per image that an attack raises."""

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        """Evaluate images ``(N, C, H, W)`` in one forward pass; ``progress`` runs from 0 to 1."""

    def select(self, index: Tensor) -> "Objective":
        """The objective of some of the images; ``index`` is ``(M,)`` int64 or ``(N,)`` bool."""


@runtime_checkable
class GradientObjective(Objective, Protocol):
    """An objective that combines gradients itself instead of losses."""

    def gradient(self, images: Tensor, progress: float) -> tuple[Tensor, Evaluation]:
        """Ascent direction ``(N, C, H, W)`` and the evaluation it comes from."""


Predicts = Literal["class_map", "class", "numbers"]
"""What a main task predicts: a class per pixel, a class per image, or numbers."""
Scoring = Literal["main", "accuracy", "seed_accuracy"]
"""What ``Evaluation.score`` is: the main score; the share of valid pixels that are right (SEA); or
that share as the SEA code counts it, ignored pixels wrong at progress 0 and right later."""


@runtime_checkable
class LossObjective(Objective, Protocol):
    """An objective whose attack loss can be exchanged by name; ``LOSSES`` has the names."""

    @property
    def predicts(self) -> Predicts:
        """What the main task predicts."""

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that the main task reports, its main score first."""

    def with_loss(
        self,
        loss: str,
        *,
        tracks: Literal["task", "raised"] = "task",
        towards: Tensor | None = None,
        temperature: Tensor | None = None,
        score: Scoring = "main",
    ) -> Objective:
        """The same images under another attack loss of the main task.

        Args:
            loss: Name of the loss to raise.
            tracks: Loss that ranks iterates: the task's own or the one that is raised.
            towards: Class to be predicted instead, of the target's shape; targeted losses.
            temperature: What the loss sees the logits divided by, ``(N,)`` above 0; None is 1.
            score: What the evaluation's score is.
        """

    def logit_gap(self, images: Tensor) -> Tensor:
        """Mean over valid pixels of the highest minus the second highest logit, ``(N,)``.

        Of a main task of logits; no graph, float32, 0 for an image with nothing valid.
        """


@runtime_checkable
class LogitObjective(LossObjective, Protocol):
    """An objective of one class per image, for attacks that look for the decision boundary."""

    @property
    def labels(self) -> Tensor:
        """Class numbers ``(N,)`` int64; -1 where an image has none."""

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` float32 of images ``(N, C, H, W)``; differentiable."""


class ThreatModel(Config):
    """The set of perturbations an attacker may add to an image."""

    norm: Literal["linf", "l2", "l1"] = "linf"
    """Norm that measures a perturbation; l1 sums absolute changes over channels and pixels."""
    epsilon: Annotated[Fraction255, Field(ge=0)] = 8 / 255
    """Radius of the ball, for pixels in [0, 1] (8/255, not 8)."""

    @field_validator("epsilon")
    @classmethod
    def _check_pixel_units(cls, epsilon: float, info: object) -> float:
        if epsilon > 1 and getattr(info, "data", {}).get("norm") == "linf":
            raise ValueError(
                f"epsilon must lie in [0, 1], got {epsilon:g}"
                + (f"; did you mean {epsilon:g}/255?" if epsilon <= 255 else "")
            )
        return epsilon


class AttackBudget(ThreatModel):
    """Threat model plus effort: what an attack may change and how long it may try."""

    steps: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Gradient steps per restart."""
    step_size: Annotated[Fraction255, Field(gt=0)] | None = None
    """Length of a step in the norm; by default 2.5 * epsilon / steps."""
    restarts: Annotated[int, Field(ge=1)] = 1
    """Independent runs; the worst iterate of each image over all runs is kept."""
    random_start: bool = True
    """Begin at a random point of the ball instead of the image itself."""
    keep: Literal["best", "last"] = "best"
    """Iterate returned per image: the worst for the network (the image itself included), or the
    last one, which saves two forward passes and is what PGD adversarial training uses."""
    seed_compatible: bool = False
    """Reproduce the known bugs of the attack's published code, and with them published numbers;
    docs/attacks.md lists them. Attacks without known bugs refuse it."""

    @property
    def effective_step_size(self) -> float:
        """The step length used: ``step_size`` or 2.5 * epsilon / steps."""
        return self.step_size if self.step_size is not None else 2.5 * self.epsilon / self.steps

    def with_epsilon(self, epsilon: float) -> Self:
        """The same effort at another radius; a given step size keeps its share of the radius."""
        scaled = None
        if self.step_size is not None and self.epsilon > 0 and epsilon > 0:
            scaled = self.step_size * epsilon / self.epsilon
        return self.model_copy(update={"epsilon": epsilon, "step_size": scaled})


def step_length(attack: str | None, budget: AttackBudget) -> float | None:
    """Length of the first step in the norm of the ball; None where there is none.

    Args:
        attack: Registry name; None is no attack.
        budget: Its budget. A given ``step_size`` is what is used, except by ``OWN_STEPS``.

    Example:
        >>> step_length("fgsm", AttackBudget(epsilon=0.5, random_start=False))
        0.5
        >>> step_length("pgd", AttackBudget(epsilon=0.5, steps=5))
        0.25
    """
    if attack is None or attack in WITHOUT_STEPS:
        return None
    if budget.step_size is not None and attack not in OWN_STEPS:
        return budget.step_size
    if attack == "fgsm":
        return budget.epsilon * (FGSM_RANDOM if budget.random_start else 1.0)
    if attack in ADAM:
        return ADAM_RATE * budget.epsilon
    if attack in ADAPTIVE:
        return budget.epsilon if budget.norm == "l1" else 2 * budget.epsilon
    return budget.effective_step_size


class Attack(Protocol):
    """Raise ``objective`` over the ball around ``images`` and return perturbed images.

    The result lies in the ball and in [0, 1], has no gradient, and is deterministic given the
    generator. The model behind the objective, its mode and its gradients are left as they were.
    """

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        budget: AttackBudget,
        draws: Draws,
    ) -> Tensor:
        """Perturbed images of the shape and type of ``images``, ``(N, C, H, W)``."""
        ...


@runtime_checkable
class EnsembleAttack(Attack, Protocol):
    """An attack of several members; called as an attack it returns each image's worst."""

    def members(
        self,
        objective: Objective,
        images: Tensor,
        *,
        budget: AttackBudget,
        draws: Draws,
    ) -> Iterator[tuple[str, Tensor]]:
        """Name and perturbed images ``(N, C, H, W)`` of one member after the other."""
        ...


ATTACKS = Registry[Attack]("attack")
