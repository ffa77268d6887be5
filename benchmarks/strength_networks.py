"""The networks that ``strength.py`` attacks: trained here, once, and kept in a folder.

Scenes, CamVid and CIFAR-10, natural and adversarial, small networks and large ones. Images are
small and trainings short.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.config import parse
from taskgroup.data.base import Batch
from taskgroup.evaluation.loading import NetworkSources, TrainedModel, load_networks
from taskgroup.evaluation.perturbations.base import NetworkUnderTest
from taskgroup.results.records import EpochRow
from taskgroup.training.config import TrialConfig
from taskgroup.training.fit import fit

SMALL = {"backbone": "resnet_small", "width": 16}
RESNET18 = {"backbone": "resnet18"}
DRN = {"backbone": "drn_d_22", "decoder": "bilinear"}
SCENES = {"name": "scenes", "image_size": 48, "train": 1024, "validation": 16, "test": 64}
SMALL_SCENES = {**SCENES, "image_size": 32}
CAMVID = {"name": "camvid", "image_size": 48}
CIFAR10 = {"name": "cifar10", "train": 4000, "validation": 16, "test": 256}
FEW_CIFAR10 = {**CIFAR10, "train": 2000}


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: What the tables call it, and its file.
        main_task: What it does.
        dataset: Where it is trained and attacked.
        model: What it is built from.
        is_adversarial: Whether it is trained on attacked images.
        epsilon: Radius that it is attacked with, and trained with where ``is_adversarial``.
        epochs: Length of its training.
        learning_rate: Highest learning rate.
        images: Test images that are attacked.
        effort: Multiplies the steps of the other packages' attacks; together they should have
            three times our passes.
        has_variants: Whether variants of ``tempered`` are tried on it.
        has_balls: Whether it is attacked in other balls, too.
    """

    name: str
    main_task: str
    dataset: dict[str, Any]
    model: dict[str, Any]
    is_adversarial: bool
    epsilon: str
    epochs: int
    learning_rate: float = 0.01
    images: int = 32
    effort: float = 1.25
    has_variants: bool = False
    has_balls: bool = False

    def config(self) -> TrialConfig:
        """Its training."""
        attack = {"attack": "pgd", "epsilon": self.epsilon, "steps": 2}
        return parse(
            TrialConfig,
            {
                "dataset": self.dataset,
                "model": self.model,
                "main_task": self.main_task,
                "adversary": attack if self.is_adversarial else {"attack": "none"},
                "training": {
                    "epochs": self.epochs,
                    "batch_size": 16,
                    "learning_rate": self.learning_rate,
                    "schedule": "one_cycle",
                    "augmentation": "flip",
                },
                "validation": {"attack": "fgsm", "epsilon": self.epsilon, "every": 100},
            },
        )


def cases() -> Iterator[Case]:
    """All networks, the most telling first."""
    for kind, hardened in (("adversarial", True), ("natural", False)):
        yield Case(
            *(f"scenes {kind}", "segmentation", SCENES, SMALL, hardened, "8/255", 8),
            has_variants=True,
            has_balls=True,
        )
        yield Case(
            *(f"CamVid {kind}", "segmentation", CAMVID, SMALL, hardened, "4/255", 16),
            has_variants=True,
            has_balls=hardened,
        )
    yield Case("depth adversarial", "depth", SCENES, SMALL, True, "8/255", 8)
    for kind, hardened in (("adversarial", True), ("natural", False)):
        yield Case(
            *(f"CIFAR-10 {kind}", "classification", CIFAR10, SMALL, hardened, "8/255", 12),
            images=200,
            effort=2.0 if hardened else 0.4,
        )
    yield Case(
        *("scenes ResNet-18 adversarial", "segmentation", SCENES, RESNET18, True, "8/255", 6),
        learning_rate=0.002,
    )
    yield Case(
        *("scenes DRN-D-22 adversarial", "segmentation", SMALL_SCENES, DRN, True, "4/255", 5),
        learning_rate=0.002,
    )
    yield Case(
        *("CIFAR-10 ResNet-18 adversarial", "classification", FEW_CIFAR10, RESNET18, True),
        *("8/255", 6),
        learning_rate=0.002,
        images=64,
        effort=2.0,
    )


class Quiet:
    """Listens to a training and says nothing."""

    def started(self, output_dimension: int) -> None:
        """Nothing to do."""

    def epoch(self, row: EpochRow) -> None:
        """Nothing to do."""


class Counted(nn.Module):
    """A network that counts the images it sees, with and without a gradient to come."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.with_gradient = self.without_gradient = 0

    def forward(self, images: Tensor, tasks: list[str]) -> Any:
        """The network's predictions."""
        if images.requires_grad:
            self.with_gradient += len(images)
        else:
            self.without_gradient += len(images)
        return self.model(images, tasks)

    def passes(self, images: int) -> float:
        """Passes per image: forward and backward is one, forward alone a third of one."""
        return (self.with_gradient + self.without_gradient / 3) / images


class Scaled(nn.Module):
    """A network whose outputs are multiplied by a number; as a classifier it is the same one."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, images: Tensor, tasks: list[str]) -> dict[str, Tensor]:
        """Predictions by task."""
        found = self.model(images, tasks)
        return {name: self.factor * prediction for name, prediction in found.items()}


@dataclass(frozen=True)
class Subject:
    """A trained network with the images that it is attacked on.

    Attributes:
        case: Its description.
        trained: The network and its task.
        batch: The images.
        threat: The ball.
    """

    case: Case
    trained: TrainedModel
    batch: Batch
    threat: ThreatModel

    def fresh(self, factor: float = 1.0) -> tuple[NetworkUnderTest, Counted]:
        """The network as attacks see it, its outputs times ``factor``, and what counts passes."""
        counted = Counted(self.trained.model)
        model = counted if factor == 1 else Scaled(counted, factor)
        return NetworkUnderTest(model, self.trained.tasks), counted

    def first(self, count: int) -> "Subject":
        """The same with fewer images."""
        batch = self.batch
        index = batch.index.new_tensor(range(min(count, len(batch))))
        return replace(self, batch=batch.select(index))


def subject(case: Case, folder: Path) -> Subject:
    """Train a network unless the folder has it, and load it."""
    checkpoint = folder / f"{case.name}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    fit(case.config(), Quiet(), checkpoint=checkpoint, resume=_existing(checkpoint))
    loaded = load_networks(NetworkSources((str(checkpoint),)))
    (trained,) = loaded.networks
    trained.model.eval().requires_grad_(False)
    return Subject(case, trained, loaded.batch(0, 0, case.images), trained.threat)


def _existing(checkpoint: Path) -> Path | None:
    return checkpoint if checkpoint.exists() else None
