"""The configuration of one trial: a search space with every distribution drawn."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.config import Config, Fraction255, parse
from taskgroup.data.base import AnyDataset
from taskgroup.models.base import ModelConfig
from taskgroup.tasks.options import TaskOptions

Positive = Annotated[Fraction255, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[Fraction255, Field(ge=0, le=1)]


class AdversaryConfig(AttackBudget):
    """The ``adversary:`` section: how training images are attacked."""

    attack: Literal["none", "pgd", "fgsm"] = "none"
    """none trains naturally; fgsm takes one step from a random start."""
    method: Literal["adversarial", "trades"] = "adversarial"
    """Train on the attacked images, or on clean images plus TRADES' divergence."""
    beta: Positive = 6.0
    """Weight of TRADES' divergence."""
    attacked_tasks: Literal["main", "all"] | tuple[str, ...] = "main"
    """Tasks whose losses the attack raises."""
    clean_share: Share = 0.0
    """Share of each batch that stays clean."""
    epsilon: Annotated[Fraction255, Field(ge=0)] = 4 / 255
    """Radius of the ball, for pixels in [0, 1]."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 3
    """Gradient steps."""
    keep: Literal["best", "last"] = "last"
    """Iterate trained on: the last one (Madry et al. 2018) or the worst for the network."""

    @property
    def is_trades(self) -> bool:
        """Whether training minimises TRADES' divergence; a natural trial does not."""
        return self.attack != "none" and self.method == "trades"


class TrainingConfig(Config):
    """The ``training:`` section: optimiser, schedule, length."""

    epochs: Annotated[int, Field(ge=1)] = 4
    """Passes over the training split."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Images per optimiser step, over all workers."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """Optimiser."""
    learning_rate: Positive = 1e-3
    """Peak learning rate."""
    momentum: Share = 0.9
    """Momentum of sgd."""
    weight_decay: Annotated[Fraction255, Field(ge=0)] = 1e-4
    """Decoupled for adamw, L2 for sgd; norms and biases are exempt."""
    schedule: Literal["constant", "step", "poly", "cosine", "one_cycle"] = "cosine"
    """Learning rate over the whole training, per step."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Linear warm-up from 0 before the schedule."""
    step_epochs: tuple[int, ...] = ()
    """Epochs after which the step schedule multiplies by step_factor."""
    step_factor: Share = 0.1
    """Factor of the step schedule."""
    poly_power: Positive = 0.9
    """Exponent of the poly schedule."""
    clip_norm: Positive | None = None
    """Largest gradient norm; None does not clip."""
    step: str = "auto"
    """One update of the network: joint (all losses at once), trades, alternating (one task at a
    time) or jacobian (one gradient per loss); auto takes what adversary.method and weighting ask
    for, else joint."""
    weighting: str = "fixed"
    """How task losses become one: fixed adds them with loss_weights, uncertainty learns how much
    each counts; mean and upgrad combine their gradients instead (torchjd)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast of training and of training attacks; auto takes bfloat16 where it is faster."""
    crop_size: Annotated[int, Field(ge=1)] | None = None
    """Side of the random square cut from every training image; None trains on whole images."""
    augmentation: Literal["none", "flip", "crop_flip"] = "none"
    """Random changes of training images, applied to every target alike."""

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"training.warmup_epochs must be below training.epochs, which is {self.epochs}, "
                f"got {self.warmup_epochs:g}; shorten the warm-up"
            )
        if self.schedule == "step" and not self.step_epochs:
            raise ValueError(
                "training.step_epochs must name the epochs after which schedule 'step' falls, "
                "got none; write for example [2, 3]"
            )
        return self


class ValidationConfig(AttackBudget):
    """The ``validation:`` section: how every epoch's robust score is measured."""

    attack: str = "apgd"
    """Registry name of the attack; few steps of apgd are cheap enough for every epoch."""
    split: Literal["validation", "confirm"] = "validation"
    """Split that is scored; a search sees validation only, the confirm stage confirm only."""
    images: Annotated[int, Field(ge=1)] | None = None
    """Images of the split used; None means all."""
    every: Annotated[int, Field(ge=1)] = 1
    """Epochs between robust scores; the last epoch is always measured."""
    epsilon: Annotated[Fraction255, Field(ge=0)] = 4 / 255
    """Radius of the ball, for pixels in [0, 1]: the study's threat model."""

    @model_validator(mode="after")
    def _check_attack(self) -> Self:
        if self.attack not in ATTACKS:
            known = ", ".join(ATTACKS.names())
            raise ValueError(f"validation.attack must be one of: {known}; got {self.attack!r}")
        return self


class TrialConfig(Config):
    """One trial, fully determined."""

    dataset: AnyDataset
    """Where images and targets come from."""
    model: ModelConfig = ModelConfig()
    """Network."""
    main_task: str
    """The task to protect."""
    auxiliary_tasks: tuple[str, ...] = ()
    """Tasks trained with it."""
    loss_weights: Mapping[str, Positive] = {}
    """One per auxiliary task; the main task has weight 1."""
    task_options: Mapping[str, TaskOptions] = {}
    """Options by task name."""
    adversary: AdversaryConfig = AdversaryConfig()
    """Attack on training images."""
    training: TrainingConfig = TrainingConfig()
    """Optimisation."""
    validation: ValidationConfig = ValidationConfig()
    """Attack behind the robust score."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of weights, sample order and attacks."""

    @property
    def task_set(self) -> tuple[str, ...]:
        """The main task followed by the auxiliary tasks."""
        return (self.main_task, *self.auxiliary_tasks)

    @model_validator(mode="after")
    def _check_task_set(self) -> Self:
        if self.main_task in self.auxiliary_tasks:
            raise ValueError(
                f"auxiliary_tasks must not name the main task {self.main_task!r}; remove it there"
            )
        if len(set(self.auxiliary_tasks)) < len(self.auxiliary_tasks):
            raise ValueError(
                f"auxiliary_tasks must not repeat a task, got {list(self.auxiliary_tasks)}"
            )
        if set(self.loss_weights) != set(self.auxiliary_tasks):
            raise ValueError(
                "loss_weights must name exactly the auxiliary tasks "
                f"{sorted(self.auxiliary_tasks)}, got {sorted(self.loss_weights)}"
            )
        return self


def completed(config: Mapping[str, Any], *, source: str = "") -> dict[str, Any]:
    """A stored trial configuration as today's, so that two of them can be compared.

    Args:
        config: Plain data; a key that it lacks takes its default.
        source: Where it comes from, put before a message.

    Raises:
        ConfigError: It is no trial configuration of this version; one line names the key.
    """
    return parse(TrialConfig, config, source=source).model_dump(mode="json")
