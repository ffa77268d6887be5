"""A step: one update of a network as a value; the registry of steps, and which a trial takes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError, DataError
from taskgroup.models.worker_norm import has_sync_batch_norm
from taskgroup.registry import Registry
from taskgroup.tasks.base import Task
from taskgroup.training.adversary import Adversary
from taskgroup.training.config import TrialConfig
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.precision import autocast_dtype
from taskgroup.training.weighting.base import WEIGHTINGS, Weighting
from taskgroup.training.weighting.gradients import GradientWeighting


class StepReport(NamedTuple):
    """What one step did.

    Attributes:
        sums: Sum of losses and number of valid pixels of each task over all workers, before the
            update: ``(T, 2)``, detached; they add over steps.
        weights: What each task's loss was multiplied by, ``(T,)``, detached.
    """

    sums: Tensor
    weights: Tensor


@dataclass(frozen=True)
class StepParts:
    """What every step is made of.

    Attributes:
        config: The trial.
        network: Maps images and task names to outputs; updated by the step.
        tasks: The task set, main task first.
        adversary: What happens to images before the update.
        weighting: Rule over the losses; its parameters are updated with the network's.
        optimizer: Updates both.
        group: The workers that share every batch.
    """

    config: TrialConfig
    network: nn.Module
    tasks: Sequence[Task]
    adversary: Adversary
    weighting: Weighting
    optimizer: torch.optim.Optimizer
    group: WorkerGroup = ALONE

    @property
    def precision(self) -> torch.dtype | None:
        """Number format of the network's forward passes; None is float32."""
        device = next(self.network.parameters()).device
        return autocast_dtype(self.config.training.precision, device)

    def update(self) -> None:
        """Clip the gradients that lie in the parameters, as the trial says, and step.

        A gradient that was not accumulated by autograd may lie in memory in another order than its
        parameter; torch's fused optimizers read both by their place in memory.
        """
        parameters = [*self.network.parameters(), *self.weighting.parameters()]
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is not None and gradient.stride() != parameter.stride():
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
        clip_norm = self.config.training.clip_norm
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        self.optimizer.step()


class Step(ABC):
    """Updates a network once with each batch, alike on every worker.

    Attributes:
        is_second_order: Whether it differentiates a gradient, which torch's ``SyncBatchNorm`` does
            not allow.
        is_partial: Whether an update leaves some parameters without a gradient.
    """

    is_second_order: ClassVar[bool] = False
    is_partial: ClassVar[bool] = False

    @classmethod
    def check(cls, config: TrialConfig) -> None:
        """Raise ConfigError where a trial asks for what this step does not do."""
        del config  # most steps do all that can be asked

    @abstractmethod
    def __init__(self, parts: StepParts) -> None:
        """Build the step of a trial; ``config`` has passed ``check``."""

    @abstractmethod
    def __call__(self, batch: Batch, draws: Draws) -> StepReport:
        """Update network, weighting and optimiser in place.

        Args:
            batch: This worker's samples on the network's device; where it has none, what
                :func:`taskgroup.training.epoch.placeholder` makes.
            draws: Source of everything random, with this worker's share of the batch.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """What the step itself remembers between batches, for a checkpoint; mostly nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave; an empty mapping is a fresh start.

        Raises:
            DataError: There is more than this step remembers.
        """
        if state:
            raise DataError(
                f"the state of a {type(self).__name__} must be empty, but the checkpoint has "
                f"{', '.join(state)}; resume with the training.step that wrote it"
            )


STEPS = Registry[type[Step]]("training.step", also=("auto",))


def step_name(config: TrialConfig) -> str:
    """The registry name of the step that a trial takes, with ``auto`` resolved.

    ``auto`` is trades where training minimises TRADES' divergence, jacobian where the weighting
    combines gradients instead of losses, else joint. A trial without an attack, such as the natural
    baseline of a space that names ``trades``, has nothing to trade: its step is that of ``auto``.
    """
    asked = config.training.step
    if asked != "auto" and not (asked == "trades" and config.adversary.attack == "none"):
        return asked
    if config.adversary.is_trades:
        return "trades"
    return "jacobian" if _combines_gradients(config) else "joint"


def _combines_gradients(config: TrialConfig) -> bool:
    """Whether the weighting works on one gradient per loss instead of on the losses."""
    return issubclass(WEIGHTINGS[config.training.weighting], GradientWeighting)


def check_step(config: TrialConfig) -> None:
    """Check that the keys of a trial which speak of its step agree.

    Raises:
        ConfigError: A name that is not registered, or keys that contradict each other; the message
            names both.
    """
    name = step_name(config)
    kind = STEPS[name]
    if config.adversary.is_trades and _combines_gradients(config):
        raise ConfigError(
            "adversary.method 'trades' and a training.weighting that combines gradients must not "
            f"be set together, got weighting {config.training.weighting!r}; choose method "
            "adversarial, or weighting fixed or uncertainty"
        )
    if config.adversary.is_trades != (name == "trades"):
        raise ConfigError(
            "training.step must be 'trades' where adversary.method is 'trades' and an attack is "
            f"set, and nowhere else, got step {name!r} with method {config.adversary.method!r} "
            f"and attack {config.adversary.attack!r}; leave training.step out"
        )
    if _combines_gradients(config) != (name == "jacobian"):
        raise ConfigError(
            "training.step must be 'jacobian' where training.weighting combines gradients, and "
            f"nowhere else, got step {name!r} with weighting {config.training.weighting!r}; "
            "leave training.step out, or choose another weighting"
        )
    kind.check(config)


def build_step(
    config: TrialConfig,
    network: nn.Module,
    tasks: Sequence[Task],
    adversary: Adversary,
    weighting: Weighting,
    optimizer: torch.optim.Optimizer,
    *,
    group: WorkerGroup = ALONE,
) -> Step:
    """The step of a trial that has passed ``check_step``; see ``StepParts`` for the arguments.

    Raises:
        ConfigError: The step differentiates twice what cannot be.
    """
    kind = STEPS[step_name(config)]
    if kind.is_second_order and has_sync_batch_norm(network):
        raise ConfigError(
            f"training.step {step_name(config)!r} differentiates gradients, which the batch norm "
            "over several GPUs cannot be; set resources.workers: 1, or choose another step"
        )
    return kind(StepParts(config, network, tasks, adversary, weighting, optimizer, group))
