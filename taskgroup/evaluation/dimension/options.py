"""What a reader may choose about the analysis of output dimension, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.errors import ConfigError
from taskgroup.evaluation.dimension.grids import GRIDS, Grid
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.shards.bench import ScoredSplit
from taskgroup.tasks.base import Task

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
        for part in self.parts:
            if part not in PARTS:
                raise ConfigError(f"part must be one of: {', '.join(PARTS)}; got {part!r}")
        if self.grid not in GRIDS:
            raise ConfigError(f"grid must be one of: {', '.join(GRIDS)}; got {self.grid!r}")
        _ = ATTACKS[self.attack]

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
