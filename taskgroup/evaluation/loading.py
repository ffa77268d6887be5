"""From checkpoints to networks with their images, and everything that scoring them needs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.config import parse
from taskgroup.data.base import Batch, DatasetConfig, VisionDataset, parse_dataset
from taskgroup.data.loading import open_dataset
from taskgroup.errors import DataError
from taskgroup.evaluation.objective.network import (
    evaluation_device,
    fast_precision,
    fixed_network,
)
from taskgroup.evaluation.perturbations.base import NetworkUnderTest
from taskgroup.models.checkpoint import load_checkpoint, rebuild
from taskgroup.results.storage.places import Place
from taskgroup.tasks.base import Task, build_task
from taskgroup.wording import counted

ScoredSplit = Literal["test", "confirm"]


@dataclass(frozen=True)
class TrainedModel:
    """A network with what it was trained for.

    Attributes:
        model: The network, in evaluation mode, on the CPU.
        tasks: Its tasks, in the order of its heads.
        dataset: Where its test images come from.
        main_task: The task to protect.
        threat: The ball that it was validated in.
        digest: SHA-256 of its checkpoint, which says whether it is still the same network.
    """

    model: nn.Module
    tasks: tuple[Task, ...]
    dataset: DatasetConfig
    main_task: str
    threat: ThreatModel
    digest: str = ""

    @property
    def main(self) -> Task:
        """The task to protect."""
        return next(task for task in self.tasks if task.name == self.main_task)

    @property
    def task_set(self) -> tuple[str, ...]:
        """Names of its tasks, the main one first."""
        others = (task.name for task in self.tasks if task.name != self.main_task)
        return (self.main_task, *others)

    def under_test(self, device: torch.device, *, is_randomised: bool = False) -> NetworkUnderTest:
        """As attacks see it, with gradients in the fast number format of a device."""
        return NetworkUnderTest(self.model, self.tasks, fast_precision(device), is_randomised)


@dataclass(frozen=True)
class NetworkSources:
    """What a process needs to know to load the same networks as any other one.

    Attributes:
        checkpoints: Paths of the networks.
        split: Split that they are scored on.
        seed: Seed of every attack.
    """

    checkpoints: tuple[str, ...] = ()
    split: ScoredSplit = "test"
    seed: int = 0


@dataclass(frozen=True)
class LoadedNetworks:
    """Networks side by side with their images.

    Attributes:
        networks: The networks, on ``device``; ``fixed_networks`` fixes them while shards run.
        datasets: The images of each.
        device: Where the networks lie.
        sources: Where they come from.
    """

    networks: tuple[TrainedModel, ...]
    datasets: tuple[VisionDataset, ...]
    device: torch.device
    sources: NetworkSources = NetworkSources()

    @property
    def seed(self) -> int:
        """Seed of every attack."""
        return self.sources.seed

    def batch(self, network: int, first: int, stop: int) -> Batch:
        """Some images of a network's split, on the device."""
        return self.datasets[network].batch(range(first, stop)).to(self.device)

    def spread(self, network: int, count: int, most: int) -> Batch:
        """At most so many of the first ``count`` images, evenly spread, on the device."""
        rows = range(count) if count <= most else [n * count // most for n in range(most)]
        return self.datasets[network].batch(rows).to(self.device)


def load_networks(sources: NetworkSources) -> LoadedNetworks:
    """Load every network and open its split, so that what is missing is missed at once.

    Raises:
        DataError: A checkpoint or a data set is missing, damaged, or foreign.
        ConfigError: A checkpoint names what this installation lacks.
    """
    device = evaluation_device()
    networks = tuple(load_trained(path) for path in sources.checkpoints)
    for trained in networks:
        trained.model.to(device)
    datasets = tuple(
        open_dataset(trained.dataset, sources.split, trained.task_set) for trained in networks
    )
    return LoadedNetworks(networks, datasets, device, sources)


def load_trained(path: Place) -> TrainedModel:
    """Rebuild the network of a checkpoint.

    Raises:
        DataError: The file is missing, damaged, holds code, or was not written by a trial.
        ConfigError: It names a backbone or an option that this installation lacks.
    """
    checkpoint = load_checkpoint(path)
    model = rebuild(checkpoint)
    tasks = tuple(build_task(info) for info in checkpoint.tasks)
    try:
        dataset = parse_dataset(checkpoint.config.get("dataset"))
    except ValueError as error:
        problem = " ".join(str(error).split())
        raise _foreign(path, f"its dataset section is wrong: {problem}") from None
    return TrainedModel(
        model=model,
        tasks=tasks,
        dataset=dataset,
        main_task=_main_task(checkpoint.config, tasks, path),
        threat=_threat(checkpoint.config, path),
        digest=checkpoint.digest,
    )


@contextmanager
def fixed_networks(loaded: LoadedNetworks) -> Iterator[None]:
    """Fix every network as ``fixed_network`` does."""
    with ExitStack() as stack:
        for trained in loaded.networks:
            stack.enter_context(fixed_network(trained.model))
        yield


def transfer_targets(networks: tuple[TrainedModel, ...]) -> dict[int, tuple[int, ...]]:
    """Per network the others that can be scored on its images: same data set, same main task."""
    return {
        position: tuple(
            other
            for other, target in enumerate(networks)
            if other != position
            and target.dataset == trained.dataset
            and target.main.info == trained.main.info
        )
        for position, trained in enumerate(networks)
    }


def check_labels(loaded: LoadedNetworks, network: int, count: int) -> None:
    """Refuse images among which nothing is labelled: a score of them would be NaN.

    Raises:
        DataError: Not one pixel of the main task is valid among the first ``count`` images.
    """
    trained, dataset = loaded.networks[network], loaded.datasets[network]
    for image in range(count):
        if dataset.batch([image]).targets[trained.main_task].valid.any():
            return
    raise DataError(
        f"the images to score must have a valid pixel for task {trained.main_task!r}, found none "
        f"in {counted(count, 'image')} of data set {trained.dataset.name!r}; check its "
        "labels, or raise --images"
    )


def _main_task(config: Mapping[str, Any], tasks: tuple[Task, ...], path: Place) -> str:
    main_task = config.get("main_task")
    if main_task not in [task.name for task in tasks]:
        raise _foreign(path, f"its main_task {main_task!r} is none of its tasks")
    return str(main_task)


def _threat(config: Mapping[str, Any], path: Place) -> ThreatModel:
    """The ball of the ``validation:`` section."""
    validation = config.get("validation")
    if not isinstance(validation, Mapping) or not {"norm", "epsilon"} <= set(validation):
        raise _foreign(path, "its validation section names no threat model")
    named = {key: validation[key] for key in ("norm", "epsilon")}
    return parse(ThreatModel, named, source=f"{path}: validation")


def _foreign(path: Place, found: str) -> DataError:
    return DataError(
        f"{path} must be a checkpoint of a taskgroup trial, but {found}; "
        "choose one below a run directory's checkpoints"
    )
