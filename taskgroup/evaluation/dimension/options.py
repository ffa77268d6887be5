"""What a reader may choose about the analysis of output dimension, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, get_args

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.errors import ConfigError
from taskgroup.evaluation.loading import ScoredSplit, TrainedModel
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.tasks.base import Task

Grid = Literal["doubling", "short", "seed"]
GRIDS: tuple[Grid, ...] = get_args(Grid)
_GRADIENT: dict[str, tuple[int, ...]] = {
    "seed": (1, *range(4, 400, 4), *range(400, 20201, 200)),
    "short": (1, *range(4, 117, 4)),
}
"""The published script's values, 200 of them, and those of its older sweep."""
_ATTACK: dict[str, tuple[int, ...]] = {
    "seed": (1, 2, 5, 10, 50, 100, 200, *range(500, 7001, 500)),
    "short": (1, 2, 5, 10, 50, 100, 200),
}
Part = Literal["gradient", "attack", "tasks", "task_attack"]
PARTS: tuple[Part, ...] = get_args(Part)
"""Gradient norms and robust scores against outputs, task gradients, scores against tasks."""
OF_OUTPUTS: tuple[Part, ...] = ("gradient", "attack")
SEED_STEPS = 5


@dataclass(frozen=True)
class DimensionOptions:
    """How output dimension is measured.

    Attributes:
        parts: What to measure; none means all that fits the task.
        task: Task whose outputs are counted and scored; None is the main task.
        grid: Numbers of outputs by name.
        outputs: Numbers of outputs that stand in for the grid; none means the grid.
        images: How many of the first images of the split are used; fewer where it is smaller.
        repeats: Random choices of outputs, or sets of tasks, per image.
        attack: Registry name of the attack.
        steps: Gradient steps per restart.
        restarts: Restarts.
        epsilon: Radius of the ball, ``8/255`` or a number; None is that of the run's validation.
        norm: Norm of the ball; None likewise.
        seed: Seed of orders, attacks and resampling.
        split: Split that is measured on.
        seed_compatible: Measure as the published script did: gradient norms of two images as one
            vector, five steps of a quarter of the radius from the image itself.
    """

    parts: Sequence[Part] = ()
    task: str | None = None
    grid: Grid = "doubling"
    outputs: Sequence[int] = ()
    images: int = 64
    repeats: int = 4
    attack: str = "pgd"
    steps: int = 20
    restarts: int = 1
    epsilon: float | str | None = None
    norm: str | None = None
    seed: int = 0
    split: ScoredSplit = "test"
    seed_compatible: bool = False

    def __post_init__(self) -> None:
        for name in ("images", "repeats", "steps", "restarts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must be at least 0 and below 2^32, got {self.seed}")
        for part in self.parts:
            if part not in PARTS:
                raise ConfigError(f"part must be one of: {', '.join(PARTS)}; got {part!r}")
        if self.grid not in GRIDS:
            raise ConfigError(f"grid must be one of: {', '.join(GRIDS)}; got {self.grid!r}")
        _ = ATTACKS[self.attack]
        _ = EvaluationOptions(norm=self.norm)

    @property
    def grid_name(self) -> str:
        """The grid, or ``chosen`` where numbers stand in for it."""
        return "chosen" if self.outputs else self.grid

    def counted_task(self, trained: TrainedModel) -> Task:
        """The task of a network whose outputs are counted.

        Raises:
            ConfigError: The network has no such task.
        """
        name = self.task or trained.main_task
        for task in trained.tasks:
            if task.name == name:
                return task
        known = ", ".join(trained.task_set)
        raise ConfigError(f"task must be one of the network's, got {name!r}; choose from: {known}")

    def chosen_parts(self, task: Task) -> tuple[Part, ...]:
        """What is measured of a network.

        Raises:
            ConfigError: Pixels were asked for, of a task that predicts one vector per image.
        """
        if task.output == "map":
            return tuple(self.parts) or PARTS
        if set(self.parts) & set(OF_OUTPUTS):
            raise ConfigError(
                f"parts gradient and attack count a task's pixels, but task {task.name!r} gives "
                "one output per image; choose a dense task with --task, or --part tasks"
            )
        return tuple(self.parts) or tuple(part for part in PARTS if part not in OF_OUTPUTS)

    def budget(self, trained: TrainedModel) -> AttackBudget:
        """Ball and effort of the attacks on a network.

        Raises:
            ConfigError: A radius that is none, or one in units of 1/255.
        """
        threat = EvaluationOptions(norm=self.norm, epsilon=self.epsilon).threat(trained)
        if self.seed_compatible:
            return AttackBudget(
                norm=threat.norm,
                epsilon=threat.epsilon,
                steps=SEED_STEPS,
                step_size=threat.epsilon / 4,
                random_start=False,
                keep="last",
            )
        return AttackBudget(
            norm=threat.norm, epsilon=threat.epsilon, steps=self.steps, restarts=self.restarts
        )


def gradient_outputs(grid: Grid, chosen: Sequence[int], valid: Sequence[int]) -> tuple[int, ...]:
    """Ascending numbers of outputs for gradient norms.

    A named grid ends where fewer than half of the images have so many valid pixels.

    Args:
        grid: ``doubling`` for 1, 2, 4, ...; ``seed`` and ``short`` for the published values.
        chosen: Numbers that stand in for the grid; empty for the grid.
        valid: Valid pixels of each image.

    Raises:
        ConfigError: A chosen number is below 1 or above every image's valid pixels, or an unknown
            grid.

    Example:
        >>> gradient_outputs("doubling", (), [100, 100, 10])
        (1, 2, 4, 8, 16, 32, 64, 100)
    """
    return _outputs(_GRADIENT, grid, chosen, valid)


def attack_outputs(grid: Grid, chosen: Sequence[int], valid: Sequence[int]) -> tuple[int, ...]:
    """The same for attacks, whose published values are fewer.

    Raises:
        ConfigError: As ``gradient_outputs``.
    """
    return _outputs(_ATTACK, grid, chosen, valid)


def _outputs(
    named: dict[str, tuple[int, ...]], grid: Grid, chosen: Sequence[int], valid: Sequence[int]
) -> tuple[int, ...]:
    if chosen:
        _check_chosen(chosen, max(valid))
        return tuple(sorted(set(chosen)))
    if grid not in GRIDS:
        raise ConfigError(f"grid must be one of: {', '.join(GRIDS)}; got {grid!r}")
    most = sorted(valid)[len(valid) // 2]
    if grid == "doubling":
        powers = takewhile(lambda count: count < most, (2**power for power in range(most)))
        return (*powers, most)
    return tuple(count for count in named[grid] if count <= most)


def _check_chosen(chosen: Sequence[int], most: int) -> None:
    for count in chosen:
        if not 1 <= count <= most:
            raise ConfigError(
                f"outputs must lie between 1 and the {most} valid pixels of the fullest image, "
                f"got {count}; choose fewer, or larger images"
            )
