"""Contract 6: what an evaluation does to images before it asks for a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch
from taskgroup.draws import Draws, Share
from taskgroup.results.records import PerturbationKind, Record
from taskgroup.tasks.base import Task

WHOLE = ""
"""Member name of a perturbation without members."""


@dataclass(frozen=True)
class NetworkUnderTest:
    """The network that images are perturbed for; a corruption does not look at it.

    Attributes:
        model: ``model(images, names)`` gives a prediction per name; fixed, see ``fixed_network``.
        tasks: Its tasks.
        precision: Number format of an attack's forward passes; None is float32.
        is_randomised: Whether it answers at random, so that an attack takes its mean over draws.
    """

    model: nn.Module
    tasks: Sequence[Task]
    precision: torch.dtype | None = None
    is_randomised: bool = False


@dataclass(frozen=True)
class BatchSeed:
    """Where the random numbers of a batch come from.

    Attributes:
        seed: Seed of the evaluation; with an image's position it is all that a perturbation needs
            that treats an image alike in every batch.
        number: Number of the batch, which gives it a stream of its own.
        share: Which part of a batch of several workers it is; None means all.
    """

    seed: int
    number: int
    share: Share | None = None

    def draws(self) -> Draws:
        """The stream of the batch; streams of nearby seeds have nothing in common."""
        state = np.random.SeedSequence([self.seed, self.number]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
        return Draws(generator, self.share)

    def randomness(self) -> Draws:
        """The stream of a randomised network's draws while the batch is attacked."""
        return Draws.seeded(self.seed, "randomised network", self.number)


@dataclass(frozen=True)
class RowFields:
    """What records say of a perturbation; the attributes are named as the columns are.

    Attributes:
        kind: ``attack`` or ``corruption``; clean images are those of an attack of radius 0.
        attack: Its name; empty for clean images.
        severity: Of a corruption, from 1; 0 for an attack.
        norm: Norm of the ball; empty without a ball.
        epsilon: Radius for pixels in [0, 1].
        steps: Gradient steps per restart, or queries; 0 where there is none.
        restarts: Restarts, or draws of noise; 0 without an attack.
        attacked_tasks: Tasks whose losses are raised.
        step_size: Length of the first step in the norm; None where there is none.
        attack_version: Version of the attacks' numbers; 0 without an attack.
    """

    kind: PerturbationKind
    attack: str = ""
    severity: int = 0
    norm: str = ""
    epsilon: float = 0.0
    steps: int = 0
    restarts: int = 0
    attacked_tasks: tuple[str, ...] = ()
    step_size: float | None = None
    attack_version: int = 0

    def of(self, record: type[Record]) -> dict[str, Any]:
        """Those that a record has columns for."""
        names = {field.name for field in fields(record)}
        return {name: value for name, value in vars(self).items() if name in names}


class Perturbation(Protocol):
    """What is done to images, as a hashable value: equal ones are run once.

    A condition gives it a name and a part in a suite.
    """

    @property
    def name(self) -> str:
        """What it is registered as; empty where it leaves images as they are."""
        ...

    @property
    def passes(self) -> float:
        """About how many forward passes of the main task alone an image takes, scoring included."""
        ...

    @property
    def work(self) -> Mapping[str, Any]:
        """Everything that decides what it does, as JSON: a finished shard is found again by it."""
        ...

    def apply(
        self, network: NetworkUnderTest, batch: Batch, seed: BatchSeed
    ) -> Mapping[str, Tensor]:
        """Perturbed images ``(N, 3, H, W)`` in [0, 1] by member; one of ``WHOLE`` without members.

        Args:
            network: Whom the images are for.
            batch: Clean images with a target per task.
            seed: Where random numbers come from.
        """
        ...

    def is_inside(self, threat: ThreatModel) -> bool:
        """Whether a threat model allows what it does; False for whatever is no attack."""
        ...

    def row(self) -> RowFields:
        """What records say of it."""
        ...
